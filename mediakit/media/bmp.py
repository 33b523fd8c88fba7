"""How a BMP is written strip by strip: from the end, because its first row is the lowest."""

import struct
from typing import IO

import numpy as np

from mediakit.media.rows import Rows

_METRE = 39.37007874015748  # inches


def write(rows: Rows, file: IO[bytes], dpi: tuple[float, float] | None) -> None:
    """8-bit grey (with a palette) or RGB; BITMAPINFOHEADER."""
    grey = rows.channels == 1
    line = -(-rows.width * rows.channels // 4) * 4  # rows end at multiples of 4 bytes
    palette = b"".join(bytes((i, i, i, 0)) for i in range(256)) if grey else b""
    start, size = 54 + len(palette), line * rows.height
    across, down = (round(value * _METRE) for value in dpi or (0, 0))
    head = b"BM" + struct.pack("<IHHI", start + size, 0, 0, start)
    head += struct.pack("<IiiHHII", 40, rows.width, rows.height, 1, 8 * rows.channels, 0, size)
    head += struct.pack("<iiII", across, down, 256 if grey else 0, 0)
    file.write(head + palette)
    below = rows.height
    for part in rows:
        below -= len(part)
        turned = np.zeros((len(part), line), np.uint8)
        turned[:, : rows.width * rows.channels] = part[::-1, :, ::-1].reshape(len(part), -1)
        file.seek(start + below * line)
        file.write(turned.tobytes())
