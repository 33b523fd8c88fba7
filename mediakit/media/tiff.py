"""How a TIFF gets its camera and GPS directories, which Pillow can't write compressed."""

import struct
from typing import IO

from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

DIRECTORIES = (0x8769, 0x8825)  # Exif, GPS
_LONG = 4


def add_directories(file: IO[bytes], exif: Image.Exif) -> bool:
    """Append the directories of `exif` to a plain little-endian TIFF; False where it is another.

    The file's first directory is written anew at the end, with links to them (TIFF 6.0, section
    2); the old one stays as unused bytes.
    """
    file.seek(0)
    if file.read(4) != b"II*\0":
        return False
    (start,) = struct.unpack("<I", file.read(4))
    file.seek(start)
    (count,) = struct.unpack("<H", file.read(2))
    entries = [file.read(12) for _ in range(count)]
    for tag in DIRECTORIES:
        values = exif.get_ifd(tag)
        if values:
            place = _end(file)
            directory = ImageFileDirectory_v2(prefix=b"II")
            directory.update(values)
            file.write(directory.tobytes(place))
            entries.append(struct.pack("<HHII", tag, _LONG, 1, place))
    entries.sort(key=lambda entry: struct.unpack_from("<H", entry))
    place = _end(file)
    file.write(struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4))
    file.seek(4)
    file.write(struct.pack("<I", place))
    return True


def _end(file: IO[bytes]) -> int:
    """The next even offset at the end, where directories must begin."""
    place = file.seek(0, 2)
    if place % 2:
        file.write(b"\0")
        place += 1
    return place
