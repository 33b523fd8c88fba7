"""What became of a picture or an animation, and whether it waits in memory to be written."""

from dataclasses import dataclass, replace
from pathlib import Path

from mediakit.media.frames import Animation
from mediakit.media.moving import write_animation
from mediakit.media.pixels import Picture
from mediakit.media.rows import Rows, rows_of
from mediakit.media.writing import Encoding, write_rows

# A larger result is written while it is made: where formats can, in strips.
HELD = 192 << 20


@dataclass(frozen=True)
class Result:
    """`rows` are the pixels of `source` as they are now; an animation's frames in one column.

    They can be had once: for `held` or for `write`.
    """

    source: Picture | Animation
    rows: Rows

    @property
    def nbytes(self) -> int:
        return self.rows.nbytes

    def held(self) -> "Result":
        """The same with all its pixels made, in memory."""
        return replace(self, rows=rows_of(self.rows.whole(), self.rows.opaque))

    def write(self, path: Path, format: str, encoding: Encoding) -> "Written":
        """Errors of `write_rows` and `write_animation`, and of making the rows."""
        if isinstance(self.source, Animation):
            frames = self.source.count
            lost = write_animation(self.source, self.rows, path, format, encoding)
        else:
            frames = 1
            lost = write_rows(self.source, self.rows, path, format, encoding)
        return Written(self.rows.width, self.rows.height // frames, frames, lost)


@dataclass(frozen=True)
class Written:
    """A result that is in its file: its size (of one frame), and what was lost."""

    width: int
    height: int
    frames: int
    lost: list[str]
    nbytes: int = 0


@dataclass(frozen=True)
class Unchanged:
    """A picture that nothing was done to: its file is its input's, byte for byte."""

    data: bytes
    width: int
    height: int

    @property
    def nbytes(self) -> int:
        return len(self.data)

    def write(self, path: Path) -> Written:
        path.write_bytes(self.data)
        return Written(self.width, self.height, 1, [])
