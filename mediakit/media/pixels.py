"""What a picture is in memory, and the operations on its pixels that need no model."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from mediakit.errors import UserError, show

# uint8 or uint16; numpy's stubs can't say "the same of the two as that one"
Pixels = NDArray[Any]
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_ROWS = 256  # rows blended at once, so that the wider intermediate type stays small


@dataclass(frozen=True)
class Picture:
    """Upright pixels and the metadata that travels with them.

    pixels: H x W x C, uint8 or uint16, C = 1 grey, 3 RGB, 4 RGBA (not premultiplied); sRGB, or
    what `icc` says. `exif` is a TIFF block without the "Exif" prefix whose orientation is 1.
    `unit` is what the file counts its `dpi` in: inch, cm, or none, where only the ratio of the
    two counts.
    """

    pixels: Pixels
    format: str  # of the content: jpg, png, webp, tiff, bmp, gif, avif, jxl
    icc: bytes | None = None
    exif: bytes | None = None
    xmp: bytes | None = None
    dpi: tuple[float, float] | None = None
    warnings: list[str] = field(default_factory=list)  # for the record: what was not kept
    unit: str = "inch"
    comment: str | None = None  # of a JPEG or GIF
    text: tuple[tuple[str, str], ...] = ()  # of a PNG: keyword, text

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    @property
    def nbytes(self) -> int:
        return self.pixels.nbytes + sum(len(b) for b in (self.icc, self.exif, self.xmp) if b)


def highest(pixels: Pixels) -> int:
    """What stands for white, or opaque, in pixels of this type."""
    return 65535 if pixels.dtype == np.uint16 else 255


def to_8_bits(pixels: Pixels) -> Pixels:
    """The nearest of 256 levels; 8-bit pixels are left as they are."""
    if pixels.dtype == np.uint8:
        return pixels
    reduced = np.empty(pixels.shape, np.uint8)
    for top in range(0, len(pixels), _ROWS):
        reduced[top : top + _ROWS] = (pixels[top : top + _ROWS].astype(np.uint32) + 128) // 257
    return reduced


def to_grey(pixels: Pixels) -> Pixels:
    """H x W x 3 to H x W x 1 by the weights of ITU-R BT.601, which Pillow has too."""
    grey: Pixels = np.empty((*pixels.shape[:2], 1), pixels.dtype)
    weights = np.array((19595, 38470, 7471), np.uint32)  # sum to 65536
    for top in range(0, len(pixels), _ROWS):
        rows = pixels[top : top + _ROWS].astype(np.uint32)
        grey[top : top + _ROWS, :, 0] = (rows @ weights + 0x8000) >> 16
    return grey


def to_image(pixels: Pixels) -> Image.Image:
    """A Pillow image of mode L, RGB or RGBA, of 8-bit pixels."""
    channels = pixels.shape[2]
    flat: NDArray[Any] = pixels[:, :, 0] if channels == 1 else pixels
    image = Image.fromarray(np.ascontiguousarray(flat))
    assert image.mode == _MODES[channels]
    return image


def from_image(image: Image.Image) -> Pixels:
    """H x W x C of a Pillow image of mode L, RGB or RGBA; read-only."""
    array: Pixels = np.asarray(image)
    return array[:, :, np.newaxis] if array.ndim == 2 else array


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turned as EXIF's orientation (1 to 8) says; not copied where it is 1."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels) if orientation in range(2, 9) else pixels


def flatten(picture: Picture, colour: str) -> Picture:
    """Transparency replaced by a colour behind it; a picture without alpha is left as it is.

    Raises UserError(usage) for a colour that Pillow does not know, or a transparent one.
    """
    behind = background(colour)
    if picture.pixels.shape[2] != 4:
        return picture
    flat: Pixels = np.empty((picture.height, picture.width, 3), picture.pixels.dtype)
    for top in range(0, picture.height, _ROWS):
        flat[top : top + _ROWS] = flatten_rows(picture.pixels[top : top + _ROWS], behind)
    return replace(picture, pixels=flat)


def flatten_rows(rows: Pixels, behind: tuple[int, int, int]) -> Pixels:
    """RGBA over an opaque colour, given in 8 bits."""
    most = highest(rows)
    wide: Pixels = rows.astype(np.uint64 if most > 255 else np.uint32)
    alpha = wide[..., 3:]
    colour: Pixels = (np.array(behind) * (most // 255)).astype(wide.dtype)
    mixed = wide[..., :3] * alpha + colour * (most - alpha)
    flat: Pixels = ((mixed + most // 2) // most).astype(rows.dtype)
    return flat


def background(colour: str) -> tuple[int, int, int]:
    """The colour that a name, #rgb, rgb() or hsl() stands for. Raises UserError(usage)."""
    try:
        value = ImageColor.getrgb(colour)
    except ValueError:
        raise UserError(
            "usage", f"{show(colour)} is no colour; use a name such as white, or '#336699'"
        ) from None
    if len(value) == 4 and value[3] != 255:
        raise UserError("usage", f"{show(colour)} is transparent; a background must be opaque")
    return value[0], value[1], value[2]


def is_opaque(pixels: Pixels) -> bool:
    return pixels.shape[2] != 4 or flat_alpha(pixels) == highest(pixels)


def flat_alpha(pixels: Pixels) -> int | None:
    """The one value that the alpha of all pixels has; None if it varies, or there is none."""
    if pixels.shape[2] != 4:
        return None
    low, high = int(pixels[..., 3].min()), int(pixels[..., 3].max())
    return low if low == high else None


def fill_transparent(pixels: Pixels) -> Pixels:
    """RGB of an RGBA picture with the invisible pixels coloured like visible ones near them.

    What lies under full transparency is arbitrary (often black), and a net would draw it into
    the visible edge. Averages over ever larger blocks fill what smaller ones could not.
    """
    colour: Pixels = pixels[..., :3].copy()
    missing = pixels[..., 3] == 0
    sums = _pool(pixels)  # of 2 x 2 blocks: colour times alpha, and alpha
    block = 2
    while missing.any():
        ys, xs = np.nonzero(missing)
        near = sums[ys // block, xs // block]
        found = near[:, 3] > 0
        ys, xs, near = ys[found], xs[found], near[found]
        colour[ys, xs] = np.rint(near[:, :3] / near[:, 3:] * highest(pixels))
        missing[ys, xs] = False
        if sums.shape[:2] == (1, 1):
            break
        sums, block = _halve(sums), block * 2
    return colour


def _pool(pixels: Pixels) -> NDArray[np.float32]:
    """Sums over 2 x 2 blocks of premultiplied colour and alpha, rows at a time."""
    parts = []
    for top in range(0, pixels.shape[0], _ROWS):
        rows = pixels[top : top + _ROWS].astype(np.float32)
        rows /= highest(pixels)
        rows[..., :3] *= rows[..., 3:]
        parts.append(_halve(rows))
    return np.concatenate(parts)


def _halve(values: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = values.shape[:2]
    even = np.pad(values, ((0, height % 2), (0, width % 2), (0, 0)))
    halved: NDArray[np.float32] = even[::2] + even[1::2]
    return halved[:, ::2] + halved[:, 1::2]
