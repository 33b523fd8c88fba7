"""Who works on what: byte-range locks on one file, so that nothing is left behind by kill -9."""

import contextlib
import fcntl
import hashlib
import os
import threading
from pathlib import Path


class Locks:
    """Locks by name, held until released or until this process is dead; safe for threads.

    The kernel's record locks are the process's, and it drops them when the process closes any
    descriptor of the file; hence one `Locks` an output directory, and a set of what is held.
    """

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        self._held: set[str] = set()
        self._mutex = threading.Lock()

    def acquire(self, name: str) -> bool:
        """Take the lock, or return False at once if anyone has it, this process included."""
        with self._mutex:
            if name in self._held:
                return False
            try:
                fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(name))
            except (BlockingIOError, PermissionError):
                return False
            self._held.add(name)
        return True

    def wait(self, name: str) -> None:
        """Take the lock, waiting for the process that has it."""
        fcntl.lockf(self.fd, fcntl.LOCK_EX, 1, _offset(name))
        with self._mutex:
            self._held.add(name)

    def acquire_all(self) -> bool:
        """Take every lock there could be, until `close`; False if another process has any."""
        try:
            fcntl.lockf(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            return False
        return True

    @property
    def is_there(self) -> bool:
        """Whether the file still has a name: others lock what they find under it."""
        return os.fstat(self.fd).st_nlink > 0

    def release(self, name: str) -> None:
        with self._mutex, contextlib.suppress(OSError):
            if name in self._held:
                self._held.remove(name)
                fcntl.lockf(self.fd, fcntl.LOCK_UN, 1, _offset(name))

    def close(self) -> None:
        os.close(self.fd)


def _offset(name: str) -> int:
    """A byte of the lock file, far past its end; two names share one with a chance of 2**-62."""
    raw = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(raw[:8]) >> 2
