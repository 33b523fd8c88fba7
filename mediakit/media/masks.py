"""Which pixels are repainted, and by how much.

A weight is 255 where the pixel is repainted, 0 where it stays to the bit. Feathering goes
outwards: all of the mask is repainted, and the fade lies around it, for a fade that began inside
would let shine through at its edge what was to go (a centred blur, as A1111 has it, leaves half
of it there).
"""

import numpy as np
from PIL import Image, ImageFilter

from mediakit.errors import ItemError, show
from mediakit.media.fills import Plane
from mediakit.media.formats import LOSSY
from mediakit.media.pixels import Picture, Pixels, flatten, highest, to_8_bits, to_grey
from mediakit.media.reading import read_picture

Box = tuple[int, int, int, int]  # left, top, right, bottom

_NOISE = 16  # levels from black or white that lossy formats leave around edges
_INVERT = "white is repainted: --invert-mask turns it round"


def read_mask(data: bytes, name: str, max_pixels: int) -> Plane:
    """The mask that a picture file of any kind holds; ItemError: those of `read_picture`.

    Bright is repainted, transparent is not. Of lossy formats, nearly black and nearly white
    count as black and white.
    """
    picture = read_picture(data, name, max_pixels)
    pixels = to_8_bits(flatten(picture, "black").pixels)
    plane: Plane = (to_grey(pixels) if pixels.shape[2] == 3 else pixels)[..., 0]
    if picture.format in LOSSY:
        plane = plane.copy()
        plane[plane <= _NOISE] = 0
        plane[plane >= 255 - _NOISE] = 255
    return plane


