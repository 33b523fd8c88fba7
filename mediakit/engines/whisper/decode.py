"""What was said in a batch of windows, and which of it has to be heard again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import (
    TranscriptionOptions,
    get_compression_ratio,
    get_ctranslate2_storage,
    get_suppressed_tokens,
)

from mediakit.engines.whisper.astray import astray, most_tokens
from mediakit.engines.whisper.drawing import DrawingModel
from mediakit.engines.whisper.request import RATE, Doubts, Request
from mediakit.engines.whisper.stretches import Samples
from mediakit.engines.whisper.windows import FULL

_INITIAL = 1.0  # seconds within which speech must begin, as whisper has it


@dataclass(frozen=True, slots=True)
class Heard:
    """The tokens of one window, text and timestamps, and how they came out."""

    tokens: list[int]
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float
    temperature: float
    astray: bool = False  # see astray.py

    def silent(self, doubts: Doubts) -> bool:
        """No speech, as whisper decides it."""
        return (
            doubts.no_speech_threshold is not None
            and self.no_speech_prob > doubts.no_speech_threshold
            and not (
                doubts.logprob_threshold is not None and self.avg_logprob > doubts.logprob_threshold
            )
        )

    def unlikely(self, doubts: Doubts) -> bool:
        return doubts.logprob_threshold is not None and (
            self.avg_logprob < doubts.logprob_threshold
        )

    def repetitive(self, doubts: Doubts) -> bool:
        return doubts.compression_ratio_threshold is not None and (
            self.compression_ratio > doubts.compression_ratio_threshold
        )


@dataclass(frozen=True)
class Ear:
    """A model that listens with one request in one language."""

    model: DrawingModel
    tokenizer: Tokenizer
    request: Request

    def features(self, sound: Samples, seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The log-mel spectrogram, bands x 100 frames a second, of sound padded to `seconds`."""
        mel = self.model.feature_extractor(sound)[:, :-1]
        # not the features of silence: with these, Whisper says fewer things twice
        padded = np.zeros((mel.shape[0], round(seconds * 100)), np.float32)
        padded[:, : mel.shape[1]] = mel[:, : padded.shape[1]]
        return padded

    def encode(self, sounds: list[Samples], seconds: float) -> Any:
        """The encoder's output for sounds padded to the same width."""
        mel = np.stack([self.features(sound, seconds) for sound in sounds])
        return self.model.model.encode(get_ctranslate2_storage(mel))

    def hear(self, encoded: Any, sounds: list[Samples]) -> list[Heard]:
        """The first try, all together, at the lowest temperature if that is 0."""
        options = self.options()
        prompt = self.prompt()
        longest = max(len(sound) for sound in sounds) / RATE
        most = len(prompt) + 2 * most_tokens(longest)  # CTranslate2 gives the text half of it
        temperature = options.temperatures[0]
        self.model.has_drawn |= temperature > 0
        search = (
            {"beam_size": options.beam_size, "patience": options.patience}
            if temperature == 0
            else {"beam_size": 1, "num_hypotheses": options.best_of, "sampling_topk": 0,
                  "sampling_temperature": temperature}
        )  # fmt: skip
        results = self.model.model.generate(
            encoded,
            [prompt] * len(sounds),
            length_penalty=options.length_penalty,
            repetition_penalty=options.repetition_penalty,
            no_repeat_ngram_size=options.no_repeat_ngram_size,
            max_length=min(self.model.max_length, most),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=options.suppress_tokens,
            max_initial_timestamp_index=round(_INITIAL / self.model.time_precision),
            **search,
        )
        return [
            self._heard(result, temperature, len(sound) / RATE)
            for result, sound in zip(results, sounds, strict=True)
        ]

    def again(self, sound: Samples) -> tuple[Any, Heard]:
        """One window in the width that Whisper was trained on, at one temperature after the other
        as whisper does; its encoder's output, and what it said."""
        encoded = self.encode([sound], FULL)
        result, avg_logprob, temperature, ratio = self.model.generate_with_fallback(
            encoded, self.prompt(), self.tokenizer, self.options()
        )
        heard = Heard(
            result.sequences_ids[0], avg_logprob, result.no_speech_prob, ratio, temperature
        )
        return encoded, heard

    def doubtful(self, heard: Heard) -> bool:
        """Whether it has to be heard again."""
        doubts = self.request.doubts
        return heard.astray or heard.repetitive(doubts) or heard.unlikely(doubts)

    def prompt(self) -> list[int]:
        request = self.request
        before = request.previous_text or request.initial_prompt
        prompt: list[int] = self.model.get_prompt(
            self.tokenizer,
            self.tokenizer.encode(" " + before.strip()) if before else [],
            hotwords=request.hotwords,
        )
        return prompt

    def options(self) -> TranscriptionOptions:
        request, beams, doubts = self.request, self.request.beams, self.request.doubts
        return TranscriptionOptions(
            beam_size=beams.beam_size,
            best_of=beams.best_of,
            patience=beams.patience,
            length_penalty=beams.length_penalty,
            repetition_penalty=beams.repetition_penalty,
            no_repeat_ngram_size=beams.no_repeat_ngram_size,
            log_prob_threshold=doubts.logprob_threshold,
            no_speech_threshold=doubts.no_speech_threshold,
            compression_ratio_threshold=doubts.compression_ratio_threshold,
            condition_on_previous_text=False,
            prompt_reset_on_temperature=0.5,
            temperatures=list(beams.temperatures),
            initial_prompt=request.initial_prompt,
            prefix=None,
            suppress_blank=True,
            suppress_tokens=get_suppressed_tokens(self.tokenizer, [-1]),
            without_timestamps=False,
            max_initial_timestamp=_INITIAL,
            word_timestamps=request.word_timestamps,
            prepend_punctuations="",
            append_punctuations="",
            multilingual=False,
            max_new_tokens=None,
            clip_timestamps=[],
            hallucination_silence_threshold=None,
            hotwords=request.hotwords,
        )

    def _heard(self, result: Any, temperature: float, seconds: float) -> Heard:
        tokens = result.sequences_ids[0]
        count = len(tokens)
        # CTranslate2 divides by the length; whisper counts the end of the text too
        total = result.scores[0] * count**self.request.beams.length_penalty
        text = self.tokenizer.decode(tokens).strip()
        return Heard(
            tokens,
            total / (count + 1),
            result.no_speech_prob,
            get_compression_ratio(text),
            temperature,
            astray(tokens, self.tokenizer, seconds),
        )
