"""How many bytes a file's own lengths promise beyond its end: whether it is cut off."""

import struct
from collections.abc import Callable, Iterator
from typing import IO

# Bytes whose absence says nothing: the lengths in many sound files are a little wrong, and so much
# is a second of 32 kbit/s.
_SLACK = 4096
_HEAD = 4096
_PAGE = 65307 + 27  # of Ogg, at most
_BOXES = frozenset(
    b"ftyp moov mdat free skip wide moof mfra meta uuid sidx ssix styp emsg prft pnot pdin".split()
)
_UNKNOWN = (0, 0x7FFFFFFF)  # lengths as they are written while nobody knows; and 0xFFFFFF..


def missing_bytes(file: IO[bytes]) -> int:
    """Bytes that are missing at the end of a seekable file; 0 where there is no telling. Where the
    file is read next stays as it was.

    Told by the lengths in WAV, AVI, MP4, MOV, Matroska, AIFF, CAF, AU, W64, WMA, Ogg, and MP3 with
    a Xing header, unless they say "not known yet".
    """
    at, size = file.tell(), file.seek(0, 2)
    file.seek(0)
    head = file.read(_HEAD)
    try:
        end = next((end_of(file) for is_kind, end_of in _KINDS if is_kind(head)), 0)
    except (struct.error, LookupError, ValueError, OverflowError):
        return 0  # damaged: the decoder will say
    finally:
        file.seek(at)
    slack = 0 if head[:4] == b"OggS" else _SLACK
    return end - size if end - size > slack else 0


def _chunks(file: IO[bytes], at: int, layout: str) -> Iterator[tuple[bytes, int, int]]:
    """The name, the place of the content and its length, of chunks one behind the other."""
    length = struct.calcsize(layout)
    while True:
        file.seek(at)
        head = file.read(length)
        if len(head) < length:
            return
        name, size = struct.unpack(layout, head)
        yield name, at + length, size
        at += length + size + (size & 1 if length == 8 else 0)


def _known(length: int) -> bool:
    return length not in _UNKNOWN and length < 0xFFFFFF00


def _riff(file: IO[bytes]) -> int:
    file.seek(0)
    kind, _, form = struct.unpack("<4sI4s", file.read(12))
    if form != b"WAVE":  # a large AVI is several RIFF chunks
        parts = _chunks(file, 0, "<4sI")
        return max((at + n for name, at, n in parts if name == b"RIFF" and _known(n)), default=0)
    long = 0
    for name, at, length in _chunks(file, 12, ">4sI" if kind == b"RIFX" else "<4sI"):
        if name == b"ds64":
            file.seek(at + 8)
            (long,) = struct.unpack("<Q", file.read(8))
        elif name == b"data":
            return at + (length if _known(length) else long)
    return 0


def _aiff(file: IO[bytes]) -> int:
    sounds = (at + n for name, at, n in _chunks(file, 12, ">4sI") if name == b"SSND" and _known(n))
    return next(sounds, 0)


def _caf(file: IO[bytes]) -> int:
    return next((at + n for name, at, n in _chunks(file, 8, ">4sq") if name == b"data"), 0)


def _au(file: IO[bytes]) -> int:
    file.seek(4)
    start, length = struct.unpack(">II", file.read(8))
    return start + length if _known(length) else 0


def _w64(file: IO[bytes]) -> int:
    file.seek(16)
    (length,) = struct.unpack("<Q", file.read(8))
    return length if length < 1 << 62 else 0


def _asf(file: IO[bytes]) -> int:
    file.seek(0)
    head = file.read(_HEAD)
    # the File Properties Object (ASF specification, 3.2); flag 1: broadcast, lengths are not valid
    at = head.index(bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365"))
    (length,) = struct.unpack_from("<Q", head, at + 40)
    (flags,) = struct.unpack_from("<I", head, at + 88)
    return 0 if flags & 1 else length


def _iso(file: IO[bytes]) -> int:
    at = 0
    while True:
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            return at
        length, name = struct.unpack_from(">I4s", head)
        if length == 1:
            (length,) = struct.unpack_from(">Q", head, 8)
        if length < 8 or name not in _BOXES:  # up to the end; or padding, or a tag
            return 0
        at += length


def _matroska(file: IO[bytes]) -> int:
    at = 0
    for wanted in (0x1A45DFA3, 0x18538067):  # EBML, Segment
        file.seek(at)
        head = file.read(12)
        width = 9 - head[4].bit_length()
        length = int.from_bytes(head[4 : 4 + width]) & ((1 << 7 * width) - 1)
        if struct.unpack_from(">I", head) != (wanted,) or length == (1 << 7 * width) - 1:
            return 0  # the length of all ones: written as it came
        at += 4 + width + length
    return at


def _ogg(file: IO[bytes]) -> int:
    size = file.seek(0, 2)
    start = file.seek(max(size - _PAGE, 0))
    tail = file.read()
    at = tail.rindex(b"OggS")
    table = tail[at + 27 : at + 27 + tail[at + 26]]
    return start + at + 27 + len(table) + sum(table)


def _mp3(file: IO[bytes]) -> int:
    file.seek(0)
    head = file.read(10)
    start = 0
    if head[:3] == b"ID3":
        start = 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9])
    file.seek(start)
    frame = file.read(_HEAD).lstrip(b"\0")[:64]
    if (at := frame.find(b"VBRI")) > 0:
        return start + int.from_bytes(frame[at + 10 : at + 14])
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    (flags,) = struct.unpack_from(">I", frame, at + 4)
    if at < 0 or not flags & 2:
        return 0
    return start + int.from_bytes(frame[at + 8 + 4 * (flags & 1) :][:4])


def _is_mp3(head: bytes) -> bool:
    return head[:3] == b"ID3" or (head[:1] == b"\xff" and head[1] & 0xE6 in (0xE2, 0xE4))


_KINDS: tuple[tuple[Callable[[bytes], bool], Callable[[IO[bytes]], int]], ...] = (
    (lambda head: head[:4] in (b"RIFF", b"RIFX", b"RF64"), _riff),
    (lambda head: head[:4] == b"FORM", _aiff),
    (lambda head: head[:4] == b"caff", _caf),
    (lambda head: head[:4] == b".snd", _au),
    (lambda head: head[:4] == b"riff", _w64),
    (lambda head: head[:4] == b"\x30\x26\xb2\x75", _asf),
    (lambda head: head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"), _iso),
    (lambda head: head[:4] == b"\x1a\x45\xdf\xa3", _matroska),
    (lambda head: head[:4] == b"OggS", _ogg),
    (_is_mp3, _mp3),
)
