"""What libvips does here: pixels of more than 8 bits, all TIFFs, and encoding strip by strip.

Pillow opens 48-bit files as 24-bit, its libtiff writes to the process's stderr, and its encoders
want the whole picture at 4 bytes a pixel.
"""

import io
import logging
import struct
import threading
from collections.abc import Callable
from queue import Queue
from typing import IO, Any, TypeVar

import numpy as np
import pyvips  # type: ignore[import-untyped]
from numpy.typing import NDArray

from mediakit.media.pixels import Pixels
from mediakit.media.rows import Rows

Error = pyvips.Error
# Without a handler, what libvips logs beside failing would land on stderr
logging.getLogger("pyvips").addHandler(logging.NullHandler())
logging.getLogger("pyvips").propagate = False
pyvips.cache_set_max(0)  # of operations on pictures that never come again
_STRIP = 64  # rows a strip of the TIFF that pixels are handed over in
_T = TypeVar("_T")
_AHEAD = 2  # strips that may wait for the encoder


def decode(data: bytes) -> tuple[NDArray[Any], str, int]:
    """Pixels H x W x C of the first page, of any type; what libvips calls them; bits a channel.

    Raises Error over anything damaged.
    """
    image = pyvips.Image.new_from_buffer(data, "", fail_on="warning")
    bits = image.get("bits-per-sample") if image.get_typeof("bits-per-sample") else 0
    pixels: NDArray[Any] = image.numpy()
    return np.atleast_3d(pixels), image.interpretation, bits


def image_of(pixels: Pixels) -> Any:
    """A libvips image over the same memory: sRGB or grey, 8 or 16 bits, with alpha or not."""
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels))
    names = ("b-w", "srgb") if pixels.dtype == np.uint8 else ("grey16", "rgb16")
    return image.copy(interpretation=names[pixels.shape[2] >= 3])


def convert(pixels: Pixels, profile: bytes, space: str = "") -> Pixels:
    """Through a profile to sRGB, H x W x 3 of the same type; perceptual, black on black.

    Raises Error for a profile that is not usable for such pixels.
    """
    image = image_of(pixels)
    if space:
        image = image.copy(interpretation=space)
    image.set_type(pyvips.GValue.blob_type, "icc-profile-data", profile)
    depth = pixels.dtype.itemsize * 8
    made = image.icc_import(
        embedded=True, intent="perceptual", black_point_compensation=True, pcs="lab"
    ).icc_export(
        output_profile="srgb", depth=depth, intent="perceptual", black_point_compensation=True
    )
    converted: Pixels = made.numpy()
    return converted[..., :3]


def srgb_profile() -> bytes:
    return bytes(pyvips.Operation.call("profile_load", "srgb"))


def encode(
    rows: Rows,
    file: "IO[bytes] | io.RawIOBase",
    suffix: str,
    fields: dict[str, Any],
    **options: Any,
) -> str:
    """Write `rows` to a file open for reading and writing, in libvips's format of that suffix.

    `fields` are set on the image (libvips's names). The strips are made on the calling thread.
    Returns why it failed, or "". An OSError of the file, and what making the strips raises,
    come out as they are.
    """
    target = _Target(file)
    source = _Source(rows)
    reason: list[str] = []

    def work() -> None:
        try:
            image = pyvips.Image.new_from_source(source.opened, "", access="sequential").copy()
            for name, value in fields.items():
                image.set_type(_type(value), name, value)
            image.write_to_target(target.opened, suffix, **options)
        except Exception as error:
            reason.append(_line(error))
        finally:
            source.stop()

    thread = threading.Thread(target=work, name="encoder")
    thread.start()
    try:
        source.feed()
    finally:
        source.end()
        thread.join()
    if target.fault is not None:
        raise target.fault
    return reason[0] if reason else ""


def _type(value: object) -> int:
    match value:
        case bytes():
            return int(pyvips.GValue.blob_type)
        case list():
            return int(pyvips.GValue.array_int_type)
        case int():
            return int(pyvips.GValue.gint_type)
        case float():
            return int(pyvips.GValue.gdouble_type)
    return int(pyvips.GValue.gstr_type)


def _line(error: Exception) -> str:
    text = [line.strip() for line in str(error).splitlines() if line.strip()]
    return text[-1] if text else type(error).__name__


