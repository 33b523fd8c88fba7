"""A picture that comes from top to bottom in strips, so that it is never in memory as a whole."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.media.pixels import Pixels, flatten_rows, to_8_bits

STRIP_BYTES = 8 << 20  # of what is cut out of a whole picture


@dataclass(frozen=True)
class Rows:
    """`parts` are the strips, H' x width x channels each, any heights; they can be had once.

    `opaque` says that the alpha, if there is one, is full everywhere.
    """

    height: int
    width: int
    channels: int
    dtype: np.dtype[Any]
    parts: Iterable[Pixels]
    opaque: bool = False

    @property
    def nbytes(self) -> int:
        return self.height * self.width * self.channels * self.dtype.itemsize

    @property
    def bits(self) -> int:
        return self.dtype.itemsize * 8

    def __iter__(self) -> Iterator[Pixels]:
        return iter(self.parts)

    def changed(self, by: Callable[[Pixels], Pixels], **fields: Any) -> "Rows":
        """Each strip changed by itself; `fields` are what that makes of the description."""
        return replace(self, parts=map(by, self.parts), **fields)

    def without_alpha(self) -> "Rows":
        return self.changed(lambda part: part[..., :3], channels=3)

    def flattened(self, behind: tuple[int, int, int]) -> "Rows":
        """Over an opaque colour, given in 8 bits; a picture without alpha is left as it is."""
        if self.channels != 4:
            return self
        return self.changed(lambda part: flatten_rows(part, behind), channels=3)

    def in_8_bits(self) -> "Rows":
        return self.changed(to_8_bits, dtype=np.dtype(np.uint8))

    def whole(self) -> Pixels:
        """All of it in one array."""
        joined: NDArray[Any] = np.empty((self.height, self.width, self.channels), self.dtype)
        done = 0
        for part in self.parts:
            joined[done : done + len(part)] = part
            done += len(part)
        assert done == self.height
        return joined


def rows_of(pixels: Pixels, opaque: bool = False) -> Rows:
    """A whole picture in strips of about STRIP_BYTES; nothing is copied."""
    height, width, channels = pixels.shape
    step = max(1, STRIP_BYTES // max(1, pixels[:1].nbytes))
    parts = (pixels[top : top + step] for top in range(0, height, step))
    return Rows(height, width, channels, pixels.dtype, parts, opaque)


class Cut:
    """Strips of heights that are asked for, made of strips of any."""

    def __init__(self, parts: Iterable[Pixels]) -> None:
        self._parts = iter(parts)
        self._left: list[Pixels] = []

    def take(self, count: int) -> Pixels:
        """The next `count` rows (1 at least). StopIteration where there are fewer left."""
        taken: list[Pixels] = []
        while count:
            part = self._left.pop() if self._left else next(self._parts)
            if len(part) > count:
                self._left.append(part[count:])
                part = part[:count]
            taken.append(part)
            count -= len(part)
        whole: Pixels = taken[0] if len(taken) == 1 else np.concatenate(taken)
        return whole
