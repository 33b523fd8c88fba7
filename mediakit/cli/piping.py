"""What comes through a pipe beside prompts: `git diff | mediakit chat "review this"`."""

import os
import select
import stat
import sys

from mediakit.batch.task import Task
from mediakit.errors import UserError
from mediakit.params import Batch

PATIENCE = 3.0  # seconds after which a person is told what is waited for
CHUNK = 1 << 16  # bytes


def piped(task: type[Task], batch: Batch, arguments: list[str]) -> list[str]:
    """The prompts, each with the whole of standard input behind it; or that alone.

    Nothing is read from a terminal or /dev/null, nor where inputs come from elsewhere.
    """
    if not task.takes_piped or batch.list_file or batch.explain or "-" in arguments:
        return arguments
    text = _read(0)
    if not text.strip():
        if arguments and stat.S_ISFIFO(os.fstat(0).st_mode) and not batch.quiet:
            sys.stderr.write(f"mediakit {task.name}: standard input was empty\n")
        return arguments
    return [f"{prompt}\n\n{text}" for prompt in arguments] or [text]


def _read(fd: int) -> str:
    """All of it; UserError unless it is UTF-8 text."""
    kind = os.fstat(fd).st_mode
    if not (stat.S_ISFIFO(kind) or stat.S_ISREG(kind) or stat.S_ISSOCK(kind)):
        return ""
    if sys.stderr.isatty() and not select.select([fd], [], [], PATIENCE)[0]:
        sys.stderr.write("mediakit: waiting for standard input; </dev/null if there is none\n")
    data = b""
    try:
        while piece := os.read(fd, CHUNK):
            data += piece
    except OSError as e:
        raise UserError("unreadable", f"standard input can't be read: {e.strerror}") from None
    try:
        text = data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as e:
        at = f"byte {e.start + 1} is not UTF-8"
        raise UserError(
            "usage", f"standard input is no text: {at}; give text (iconv makes UTF-8 of it)"
        ) from None
    if "\0" in text:
        raise UserError("usage", "standard input is no text: it has a NUL byte; give text")
    return text.rstrip("\n")
