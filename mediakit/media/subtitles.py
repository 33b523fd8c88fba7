"""A transcript as a file: text, subtitles in several formats, or data."""

import html
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict

from mediakit.media.cues import Cue, CueLayout, cues
from mediakit.media.transcripts import Transcript


def write(format: str, said: Transcript, layout: CueLayout, highlight_words: bool = False) -> str:
    """The content of a file; lines end in a newline alone.

    `format` is of txt, srt, vtt, tsv, lrc, json, jsonl; `highlight_words` marks words in vtt when
    they are spoken. Nobody speaking gives an empty but valid file.
    """
    if format == "vtt":
        return _vtt(cues(said, layout), highlight_words)
    if format in _CUES:
        return "".join(_CUES[format](cues(said, layout)))
    return "".join(_SEGMENTS[format](said))


def clock(seconds: float, mark: str = ".") -> str:
    """01:02:03.004, with `mark` before the milliseconds."""
    whole = round(seconds * 1000)
    minutes, rest = divmod(whole, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def _txt(said: Transcript) -> Iterator[str]:
    for segment in said.segments:
        yield f"{_one_line(segment.text)}\n"


def _tsv(said: Transcript) -> Iterator[str]:
    """As Whisper writes it: milliseconds."""
    yield "start\tend\ttext\n"
    for segment in said.segments:
        times = f"{round(segment.start * 1000)}\t{round(segment.end * 1000)}"
        yield f"{times}\t{_one_line(segment.text)}\n"


def _json(said: Transcript) -> Iterator[str]:
    yield json.dumps(said.to_json(), ensure_ascii=False, indent=1) + "\n"


def _jsonl(said: Transcript) -> Iterator[str]:
    """A segment a line."""
    for segment in said.segments:
        yield json.dumps(asdict(segment), ensure_ascii=False) + "\n"


def _srt(found: list[Cue]) -> Iterator[str]:
    for number, cue in enumerate(found, 1):
        text = "\n".join(line.replace("-->", "→") for line in cue.lines)
        yield f"{number}\n{clock(cue.start, ',')} --> {clock(cue.end, ',')}\n{text}\n\n"


def _lrc(found: list[Cue]) -> Iterator[str]:
    """Lines of lyrics; an empty one where nobody speaks for a while."""
    for number, cue in enumerate(found):
        # brackets would be read as another time
        yield f"[{_minutes(cue.start)}]{cue.text.translate(_ROUND)}\n"
        after = found[number + 1].start if number + 1 < len(found) else None
        if after is None or after - cue.end > 2:
            yield f"[{_minutes(cue.end)}]\n"


def _vtt(found: list[Cue], highlight: bool) -> str:
    parts = ["WEBVTT\n"]
    for cue in found:
        text = "\n".join(_karaoke(cue) if highlight else map(_escaped, cue.lines))
        parts.append(f"\n{clock(cue.start)} --> {clock(cue.end)}\n{text}\n")
    return "".join(parts)


def _karaoke(cue: Cue) -> Iterator[str]:
    """The lines with the time of each word before it, but of those that begin with the cue or with
    the word before; players show the words before it bright."""
    words = iter(cue.words)
    last = cue.start
    for line in cue.lines:
        marked, shown = "", ""
        while len(shown) < len(line):
            word = next(words, None)
            if word is None:
                marked += _escaped(line[len(shown) :])
                break
            text = word.text if shown else word.text.lstrip()
            shown += text
            time = ""
            if last < word.start < cue.end:
                last = word.start
                time = f"<{clock(word.start)}>"
            space = " " if text[:1] == " " else ""
            marked += f"{space}{time}<c>{_escaped(text.strip())}</c>"
        yield marked


def _escaped(text: str) -> str:
    return html.escape(text, quote=False)


def _minutes(seconds: float) -> str:
    hundredths = round(seconds * 100)
    return f"{hundredths // 6000:02}:{hundredths % 6000 // 100:02}.{hundredths % 100:02}"


def _one_line(text: str) -> str:
    return " ".join(text.split())


_ROUND = str.maketrans("[]", "()")
_SEGMENTS: dict[str, Callable[[Transcript], Iterator[str]]] = {
    "txt": _txt,
    "tsv": _tsv,
    "json": _json,
    "jsonl": _jsonl,
}
_CUES: dict[str, Callable[[list[Cue]], Iterator[str]]] = {"srt": _srt, "lrc": _lrc}
