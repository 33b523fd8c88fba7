"""How the bytes of a picture file become a Picture, and what is wrong with those that can't."""

import io
import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image, PngImagePlugin, UnidentifiedImageError

from mediakit.errors import ItemError, show
from mediakit.media import exif as exif_block
from mediakit.media import headers, metadata, whole
from mediakit.media.colour import fitted
from mediakit.media.decoding import Unsupported, decode
from mediakit.media.pixels import Picture, upright

# Pillow's names of all that may be opened; not those that run programs (EPS) or fetch fonts
FORMATS = {
    "JPEG": "jpg",
    "MPO": "jpg",  # a JPEG with further ones behind it, as phones make them
    "PNG": "png",
    "WEBP": "webp",
    "TIFF": "tiff",
    "BMP": "bmp",
    "GIF": "gif",
}
FORMATS |= {name.upper(): name for name in ("avif", "jxl") if whole.has_codec(name)}

_OPENED = [name for name in FORMATS if name != "MPO"]  # Pillow opens that as JPEG
_KINDS = ", ".join(sorted(set(FORMATS.values())))
# Text and profiles inside a PNG; Pillow's 1 MiB refuses workflows and print profiles that exist
PngImagePlugin.MAX_TEXT_CHUNK = 16 * 1024**2
# Pillow logs some damage beside raising it; without a handler that would land on stderr
logging.getLogger("PIL").addHandler(logging.NullHandler())

_FILTERS = (
    ("error", None, Image.DecompressionBombWarning, None, 0),
    ("ignore", None, UserWarning, re.compile(r"PIL\."), 0),
)


def read_picture(data: bytes, name: str, max_pixels: int, first: bool = False) -> Picture:
    """Decode a whole file; `name` is only for messages. `first`: of several frames or pages take
    the first, and say so in a warning.

    Orientation is applied; palettes become RGB or RGBA, two colours grey, grey with alpha RGBA,
    CMYK and Lab sRGB; more than 8 bits a channel become 16. Raises ItemError: empty_file,
    unsupported_format, missing_codec, corrupt, zero_size, too_many_pixels, unsupported_pixels,
    animated, out_of_memory.
    """
    with opened(data, name, max_pixels) as image:
        frames = frame_count(image)
        if frames > 1 and not first:
            raise ItemError(
                "animated",
                f"{show(name)} has {frames} frames or pages; split it into single pictures first",
            )
        tiff_exif = metadata.tiff_exif(image) if image.format == "TIFF" else None
        picture = _picture(image, data, tiff_exif)
        if frames > 1:
            picture.warnings.append(f"the first of {frames} frames or pages was taken")
        return picture


@contextmanager
def opened(data: bytes, name: str, max_pixels: int) -> Iterator[Image.Image]:
    """The file as Pillow opens it, not decoded yet; all that goes wrong inside is the file's."""
    name = show(name)
    if not data:
        raise ItemError("empty_file", f"{name} is empty; copy or download it again")
    if 0 in (headers.size(data) or ()):
        raise ItemError("zero_size", f"{name} has no width or no height")
    if headers.kind(data) in ("avif", "jxl"):
        whole.check_codec(str(headers.kind(data)))
    _settle_pillow(max_pixels)
    with _blaming_the_file(data, name, max_pixels):
        image = Image.open(io.BytesIO(data), formats=_OPENED)
        if image.width * image.height > max_pixels:
            raise too_many(name, image.width * image.height, max_pixels)
        if 0 in image.size:
            raise ItemError("zero_size", f"{name} has no width or no height")
        if image.format == "PNG" and not headers.png_is_whole(data):
            raise ItemError("corrupt", f"{name} is damaged or cut off (checksum)")
        yield image


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
        if claimed in FORMATS.values():
            raise ItemError(
                "corrupt", f"{name} begins like a {claimed} file but is damaged"
            ) from None
        raise ItemError(
            "unsupported_format",
            f"{name} is not a picture of a kind that is read: {_KINDS}",
        ) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_many(name, None, max_pixels) from None
    except Unsupported as error:
        raise ItemError(
            "unsupported_pixels",
            f"{name} has {error} pixels, which would not be kept; convert it to RGB first",
        ) from None
    except MemoryError:
        raise ItemError(
            "out_of_memory", f"{name} needs more memory than there is, or is damaged"
        ) from None
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = show(lines[-1].strip())
        raise ItemError("corrupt", f"{name} is damaged or cut off ({reason})") from None


def too_many(name: str, pixels: int | None, max_pixels: int) -> ItemError:
    count = f"{pixels:,}" if pixels else "too many"
    return ItemError(
        "too_many_pixels",
        f"{name} has {count} pixels, more than the {max_pixels:,} allowed; raise --max-pixels",
    )


def frame_count(image: Image.Image) -> int:
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
    profile = metadata.icc(info.get("icc_profile"), notes)
    pixels, profile = decode(image, data, profile, notes)
    pixels, profile = fitted(pixels, profile, notes)
    exif, xmp = tiff_exif or metadata.exif(info, notes), metadata.xmp(info)
    turn = exif_block.orientation(exif) if exif else 1
    if turn == 1 and xmp and image.format != "TIFF":
        turn = exif_block.xmp_orientation(xmp)
    if image.format == "TIFF":  # from whose tags the orientation is no longer in `exif`
        turn = int(image.tag_v2.get(exif_block.ORIENTATION, 1))  # type: ignore[attr-defined]
    resolution, unit = metadata.resolution(image)
    if resolution and turn in (5, 6, 7, 8):
        resolution = resolution[1], resolution[0]
    return Picture(
        pixels=upright(pixels, turn),
        format=FORMATS[str(image.format)],
        icc=profile,
        exif=exif_block.upright(exif) if exif and turn != 1 else exif,
        xmp=exif_block.upright_xmp(xmp) if xmp else None,
        dpi=resolution,
        warnings=notes,
        unit=unit,
        comment=metadata.comment(info),
        text=metadata.text(image),
    )
