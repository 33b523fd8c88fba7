"""One window of 30 s after the other, each knowing what was said before, as whisper does it."""

from typing import Any

from faster_whisper.vad import VadOptions

from mediakit.engines.whisper.batched import Job, transcript
from mediakit.engines.whisper.request import Voice
from mediakit.engines.whisper.segments import flagged, invented, moved
from mediakit.engines.whisper.stretches import vad_options
from mediakit.engines.whisper.words import corrected
from mediakit.errors import ItemError
from mediakit.media.transcripts import Segment, Transcript, Word

# A pause shorter than faster_whisper's own 2 s stays in: this way of listening needs no cuts.
_MIN_SILENCE_MS = 2000


def sequential(job: Job) -> Transcript | ItemError:
    """The transcript of a job by faster_whisper's own loop.

    That does not say which windows it took for silence: nothing of those is in `dropped`.
    """
    request, stretch = job.ear.request, job.stretch
    beams, doubts = request.beams, request.doubts
    try:
        found, _ = job.ear.model.transcribe(
            stretch.samples,
            language=request.language,
            task=request.task,
            beam_size=beams.beam_size,
            best_of=beams.best_of,
            patience=beams.patience,
            length_penalty=beams.length_penalty,
            repetition_penalty=beams.repetition_penalty,
            no_repeat_ngram_size=beams.no_repeat_ngram_size,
            temperature=list(beams.temperatures),
            compression_ratio_threshold=doubts.compression_ratio_threshold,
            log_prob_threshold=doubts.logprob_threshold,
            no_speech_threshold=doubts.no_speech_threshold,
            condition_on_previous_text=request.condition_on_previous_text,
            initial_prompt=request.previous_text or request.initial_prompt,
            hotwords=request.hotwords,
            word_timestamps=request.word_timestamps,
            vad_filter=request.voice is not None,
            vad_parameters=_vad(request.voice) if request.voice else None,
            hallucination_silence_threshold=request.hallucination_silence_threshold,
        )
        said = tuple(moved(flagged(_segment(each), doubts), stretch.start) for each in found)
    except (ValueError, IndexError) as error:
        seconds = stretch.end - stretch.start
        return ItemError("failed", f"the model failed on {seconds:.0f} s of sound: {error}")
    return transcript(
        job,
        tuple(each for each in said if not invented(each)),
        tuple(each for each in said if invented(each)),
    )


def _vad(voice: Voice) -> VadOptions:
    options = vad_options(voice)
    options.min_silence_duration_ms = max(voice.min_silence_ms, _MIN_SILENCE_MS)
    options.speech_pad_ms = voice.speech_pad_ms
    return options


def _segment(found: Any) -> Segment:
    """faster_whisper's segment as one of ours."""
    words = tuple(
        Word(corrected(word.start), corrected(word.end), word.word, word.probability)
        for word in found.words or ()
    )
    return Segment(
        start=words[0].start if words else found.start,
        end=words[-1].end if words else found.end,
        text=found.text.strip(),
        words=words,
        avg_logprob=round(found.avg_logprob, 4),
        no_speech_prob=round(found.no_speech_prob, 4),
        compression_ratio=round(found.compression_ratio, 4),
        temperature=found.temperature,
    )
