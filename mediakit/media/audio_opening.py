"""How a file with sound is opened: which of ffmpeg's readers may try it, and what errors mean."""

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import IO

import av
from av.container import InputContainer

from mediakit.errors import ItemError, show
from mediakit.media.audio_cut import missing_bytes
from mediakit.media.audio_formats import sniff

Source = str | bytes
# Readers that open other files or addresses, or devices, or that take any text for a picture or
# a sound: a playlist called a.mp3 shall fetch nothing.
_FORBIDDEN = (
    "adf alsa bin concat dash data fbdev ffmetadata hls idf image2 image2pipe imf kmsgrab lavfi "
    "oss rtp rtsp sap sbg sdp tty v4l2 video4linux2 vobsub webm_dash_manifest x11grab xbin"
)


@contextmanager
def opened(source: Source, name: str) -> Iterator[tuple[InputContainer, IO[bytes]]]:
    """The file as ffmpeg reads it, and the file itself; all that goes wrong inside is the file's.

    Raises ItemError: missing_file, unreadable, not_a_file, empty_file, changed,
    unsupported_format, corrupt, truncated, out_of_memory.
    """
    with _file(source, name) as file:
        before = _state(file)
        try:
            with blaming_the_file(name), _container(file, name) as container:
                yield container, file
        except ItemError:
            _check_unchanged(file, before, name)  # being written explains all else
            raise
        _check_unchanged(file, before, name)


@contextmanager
def _container(file: IO[bytes], name: str) -> Iterator[InputContainer]:
    options = {"format_whitelist": _readers(), "protocol_whitelist": "none"}
    if sniff(file.read(12)) == ".wav":  # in which ffmpeg looks for DTS, for 5 ms and more
        options["probesize"] = "2048"
    file.seek(0)
    try:
        container = av.open(file, "r", options=options, metadata_errors="replace")
    except (av.InvalidDataError, av.ArgumentError, av.EOFError):
        raise _unknown(file, name) from None
    with container:
        yield container


@contextmanager
def blaming_the_file(name: str) -> Iterator[None]:
    """What PyAV raises over damaged or unreadable bytes, as ItemErrors."""
    try:
        yield
    except av.MemoryError:
        raise ItemError(
            "out_of_memory", f"{show(name)} needs more memory than there is, or is damaged"
        ) from None
    except av.FFmpegError as error:
        raise ItemError("corrupt", f"{show(name)} is damaged ({_words(error)})") from None
    except OSError as error:
        raise ItemError("unreadable", f"{show(name)} can't be read: {_words(error)}") from None


def cut_off(name: str, end: float | None, total: float | None) -> ItemError:
    """The error for a recording that ends before it should; times in seconds, as far as known."""
    where = "" if end is None else f": it ends at {end:.1f} s"
    where += f" of {total:.1f} s" if where and total else ""
    return ItemError(
        "truncated",
        f"{show(name)} is cut off{where}; copy or download it again, or make what is there a whole "
        "file (ffmpeg -i OLD -c copy NEW)",
    )


def _file(source: Source, name: str) -> IO[bytes]:
    if isinstance(source, bytes):
        file: IO[bytes] = io.BytesIO(source)
        size = len(source)
    else:
        try:
            # O_NONBLOCK: opening a FIFO must not wait for a writer
            flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            opener: Callable[[str, int], int] = lambda path, _: os.open(path, flags)  # noqa: E731
            # unbuffered: ffmpeg has buffers of its own
            file = open(source, "rb", buffering=0, opener=opener)  # noqa: SIM115
        except FileNotFoundError:
            raise ItemError("missing_file", f"{show(name)} does not exist") from None
        except IsADirectoryError:
            raise ItemError("not_a_file", f"{show(name)} is a directory; name a file") from None
        except (OSError, ValueError) as error:
            message = f"{show(name)} can't be read: {_words(error)}"
            raise ItemError("unreadable", message) from None
        state = os.fstat(file.fileno())
        size = state.st_size
        if not stat.S_ISREG(state.st_mode):
            file.close()
            raise ItemError("not_a_file", f"{show(name)} is not a file; name a file instead")
    if not size:
        file.close()
        raise ItemError("empty_file", f"{show(name)} is empty (0 bytes); copy it again")
    return file


def _state(file: IO[bytes]) -> tuple[int, int] | None:
    if isinstance(file, io.BytesIO):
        return None
    state = os.fstat(file.fileno())
    return state.st_size, state.st_mtime_ns


def _check_unchanged(file: IO[bytes], before: tuple[int, int] | None, name: str) -> None:
    if _state(file) != before:
        raise ItemError("changed", f"{show(name)} changed while it was read; run again") from None


@cache
def _readers() -> str:
    """The names of ffmpeg's readers that may be tried, as its option wants them."""
    names = {name for names in av.formats_available for name in names.split(",")}
    return ",".join(sorted(names - set(_FORBIDDEN.split())))


def _unknown(file: IO[bytes], name: str) -> ItemError:
    """Why no reader took the file."""
    file.seek(0)
    kind = sniff(file.read(512))
    if missing_bytes(file):  # such as an MP4 whose index should have come last
        return cut_off(name, None, None)
    if kind:
        return ItemError("corrupt", f"{show(name)} begins like a {kind} file but is damaged")
    return ItemError(
        "unsupported_format", f"{show(name)} is no sound or video that can be read, whatever it "
        "is called",
    )  # fmt: skip


def _words(error: Exception) -> str:
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return show(str(said).strip().lower())