class _Target:
    """The file, with the first OSError kept: libvips would only say that writing failed."""

    def __init__(self, file: "IO[bytes] | io.RawIOBase") -> None:
        self.file = file
        self.fault: OSError | None = None
        self.opened = pyvips.TargetCustom()
        self.opened.on_write(self._write)
        self.opened.on_read(self._read)
        self.opened.on_seek(self._seek)

    def _write(self, data: bytes) -> int:
        return self._keeping_the_fault(lambda: self.file.write(data), -1)

    def _read(self, length: int) -> bytes:
        return self._keeping_the_fault(lambda: self.file.read(length), b"")

    def _seek(self, offset: int, whence: int) -> int:
        return self._keeping_the_fault(lambda: self.file.seek(offset, whence), -1)

    def _keeping_the_fault(self, act: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return act()
        except (OSError, ValueError) as error:  # ValueError: closed, or where it can't be sought
            self.fault = self.fault or (error if isinstance(error, OSError) else None)
            return otherwise


class _Source:
    """Strips, as libvips reads them: an uncompressed BigTIFF, written nowhere, of its own order.

    libvips has no other way to take pixels as they come (libvips/pyvips issue 155).
    """

    def __init__(self, rows: Rows) -> None:
        self.rows = rows
        self._head = _tiff_head(rows)
        self._total = len(self._head) + rows.nbytes
        self._queue: Queue[Pixels | None] = Queue(_AHEAD)
        self._stopped = threading.Event()
        self._held = memoryview(b"")
        self._start = len(self._head)  # of what is held
        self._at = 0
        self._ended = False
        self.opened = pyvips.SourceCustom()
        self.opened.on_read(self._read)
        self.opened.on_seek(self._seek)

    def feed(self) -> None:
        """Hand over all strips, here and now, unless the encoder gave up."""
        for part in self.rows:
            if self._stopped.is_set():
                return
            self._queue.put(np.ascontiguousarray(part))

    def end(self) -> None:
        if not self._stopped.is_set():
            self._queue.put(None)

    def stop(self) -> None:
        """Nothing is read any more: let the other side go."""
        self._stopped.set()
        while not self._queue.empty():
            self._queue.get()

    def _read(self, length: int) -> bytes:
        if self._at < len(self._head):
            data = self._head[self._at : self._at + length]
            self._at += len(data)
            return data
        while self._at >= self._start + len(self._held):
            part = None if self._ended else self._queue.get()
            if part is None:
                self._ended = True
                return b""
            self._start += len(self._held)
            self._held = part.reshape(-1).view(np.uint8).data
        begin = self._at - self._start
        data = bytes(self._held[begin : begin + length]) if begin >= 0 else b""
        self._at += len(data)
        return data

    def _seek(self, offset: int, whence: int) -> int:
        self._at = (0, self._at, self._total)[whence] + offset
        return self._at


def _tiff_head(rows: Rows) -> bytes:
    """All of an uncompressed BigTIFF but its pixels, which follow in order."""
    count = -(-rows.height // _STRIP)
    line = rows.width * rows.channels * rows.bits // 8
    entries = 11
    tables = 16 + 8 + 20 * entries + 8
    data = tables + 16 * count
    places = [data + i * _STRIP * line for i in range(count)]
    lengths = [min(_STRIP, rows.height - i * _STRIP) * line for i in range(count)]

    def entry(tag: int, kind: int, amount: int, value: bytes) -> bytes:
        return struct.pack("<HHQ", tag, kind, amount) + value.ljust(8, b"\0")

    short = struct.Struct("<H").pack
    long = struct.Struct("<Q").pack
    alpha = rows.channels == 4
    directory = (
        entry(256, 16, 1, long(rows.width)),
        entry(257, 16, 1, long(rows.height)),
        entry(258, 3, rows.channels, short(rows.bits) * rows.channels),
        entry(259, 3, 1, short(1)),
        entry(262, 3, 1, short(2 if rows.channels >= 3 else 1)),
        entry(273, 16, count, long(places[0] if count == 1 else tables)),
        entry(277, 3, 1, short(rows.channels)),
        entry(278, 3, 1, short(_STRIP)),
        entry(279, 16, count, long(lengths[0] if count == 1 else tables + 8 * count)),
        entry(284, 3, 1, short(1)),
        entry(338, 3, int(alpha), short(2) if alpha else b""),
    )
    body = struct.pack("<Q", entries) + b"".join(directory) + bytes(8)
    numbers = struct.pack(f"<{2 * count}Q", *places, *lengths)
    return b"II+\0" + struct.pack("<HHQ", 8, 0, 16) + body + numbers
