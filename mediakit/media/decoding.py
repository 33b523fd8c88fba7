"""Which library decodes a file's pixels, and what each kind of them becomes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from mediakit.media import headers, vips
from mediakit.media.colour import from_cmyk
from mediakit.media.pixels import Pixels, from_image
from mediakit.media.resizing import unpremultiplied

_GREY = ("1", "L")
_ALPHA = ("LA", "PA", "RGBA", "RGBa")
_COLOUR = ("P", "RGB", "RGBX", "YCbCr")
_GREYS = ("b-w", "grey16")
_COLOURS = ("srgb", "rgb16", "rgb")
# TIFF compressions that libvips's binary wheel lacks: WebP, LERC, Zstandard, LZMA
_PILLOW_ONLY = (34887, 34925, 50000, 50001)
_COMPRESSION, _EXTRA_SAMPLES = 259, 338

Decoded = tuple[Pixels, bytes | None]


class Unsupported(Exception):
    """Pixels of a kind that can't be kept; the message is its name."""


def decode(image: Image.Image, data: bytes, profile: bytes | None, notes: list[str]) -> Decoded:
    """Pixels as stored, not turned, and the profile that they have then.

    By libvips: TIFF, and PNG and AVIF of more than 8 bits; by Pillow: all else, and what libvips
    does not know. `notes` gets what was changed. Raises Unsupported, and anything over damage.
    """
    if image.format == "TIFF":
        _check_tiff(image)
        tags = image.tag_v2  # type: ignore[attr-defined]
        compression = tags.get(_COMPRESSION)
        # libvips gives YCbCr that is not JPEG as it is stored, and 8-bit Lab not at all
        odd = image.mode == "LAB" or (tags.get(262) == 6 and compression != 7)
        if not odd and compression not in _PILLOW_ONLY:
            associated = 1 in tags.get(_EXTRA_SAMPLES, ())
            return _by_vips(data, profile, notes, associated)
        if max(tags.get(258, (8,))) > 8:
            raise Unsupported("16-bit, unusually compressed")
    deep = headers.png_depth(data) > 8 or (image.format == "AVIF" and headers.avif_depth(data) > 8)
    if deep:
        return _by_vips(data, profile, notes)
    return _by_pillow(image, profile, notes)


def _check_tiff(image: Image.Image) -> None:
    tags = image.tag_v2  # type: ignore[attr-defined]
    bits = [int(b) for b in tags.get(258, (1,))]
    if any(int(f) == 3 for f in tags.get(339, ())):
        raise Unsupported("floating point")
    if any(int(f) not in (1, 4) for f in tags.get(339, ())):
        raise Unsupported("signed")
    if max(bits) > 16:
        raise Unsupported(f"{max(bits)}-bit")


def _by_vips(
    data: bytes, profile: bytes | None, notes: list[str], associated: bool = False
) -> Decoded:
    pixels, space, bits = vips.decode(data)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise Unsupported(str(pixels.dtype))
    if pixels.dtype == np.uint16 and bits in (10, 12) and data[4:8] == b"ftyp":
        pixels = _stretched(pixels, bits)
    channels = pixels.shape[2]
    if space == "cmyk" and channels == 4:
        return from_cmyk(pixels, profile, notes)
    if (space in _GREYS and channels in (1, 2)) or (space in _COLOURS and channels in (3, 4)):
        if channels == 2:
            pixels = np.concatenate([np.repeat(pixels[..., :1], 3, 2), pixels[..., 1:]], 2)
        if associated and pixels.shape[2] == 4:
            wide = pixels.astype(np.uint16) * (257 if pixels.dtype == np.uint8 else 1)
            pixels = unpremultiplied(wide.astype(np.uint16), pixels.dtype)
        return pixels, profile
    raise Unsupported(f"{channels}-channel {space}")


def _stretched(pixels: NDArray[Any], bits: int) -> NDArray[np.uint16]:
    """AVIF comes shifted up, where white is 65472 or 65520; it should be 65535."""
    most = 2**bits - 1
    level = np.round(np.arange(2**bits) * (65535 / most)).astype(np.uint16)
    stretched: NDArray[np.uint16] = level[pixels >> (16 - bits)]
    return stretched


def _by_pillow(image: Image.Image, profile: bytes | None, notes: list[str]) -> Decoded:
    image.load()
    mode = image.mode
    if mode == "CMYK":
        return from_cmyk(np.asarray(image), profile, notes)
    if mode == "LAB":
        srgb = ImageCms.createProfile("sRGB")
        turned = ImageCms.profileToProfile(
            image, ImageCms.createProfile("LAB"), srgb, outputMode="RGB"
        )
        assert turned is not None
        return from_image(turned), ImageCms.ImageCmsProfile(srgb).tobytes()
    if mode in _ALPHA or image.has_transparency_data:
        mode = "RGBA"
    elif mode in _GREY:
        mode = "L"
    elif mode in _COLOUR:
        mode = "RGB"
    else:
        raise Unsupported(mode)
    return from_image(image if image.mode == mode else image.convert(mode)), profile
