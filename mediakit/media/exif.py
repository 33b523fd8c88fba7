"""What an EXIF block (a small TIFF file) says about its picture, changed in place.

In place, because writing it anew moves what MakerNotes point to and drops what Pillow can't parse.
"""

import re
import struct
from collections.abc import Mapping

ORIENTATION = 0x0112
WIDTH, HEIGHT = 0xA002, 0xA003  # of the picture it was made for, in the Exif directory
_EXIF_DIRECTORY = 0x8769
USER_COMMENT = 0x9286
HISTORY = 0x9213  # ImageHistory of TIFF/EP: what was done to the picture
_BYTE, _ASCII, _SHORT, _LONG, _UNDEFINED = 1, 2, 3, 4, 7
_OURS = b"mediakit\0"
_EMPTY = b"MM\0*\0\0\0\x08\0\0\0\0\0\0"  # no field in it
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


def field(exif: bytes, tag: int) -> bytes | None:
    """The bytes of a field of the kinds that hold any (BYTE, ASCII, UNDEFINED); None where it is
    absent, of another kind or damaged."""
    try:
        order, entries = _entries(exif)
        _, kind, count, place = struct.unpack_from(order + "HHII", exif, entries[tag])
        if kind not in (_BYTE, _ASCII, _UNDEFINED):
            return None
        start = entries[tag] + 8 if count <= 4 else place
    except (struct.error, ValueError, KeyError):
        return None
    return exif[start : start + count] if start + count <= len(exif) else None


def with_fields(exif: bytes | None, fields: Mapping[int, bytes | None]) -> bytes:
    """The block with these fields (of kind UNDEFINED) in its Exif directory, in place of those
    of their tags; None takes one out.

    What was there stays where it was: both directories are written anew behind it. Raises
    ValueError or struct.error for a damaged block.
    """
    if not exif:
        exif = _EMPTY
    order, _ = _entries(exif)
    (start,) = struct.unpack_from(order + "I", exif, 4)
    main, link = _raw_directory(exif, order, start)
    nested: dict[int, bytes] = {}
    if _EXIF_DIRECTORY in main:
        place = _value(main[_EXIF_DIRECTORY], order, 0)
        nested, _ = _raw_directory(exif, order, place)
    out = bytearray(exif)
    for tag, value in fields.items():
        nested.pop(tag, None)
        main.pop(tag, None)  # where it does not belong, but would be found first
        if value is None:
            continue
        out += bytes(len(out) % 2)  # values begin at even places
        entry = struct.pack(order + "HHI", tag, _UNDEFINED, len(value))
        nested[tag] = entry + (
            value.ljust(4, b"\0") if len(value) <= 4 else struct.pack(order + "I", len(out))
        )
        out += value if len(value) > 4 else b""
    place = _append_directory(out, order, nested, bytes(4))
    main[_EXIF_DIRECTORY] = struct.pack(order + "HHII", _EXIF_DIRECTORY, _LONG, 1, place)
    out[4:8] = struct.pack(order + "I", _append_directory(out, order, main, link))
    return bytes(out)


def _append_directory(out: bytearray, order: str, entries: dict[int, bytes], link: bytes) -> int:
    out += bytes(len(out) % 2)
    start = len(out)
    out += struct.pack(order + "H", len(entries))
    out += b"".join(entries[tag] for tag in sorted(entries)) + link
    return start


def _raw_directory(exif: bytes, order: str, start: int) -> tuple[dict[int, bytes], bytes]:
    """Tag -> its 12-byte entry, and the link to the next directory."""
    positions = _directory(exif, order, start)
    link = start + 2 + 12 * len(positions)
    entries = {tag: exif[position : position + 12] for tag, position in positions.items()}
    return entries, exif[link : link + 4].ljust(4, b"\0")


def noted(exif: bytes | None, note: Mapping[str, str], longest: int) -> bytes | None:
    """The block with what a picture remembers of how it was made, as far as `longest` bytes hold
    it: "parameters" as UserComment, where A1111 has it, "mediakit" as ImageHistory, unless
    another program has written one. ValueError or struct.error if the block is damaged."""
    fields: dict[int, bytes | None] = {}
    if "mediakit" in note and (exif is None or _is_ours(field(exif, HISTORY))):
        fields[HISTORY] = _OURS + note["mediakit"].encode()
    if "parameters" in note:
        fields[USER_COMMENT] = user_comment(note["parameters"])
    while fields:
        block = with_fields(exif, fields)
        if len(block) <= longest:
            return block
        fields.popitem()
    return exif


def without_note(exif: bytes) -> bytes:
    """The block without mediakit's own record, which is of the picture it was read from."""
    if not (field(exif, HISTORY) or b"").startswith(_OURS):
        return exif
    return with_fields(exif, {HISTORY: None})


def notes(exif: bytes) -> dict[str, str]:
    """What `noted` put there, and what others put in its place."""
    found = {}
    if comment := field(exif, USER_COMMENT):
        found["parameters"] = comment_text(comment)
    record = field(exif, HISTORY) or b""
    if record.startswith(_OURS):
        found["mediakit"] = record.removeprefix(_OURS).decode("utf-8", "replace")
    return found


def _is_ours(history: bytes | None) -> bool:
    return history is None or history.startswith(_OURS)


def user_comment(text: str) -> bytes:
    """A UserComment as A1111 writes it, and reads it whatever the block's byte order is."""
    return b"UNICODE\0" + text.encode("utf-16-be", "replace")


def comment_text(comment: bytes) -> str:
    """The text of a UserComment (Exif 2.32, 4.6.5); UTF-16 in either byte order."""
    code, body = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        body = body[: len(body) & ~1]
        if body[:2] in (b"\xff\xfe", b"\xfe\xff"):
            return body.decode("utf-16", "replace").rstrip("\0")
        # most text is mostly Latin, whose high bytes are zero
        little = body[1::2].count(0) > body[::2].count(0)
        return body.decode("utf-16-le" if little else "utf-16-be", "replace").rstrip("\0")
    if code == b"JIS\0\0\0\0\0":
        return body.decode("iso2022_jp", "replace").rstrip("\0")
    if code not in (b"ASCII\0\0\0", bytes(8)):  # none, as careless programs write it
        body = comment
    try:
        return body.decode().rstrip("\0")
    except UnicodeDecodeError:
        return body.decode("latin-1").rstrip("\0")


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
