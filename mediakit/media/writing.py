"""How a Picture becomes a file: each format's settings, and what it can't hold."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from mediakit.errors import ItemError
from mediakit.media import bmp, containers, tiff, vips, whole
from mediakit.media.exif import noted, notes
from mediakit.media.gif import write_gif
from mediakit.media.metadata import exif_tags, true_exif
from mediakit.media.pixels import Picture, is_opaque
from mediakit.media.rows import Rows, rows_of

QUALITY = {"jpg": 95, "webp": 95, "avif": 90, "jxl": 95}  # when not told
PNG_LEVEL = 4
TIFF_LEVEL = 4
# longest side; libjpeg stops before the 65535 that the format could say
_LONGEST = {"jpg": 65500, "webp": 16383, "avif": 65535, "gif": 65535}
_LONGEST_OTHERS = 2**31 - 1
_NO_ALPHA = ("jpg", "bmp")
_DEEP = ("png", "tiff", "avif")  # that hold more than 8 bits
_BMP_BYTES = 2**32 - 4096
_BIG_TIFF_BYTES = 3 * 10**9  # above it the 32-bit offsets of plain TIFF may not do
_UNSAID = {"bmp": ("icc", "exif", "xmp", "text"), "gif": ("exif", "xmp", "text", "icc"),
           "jpg": ("text",), "webp": ("text",), "avif": ("text",), "jxl": ("text",),
           "tiff": ("text",)}  # fmt: skip
_NAMES = {"icc": "colour profile", "exif": "EXIF data", "xmp": "XMP data", "text": "text"}


@dataclass(frozen=True)
class Encoding:
    """How to write: what is None is up to the format.

    `quality` 1 to 100 for jpg, webp, avif, jxl. `compression` 0 (none) to 9 for png and tiff.
    `subsampling` "4:4:4" or "4:2:0" for jpg and avif. `lossless` for webp, avif, jxl. `note`:
    text entries, written into png; with `note_in_exif` its "parameters" and "mediakit" into jpg,
    webp, avif, jxl and tiff too.
    """

    quality: int | None = None
    compression: int | None = None
    subsampling: str | None = None
    lossless: bool = False
    note: dict[str, str] = field(default_factory=dict)
    note_in_exif: bool = False


def write_picture(
    picture: Picture,
    path: Path,
    format: str,
    encoding: Encoding | None = None,
) -> list[str]:
    """Write a picture to `path`, whatever its suffix, and say what was lost; see `write_rows`."""
    rows = rows_of(picture.pixels, is_opaque(picture.pixels))
    return write_rows(picture, rows, path, format, encoding)


def write_rows(
    about: Picture, rows: Rows, path: Path, format: str, encoding: Encoding | None = None
) -> list[str]:
    """Write `rows` with the metadata of `about` (whose own pixels do not count).

    jpg, png, tiff and bmp are written strip by strip as they come; webp, avif, jxl and gif have
    encoders that want the picture as a whole. Raises ItemError alpha_unsupported,
    too_large_for_format, missing_codec or encode_failed; an OSError of the disk comes out as it
    is, with its errno. What was written until then is left for the caller to remove.
    """
    encoding = encoding or Encoding()
    whole.check_codec(format)
    lost: list[str] = []
    rows = _fitting(rows, format, lost)
    lost += [
        f"{format} can't hold the {_NAMES[name]}"
        for name in _UNSAID.get(format, ())
        if getattr(about, name)
    ]
    job = _Job(about, rows, encoding, lost)
    with path.open("w+b" if format == "tiff" else "wb") as file:
        failure = _WRITERS[format](job, file)
        if failure:
            raise ItemError("encode_failed", f"the picture could not be written: {failure}")
        file.flush()
    return lost


@dataclass
class _Job:
    about: Picture
    rows: Rows
    encoding: Encoding
    lost: list[str]

    @property
    def exif(self) -> bytes | None:
        return true_exif(self.about.exif, self.rows.width, self.rows.height)

    def noted_exif(self, longest: int = 2**32 - 1) -> bytes | None:
        """EXIF with the note, where that is asked for."""
        if not self.encoding.note_in_exif:
            return self.exif
        block = noted(self.exif, self.encoding.note, longest)
        kept = notes(block) if block else {}
        if self.encoding.note.items() - kept.items():
            self.lost.append("not all of how it was made fits beside the EXIF data")
        return block

    def quality(self, format: str) -> int:
        return self.encoding.quality or QUALITY[format]

    def subsampled(self) -> str:
        return "on" if self.encoding.subsampling == "4:2:0" else "off"


def _fitting(rows: Rows, format: str, lost: list[str]) -> Rows:
    """The picture as the format can hold it: size checked, needless alpha and depth dropped."""
    longest = max(rows.width, rows.height)
    too_long = longest > _LONGEST.get(format, _LONGEST_OTHERS)
    if too_long or (format == "bmp" and rows.width * rows.height * 3 > _BMP_BYTES):
        raise ItemError(
            "too_large_for_format",
            f"{rows.width}x{rows.height} pixels don't fit into {format}; use --format png",
        )
    if rows.channels == 4 and format in _NO_ALPHA:
        if not rows.opaque:
            raise ItemError(
                "alpha_unsupported",
                f"{format} can't hold transparency; use --format png, or --background white",
            )
        rows = rows.without_alpha()
    if rows.bits > 8 and format not in _DEEP:
        lost.append(f"{format} holds 8 bits a channel: reduced from {rows.bits}")
        rows = rows.in_8_bits()
    return rows


def _jpg(job: _Job, file: IO[bytes]) -> str:
    out = containers.jpeg(file, job.about, job.noted_exif(containers.JPEG_EXIF), job.lost)
    options = {"Q": job.quality("jpg"), "subsample_mode": job.subsampled(), "keep": "none"}
    return vips.encode(job.rows, out, ".jpg", {}, **options)


def _png(job: _Job, file: IO[bytes]) -> str:
    out = containers.png(file, job.about, job.exif, job.encoding.note)
    level = job.encoding.compression
    options = {"compression": PNG_LEVEL if level is None else level, "keep": "none"}
    options["filter"] = "all"  # the best for each row: without, photos are 1.7 times as large
    return vips.encode(job.rows, out, ".png", {}, **options)


def _tiff(job: _Job, file: IO[bytes]) -> str:
    about, level = job.about, job.encoding.compression
    options: dict[str, Any] = {"keep": "none", "bigtiff": job.rows.nbytes > _BIG_TIFF_BYTES}
    if level != 0:
        # differences between pixels: photos then pack 2.5 times better
        options |= {"compression": "deflate", "predictor": "horizontal"}
        options["level"] = TIFF_LEVEL if level is None else level
        if level is None and job.rows.bits == 8:  # 1.6 times as fast, 6 % larger, read anywhere
            options["compression"] = "lzw"
    failure = vips.encode(job.rows, file, ".tif", {}, **options)
    if failure:
        return failure
    blobs = {700: about.xmp, 34675: about.icc}
    kept = {tag: blob for tag, blob in blobs.items() if blob}
    tags = exif_tags(job.noted_exif())
    if about.comment and 270 not in tags:
        tags[270] = about.comment
    resolution = None
    if about.dpi:
        per = 2.54 if about.unit == "cm" else 1
        unit = {"none": 1, "inch": 2, "cm": 3}[about.unit]
        resolution = (about.dpi[0] / per, about.dpi[1] / per, unit)
    try:
        tiff.add_tags(file, tags, kept, resolution)
    except OSError:
        raise
    except Exception:  # odd values
        job.lost.append("the EXIF data does not fit into tiff and was left out")
        tiff.add_tags(file, exif_tags(None), kept, resolution)
    return ""


def _bmp(job: _Job, file: IO[bytes]) -> str:
    bmp.write(job.rows, file, job.about.dpi if job.about.unit != "none" else None)
    return ""


def _gif(job: _Job, file: IO[bytes]) -> str:
    job.lost.append("gif holds 256 colours")
    return write_gif(file, job.rows, job.about.comment)


def _whole(format: str, job: _Job, file: IO[bytes]) -> str:
    encoding = job.encoding
    if format == "avif" and (job.rows.bits > 8 or encoding.lossless):
        return _deep_avif(job, file)
    options: dict[str, Any] = {"exif": job.noted_exif(), "icc_profile": job.about.icc}
    options["xmp"] = job.about.xmp
    if encoding.lossless:
        options |= whole.LOSSLESS[format]
    else:
        options |= whole.LOSSY[format] | {"quality": job.quality(format)}
    if format == "avif":
        options["subsampling"] = encoding.subsampling or "4:4:4"
    return whole.write(job.rows.whole(), file, format, options)


def _deep_avif(job: _Job, file: IO[bytes]) -> str:
    """AV1 has 10 bits (which decoders in hardware know) and 12; Pillow has 8, never lossless."""
    exif = job.noted_exif()
    bits = 8 if job.rows.bits == 8 else 12 if job.encoding.lossless else 10
    if bits < job.rows.bits:
        job.lost.append(f"avif holds {bits} bits a channel: reduced from {job.rows.bits}")
    fields: dict[str, Any] = {
        "icc-profile-data": job.about.icc,
        "exif-data": b"Exif\0\0" + exif if exif else None,
        "xmp-data": job.about.xmp,
    }
    options: dict[str, Any] = {"bitdepth": bits, "effort": 0, "subsample_mode": job.subsampled()}
    if job.encoding.lossless:
        options["lossless"] = True
    else:
        options["Q"] = job.quality("avif")
    fields = {name: value for name, value in fields.items() if value}
    options["keep"] = "all"
    return vips.encode(job.rows, file, ".avif", fields, **options)


_WRITERS: dict[str, Callable[[_Job, IO[bytes]], str]] = {
    "jpg": _jpg,
    "png": _png,
    "tiff": _tiff,
    "bmp": _bmp,
    "gif": _gif,
    "webp": partial(_whole, "webp"),
    "avif": partial(_whole, "avif"),
    "jxl": partial(_whole, "jxl"),
}
