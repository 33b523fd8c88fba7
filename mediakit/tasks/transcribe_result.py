"""What becomes of a transcript: its files, and what the record says of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediakit.batch.item import Extra, Item, Made, extra_file
from mediakit.media.cues import CueLayout
from mediakit.media.transcripts import Transcript
from mediakit.tasks.transcribe_checks import first_format, format_of
from mediakit.tasks.transcribe_options import FORMATS, LAYOUT
from mediakit.tasks.transcribe_request import params_of


@dataclass(slots=True)
class Said:
    """A transcript on its way to its files; `is_old` if it came from one."""

    transcript: Transcript
    is_old: bool

    @property
    def nbytes(self) -> int:
        return 1000 + 500 * len(self.transcript.segments)


def written(item: Item, media: Said, file: Path) -> Made:
    """A transcript in all the formats that its item wants; see Task.encode."""
    from mediakit.media.subtitles import write

    said, params = media.transcript, params_of(item)
    layout = CueLayout(**{name: getattr(params, name) for name in LAYOUT})
    paths = [item.output or item.key, *item.also]
    files = [file, *(extra_file(file, number) for number in range(len(item.also)))]
    first = format_of(paths[0]) if item.output else first_format(params)
    formats = [first, *params.format[1:]]
    for format, each in zip(formats, files, strict=False):
        text = write(format, said, layout, params.highlight_words)
        each.write_text(text, encoding="utf-8", newline="")
    extras = tuple(
        Extra(each, path, format, FORMATS[format])
        for each, path, format in zip(files[1:], paths[1:], formats[1:], strict=True)
    )
    warnings = ["no speech was found"] if said.no_speech and not media.is_old else []
    return Made(FORMATS[first], _result(item, said), warnings, first, extras)


def _result(item: Item, said: Transcript) -> dict[str, Any]:
    result = {
        "text": said.text,
        "language": said.language,
        "language_probability": round(said.language_probability, 4),
        "duration": round(said.duration, 3),
        "speech_seconds": round(said.speech_seconds, 3),
        "no_speech": said.no_speech,
        "doubtful_segments": sum(bool(segment.flags) for segment in said.segments),
        "dropped_segments": len(said.dropped),
    }
    if item.output is None:  # nothing else holds them
        result["segments"] = said.to_json()["segments"]
    return result
