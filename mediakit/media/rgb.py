"""What a net that knows only 8-bit sRGB is shown of a picture, and how its colours come back."""

import io
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageCms

from mediakit.media.colour import in_srgb
from mediakit.media.pixels import (
    Picture,
    Pixels,
    fill_transparent,
    flat_alpha,
    from_image,
    highest,
    to_8_bits,
    to_grey,
    to_image,
)

_PERCEPTUAL = ImageCms.Intent.PERCEPTUAL
_BLACK = ImageCms.Flags.BLACKPOINTCOMPENSATION
_ONE_WAY = "the colour profile can't be converted back to: the model saw the colours without it"


def reduced_to(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """Lanczos in 8 bits (unless the size stays) by Pillow alone: a net needs no more, and of 24
    megapixels with alpha it takes 0.3 s where `resize` takes 3."""
    if pixels.shape[1::-1] == size:
        return pixels
    if pixels.shape[2] == 4 and flat_alpha(pixels) == highest(pixels):
        pixels = pixels[..., :3]
    image = to_image(to_8_bits(pixels))
    return from_image(image.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0))


def shown(picture: Picture) -> Picture:
    """The picture as H x W x 3 of 8 bits, converted to sRGB, with the profile that it then has.

    Alpha is left out; what is fully transparent gets the colours of what is visible near it.
    """
    picture = in_srgb(picture)
    pixels = picture.pixels
    if pixels.shape[2] == 4:
        pixels = fill_transparent(pixels) if flat_alpha(pixels) is None else pixels[..., :3]
    pixels = to_8_bits(pixels)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    return replace(picture, pixels=np.ascontiguousarray(pixels))


@dataclass(frozen=True)
class Home:
    """The kind of pixels that a picture has, to which a net's colours are brought back.

    `profile` None: sRGB, or taken for it. `warning` is set where the picture's own profile leads
    one way only (a scanner's, say); the net must then be shown the colours without it.
    """

    channels: int  # 1 or 3
    dtype: np.dtype[np.uint8] | np.dtype[np.uint16]
    profile: bytes | None = None
    warning: str | None = None

    def bring(self, colours: Pixels) -> Pixels:
        """H x W x 3, uint8, sRGB, to H x W x `channels` of `dtype`; 16 bits are 257 times 8."""
        image = to_image(colours)
        mode = "L" if self.channels == 1 else "RGB"
        if self.profile:
            made = ImageCms.applyTransform(image, _transform(self.profile, mode))
            assert made is not None
            pixels = from_image(made)
        else:
            pixels = to_grey(colours) if mode == "L" else colours
        if self.dtype == np.uint8:
            return pixels
        wide: Pixels = pixels.astype(np.uint16) * 257
        return wide


def home_of(picture: Picture) -> Home:
    """Grey stays grey, 16 bits stay 16, the profile stays."""
    channels = 1 if picture.pixels.shape[2] == 1 else 3
    probe = replace(picture, pixels=picture.pixels[:1, :1], warnings=[])
    seen = in_srgb(probe)
    if picture.icc is None or seen is probe or seen.warnings:  # no profile, sRGB's, a damaged one
        return Home(channels, picture.pixels.dtype)
    try:
        _transform(picture.icc, "L" if channels == 1 else "RGB")
    except ImageCms.PyCMSError:
        return Home(channels, picture.pixels.dtype, warning=_ONE_WAY)
    return Home(channels, picture.pixels.dtype, picture.icc)


def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform:
    """From sRGB to a profile; PyCMSError where it has no such way."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    srgb = ImageCms.createProfile("sRGB")
    return ImageCms.buildTransform(srgb, opened, "RGB", mode, _PERCEPTUAL, _BLACK)


def mixed(old: Pixels, new: Pixels, weights: Pixels) -> Pixels:
    """`old` (H x W x 1, 3 or 4) with as much of `new` (H x W x 1 or 3) as `weights` say.

    weights: H x W, uint8; 0 leaves the pixel as it is, to the bit, 255 replaces it. New pixels
    are opaque, so that transparent ones become visible by their weight.
    """
    made: Pixels = old.copy()
    colours, whole = new.shape[2], (weights == 255)[..., np.newaxis]
    np.copyto(made[..., :colours], new, where=whole)
    np.copyto(made[..., colours:], highest(old), where=whole)
    some = (weights > 0) & (weights < 255)
    made[some] = _blended(old[some], new[some], weights[some])
    return made


def _blended(old: Pixels, new: Pixels, weights: Pixels) -> Pixels:
    """The same for N x C pixels and N weights, none 0."""
    share = weights[:, np.newaxis].astype(np.uint64)
    rest = 255 - share
    if old.shape[1] != 4:
        made: Pixels = ((old * rest + new * share + 127) // 255).astype(old.dtype)
        return made
    behind, above = old[:, 3:] * rest, highest(old) * share
    total = behind + above  # 255 times the new alpha
    colour = (old[:, :3] * behind + new * above + total // 2) // total
    return np.concatenate([colour, (total + 127) // 255], axis=1).astype(old.dtype)


def scaled(colours: Pixels, size: tuple[int, int], box: tuple[float, ...]) -> Pixels:
    """Lanczos of H x W x 3, uint8, cut to a box (left, top, right, bottom) of its own pixels."""
    left, top, right, bottom = box
    image = to_image(colours)
    return from_image(image.resize(size, Image.Resampling.LANCZOS, (left, top, right, bottom)))
