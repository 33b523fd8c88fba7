"""How the bytes of a picture file become a Picture, and what is wrong with those that can't."""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, PngImagePlugin, UnidentifiedImageError, features

from mediakit.errors import ItemError, show
from mediakit.media import exif as exif_block
from mediakit.media import headers, metadata
from mediakit.media.pixels import Picture, from_image

# Pillow's names of all that may be opened; not those that run programs (EPS) or fetch fonts
_FORMATS = {
    "JPEG": "jpg",
    "MPO": "jpg",  # a JPEG with further ones behind it, as phones make them
    "PNG": "png",
    "WEBP": "webp",
    "TIFF": "tiff",
    "BMP": "bmp",
    "GIF": "gif",
}
if features.check("avif"):
    _FORMATS["AVIF"] = "avif"

_OPENED = [name for name in _FORMATS if name != "MPO"]  # Pillow opens that as JPEG
_KINDS = ", ".join(sorted(set(_FORMATS.values())))
_GREY = ("1", "L")
_COLOUR = ("P", "RGB", "RGBX", "YCbCr")
_ALPHA = ("LA", "PA", "RGBA", "RGBa")
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Text and profiles inside a PNG; Pillow's 1 MiB refuses workflows and print profiles that exist
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 1024**2
# Pillow logs some damage beside raising it; without a handler that would land on stderr
logging.getLogger("PIL").addHandler(logging.NullHandler())

_FILTERS = (
    ("error", None, Image.DecompressionBombWarning, None, 0),
    ("ignore", None, UserWarning, re.compile(r"PIL\."), 0),
)


def read_picture(data: bytes, name: str, max_pixels: int) -> Picture:
    """Decode a whole file; `name` is only for messages.

    Orientation is applied; palettes become RGB or RGBA, two colours grey, grey with alpha RGBA.
    Raises ItemError: empty_file, unsupported_format, corrupt, zero_size, too_many_pixels,
    unsupported_pixels, animated, out_of_memory.
    """
    name = show(name)
    if not data:
        raise ItemError("empty_file", f"{name} is empty; copy or download it again")
    if 0 in (headers.size(data) or ()):
        raise ItemError("zero_size", f"{name} has no width or no height")
    _settle_pillow(max_pixels)
    with _blaming_the_file(data, name, max_pixels):
        image = Image.open(io.BytesIO(data), formats=_OPENED)
        _check(image, data, name, max_pixels)
        tiff_exif = metadata.tiff_exif(image) if image.format == "TIFF" else None
        image.load()
        return _picture(image, data, tiff_exif)


def _settle_pillow(max_pixels: int) -> None:
    """Pillow's limits and warnings are the process's: set, not swapped, so threads may share."""
    Image.MAX_IMAGE_PIXELS = max_pixels
    for entry in _FILTERS:
        if entry not in warnings.filters:
            warnings.filterwarnings(
                entry[0],  # type: ignore[arg-type]
                category=entry[2],
                module=entry[3].pattern if entry[3] else "",
            )


@contextmanager
def _blaming_the_file(data: bytes, name: str, max_pixels: int) -> Iterator[None]:
    """Pillow raises nearly anything over damaged bytes: it all means the file."""
    try:
        yield
    except ItemError:
        raise
    except UnidentifiedImageError:
        claimed = headers.kind(data)
        if claimed in _FORMATS.values():
            raise ItemError(
                "corrupt", f"{name} begins like a {claimed} file but is damaged"
            ) from None
        raise ItemError(
            "unsupported_format",
            f"{name} is not a picture of a kind that is read: {_KINDS}",
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_many(name, None, max_pixels) from None
    except MemoryError:
        raise ItemError(
            "out_of_memory", f"{name} needs more memory than there is, or is damaged"
        ) from None
    except Exception as error:
        reason = show(str(error) or type(error).__name__)
        raise ItemError("corrupt", f"{name} is damaged or cut off ({reason})") from None


def _too_many(name: str, pixels: int | None, max_pixels: int) -> ItemError:
    count = f"{pixels:,}" if pixels else "too many"
    return ItemError(
        "too_many_pixels",
        f"{name} has {count} pixels, more than the {max_pixels:,} allowed; raise --max-pixels",
    )


def _check(image: Image.Image, data: bytes, name: str, max_pixels: int) -> None:
    """Refuse by the header what must not, or can't yet, be decoded."""
    if image.width * image.height > max_pixels:
        raise _too_many(name, image.width * image.height, max_pixels)
    if 0 in image.size:
        raise ItemError("zero_size", f"{name} has no width or no height")
    kind = _unkept(image, data)
    if kind:
        raise ItemError(
            "unsupported_pixels",
            f"{name} has {kind} pixels, which would not be kept; convert it to 8-bit RGB first",
        )
    if image.format == "PNG" and not headers.png_is_whole(data):
        raise ItemError("corrupt", f"{name} is damaged or cut off (checksum)")
    frames = _frames(image)
    if frames > 1:
        raise ItemError(
            "animated", f"{name} has {frames} frames or pages; split it into single pictures first"
        )


def _unkept(image: Image.Image, data: bytes) -> str | None:
    """What kind of pixels it has, if not 8-bit grey, RGB or with alpha."""
    bits = [headers.png_depth(data)]
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        bits += [int(b) for b in tags.get(258, ())]
        if any(int(f) == 3 for f in tags.get(339, ())):
            return "floating point"
    if max(bits) > 8 or image.mode.startswith("I"):
        return f"{max(16, *bits)}-bit"
    if image.mode not in _GREY + _COLOUR + _ALPHA:
        return image.mode
    return None


def _frames(image: Image.Image) -> int:
    """Frames or pages; not the previews that TIFF files hold as further pages."""
    if image.format == "MPO":
        return 1
    count = int(getattr(image, "n_frames", 1))
    if image.format == "TIFF" and count > 1:
        pages = 1
        for index in range(1, count):
            image.seek(index)
            pages += not image.tag_v2.get(254, 0) & 1  # type: ignore[attr-defined]
        image.seek(0)
        return pages
    return count


def _picture(image: Image.Image, data: bytes, tiff_exif: bytes | None) -> Picture:
    notes: list[str] = []
    info = image.info
    exif, xmp = tiff_exif or metadata.exif(info, notes), metadata.xmp(info)
    turn = exif_block.orientation(exif) if exif else 1
    if turn == 1 and xmp and image.format != "TIFF":
        turn = exif_block.xmp_orientation(xmp)
    transparent = image.mode in _ALPHA or image.has_transparency_data
    mode = "RGBA" if transparent else "L" if image.mode in _GREY else "RGB"
    icc = metadata.icc(info.get("icc_profile"), mode, notes)
    if headers.kind(data) == "avif" and headers.avif_depth(data) > 8:
        notes.append(f"reduced from {headers.avif_depth(data)} to 8 bits a channel")
    upright = image if image.mode == mode else image.convert(mode)
    if turn in _UPRIGHT:
        upright = upright.transpose(_UPRIGHT[turn])
    return Picture(
        pixels=from_image(upright),
        format=_FORMATS[str(image.format)],
        icc=icc,
        exif=exif_block.upright(exif) if exif and turn != 1 else exif,
        xmp=exif_block.upright_xmp(xmp) if xmp else None,
        dpi=metadata.dpi(info.get("dpi")),
        warnings=notes,
    )