def alpha_mask(picture: Picture, name: str) -> Plane:
    """What the picture's own transparency leaves to repaint, half transparent by half.

    ItemError(empty_mask) for a picture without transparent pixels.
    """
    pixels = picture.pixels
    if pixels.shape[2] != 4 or pixels[..., 3].min() == highest(pixels):
        raise ItemError(
            "empty_mask", f"{show(name)} has no transparent pixels to repaint; give it a --mask"
        )
    if pixels.dtype == np.uint8:
        return np.subtract(255, pixels[..., 3], dtype=np.uint8)
    missing = highest(pixels) - pixels[..., 3].astype(np.uint32)
    mask: Plane = (-(-missing.astype(np.int64) // 257)).astype(np.uint8)  # a trace counts as 1
    return mask


def sized(mask: Plane, picture: Picture, mask_name: str, name: str) -> tuple[Plane, list[str]]:
    """The mask at the picture's size, and what to say about it.

    ItemError(mask_mismatch) unless the proportions are the same to within a pixel of the mask.
    """
    have, want = (mask.shape[1], mask.shape[0]), (picture.width, picture.height)
    if have == want:
        return mask, []
    sizes = f"mask {show(mask_name)} has {have[0]}x{have[1]} pixels, {show(name)} {want[0]}x"
    sizes += str(want[1])
    if not _same_proportions(have, want):
        cure = "make it of the same size"
        if _same_proportions(have[::-1], want):
            cure = "it lies on its side: turn it, or make it of the picture as it is shown"
        raise ItemError("mask_mismatch", f"{sizes}; {cure}")
    small = have[0] > want[0]
    filter = Image.Resampling.BOX if small else Image.Resampling.BILINEAR
    return np.asarray(Image.fromarray(mask).resize(want, filter)), [f"{sizes}: the mask was scaled"]


def _same_proportions(have: tuple[int, int], want: tuple[int, int]) -> bool:
    return (
        abs(want[1] * have[0] / want[0] - have[1]) <= 1
        or abs(want[0] * have[1] / want[1] - have[0]) <= 1
    )


def weights_of(
    mask: Plane, name: str, grow: int = 0, feather: int = 0, invert: bool = False
) -> Plane:
    """The weight of each pixel: the mask inverted, grown (shrunk where negative), feathered.

    Both in pixels; beyond `feather` pixels from the grown mask the weight is 0.
    ItemError(empty_mask), naming the mask `name`, where nothing is left to repaint.
    """
    if invert:
        mask = 255 - mask
    box = bounds(mask)
    if box is None:
        said = "all white, and inverted" if invert else "all black"
        raise ItemError("empty_mask", f"mask {show(name)} is {said}: nothing to repaint; {_INVERT}")
    reach = max(grow, 0) + feather + 2
    left, top, right, bottom = box
    part = np.s_[max(0, top - reach) : bottom + reach, max(0, left - reach) : right + reach]
    weights: Plane = np.zeros_like(mask)
    weights[part] = feathered(grown(mask[part], grow), feather)
    if bounds(weights) is None:
        raise ItemError(
            "empty_mask", f"mask {show(name)} shrunk by {-grow} pixels is empty; shrink it less"
        )
    return weights


def bounds(plane: Plane) -> Box | None:
    """The smallest box around all that is not 0; None if there is nothing."""
    rows = np.flatnonzero(plane.any(axis=1))
    if not len(rows):
        return None
    columns = np.flatnonzero(plane[rows[0] : rows[-1] + 1].any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def grown(mask: Plane, by: int) -> Plane:
    """Each pixel the brightest within an octagon of that radius (in the corners 8 % more);
    negative: the darkest, where the picture's edge does not count as dark.

    The octagon is a square and a diamond one after the other, each in a few steps that double.
    """
    if by < 0:
        return 255 - grown(255 - mask, -by)
    if by == 0:
        return mask
    square = round(by * (2**0.5 - 1))  # the half side that makes it regular
    steps = by - square - 1  # of the diamond; its first is the cross
    plane = np.pad(mask, by)
    for down, right in ((0, 1), (1, 0)):
        plane = _brightest(plane, down, right, 2 * square)
    plane = _brightest(_brightest(plane, 1, 1, steps), 1, -1, steps)
    tall = np.maximum(np.maximum(plane[:-2, 1:-1], plane[2:, 1:-1]), plane[1:-1, 1:-1])
    spread: Plane = np.maximum(np.maximum(plane[1:-1, :-2], plane[1:-1, 2:]), tall)
    return spread


def _brightest(plane: Plane, down: int, right: int, steps: int) -> Plane:
    """The brightest of each pixel and the `steps` after it in a direction; smaller by so many."""
    reached = 0
    while reached < steps:
        step = min(reached + 1, steps - reached)
        low, high = _both(plane, down * step, right * step)
        plane = np.maximum(low, high)
        reached += step
    return plane


def _both(plane: Plane, down: int, right: int) -> tuple[Plane, Plane]:
    """The plane and itself moved, cut to what both have."""
    height, width = plane.shape[0] - down, plane.shape[1] - abs(right)
    left = max(0, -right)
    return (
        plane[:height, left : left + width],
        plane[down:, left + right : left + right + width],
    )


def feathered(mask: Plane, by: int) -> Plane:
    """The mask and around it a fade of `by` pixels: an S curve from 255 to 0.

    Grown by half of it, then blurred by three boxes that together reach the other half. A single
    pixel weighs half.
    """
    if by <= 0:
        return mask
    wide = grown(mask, max(1, by // 2))
    if by == 1:
        return np.maximum(mask, wide // 2)
    soft: Plane = np.asarray(Image.fromarray(wide).filter(ImageFilter.GaussianBlur(by / 6)))
    return np.maximum(mask, soft)


def net_mask(weights: Plane, size: tuple[int, int]) -> Plane:
    """What a net of this size (width, height) is told to repaint: 255 or 0.

    All that weighs at least half of the most there is: the outer half of a fade shows the old
    picture beside the old picture. A pixel of the net's is repainted if any under it is, so that
    thin lines are not lost.
    """
    marked: Pixels = (weights >= max(1, (int(weights.max()) + 1) // 2)).astype(np.uint8) * 255
    for axis, side in enumerate(size[::-1]):
        have = marked.shape[axis]
        if have != side:
            starts = np.arange(side) * have // side
            marked = np.maximum.reduceat(marked, starts, axis=axis)
    return marked
