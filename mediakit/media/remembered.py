"""What a picture file remembers of how it was made, found without touching its pixels."""

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from mediakit.errors import ItemError, show
from mediakit.media import exif as exif_block
from mediakit.media.formats import READABLE, sniff

LONGEST = 4 << 20  # bytes of one text; programs that keep whole workflows write some 100 kB
_PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_KEYWORDS = ("parameters", "mediakit")
_RAW_EXIF = "Raw profile type exif"
_HEAD = 64


def read_notes(source: Path | bytes) -> dict[str, str]:
    """What mediakit (under "mediakit") and A1111 ("parameters") wrote into a PNG, JPEG, WebP, AVIF,
    JPEG XL or TIFF file, as far as it is there.

    ItemError missing_file or unreadable; a damaged file is one without text.
    """
    if isinstance(source, bytes):
        return _notes(io.BytesIO(source))
    try:
        with source.open("rb") as file:
            return _notes(file)
    except FileNotFoundError:
        raise ItemError("missing_file", f"{show(source)} does not exist") from None
    except OSError as e:
        raise ItemError("unreadable", f"{show(source)} can't be read: {e.strerror}") from None


def _notes(file: IO[bytes]) -> dict[str, str]:
    format = READABLE.get(sniff(file.read(_HEAD)))
    try:
        if format == "png":
            return _in_png(file)
        exif = {"jpg": _jpeg_exif, "webp": _webp_exif, "avif": _avif_exif, "jxl": _jxl_exif,
                "tiff": _tiff}.get(format or "", lambda _: None)(file)  # fmt: skip
    except (struct.error, ValueError, IndexError, zlib.error):
        return {}
    return exif_block.notes(exif_block.without_prefix(exif)) if exif else {}


def _in_png(file: IO[bytes]) -> dict[str, str]:
    """Of texts with one keyword the first; EXIF where there is no text."""
    found: dict[str, str] = {}
    exif = b""
    for name, length in _chunks(file, 8, ">I4s", 4):
        if name not in (*_PNG_TEXTS, b"eXIf") or length > LONGEST:
            continue
        body = file.read(length)
        if name == b"eXIf":
            exif = body
            continue
        keyword, _, rest = body.partition(b"\0")
        key = keyword.decode("latin-1")
        if key in _KEYWORDS and key not in found:
            found[key] = _png_text(name, rest)
    return exif_block.notes(exif) | found


def _png_text(name: bytes, rest: bytes) -> str:
    """PNG, third edition, 11.3.3; UTF-8 in tEXt is wrong, and common."""
    if name == b"iTXt":
        packed = rest[0]
        rest = rest[2:].split(b"\0", 2)[2]
        return (_unpacked(rest) if packed else rest).decode("utf-8", "replace")
    if name == b"zTXt":
        rest = _unpacked(rest[1:])
    try:
        return rest.decode()
    except UnicodeDecodeError:
        return rest.decode("latin-1")


def _unpacked(data: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(data, LONGEST)
    if not unpacker.eof:
        raise ValueError("cut off, or too long")
    return text


def _chunks(file: IO[bytes], at: int, head: str, tail: int) -> Iterator[tuple[bytes, int]]:
    """Name and length of each chunk, with the file at its content; names come second in `head`
    where it begins with >."""
    size = struct.calcsize(head)
    while True:
        file.seek(at)
        data = file.read(size)
        if len(data) < size:
            return
        one, other = struct.unpack(head, data)
        name, length = (other, one) if head[0] == ">" else (one, other)
        yield name, length
        at += size + length + (tail if head[0] == ">" else length % 2)


def _jpeg_exif(file: IO[bytes]) -> bytes | None:
    at = 2
    while True:
        file.seek(at)
        mark, marker, length = struct.unpack(">BBH", file.read(4))
        if mark != 0xFF or marker in (0xDA, 0xD9):  # the pixels, the end
            return None
        if marker == 0xFF:  # fill byte
            at += 1
            continue
        if marker == 0xE1:
            body: bytes = file.read(length - 2)
            if body.startswith(b"Exif\0\0"):
                return body
        at += 2 + max(length, 2)


def _webp_exif(file: IO[bytes]) -> bytes | None:
    for name, length in _chunks(file, 12, "<4sI", 0):
        if name == b"EXIF" and length <= LONGEST:
            return file.read(length)
    return None


def _boxes(file: IO[bytes], at: int) -> Iterator[tuple[bytes, int, int]]:
    """Name, and first and last byte of the content, of each box (ISO 14496-12, 4.2)."""
    while True:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        begin = at + 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", head, 8)
            begin = at + 16
        if size == 0:
            size = file.seek(0, 2) - at
        if at + size <= begin:
            return
        yield name, begin, at + size
        at += size


def _jxl_exif(file: IO[bytes]) -> bytes | None:
    for name, begin, end in _boxes(file, 0):
        if name == b"Exif" and end - begin <= LONGEST:
            file.seek(begin)
            return _after_offset(file.read(end - begin))
    return None


def _after_offset(data: bytes) -> bytes:
    """Exif in ISO files begins with the number of bytes to pass over."""
    (offset,) = struct.unpack_from(">I", data)
    return data[4 + offset :]


def _avif_exif(file: IO[bytes]) -> bytes | None:
    """Pillow reads the boxes, and no pixels until it is asked for them."""
    from PIL import Image

    file.seek(0)
    try:
        with warnings.catch_warnings():  # of damaged EXIF
            warnings.simplefilter("ignore")
            with Image.open(file, formats=["AVIF"]) as image:
                exif = image.info.get("exif")
    except Exception:  # damage of any kind
        return None
    return exif if isinstance(exif, bytes) and len(exif) <= LONGEST else None


def _tiff(file: IO[bytes]) -> bytes | None:
    """A TIFF file is an EXIF block, with pixels; the directories of ours come after those."""
    size = file.seek(0, 2)
    if size > _LARGEST_TIFF:
        return None
    file.seek(0)
    return file.read()


_LARGEST_TIFF = 256 << 20
