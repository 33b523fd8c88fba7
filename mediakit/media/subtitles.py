"""The text formats that a transcript is written in."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from mediakit.media.cue_units import clean
from mediakit.media.cues import Cue, CueLayout, cues
from mediakit.media.transcripts import SEGMENT_SCHEMA, Transcript

# seconds without words after which a player of song texts shows nothing
_LRC_CLEAR = 3.0


@dataclass(frozen=True, slots=True)
class Writing:
    """`layout` is for srt, vtt and lrc, `highlight_words` for vtt: each word is marked from when
    it is said on."""

    layout: CueLayout = CueLayout()
    highlight_words: bool = False


def write(format: str, transcript: Transcript, writing: Writing | None = None) -> str:
    """A transcript in one of FORMATS, in lines that end in \\n, the last one too.

    Without segments it is a valid file without subtitles. KeyError for another format.
    """
    return "".join(f"{line}\n" for line in FORMATS[format](transcript, writing or Writing()))


def _txt(transcript: Transcript, writing: Writing) -> Iterator[str]:
    """A line a segment, as Whisper's."""
    return filter(None, (clean(segment.text) for segment in transcript.segments))


def _srt(transcript: Transcript, writing: Writing) -> Iterator[str]:
    """SubRip, with \\n, which players read as well as \\r\\n."""
    for number, cue in enumerate(cues(transcript, writing.layout), 1):
        if number > 1:
            yield ""
        yield str(number)
        yield f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}"
        # the format has no way to write its arrow
        yield from (line.replace("-->", "→") for line in cue.lines)


def _vtt(transcript: Transcript, writing: Writing) -> Iterator[str]:
    """WebVTT (https://www.w3.org/TR/webvtt1/), without notes and styles."""
    yield "WEBVTT"
    for cue in cues(transcript, writing.layout):
        yield ""
        yield f"{_clock(cue.start)} --> {_clock(cue.end)}"
        yield from _highlighted(cue) if writing.highlight_words else map(_escaped, cue.lines)


def _highlighted(cue: Cue) -> Iterator[str]:
    """The lines with a class span a word, and before it the time from which on it is past;
    such times must grow, and lie inside the cue."""
    latest = cue.start
    for line in cue.spoken:
        text = ""
        for word in line:
            if latest < word.start < cue.end:
                latest = word.start
                text += f"<{_clock(latest)}>"
            text += f"<c>{_escaped(word.text)}</c>"
        yield text


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _tsv(transcript: Transcript, writing: Writing) -> Iterator[str]:
    """Whisper's: milliseconds, and the text as it is, without tabs; a line a segment."""
    yield "start\tend\ttext"
    for segment in transcript.segments:
        yield f"{_ms(segment.start)}\t{_ms(segment.end)}\t{clean(segment.text)}"


def _lrc(transcript: Transcript, writing: Writing) -> Iterator[str]:
    """Song texts: a time before each line, and one before nothing where it is quiet for long."""
    yield f"[length:{_minutes(transcript.duration)}]"
    shown = cues(transcript, writing.layout)
    for cue, after in zip(shown, [*shown[1:], None], strict=True):
        # brackets would be read as another time or tag
        yield f"[{_minutes(cue.start)}]{cue.text.replace('[', '(').replace(']', ')')}"
        if after and after.start - cue.end >= _LRC_CLEAR:
            yield f"[{_minutes(cue.end)}]"


def _json(transcript: Transcript, writing: Writing) -> Iterator[str]:
    """All there is (docs/transcript.md), a line a segment, so that versions can be compared."""
    yield "{"
    fields = list(transcript.to_json().items())
    for place, (key, value) in enumerate(fields, 1):
        comma = "," if place < len(fields) else ""
        if key in ("segments", "dropped") and value:
            yield f"{_dumped(key)}: ["
            yield from (_dumped(each) + "," for each in value[:-1])
            yield _dumped(value[-1])
            yield f"]{comma}"
        else:
            yield f"{_dumped(key)}: {_dumped(value)}{comma}"
    yield "}"


def _jsonl(transcript: Transcript, writing: Writing) -> Iterator[str]:
    """An object a segment, with what it needs to be understood alone."""
    for segment in transcript.segments:
        yield _dumped(
            {"schema": SEGMENT_SCHEMA, "language": transcript.language, **segment.to_json()}
        )


def _dumped(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    # half a surrogate pair, which UTF-8 can't hold, is nothing but damage
    return text if text.isascii() else text.encode(errors="replace").decode()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _clock(seconds: float, point: str = ".") -> str:
    """00:00:00.000; hours may take more than two digits."""
    minutes, ms = divmod(_ms(seconds), 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02}{point}{ms % 1000:03}"


def _minutes(seconds: float) -> str:
    minutes, hundredths = divmod(round(seconds * 100), 6000)
    return f"{minutes:02}:{hundredths // 100:02}.{hundredths % 100:02}"


FORMATS: dict[str, Callable[[Transcript, Writing], Iterator[str]]] = {
    "txt": _txt,
    "srt": _srt,
    "vtt": _vtt,
    "tsv": _tsv,
    "lrc": _lrc,
    "json": _json,
    "jsonl": _jsonl,
}
