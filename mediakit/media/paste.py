"""Which part of a picture a net repaints, at what size, and how the result gets back into it.

What weighs nothing stays to the bit, in 8 and 16 bits, with alpha and in any profile: only what
is repainted comes out of the net's 8 bits.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from mediakit.errors import ItemError
from mediakit.media.fills import Fill, Plane, filled
from mediakit.media.fit import widened
from mediakit.media.masks import Box, bounds, net_mask
from mediakit.media.native import Native, Size, change
from mediakit.media.pixels import Picture, Pixels, highest
from mediakit.media.rgb import Home, home_of, mixed, reduced_to, scaled, shown

PADDING = 32  # pixels of the picture around the mask that A1111 shows the net, too
_ROWS = 128  # blended at once, so that the wider intermediate type stays small


@dataclass(frozen=True)
class Repaint:
    """`weights`: H x W of the picture, uint8 (see masks). `padding`: pixels around the mask that
    the net sees; None: all of the picture. `fill`: what it finds under the mask; `seed` is for
    noise."""

    weights: Plane
    padding: int | None = None
    fill: Fill = "original"
    seed: int = 0


@dataclass(frozen=True)
class Paste:
    """`box` of `picture` is what the net was shown at the size `working`, mirrored at the right
    and at the bottom to `canvas`. `opaque`: no transparency is left (or there was none)."""

    picture: Picture
    weights: Plane
    box: Box
    working: Size
    canvas: Size
    home: Home
    opaque: bool

    @property
    def nbytes(self) -> int:
        return self.picture.nbytes + self.weights.nbytes

    def apply(self, result: Pixels) -> Picture:
        """The whole picture with the net's result (canvas, H x W x 3, uint8, sRGB) in its place.

        May be called again with another result; the picture given is not changed.
        """
        assert result.shape == (*self.canvas[::-1], 3) and result.dtype == np.uint8
        made: Pixels = np.array(self.picture.pixels)
        painted = bounds(self.weights)
        if painted is None:
            return replace(self.picture, pixels=made)
        left, top, right, bottom = painted
        new = self.home.bring(self._scaled(result, painted))
        for row in range(top, bottom, _ROWS):
            part = np.s_[row : min(row + _ROWS, bottom), left:right]
            rows = new[row - top : row - top + _ROWS]
            if self.opaque and made.shape[2] == 4:
                made[*part, 3] = highest(made)
                made[*part, slice(3)] = mixed(made[part][..., :3], rows, self.weights[part])
            else:
                made[part] = mixed(made[part], rows, self.weights[part])
        return replace(self.picture, pixels=made)

    def _scaled(self, result: Pixels, painted: Box) -> Pixels:
        """The part of the result that belongs to the box `painted` of the picture."""
        size = painted[2] - painted[0], painted[3] - painted[1]
        across = self.working[0] / (self.box[2] - self.box[0])
        down = self.working[1] / (self.box[3] - self.box[1])
        left, right = ((x - self.box[0]) * across for x in (painted[0], painted[2]))
        top, bottom = ((y - self.box[1]) * down for y in (painted[1], painted[3]))
        if across == down == 1:
            return result[int(top) : int(bottom), int(left) : int(right)]
        return scaled(result, size, (left, top, right, bottom))


@dataclass(frozen=True)
class Prepared:
    """`pixels` (H x W x 3, uint8, sRGB) and `mask` (H x W, uint8, 255: repaint, else 0) are what
    the net gets, sides multiples of the model's; `paste.apply` takes its result."""

    pixels: Pixels
    mask: Plane
    paste: Paste
    warnings: list[str] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes + self.mask.nbytes + self.paste.nbytes


def prepare(picture: Picture, repaint: Repaint, native: Native) -> Prepared:
    """What the net is shown of the picture, and where. The result has the picture's size, kind
    of pixels and profile; grey stays grey; what is repainted is opaque.

    ItemError: empty_mask where all weights are 0, too_narrow (see Native).
    """
    weights = repaint.weights
    assert weights.shape == picture.pixels.shape[:2]
    painted = bounds(weights)
    if painted is None:
        raise ItemError("empty_mask", "nothing to repaint: the mask is all black")
    box: Box = (0, 0, picture.width, picture.height)
    if repaint.padding is not None:
        box = around(painted, repaint.padding, (picture.width, picture.height))
    size = box[2] - box[0], box[3] - box[1]
    working = native.working(size)
    home = home_of(picture)
    part = np.s_[box[1] : box[3], box[0] : box[2]]
    small = reduced_to(picture.pixels[part], working)
    seen = shown(replace(picture, pixels=small, icc=None if home.warning else picture.icc))
    mask = net_mask(weights[part], working)
    canvas = native.canvas(working)
    whole = repaint.padding is None
    warnings = change("a picture" if whole else "a part", size, working)
    if whole and max(working) < max(size):
        warnings = [f"{text}; --only-masked repaints at full resolution" for text in warnings]
    if home.warning:
        warnings.append(home.warning)
    return Prepared(
        pixels=widened(filled(seen.pixels, mask, repaint.fill, repaint.seed), canvas),
        mask=widened(mask, canvas),
        paste=Paste(picture, weights, box, working, canvas, home, _covered(picture, weights)),
        warnings=warnings,
    )


def around(painted: Box, padding: int, size: Size) -> Box:
    """The box to show the net: padded, then made as square as the picture's borders allow.

    At the border it is moved, not cut, so that a mask there has as much around it.
    """
    sides = []
    spans = [(max(0, painted[i] - padding), min(size[i], painted[i + 2] + padding)) for i in (0, 1)]
    longest = max(high - low for low, high in spans)
    for (low, high), most in zip(spans, size, strict=True):
        side = min(longest, most)
        begin = min(max(0, low - (side - (high - low)) // 2), most - side)
        sides.append((begin, begin + side))
    (left, right), (top, bottom) = sides
    return left, top, right, bottom


def _covered(picture: Picture, weights: Plane) -> bool:
    """Whether each pixel is repainted by at least as much as it is transparent: the old picture
    then lies over the new, and the result is opaque."""
    if picture.pixels.shape[2] != 4:
        return True
    most = highest(picture.pixels)
    for top in range(0, picture.height, _ROWS):
        missing = most - picture.pixels[top : top + _ROWS, :, 3].astype(np.uint32)
        if (weights[top : top + _ROWS].astype(np.uint32) * (most // 255) < missing).any():
            return False
    return True
