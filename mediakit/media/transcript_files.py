"""How a transcript is read back from the JSON that mediakit wrote."""

import json
from typing import Any

from mediakit.errors import ItemError, show
from mediakit.media.transcripts import SCHEMA, SEGMENT_SCHEMA, Segment, Transcript


def read_transcript(data: bytes, name: str = "the input") -> Transcript:
    """Out of a file of the formats json (all comes back) or jsonl (the segments and the language
    do; the recording is taken to end with them). `name` is for messages.

    Raises ItemError: empty_file, unsupported_format for what is no transcript, corrupt for one
    with values that can't be.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _foreign(name, "it is not UTF-8") from None
    if not text.strip():
        raise ItemError("empty_file", f"{show(name)} is empty")
    lines = [line for line in text.splitlines() if line.strip()]
    first = _parsed(lines[0])
    try:
        if isinstance(first, dict) and first.get("schema") == SEGMENT_SCHEMA:
            return _of_lines(lines)
        whole = _parsed(text)
        if not isinstance(whole, dict) or whole.get("schema") != SCHEMA:
            raise _foreign(name, "no JSON" if whole is _BAD else f'no "schema": "{SCHEMA}"')
        return Transcript.from_json(whole)
    except ValueError as error:
        raise ItemError("corrupt", f"{show(name)} is a damaged transcript: {show(error)}") from None


_BAD = object()


def _parsed(text: str) -> Any:
    """What the text says, or _BAD; nesting without end is no JSON of ours either."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _BAD


def _of_lines(lines: list[str]) -> Transcript:
    segments, languages = [], set()
    for number, line in enumerate(lines, 1):
        value = _parsed(line)
        if not isinstance(value, dict) or value.get("schema") != SEGMENT_SCHEMA:
            raise ValueError(f"line {number} is no segment of a transcript")
        segments.append(Segment.from_json(value, f"line {number}"))
        languages.add(value.get("language"))
    language = languages.pop()
    if languages or not isinstance(language, str):
        raise ValueError("its segments are not all of one language")
    return Transcript(
        tuple(segments),
        language,
        language_probability=1.0,
        duration=max(segment.end for segment in segments),
        speech_seconds=sum(segment.end - segment.start for segment in segments),
    )


def _foreign(name: str, why: str) -> ItemError:
    return ItemError(
        "unsupported_format",
        f"{show(name)} is not a transcript: {why}; expected mediakit's JSON (--format json)",
    )
