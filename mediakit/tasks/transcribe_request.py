"""What the engine is asked for on behalf of an item."""

from typing import TYPE_CHECKING

from mediakit.batch.item import Item
from mediakit.tasks.transcribe_options import TranscribeParams

if TYPE_CHECKING:
    from mediakit.engines.whisper.request import Request


def params_of(item: Item) -> TranscribeParams:
    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, TranscribeParams)
    return params


def request_of(params: TranscribeParams) -> "Request":
    """All that the Params say of how it listens."""
    from mediakit.engines.whisper.request import Beams, Doubts, Request, Voice

    p = params
    voice = Voice(
        p.vad_threshold,
        p.vad_min_speech_duration_ms,
        p.vad_min_silence_duration_ms,
        p.vad_speech_pad_ms,
    )
    beams = Beams(
        p.beam_size, p.best_of, p.patience, p.length_penalty, p.repetition_penalty,
        p.no_repeat_ngram_size, p.temperature,
    )  # fmt: skip
    doubts = Doubts(p.compression_ratio_threshold, p.logprob_threshold, p.no_speech_threshold)
    return Request(
        language=p.language,
        task=p.task,
        initial_prompt=p.initial_prompt,
        hotwords=p.hotwords,
        word_timestamps=p.word_timestamps,
        sequential=p.sequential,
        condition_on_previous_text=p.condition_on_previous_text is not False,
        hallucination_silence_threshold=p.hallucination_silence_threshold,
        voice=voice if p.vad else None,
        beams=beams,
        doubts=doubts,
    )
