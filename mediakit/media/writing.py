"""How a Picture becomes a file: each format's settings, and what it can't hold."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from PIL import Image, PngImagePlugin

from mediakit.errors import ItemError
from mediakit.media import exif as exif_block
from mediakit.media import tiff
from mediakit.media.pixels import Picture, is_opaque, to_image

QUALITY = 95  # of jpg and webp, when not told: no blocks at any magnification
# 2048 x 2048 photo, one core: level 6 takes 1.2 s for 3.43 MB, 4 takes 0.6 s for 3.54, 2 takes
# 0.3 s for 3.94, 0 takes 0.16 s for 12.6
PNG_LEVEL = 4
# longest side; libjpeg stops before the 65535 that the format could say
_LONGEST = {"jpg": 65500, "webp": 16383, "png": 2**31 - 1, "tiff": 2**31 - 1, "bmp": 2**31 - 1}
_NO_ALPHA = ("jpg", "bmp")
_PILLOW = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP", "tiff": "TIFF", "bmp": "BMP"}
_MARKER = 65533  # bytes in one JPEG segment; EXIF and XMP must fit into one
_BMP_BYTES = 2**32 - 4096
_BIG_TIFF_BYTES = 3 * 10**9  # above it the 32-bit offsets of plain TIFF may not do
_XMP_TAG, _PREDICTOR_TAG = 700, 317


_T = TypeVar("_T")


class _Sink(io.RawIOBase):
    """A file without a descriptor, so that Pillow writes through Python.

    With one, its encoders report a full disk as "encoder error -2" and the errno is lost; here
    the first OSError is kept.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.fault: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._keeping_the_fault(lambda: self.file.write(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._keeping_the_fault(lambda: self.file.seek(offset, whence))

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        if not self.file.closed:
            self._keeping_the_fault(self.file.flush)

    def _keeping_the_fault(self, act: Callable[[], _T]) -> _T:
        try:
            return act()
        except OSError as error:
            self.fault = self.fault or error
            raise


def write_picture(
    picture: Picture,
    path: Path,
    format: str,
    quality: int | None = None,
    note: dict[str, str] | None = None,
) -> list[str]:
    """Write jpg, png, webp, tiff or bmp to `path`, whatever its suffix, and say what was lost.

    `quality` is for jpg (always 4:4:4) and webp. `note`: text entries, written into png as iTXt
    and for now left out of the other formats. Raises ItemError alpha_unsupported,
    too_large_for_format or encode_failed; an OSError of the disk comes out as it is, with its
    errno. What was written until then is left for the caller to remove.
    """
    picture = _fitting(picture, format)
    lost: list[str] = []
    options = _options(picture, format, lost)
    if format in ("jpg", "webp"):
        options["quality"] = QUALITY if quality is None else quality
    if format == "png":
        options["pnginfo"] = _png_text(picture, note or {})
    with path.open("w+b" if format == "tiff" else "wb") as file:
        sink = _Sink(file)
        failure = _save(to_image(picture.pixels), sink, _PILLOW[format], options)
        if sink.fault is not None:
            raise sink.fault
        if failure is not None and format == "tiff" and picture.exif:  # tags libtiff won't take
            lost.append("the EXIF data does not fit into tiff and was left out")
            return lost + write_picture(replace(picture, exif=None), path, format)
        if failure is not None:
            raise ItemError("encode_failed", f"the picture could not be written: {failure}")
        if format == "tiff" and picture.exif and not _add_directories(file, picture):
            lost.append("the camera settings in the EXIF data were left out")
        file.flush()
    return lost


def _save(image: Image.Image, sink: _Sink, format: str, options: dict[str, Any]) -> str | None:
    """The reason why Pillow could not, if so."""
    try:
        image.save(cast(IO[bytes], sink), format, **options)
    except MemoryError:
        raise
    except Exception as error:  # an encoder's complaint may be of any kind
        return str(error) or type(error).__name__
    return None


def _add_directories(file: IO[bytes], picture: Picture) -> bool:
    try:
        return tiff.add_directories(file, _exif(picture))
    except OSError:
        raise
    except Exception:  # odd values; the file is whole without them until the last write
        return False


def _fitting(picture: Picture, format: str) -> Picture:
    """The picture as the format can hold it: size checked, needless alpha dropped."""
    longest = max(picture.width, picture.height)
    rows = picture.pixels[..., :3].size
    if longest > _LONGEST[format] or (format == "bmp" and rows > _BMP_BYTES):
        raise ItemError(
            "too_large_for_format",
            f"{picture.width}x{picture.height} pixels don't fit into {format}; use --format png",
        )
    if picture.pixels.shape[2] == 4 and format in _NO_ALPHA:
        if not is_opaque(picture.pixels):
            raise ItemError(
                "alpha_unsupported",
                f"{format} can't hold transparency; use --format png, or --background white",
            )
        return replace(picture, pixels=picture.pixels[..., :3])
    return picture


def _options(picture: Picture, format: str, lost: list[str]) -> dict[str, Any]:
    """Pillow's arguments for the format and the metadata."""
    exif = _true_exif(picture)
    kept: dict[str, Any] = {"icc_profile": picture.icc, "exif": exif, "xmp": picture.xmp}
    match format:
        case "bmp":
            names = {"icc_profile": "colour profile", "exif": "EXIF data", "xmp": "XMP data"}
            lost += [f"bmp can't hold the {names[key]}" for key, value in kept.items() if value]
            kept = {}
        case "jpg":
            if exif:
                kept["exif"] = b"Exif\0\0" + exif
            for key, room in (("exif", _MARKER), ("xmp", _MARKER - 29)):
                if kept[key] and len(kept[key]) > room:
                    lost.append(f"the {key.upper()} data is too long for jpg and was left out")
                    kept[key] = None
            kept["subsampling"] = 0
        case "png":
            kept["compress_level"] = PNG_LEVEL
            del kept["xmp"]  # goes in as text
        case "tiff":
            kept = {"exif": _tiff_tags(picture), "icc_profile": picture.icc}
            kept["compression"] = "tiff_lzw"
            kept["big_tiff"] = picture.pixels.nbytes > _BIG_TIFF_BYTES
    if picture.dpi and format != "webp":
        kept["dpi"] = picture.dpi
    return {key: value for key, value in kept.items() if value is not None}


def _true_exif(picture: Picture) -> bytes | None:
    if picture.exif is None:
        return None
    return exif_block.with_size(picture.exif, picture.width, picture.height)


def _exif(picture: Picture) -> Image.Exif:
    tags = Image.Exif()
    tags.load(_true_exif(picture) or b"")
    return tags


def _tiff_tags(picture: Picture) -> Image.Exif:
    """EXIF as a TIFF holds it: its first directory is the file's own."""
    tags = _exif(picture)
    for tag in list(tags):
        if tag in exif_block.STRUCTURAL or tag in tiff.DIRECTORIES:
            del tags[tag]
    if picture.xmp:
        tags[_XMP_TAG] = picture.xmp
    tags[_PREDICTOR_TAG] = 2  # differences between pixels: LZW then packs photos 2.5 times better
    return tags


def _png_text(picture: Picture, note: dict[str, str]) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    if picture.xmp:
        text.add_itxt("XML:com.adobe.xmp", picture.xmp.decode("utf-8", "replace"))
    for key, value in note.items():
        text.add_itxt(key, value)
    return text
