"""How a picture is cut into tiles for a net, and how the results are joined without seams."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Axis:
    """The tiles along one side: `starts` and one `length` for all, in input pixels."""

    starts: tuple[int, ...]
    length: int

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


def run_tiled(
    pixels: Pixels,
    rows: Axis,
    columns: Axis,
    scale: int,
    apply: Callable[[Pixels], Pixels],
) -> Pixels:
    """`apply` (H x W x 3 -> scale*H x scale*W x 3, uint8) over all tiles, blended linearly.

    A row of tiles is joined across first and then to the rows above, which makes the weights a
    product of two ramps: no corner has a step.
    """
    height, width = pixels.shape[:2]
    if len(rows.starts) == len(columns.starts) == 1:
        return apply(pixels)
    joined = np.empty((height * scale, width * scale, 3), np.uint8)
    strip = np.empty((rows.length * scale, width * scale, 3), np.uint8)
    for i, top in enumerate(rows.starts):
        for j, left in enumerate(columns.starts):
            tile = apply(pixels[top : top + rows.length, left : left + columns.length])
            _join(strip, tile, columns, j, scale, across=True)
        _join(joined, strip, rows, i, scale, across=False)
    return joined


def _join(whole: Pixels, part: Pixels, along: Axis, index: int, scale: int, across: bool) -> None:
    """Put `part` into `whole` at its place along one axis, ramping over what is there."""
    if across:
        whole, part = whole.swapaxes(0, 1), part.swapaxes(0, 1)
    start = along.starts[index] * scale
    end = start + part.shape[0]
    if index == 0:
        whole[start:end] = part
        return
    low, high = (edge * scale for edge in along.seam(index))
    weight = (np.arange(high - low, dtype=np.float32) + 0.5) / max(1, high - low)
    weight = weight[:, np.newaxis, np.newaxis]
    old, new = whole[low:high], part[low - start : high - start]
    whole[low:high] = np.rint(old + weight * (new.astype(np.float32) - old))
    whole[high:end] = part[high - start :]
