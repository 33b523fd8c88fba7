"""What is done about Python's and the C library's memory while models load and compute."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_NEVER = 2**31 - 1
_LARGEST = 2**30  # bytes: larger than what a layer makes of a picture or a tile


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: importing makes objects by the hundred thousand that all
    stay, and looking them through takes a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def keep_freed() -> None:
    """Use freed memory again rather than give it back after each layer; before threads begin.

    A net on a CPU frees and allocates the same sizes again and again, and that the system zeroes
    each page anew took 9 to 27 % of the time of captioners, upscalers and face nets. Threads
    share one heap: those of their own hold no more than 64 MiB. Only where the C library is
    glibc; elsewhere nothing happens.
    """
    if libc := _glibc():
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def kept() -> int:
    """Bytes that are freed and kept; 0 where that can't be told."""
    libc = _glibc()
    if not libc or not hasattr(libc, "mallinfo2"):
        return 0
    libc.mallinfo2.restype = _MallInfo
    return int(libc.mallinfo2().fordblks)


def give_back() -> None:
    """Give the system what is freed and kept."""
    if libc := _glibc():
        libc.malloc_trim(0)


class _MallInfo(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks",
                     "uordblks", "fordblks", "keepcost")
    )  # fmt: skip


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
