"""How a picture comes to the size that img2img works at, and the result to the size asked for.

crop, pad and stretch give exactly the size asked for; keep keeps the proportions and takes that
size for a box to fit into. Whatever the size, the net gets multiples of what it needs: the few
pixels more (mirrored at the right and at the bottom) are cut off again, so that nothing is
resampled that need not be.

The result is 8 bits, RGB and sRGB, for all of it is the net's; alpha is carried past the net.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from mediakit.media.fills import filled
from mediakit.media.native import Native, Size, change
from mediakit.media.pixels import Picture, Pixels, flat_alpha, highest, to_8_bits
from mediakit.media.resizing import resize
from mediakit.media.rgb import reduced_to, scaled, shown
from mediakit.media.sizes import Wanted, target

How = Literal["crop", "pad", "stretch", "keep"]
Box = tuple[int, int, int, int]  # left, top, right, bottom


@dataclass(frozen=True)
class Fitted:
    """`pixels` are the net's input: H x W x 3, uint8, sRGB, sides multiples of the model's.

    `working` is the part of them (from the top left) that counts, `inner` where the picture lies
    in it (smaller only for pad), `size` that of the result. `about` has the metadata.
    """

    pixels: Pixels
    working: Size
    inner: Box
    size: Size
    about: Picture
    alpha: Pixels | None = None  # height x width x 1 of `size`, uint8
    warnings: tuple[str, ...] = ()

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes + (0 if self.alpha is None else self.alpha.nbytes)

    def back(self, result: Pixels) -> Picture:
        """The picture that the net's result, as large as `pixels`, stands for."""
        assert result.shape == self.pixels.shape and result.dtype == np.uint8
        if self.working == self.size:
            colours = result[: self.size[1], : self.size[0]]
        else:
            colours = scaled(result, self.size, (0, 0, *self.working))
        if self.alpha is not None:
            colours = np.concatenate([colours, self.alpha], axis=2)
        return replace(self.about, pixels=np.ascontiguousarray(colours))


def fit(
    picture: Picture, how: How, native: Native, width: int | None = None, height: int | None = None
) -> Fitted:
    """`width` and `height` are of the result. One of them alone: the other keeps the proportions,
    and `how` changes nothing. None: the picture's own size, or what was needed to make it fit for
    the model (a warning says so). ItemError(too_narrow) for what no model can do.
    """
    own = picture.width, picture.height
    told = bool(width or height)
    size = _size(own, how, Wanted(1.0, width, height))
    working = (native.boundless if told else native).working(size)
    if native.is_small(own):
        warnings = change("a picture", own, working)
    else:
        warnings = change("a result" if told else "a picture", size, working)
    if not told:
        size = working
    if picture.pixels.dtype == np.uint16:
        warnings.append("the picture has 16 bits a channel: the model, and so the result, has 8")
    left, top, right, bottom = _cut(own, working) if how == "crop" else (0, 0, *own)
    part = np.ascontiguousarray(picture.pixels[top:bottom, left:right])
    inner = _inside(own, working) if how == "pad" else (0, 0, *working)
    small = reduced_to(part, (inner[2] - inner[0], inner[3] - inner[1]))
    about = shown(replace(picture, pixels=small))
    pixels = widened(_bordered(about.pixels, inner, working), native.canvas(working))
    alpha = None
    if picture.pixels.shape[2] == 4 and flat_alpha(picture.pixels) != highest(picture.pixels):
        alpha = _alpha(part, inner, working, size)
    about = replace(about, pixels=about.pixels[:1, :1].copy())
    return Fitted(pixels, working, inner, size, about, alpha, tuple(warnings))


def _size(own: Size, how: How, wanted: Wanted) -> Size:
    if how == "keep" and wanted.width and wanted.height:
        scale = min(wanted.width / own[0], wanted.height / own[1])
        return max(1, round(own[0] * scale)), max(1, round(own[1] * scale))
    return target(*own, wanted, 1.0)


def _cut(own: Size, working: Size) -> Box:
    """The largest part of a picture with the proportions of `working`, from its middle."""
    scale = min(own[0] / working[0], own[1] / working[1])
    width, height = (
        min(side, max(1, round(of * scale))) for side, of in zip(own, working, strict=True)
    )
    left, top = (own[0] - width) // 2, (own[1] - height) // 2
    return left, top, left + width, top + height


def _inside(own: Size, working: Size) -> Box:
    """Where in `working` the whole picture has room, in the middle."""
    scale = min(working[0] / own[0], working[1] / own[1])
    width, height = (
        min(of, max(1, round(side * scale))) for side, of in zip(own, working, strict=True)
    )
    left, top = (working[0] - width) // 2, (working[1] - height) // 2
    return left, top, left + width, top + height


def _bordered(pixels: Pixels, inner: Box, working: Size) -> Pixels:
    """The picture at its place, and around it its own colours, blurred."""
    if inner == (0, 0, *working):
        return pixels
    wide = _placed(pixels, inner, working)
    around = np.full(wide.shape[:2], 255, np.uint8)
    around[inner[1] : inner[3], inner[0] : inner[2]] = 0
    return filled(wide, around, "blur")


def _placed(pixels: Pixels, inner: Box, working: Size) -> Pixels:
    left, top, right, bottom = inner
    sides = ((top, working[1] - bottom), (left, working[0] - right), (0, 0))
    made: Pixels = np.pad(pixels, sides, mode="edge")
    return made


def widened(pixels: Pixels, canvas: Size) -> Pixels:
    """H x W or H x W x C mirrored at the right and at the bottom until it fills `canvas`."""
    more = [(0, canvas[1] - pixels.shape[0]), (0, canvas[0] - pixels.shape[1])]
    if more == [(0, 0), (0, 0)]:
        return pixels
    made: Pixels = np.pad(pixels, [*more, (0, 0)][: pixels.ndim], mode="symmetric")
    return made


def _alpha(part: Pixels, inner: Box, working: Size, size: Size) -> Pixels:
    """The alpha of the part that is used, at the size of the result."""
    alpha = to_8_bits(np.ascontiguousarray(part[..., 3:]))
    if inner != (0, 0, *working):
        alpha = resize(alpha, inner[2] - inner[0], inner[3] - inner[1])
        alpha = _placed(alpha, inner, working)
    return resize(alpha, *size)
