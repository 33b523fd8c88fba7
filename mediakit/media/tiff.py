"""How a TIFF gets the tags, camera and GPS directories that its encoder left out."""

import io
import struct
from typing import IO

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

DIRECTORIES = (0x8769, 0x8825)  # Exif, GPS
_RESOLUTION = (282, 283, 296)


def add_tags(
    file: IO[bytes],
    exif: Image.Exif,
    tags: dict[int, bytes],
    resolution: tuple[float, float, int] | None,
) -> None:
    """Append the tags of `exif`, its directories, and `tags` (as bytes), to a little-endian TIFF.

    The file's first directory is written anew at the end, with the new entries (TIFF 6.0,
    section 2; BigTIFF where the file is one); the old one stays as unused bytes. Nothing is
    changed in the file before all new bytes are known. `resolution` is across, down, and the
    unit: 1 none, 2 inch, 3 cm.
    """
    file.seek(0)
    layout = _Layout(file.read(16))
    file.seek(layout.start)
    (count,) = layout.unpack(layout.number, file.read(layout.number_size))
    own = [file.read(layout.entry) for _ in range(count)]
    entries = {struct.unpack_from("<H", entry)[0]: entry for entry in own}
    for tag in _RESOLUTION:  # made up by the encoder
        entries.pop(tag, None)
    place = _even(file)
    new = io.BytesIO()

    root = ImageFileDirectory_v2(ifh=layout.header)
    for tag, value in exif.items():
        if tag not in DIRECTORIES and tag not in entries:
            root[tag] = value
    for tag, value in zip(_RESOLUTION, resolution or (), strict=False):
        root[tag] = value
    for tag, data in tags.items():
        root.tagtype[tag] = 1 if tag == 700 else 7  # XMP is bytes, others undefined
        root[tag] = data
    for tag in DIRECTORIES:
        values = exif.get_ifd(tag)
        if values:
            at = place + _even(new)
            directory = ImageFileDirectory_v2(ifh=layout.header)
            directory.update(values)
            new.write(directory.tobytes(at))
            entries[tag] = layout.link(tag, at)
    block = root.tobytes(place + _even(new))
    (count,) = layout.unpack(layout.number, block[: layout.number_size])
    for i in range(count):
        begin = layout.number_size + i * layout.entry
        entry = block[begin : begin + layout.entry]
        entries[struct.unpack_from("<H", entry)[0]] = entry
    new.write(block)
    start = place + _even(new)
    new.write(layout.pack(layout.number, len(entries)))
    new.write(b"".join(entries[tag] for tag in sorted(entries)) + bytes(layout.offset_size))
    file.seek(place)
    file.write(new.getvalue())
    file.seek(layout.first)
    file.write(layout.pack(layout.offset, start))


class _Layout:
    """How a TIFF or a BigTIFF counts and points."""

    def __init__(self, head: bytes) -> None:
        self.big = head[:4] == b"II+\0"
        if not self.big and head[:4] != b"II*\0":
            raise ValueError("not a little-endian TIFF")
        self.header = head if self.big else head[:8]
        self.first = 8 if self.big else 4  # where the place of the first directory stands
        self.number, self.offset = ("Q", "Q") if self.big else ("H", "I")
        self.number_size, self.offset_size = (8, 8) if self.big else (2, 4)
        self.entry = 20 if self.big else 12
        (self.start,) = self.unpack(self.offset, head[self.first :][: self.offset_size])

    def pack(self, kind: str, value: int) -> bytes:
        return struct.pack("<" + kind, value)

    def unpack(self, kind: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack("<" + kind, data)

    def link(self, tag: int, place: int) -> bytes:
        kind = 16 if self.big else 4  # LONG8, LONG
        return struct.pack("<HH" + self.offset * 2, tag, kind, 1, place)


def _even(file: IO[bytes]) -> int:
    """The next even offset at the end, where directories must begin."""
    place = file.seek(0, 2)
    if place % 2:
        file.write(b"\0")
        place += 1
    return place
