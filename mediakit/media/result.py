"""What became of a picture or an animation: new pixels, beside the metadata of the old."""

from dataclasses import dataclass
from pathlib import Path

from mediakit.media.frames import Animation
from mediakit.media.moving import write_animation
from mediakit.media.pixels import Picture, Pixels
from mediakit.media.rows import rows_of
from mediakit.media.writing import Encoding, write_rows


@dataclass(frozen=True)
class Result:
    """`pixels` of `source` as they are now; an animation's frames in one column."""

    source: Picture | Animation
    pixels: Pixels
    opaque: bool = False

    @property
    def frames(self) -> int:
        return self.source.count if isinstance(self.source, Animation) else 1

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Of one frame."""
        return int(self.pixels.shape[0]) // self.frames

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes


def write_result(result: Result, path: Path, format: str, encoding: Encoding) -> list[str]:
    """Write it, and say what was lost; errors of `write_rows` and `write_animation`."""
    rows = rows_of(result.pixels, result.opaque)
    if isinstance(result.source, Animation):
        return write_animation(result.source, rows, path, format, encoding)
    return write_rows(result.source, rows, path, format, encoding)
