"""Where metadata goes in the bytes of PNG and JPEG files, put there as it is.

Encoders that are given EXIF write it anew, which moves what MakerNotes point to.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import IO, Any

from mediakit.media.pixels import Picture

_PNG_HEAD = 8 + 25  # signature and IHDR, which everything else must follow
_PHYS = 21  # bytes of a pHYs chunk
_METRE = 39.37007874015748  # inches
_SEGMENT = 65533  # bytes of content in one JPEG segment
JPEG_EXIF = _SEGMENT - len(b"Exif\0\0")  # the longest block that fits
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_ICC = b"ICC_PROFILE\0"
_ICC_PART = _SEGMENT - len(_ICC) - 2
_GIF_PART = 255  # bytes in one block of a comment
_UNITS = {"none": 0, "inch": 1, "cm": 2}  # as JFIF numbers them


class Splice(io.RawIOBase):
    """A file that what an encoder writes goes through; `insert` makes bytes of its first bytes.

    Once `need` bytes have come, `insert` gets them and returns what shall stand in their place.
    """

    def __init__(self, file: IO[bytes], need: int, insert: Callable[[bytes], bytes]) -> None:
        self._file = file
        self._need = need
        self._insert = insert
        self._head: bytes | None = b""

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self._head is None:
            return self._file.write(data)
        self._head += bytes(data)
        if len(self._head) >= self._need:
            head, self._head = self._head, None
            self._file.write(self._insert(head[: self._need]) + head[self._need :])
        return len(data)

    def finish(self) -> None:
        """No more comes: pass on what was held back of a file shorter than `need`."""
        if self._head is not None:
            head, self._head = self._head, None
            self._file.write(self._insert(head))


def png(file: IO[bytes], picture: Picture, exif: bytes | None, text: dict[str, str]) -> Splice:
    chunks = png_chunks(picture, exif, text)

    def insert(head: bytes) -> bytes:
        begin, rest = head[:_PNG_HEAD], head[_PNG_HEAD:]
        if rest[4:8] == b"pHYs":  # made up by the encoder
            rest = b""
        return begin + chunks + rest

    return Splice(file, _PNG_HEAD + _PHYS, insert)


def png_chunks(picture: Picture, exif: bytes | None, text: dict[str, str]) -> bytes:
    """Everything between IHDR and the pixels (PNG, third edition, section 11.3)."""
    parts = []
    if picture.icc:
        parts.append(chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(picture.icc)))
    if picture.dpi and picture.unit != "none":
        across, down = (round(value * _METRE) for value in picture.dpi)
        parts.append(chunk(b"pHYs", struct.pack(">IIB", across, down, 1)))
    elif picture.dpi:
        parts.append(chunk(b"pHYs", struct.pack(">IIB", *map(round, picture.dpi), 0)))
    if exif:
        parts.append(chunk(b"eXIf", exif))
    if picture.xmp:
        parts.append(_text("XML:com.adobe.xmp", picture.xmp.decode("utf-8", "replace")))
    kept = dict(picture.text)
    if picture.comment:
        kept.setdefault("Comment", picture.comment)
    parts += [_text(key, value) for key, value in (kept | text).items()]
    return b"".join(parts)


def _text(key: str, value: str) -> bytes:
    """iTXt, the one that holds UTF-8; long ones deflated."""
    name, body = key.encode("latin-1", "replace")[:79] or b"Text", value.encode()
    packed = len(body) > 1024 and not key.startswith("XML:")
    return chunk(
        b"iTXt",
        name + b"\0" + bytes((packed, 0)) + b"\0\0" + (zlib.compress(body) if packed else body),
    )


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def jpeg(file: IO[bytes], picture: Picture, exif: bytes | None, lost: list[str]) -> Splice:
    """In place of the encoder's own JFIF segment: ours, with the density, then all the rest."""
    segments = jpeg_segments(picture, exif, lost)

    def insert(head: bytes) -> bytes:
        if head[2:4] != b"\xff\xe0":
            return head[:2] + segments + head[2:]
        (length,) = struct.unpack(">H", head[4:6])
        return head[:2] + segments + head[4 + length :]

    return Splice(file, 20, insert)


def jpeg_segments(picture: Picture, exif: bytes | None, lost: list[str]) -> bytes:
    """APP0 (JFIF), APP1 (EXIF, XMP), APP2 (ICC) and comments."""
    across, down = (min(65535, max(1, round(v))) for v in picture.dpi or (1, 1))
    unit = _UNITS[picture.unit] if picture.dpi else 0
    if unit == 2 and picture.dpi:
        across, down = (min(65535, max(1, round(v / 2.54))) for v in picture.dpi)
    jfif = b"JFIF\0" + struct.pack(">BBBHHBB", 1, 1, unit, across, down, 0, 0)
    parts = [(0xE0, jfif)]
    if exif and len(exif) + 6 > _SEGMENT:
        lost.append("the EXIF data is too long for jpg and was left out")
    elif exif:
        parts.append((0xE1, b"Exif\0\0" + exif))
    if picture.xmp and len(picture.xmp) + len(_XMP) > _SEGMENT:
        lost.append("the XMP data is too long for jpg and was left out")
    elif picture.xmp:
        parts.append((0xE1, _XMP + picture.xmp))
    icc = picture.icc or b""
    pieces = [icc[i : i + _ICC_PART] for i in range(0, len(icc), _ICC_PART)]
    if len(pieces) > 255:
        lost.append("the colour profile is too long for jpg and was left out")
        pieces = []
    parts += [(0xE2, _ICC + bytes((i, len(pieces))) + p) for i, p in enumerate(pieces, 1)]
    comment = (picture.comment or "").encode()
    if comment:
        parts.append((0xFE, comment[:_SEGMENT]))
    return b"".join(
        b"\xff" + bytes((kind,)) + struct.pack(">H", len(body) + 2) + body for kind, body in parts
    )


def gif(file: IO[bytes], comment: str) -> Splice:
    """A comment after the first colour table (GIF89a, sections 18 and 24)."""
    data = comment.encode()
    parts = [data[i : i + _GIF_PART] for i in range(0, len(data), _GIF_PART)]
    blocks = b"".join(bytes((len(part),)) + part for part in parts)

    def insert(head: bytes) -> bytes:
        table = 3 << ((head[10] & 7) + 1) if head[10] & 0x80 else 0
        end = 13 + table
        return head[:end] + b"\x21\xfe" + blocks + b"\0" + head[end:]

    return Splice(file, 13 + 768, insert)
