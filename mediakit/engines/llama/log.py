"""Where llama.cpp's messages go: nowhere, but for the errors, which ours quote."""

import ctypes
import os
import re
import tempfile
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from mediakit.engines.llama.native import native

_ERROR = 4  # GGML_LOG_LEVEL_ERROR of ggml.h
_LONGEST = 200  # characters that are quoted
# names of functions, and "error loading model", with which its messages begin
_BEGINNING = re.compile(r"(?:[a-z]\w*: |error loading model: )+")

_errors: deque[str] = deque(maxlen=4)
# it takes no notice of what it is called with, and returns a constant
_deaf = ctypes.cast(native.llama_max_devices, native.llama_log_callback)


@native.llama_log_callback  # type: ignore[untyped-decorator]
def listener(level: int, text: bytes | None, _: object) -> None:
    if level == _ERROR and text:
        _errors.append(text.decode("utf-8", "replace"))


def silence() -> None:
    """Take llama.cpp's messages from now on, and forget those before; otherwise they go to
    standard error, some of them in spite of verbose=False."""
    _errors.clear()
    native.llama_log_set(listener, ctypes.c_void_p(0))


def ignore() -> None:
    """Take none of its messages. While a model loads there are 2,000, and each would wait for an
    interpreter that is importing meanwhile."""
    native.llama_log_set(_deaf, ctypes.c_void_p(0))


def cause(otherwise: str) -> str:
    """What it said first since `silence()`, in one line; the second says only that it failed."""
    said = " ".join(_errors[0].split()) if _errors else otherwise
    return _BEGINNING.sub("", said, count=1)[:_LONGEST]


@contextmanager
def caught() -> Iterator[None]:
    """For parts of llama.cpp that write to standard error by themselves: that is its error."""
    silence()
    kept = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(kept, 2)
            file.seek(0)
            if said := file.read(2000).decode("utf-8", "replace").strip():
                _errors.appendleft(said)
    finally:
        os.close(kept)
