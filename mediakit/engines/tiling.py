"""How a picture is cut into tiles for a net, and how the results are joined without seams."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[Any]  # uint8 or uint16


@dataclass(frozen=True)
class Axis:
    """The tiles along one side: `starts` and one `length` for all, in input pixels."""

    starts: tuple[int, ...]
    length: int

    @property
    def size(self) -> int:
        return self.starts[-1] + self.length

    def seam(self, index: int) -> tuple[int, int]:
        """Where tile `index` (from 1) takes over from the one before: start and end of the ramp."""
        start, end = self.starts[index], self.starts[index - 1] + self.length
        margin = (end - start) // 4
        return start + margin, end - margin


def axis(size: int, tile: int, overlap: int, multiple: int = 1) -> Axis:
    """The fewest even tiles of at most `tile` pixels, a multiple of `multiple`, over `size`.

    Neighbours share at least `overlap` pixels (half a tile at most): the outer quarter on each
    side, where the net saw the tile's border instead of the picture, is thrown away, and the
    middle half is blended. A tile longer than the picture, where the multiple
    demands it, is for the net to pad.
    """
    tile = max(tile // multiple * multiple, multiple)
    if size <= tile:
        return Axis((0,), size)
    overlap = min(overlap, tile // 2)
    count = math.ceil((size - overlap) / (tile - overlap))
    length = math.ceil((size + (count - 1) * overlap) / count / multiple) * multiple
    starts = tuple(round(i * (size - length) / (count - 1)) for i in range(count))
    return Axis(starts, length)


def tiles(pixels: Pixels, rows: Axis, columns: Axis) -> Iterator[Pixels]:
    """The tiles of a picture, all of one shape, in the order that `run_strips` wants them made."""
    for top in rows.starts:
        for left in columns.starts:
            yield pixels[top : top + rows.length, left : left + columns.length]


def run_strips(rows: Axis, columns: Axis, scale: int, made: Iterator[Pixels]) -> Iterator[Pixels]:
    """What was made of each of `tiles` (H x W x 3 -> scale*H x scale*W x 3), blended linearly.

    The result comes from top to bottom in strips of full width, as soon as each is final; a tile
    is asked for when it is needed. A row of tiles is joined across first and then to the row
    above, which makes the weights a product of two ramps: no corner has a step.
    """
    above: Pixels | None = None  # the rows that the ramp to the next row of tiles begins with
    for i, top in enumerate(rows.starts):
        strip = _row(columns, scale, made)
        here = top * scale  # the output row that `strip` begins at
        begin = 0
        if i and above is not None:
            low, high = (edge * scale for edge in rows.seam(i))
            _ramp(above, strip[low - here : high - here], across=False)
            yield above
            begin = high - here
        if i + 1 == len(rows.starts):
            yield strip[begin:]
            return
        low, high = (edge * scale for edge in rows.seam(i + 1))
        yield strip[begin : low - here]
        above = strip[low - here : high - here].copy()


def run_tiled(rows: Axis, columns: Axis, scale: int, made: Iterator[Pixels]) -> Pixels:
    """All that `run_strips` makes, as one array."""
    if len(rows.starts) == len(columns.starts) == 1:
        return next(made)
    joined: Pixels | None = None
    done = 0
    for strip in run_strips(rows, columns, scale, made):
        if joined is None:
            joined = np.empty((rows.size * scale, columns.size * scale, 3), strip.dtype)
        joined[done : done + len(strip)] = strip
        done += len(strip)
    assert joined is not None
    return joined


def _row(columns: Axis, scale: int, made: Iterator[Pixels]) -> Pixels:
    """One row of tiles, joined across."""
    first = next(made)
    if len(columns.starts) == 1:
        return first
    strip: NDArray[Any] = np.empty((len(first), columns.size * scale, 3), first.dtype)
    strip[:, : first.shape[1]] = first
    for j, left in enumerate(columns.starts[1:], 1):
        tile = next(made)
        start = left * scale
        low, high = (edge * scale for edge in columns.seam(j))
        _ramp(strip[:, low:high], tile[:, low - start : high - start], across=True)
        strip[:, high : start + tile.shape[1]] = tile[:, high - start :]
    return strip


def _ramp(old: Pixels, new: Pixels, across: bool) -> None:
    """Turn `old` into `new` gradually, in place, along its columns or rows."""
    length = old.shape[1 if across else 0]
    weight = (np.arange(length, dtype=np.float32) + 0.5) / max(1, length)
    weight = weight[:, np.newaxis] if across else weight[:, np.newaxis, np.newaxis]
    old[...] = np.rint(old + weight * (new.astype(np.float32) - old))
