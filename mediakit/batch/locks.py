"""Who works on what: byte-range locks on one file, so that nothing is left behind by kill -9."""

import contextlib
import fcntl
import hashlib
import os
from pathlib import Path


class Locks:
    """Locks by name, held by this process until released or dead.

    They are POSIX record locks: of the process, not of the thread, and dropped when the process
    closes any descriptor of the file; hence one `Locks` an output directory.
    """

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)

    def acquire(self, name: str) -> bool:
        """Take the lock, or return False at once if another process has it."""
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(name))
        except (BlockingIOError, PermissionError):
            return False
        return True

    def wait(self, name: str) -> None:
        """Take the lock, waiting for whoever has it."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, _offset(name))

    def release(self, name: str) -> None:
        with contextlib.suppress(OSError):
            fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, _offset(name))

    def close(self) -> None:
        os.close(self.fd)


def _offset(name: str) -> int:
    """A byte of the lock file, far past its end; two names share one with a chance of 2**-62."""
    raw = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(raw[:8]) >> 2
