"""When each word was said: Whisper's own attention, aligned, and what is known to be off in it."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer
from faster_whisper.transcribe import merge_punctuations

from mediakit.media.transcripts import Word

# Whisper finds words too late by this much (seconds). By tiny.en on the clips of
# tests/data/speech, against a forced alignment: 79 % of the starts are within 0.2 s without it,
# 92 % with anything from 0.05 to 0.07.
LATE = 0.06

Timed = list[tuple[Word, int]]  # a word, and how many text tokens it has
_PREPENDED = "\"'“¿([{-"
_APPENDED = "\"'.。,，!！?？:：”)]}、"  # as whisper has them
_LONG = 2.0  # times the median length of a word: longer ones next to a pause hold the pause
_MEDIAN = 0.7  # seconds that a word may take at most, by the median


def aligned(
    model: WhisperModel,
    tokenizer: Tokenizer,
    encoded: Any,
    tokens: Sequence[list[int]],
    frames: Sequence[int],
) -> list[Timed]:
    """The words of each window of a batch, in seconds from its start. `frames` of 10 ms are those
    of sound in each window."""
    found: list[list[dict[str, Any]]] = model.find_alignment(
        tokenizer, list(tokens), encoded, list(frames)
    )
    result = []
    for words, length in zip(found, frames, strict=True):
        merge_punctuations(words, _PREPENDED, _APPENDED)
        _shorten(words)
        result.append([(_word(each, length / 100), len(each["tokens"])) for each in words])
    return result


def corrected(seconds: float) -> float:
    """A time of Whisper's, corrected."""
    return max(seconds - LATE, 0.0)


def _word(found: dict[str, Any], most: float) -> Word:
    start, end = (min(corrected(float(found[name])), most) for name in ("start", "end"))
    return Word(round(start, 3), round(end, 3), found["word"], float(found["probability"]))


def _shorten(words: list[dict[str, Any]]) -> None:
    """Attention leaves pauses to the words beside them; give them no more than _LONG medians."""
    lengths = sorted(w["end"] - w["start"] for w in words if w["end"] > w["start"])
    if not lengths:
        return
    most = _LONG * min(_MEDIAN, float(lengths[len(lengths) // 2]))
    spoken = [word for word in words if word["word"]]
    if spoken and spoken[0]["end"] - spoken[0]["start"] > most:
        spoken[0]["start"] = spoken[0]["end"] - most
    for before, after in pairwise(spoken):
        ended = before["word"][-1:] in _APPENDED
        if ended and after["end"] - after["start"] > most:
            after["start"] = after["end"] - most
        if ended and before["end"] - before["start"] > most:
            before["end"] = before["start"] + most
    if spoken and spoken[-1]["end"] - spoken[-1]["start"] > most:
        spoken[-1]["end"] = spoken[-1]["start"] + most
