"""What a net finds, before it begins, where it is to repaint."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mediakit.media.pixels import Pixels

Fill = Literal["original", "blur", "noise"]
Plane = NDArray[np.uint8]  # H x W
_Sums = NDArray[np.float32]  # H x W x 4: colour times weight, and weight


def filled(pixels: Pixels, mask: Plane, fill: Fill, seed: int = 0) -> Pixels:
    """H x W x 3, uint8, with what `mask` marks (not 0) filled; the rest is left as it is.

    original: nothing changes. blur: the colours around, flowing into each other; the farther in,
    the more even. noise: pixels drawn at random from the rest of the picture, so that its
    colours are there and nothing else. Where all is masked, there is nothing to fill it from.
    """
    marked = mask != 0
    if fill == "original" or not marked.any() or marked.all():
        return pixels
    made: Pixels = pixels.copy()
    if fill == "blur":
        made[marked] = _flowing(pixels, ~marked)[marked]
    else:
        kept = pixels[~marked]
        drawn = np.random.default_rng(seed).integers(0, len(kept), np.count_nonzero(marked))
        made[marked] = kept[drawn]
    return made


def _flowing(pixels: Pixels, known: NDArray[np.bool_]) -> Pixels:
    """Averages of what is known over ever larger blocks, each smoothly enlarged to fill what the
    smaller ones leave open (pull-push: Gortler and others, The Lumigraph, 1996)."""
    weight: NDArray[np.float32] = known.astype(np.float32)[..., np.newaxis]
    levels: list[_Sums] = [np.concatenate([pixels * weight, weight], axis=2, dtype=np.float32)]
    while max(levels[-1].shape[:2]) > 1:
        levels.append(_halved(levels[-1]))
    colour = _average(levels[-1])
    for sums in reversed(levels[:-1]):
        colour = _enlarged(colour, sums.shape[:2])
        colour += (_average(sums) - colour) * sums[..., 3:].clip(0, 1)
    made: Pixels = np.clip(np.rint(colour), 0, 255).astype(np.uint8)
    return made


def _average(sums: _Sums) -> NDArray[np.float32]:
    made = sums[..., :3].copy()
    made /= np.maximum(sums[..., 3:], 1e-6)
    return made


def _halved(sums: _Sums) -> _Sums:
    """Sums over 2 x 2 pixels; none weighs more than 1, so that a few are as good as many."""
    height, width = sums.shape[:2]
    even = np.pad(sums, ((0, height % 2), (0, width % 2), (0, 0)))
    tall = even[::2] + even[1::2]
    made: _Sums = tall[:, ::2] + tall[:, 1::2]
    made /= np.maximum(made[..., 3:], 1)
    return made


def _enlarged(colour: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    height, width = size
    box = (0, 0, width / 2, height / 2)  # of odd sides, half of the last pixel is beyond the edge
    planes: list[Any] = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(colour[..., channel])).resize(
                (width, height), Image.Resampling.BILINEAR, box
            )
        )
        for channel in range(3)
    ]
    return np.stack(planes, axis=2)
