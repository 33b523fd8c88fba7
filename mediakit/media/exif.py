"""What an EXIF block (a small TIFF file) says about its picture, changed in place.

In place, because writing it anew moves what MakerNotes point to and drops what Pillow can't parse.
"""

import re
import struct

ORIENTATION = 0x0112
WIDTH, HEIGHT = 0xA002, 0xA003  # of the picture it was made for, in the Exif directory
_EXIF_DIRECTORY = 0x8769
_BYTE, _SHORT, _LONG = 1, 3, 4
# Tags that say how a TIFF file stores its pixels: wrong for any other file.
# TIFF 6.0, sections 8 and 13 to 22.
_STRUCTURE = (
    (*range(254, 267), 273, *range(277, 285), *range(288, 294), 296, 297, 301),
    (*range(317, 331), 332, 334, 336, *range(338, 348), *range(512, 522), *range(529, 533)),
    (700, 33723, 34377, 34675),  # metadata that travels by itself
)
STRUCTURAL = frozenset(tag for group in _STRUCTURE for tag in group)
_XMP_ORIENTATION = re.compile(rb'(tiff:Orientation\s*(?:=\s*["\']|>)\s*)([2-8])')


def without_prefix(exif: bytes) -> bytes:
    """The TIFF part alone, which is what Picture.exif holds."""
    return exif.removeprefix(b"Exif\0\0")


def is_sound(exif: bytes) -> bool:
    try:
        _entries(exif)
    except (struct.error, ValueError):
        return False
    return True


def orientation(exif: bytes) -> int:
    """1 to 8 as the EXIF standard numbers them; 1 where it is absent or damaged."""
    try:
        order, entries = _entries(exif)
        value = _value(exif, order, entries[ORIENTATION])
    except (struct.error, ValueError, KeyError):
        return 1
    return value if 1 <= value <= 8 else 1


def xmp_orientation(xmp: bytes) -> int:
    found = _XMP_ORIENTATION.search(xmp)
    return int(found[2]) if found else 1


def upright_xmp(xmp: bytes) -> bytes:
    return _XMP_ORIENTATION.sub(rb"\g<1>1", xmp)


def upright(exif: bytes) -> bytes:
    """Orientation set to 1, and the link to the (still turned) thumbnail cut."""
    order, entries = _entries(exif)
    exif = _change(exif, order, entries, {ORIENTATION: 1})
    (start,) = struct.unpack_from(order + "I", exif, 4)
    (count,) = struct.unpack_from(order + "H", exif, start)
    link = start + 2 + 12 * count
    return exif[:link] + bytes(4) + exif[link + 4 :] if link + 4 <= len(exif) else exif


def with_size(exif: bytes, width: int, height: int) -> bytes:
    """The pixel dimensions, where it states them, made true."""
    try:
        order, entries = _entries(exif)
        return _change(exif, order, entries, {WIDTH: width, HEIGHT: height})
    except (struct.error, ValueError):
        return exif


def _entries(exif: bytes) -> tuple[str, dict[int, int]]:
    """Byte order, and tag -> position of its 12-byte entry, of the first and the Exif directory."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        raise ValueError("not a TIFF header")
    (start,) = struct.unpack_from(order + "I", exif, 4)
    entries = _directory(exif, order, start)
    if _EXIF_DIRECTORY in entries:
        nested = _directory(exif, order, _value(exif, order, entries[_EXIF_DIRECTORY]))
        entries = nested | entries
    return order, entries


def _directory(exif: bytes, order: str, start: int) -> dict[int, int]:
    (count,) = struct.unpack_from(order + "H", exif, start)
    positions = [start + 2 + 12 * i for i in range(count)]
    return {
        struct.unpack_from(order + "HHII", exif, position)[0]: position for position in positions
    }


def _value(exif: bytes, order: str, position: int) -> int:
    _, kind, _, value = struct.unpack_from(order + "HHII", exif, position)
    if kind == _LONG:
        return int(value)
    width = {_BYTE: "B", _SHORT: "H"}.get(kind)
    if width is None:
        raise ValueError("not a whole number")
    return int(struct.unpack_from(order + width, exif, position + 8)[0])


def _change(exif: bytes, order: str, entries: dict[int, int], values: dict[int, int]) -> bytes:
    changed = bytearray(exif)
    for tag, value in values.items():
        if tag not in entries:
            continue
        if value > 0xFFFF or tag != ORIENTATION:
            field = struct.pack(order + "HHII", tag, _LONG, 1, value)
        else:
            field = struct.pack(order + "HHIHH", tag, _SHORT, 1, value, 0)
        changed[entries[tag] : entries[tag] + 12] = field
    return bytes(changed)
