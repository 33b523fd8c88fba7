"""How an animation becomes a file: GIF, WebP or PNG, frame by frame."""

import io
import struct
from pathlib import Path
from typing import IO, Any

from mediakit.errors import ItemError
from mediakit.media import containers, vips
from mediakit.media.containers import chunk
from mediakit.media.frames import Animation
from mediakit.media.gif import write_gif
from mediakit.media.metadata import true_exif
from mediakit.media.rows import Cut, Rows, rows_of
from mediakit.media.writing import PNG_LEVEL, QUALITY, Encoding

_LONGEST = {"gif": 65535, "webp": 16383, "png": 2**31 - 1}
_SIGNATURE = 8 + 25  # and IHDR


def write_animation(
    animation: Animation, rows: Rows, path: Path, format: str, encoding: Encoding | None = None
) -> list[str]:
    """Write the frames in `rows`, all in a column, with the timing and metadata of `animation`.

    Says what was lost. One frame at a time is in memory, beside what is encoded already. Raises
    ItemError animated (the format has no animations), too_large_for_format or encode_failed; an
    OSError of the disk comes out as it is.
    """
    encoding = encoding or Encoding()
    height = rows.height // animation.count
    if format not in _LONGEST:
        raise ItemError(
            "animated", f"{format} can't hold {animation.count} frames; use --format webp or png"
        )
    if max(rows.width, height) > _LONGEST[format]:
        raise ItemError(
            "too_large_for_format",
            f"{rows.width}x{height} pixels don't fit into {format}; use --format png",
        )
    lost: list[str] = []
    with path.open("wb") as file:
        if format == "png":
            failure = _apng(animation, rows, file, encoding)
        else:
            failure = _by_vips(animation, rows, file, format, encoding, lost)
        if failure:
            raise ItemError("encode_failed", f"the animation could not be written: {failure}")
        file.flush()
    return lost


def _by_vips(
    animation: Animation,
    rows: Rows,
    file: IO[bytes],
    format: str,
    encoding: Encoding,
    lost: list[str],
) -> str:
    about = animation.about
    height = rows.height // animation.count
    fields: dict[str, Any] = {
        "page-height": height,
        "delay": list(animation.durations),
        "loop": animation.plays,
    }
    if format == "gif":
        kept = {"colour profile": about.icc, "EXIF data": about.exif, "XMP data": about.xmp}
        lost += [f"gif can't hold the {name}" for name, value in kept.items() if value]
        return write_gif(file, rows, about.comment, fields)
    if about.icc:
        fields["icc-profile-data"] = about.icc
    if exif := true_exif(about.exif, rows.width, height):
        fields["exif-data"] = b"Exif\0\0" + exif
    if about.xmp:
        fields["xmp-data"] = about.xmp
    options: dict[str, Any] = {"keep": "all", "effort": 4}
    if encoding.lossless:
        options |= {"lossless": True, "effort": 0, "exact": True}
    else:
        options["Q"] = encoding.quality or QUALITY["webp"]
    return vips.encode(rows, file, ".webp", fields, **options)


def _apng(animation: Animation, rows: Rows, file: IO[bytes], encoding: Encoding) -> str:
    """Each frame is a PNG of its own whose pixels are taken out (PNG, third edition, 11.3.6).

    libvips would need all frames, and Pillow holds all.
    """
    height = rows.height // animation.count
    cut, level = Cut(rows), encoding.compression
    options = {"compression": PNG_LEVEL if level is None else level, "filter": "all"}
    number = 0
    for index, duration in enumerate(animation.durations):
        one = io.BytesIO()
        failure = vips.encode(rows_of(cut.take(height)), one, ".png", {}, keep="none", **options)
        if failure:
            return failure
        data = one.getvalue()
        if index == 0:
            exif = true_exif(animation.about.exif, rows.width, height)
            file.write(data[:_SIGNATURE])
            file.write(chunk(b"acTL", struct.pack(">II", animation.count, animation.plays)))
            file.write(containers.png_chunks(animation.about, exif, encoding.note))
        # at 0, 0, the whole frame, in place of the one before
        place = struct.pack(">IIIII", number, rows.width, height, 0, 0)
        file.write(chunk(b"fcTL", place + struct.pack(">HHBB", min(duration, 65535), 1000, 0, 0)))
        number += 1
        for body in _pixels(data):
            if index == 0:
                file.write(chunk(b"IDAT", body))
                continue
            file.write(chunk(b"fdAT", struct.pack(">I", number) + body))
            number += 1
    file.write(chunk(b"IEND", b""))
    return ""


def _pixels(data: bytes) -> list[bytes]:
    """The bodies of a PNG's IDAT chunks."""
    bodies, at = [], 8
    while at + 12 <= len(data):
        length, name = struct.unpack_from(">I4s", data, at)
        if name == b"IDAT":
            bodies.append(data[at + 8 : at + 8 + length])
        at += 12 + length
    return bodies
