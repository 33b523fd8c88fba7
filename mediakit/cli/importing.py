"""Imports that a person waits for."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType


def imported(name: str) -> ModuleType:
    """A module of mediakit's, imported now."""
    with deadly_interrupt():
        return import_module(name)


@contextmanager
def deadly_interrupt() -> Iterator[None]:
    """Inside, Ctrl-C ends the process at once: Python's import system swallows KeyboardInterrupt
    at some moments, and nothing has begun yet."""
    former = signal.getsignal(signal.SIGINT)
    if former is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
