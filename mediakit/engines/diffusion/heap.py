"""What is done about Python's and the C library's memory while a model loads and computes."""

import ctypes
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# glibc's <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
_LARGEST = 2**30  # bytes: larger tensors than any of a picture of a usual size


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for cycles meanwhile: importing diffusers and transformers makes objects by the
    hundred thousand that all stay, and looking them through takes a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def keep_freed() -> None:
    """Use freed memory again rather than give it back after each layer.

    A net on a CPU frees and allocates the same sizes in every step; that the system then zeroes
    each page anew costs thousands of page faults a picture. Only
    where the C library is glibc; elsewhere nothing happens.
    """
    if libc := _glibc():
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGEST)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def give_back() -> None:
    """Give the system what is freed and kept."""
    if libc := _glibc():
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    libc = ctypes.CDLL(None)
    return libc if hasattr(libc, "gnu_get_libc_version") else None
