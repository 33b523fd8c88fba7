"""Transcripts that are read back: those of mediakit's json and jsonl."""

import json
import math
from typing import Any

from mediakit.errors import ItemError, show
from mediakit.media.transcripts import SCHEMA, Segment, Transcript, Word

_LONGEST = 1000 * 3600.0  # seconds; more is no recording


def is_lines(name: str) -> bool:
    """Whether a file of that name holds a segment a line: none, where nobody spoke."""
    return name.lower().endswith(".jsonl")


def read_transcript(data: bytes, name: str) -> Transcript:
    """The transcript in the bytes of a file called `name`: a JSON object, or a segment a line.

    ItemError bad_transcript for anything else, and for times that no recording has.
    """
    try:
        text = data.decode("utf-8-sig")
        try:
            found = _of_object(json.loads(text))
        except json.JSONDecodeError:
            lines = [json.loads(line) for line in text.split("\n") if line.strip()]
            if not (lines or is_lines(name)):
                raise ValueError("it is empty") from None
            found = _of_lines(lines)
        _check(found)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ItemError(
            "bad_transcript",
            f"{show(name)} is no transcript of mediakit's ({show(_cause(error))}); give a sound "
            "file, or what --format json wrote",
        ) from None
    return found


def _of_object(value: Any) -> Transcript:
    if isinstance(value, dict) and "schema" not in value and {"start", "text"} <= value.keys():
        return _of_lines([value])  # jsonl of one segment
    return Transcript.from_json(value)


def _of_lines(values: list[Any]) -> Transcript:
    parts = {"schema": SCHEMA, "segments": values, "language": "", "language_probability": 0.0}
    end = max((value["end"] for value in values), default=0.0)
    whole = {"duration": end, "speech_seconds": end, "no_speech": not values}
    return Transcript.from_json({**parts, **whole})


def _check(found: Transcript) -> None:
    """ValueError for values of the wrong kind, or that nothing could be made of."""
    for number in (found.duration, found.speech_seconds, found.language_probability):
        _number(number)
    if not isinstance(found.language, str):
        raise ValueError("language is not a text")
    before = 0.0
    for segment in (*found.segments, *found.dropped):
        _check_span(segment)
        for word in segment.words:
            _check_span(word)
            _number(word.probability)
    for segment in found.segments:
        if segment.start < before - 1:
            raise ValueError(f"the segment at {segment.start} s is out of order")
        before = segment.start


def _check_span(part: Segment | Word) -> None:
    if not isinstance(part.text, str):
        raise ValueError("a text is none")
    part.text.encode()  # half a character can't be written
    if _number(part.end) < _number(part.start):
        raise ValueError(f"what begins at {part.start} s ends before")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    if not math.isfinite(value) or not 0 <= value < _LONGEST:
        raise ValueError(f"{value} is out of range")
    return value


def _cause(error: Exception) -> str:
    return str(error).splitlines()[0][:100] if str(error) else type(error).__name__
