"""What becomes of a transcript: its files, and what the record says of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediakit.batch.item import Item, Made
from mediakit.media.cues import CueLayout
from mediakit.media.transcripts import Transcript
from mediakit.tasks import text_files
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
    from mediakit.media import subtitles

    said, params = media.transcript, params_of(item)
    layout = CueLayout(**{name: getattr(params, name) for name in LAYOUT})

    def content(format: str, path: str) -> bytes:
        return subtitles.write(format, said, layout, params.highlight_words).encode()

    made = text_files.write(item, params, FORMATS, file, content)
    made.result = _result(item, said)
    if said.no_speech and not media.is_old:
        made.warnings.append("no speech was found")
    if params.highlight_words and said.segments and not any(s.words for s in said.segments):
        made.warnings.append(
            "the transcript has no times of words: they are marked as if spread evenly"
        )
    return made


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
