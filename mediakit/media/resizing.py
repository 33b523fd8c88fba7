"""Lanczos resizing of 8- and 16-bit pixels, the same to the bit whole or in strips.

All work is done in blocks of output rows at fixed places, each from the input rows that it
needs and no others: how the input comes can't change the result.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mediakit.media.pixels import Pixels, highest
from mediakit.media.rows import Rows, rows_of

_BLOCK = 256  # output rows at most
_BLOCK_PIXELS = 2 << 20  # and pixels
_LOBES = 3  # input pixels that Lanczos looks at to each side, times the reduction
_LANCZOS = Image.Resampling.LANCZOS

Box = tuple[float, float, float, float]  # left, top, right, bottom in input pixels
Make = Callable[[Pixels, tuple[int, int], Box], Pixels]


def resize(pixels: Pixels, width: int, height: int) -> Pixels:
    """Lanczos; of RGBA premultiplied, so that what lies under transparency does not bleed."""
    if (width, height) == (pixels.shape[1], pixels.shape[0]):
        return pixels
    return resize_rows(rows_of(pixels), width, height).whole()


def resize_rows(rows: Rows, width: int, height: int) -> Rows:
    """The same for a picture that comes in strips; memory holds a few strips."""
    if (width, height) == (rows.width, rows.height):
        return rows
    return replace(rows, parts=blocks(rows, width, height, _resized), width=width, height=height)


def blocks(rows: Rows, width: int, height: int, make: Make) -> Iterator[Pixels]:
    """Each block of output rows as `make` makes it of the input rows around it."""
    ratio = rows.height / height
    reach = math.ceil(_LOBES * max(1.0, ratio)) + 1
    window = _Window(rows)
    step = max(8, min(_BLOCK, _BLOCK_PIXELS // width))
    for top in range(0, height, step):
        bottom = min(height, top + step)
        first = max(0, math.floor(top * ratio) - reach)
        last = min(rows.height, math.ceil(bottom * ratio) + reach)
        part = window.rows(first, last)
        low, high = max(0.0, top * ratio - first), min(bottom * ratio - first, float(len(part)))
        yield make(part, (width, bottom - top), (0.0, low, float(rows.width), high))


def _resized(pixels: Pixels, size: tuple[int, int], box: Box) -> Pixels:
    """Each channel by itself: Pillow knows 16 bits only as one channel."""
    alpha = pixels.shape[2] == 4
    source = premultiplied(pixels) if alpha else pixels
    made: NDArray[Any] = np.empty((size[1], size[0], pixels.shape[2]), source.dtype)
    for channel in range(pixels.shape[2]):
        image = Image.fromarray(np.ascontiguousarray(source[..., channel]))
        made[..., channel] = np.asarray(image.resize(size, _LANCZOS, box))
    return unpremultiplied(made, pixels.dtype) if alpha else made


def premultiplied(pixels: Pixels) -> NDArray[np.uint16]:
    """RGBA of 16 bits, whatever it was, so that dark alpha costs no colour."""
    wide = pixels.astype(np.float32) * (65535 / highest(pixels))
    wide[..., :3] *= wide[..., 3:] / 65535
    made: NDArray[np.uint16] = np.rint(wide).astype(np.uint16)
    return made


def unpremultiplied(pixels: NDArray[np.uint16], dtype: np.dtype[Any]) -> Pixels:
    """Back to RGBA of `dtype`; no colour is brighter than white where Lanczos overshot."""
    wide = pixels.astype(np.float32)
    alpha = np.maximum(wide[..., 3:], 1)
    wide[..., :3] = np.minimum(wide[..., :3] / alpha * 65535, 65535)
    if dtype == np.uint8:
        wide /= 257
    made: Pixels = np.rint(wide).astype(dtype)
    return made


class _Window:
    """The last input rows, kept as long as a block may ask for them."""

    def __init__(self, rows: Iterable[Pixels]) -> None:
        self._parts = iter(rows)
        self._held: list[Pixels] = []
        self._first = 0  # the row that the first part held begins at
        self._end = 0

    def rows(self, first: int, last: int) -> Pixels:
        """Rows first ... last - 1; `first` never goes back."""
        while self._held and self._first + len(self._held[0]) <= first:
            self._first += len(self._held.pop(0))
        while self._end < last:
            part = next(self._parts)
            self._end += len(part)
            if self._end <= first:
                self._first = self._end
            else:
                self._held.append(part)
        low, high = first - self._first, last - self._first
        if len(self._held) == 1:
            return self._held[0][low:high]
        joined: Pixels = np.concatenate(self._held)[low:high]
        return joined
