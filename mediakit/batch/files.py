"""Files: what makes one the same as before, reading it once, and putting it in place whole."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

from mediakit.errors import ItemError, PlaceError, show


class Stat(NamedTuple):
    """What tells a file unchanged without reading it (times in nanoseconds)."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, s: os.stat_result) -> "Stat":
        return cls(s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino)


@dataclass(frozen=True, slots=True)
class FileState:
    """A file's content at one moment; `stat` is None where only the content is known."""

    path: str
    sha256: str
    size: int
    stat: Stat | None = None

    @classmethod
    def of_bytes(cls, path: str, data: bytes) -> "FileState":
        """Of content that is not in a file."""
        return cls(path, hashlib.sha256(data).hexdigest(), len(data))

    def found_at(self, path: str | Path, verify: bool = False) -> "FileState | None":
        """This state with the stat that the file at `path` has now, None if its content is not
        this: told by stat if it can be, else (and with `verify`) by sha256."""
        try:
            now = Stat.of(os.stat(path))
            if now == self.stat and not verify:
                return self
            if now.size != self.size or digest(path) != self.sha256:
                return None
        except OSError:
            return None
        return replace(self, stat=now)  # of before the reading: what came since is seen


def digest(path: str | Path) -> str:
    """sha256 of a file's content, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_file(path: str, empty: bool = False) -> tuple[bytes, FileState]:
    """Read a regular file once, with its identity; ItemError names what is wrong with it. `empty`:
    it may be."""
    with _opened(path, empty) as (file, before):
        data = file.read()
        _check_unchanged(path, file, before)
    return data, FileState(path, hashlib.sha256(data).hexdigest(), len(data), before)


def state_of(path: str) -> FileState:
    """The identity of a regular file of any size; ItemError as for `read_file`."""
    with _opened(path) as (file, before):
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        _check_unchanged(path, file, before)
    return FileState(path, sha256, before.size, before)


@contextlib.contextmanager
def _opened(path: str, empty: bool = False) -> Iterator[tuple[BufferedReader, Stat]]:
    """A regular file that is not empty (or may be), with its stat, and its errors as ItemErrors."""
    try:
        # O_NONBLOCK: opening a FIFO must not wait for a writer
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(fd, "rb") as file:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise ItemError("not_a_file", f"{show(path)} is not a file; name a file instead")
            if not (found.st_size or empty):
                raise ItemError("empty_file", f"{show(path)} is empty (0 bytes); copy it again")
            yield file, Stat.of(found)
    except OSError as e:
        raise input_error(path, e) from None
    except ValueError:
        raise ItemError("missing_file", f"{show(path)}: a name can't hold a NUL byte") from None


def _check_unchanged(path: str, file: BufferedReader, before: Stat) -> None:
    """ItemError if the file, which was read to its end, is another than `before`."""
    if file.tell() != before.size or Stat.of(os.fstat(file.fileno())) != before:
        raise ItemError("changed", f"{show(path)} changed while it was read; run again")


def input_error(path: str, error: OSError) -> ItemError:
    """The ItemError for an input that can't be opened or read."""
    name = show(path)
    if error.errno == errno.ELOOP:
        return ItemError("broken_link", f"{name} is a symbolic link that leads in a circle")
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        with contextlib.suppress(OSError, ValueError):
            return ItemError(
                "broken_link",
                f"{name} is a symbolic link to {show(os.readlink(path))}, which does not exist",
            )
        return ItemError("missing_file", f"{name} does not exist; check the name")
    if error.errno == errno.EISDIR:
        return ItemError("not_a_file", f"{name} is a directory; name a file instead")
    if error.errno == errno.ENAMETOOLONG:
        return ItemError("missing_file", f"{name}: the name is longer than the file system allows")
    return ItemError("unreadable", f"{name} can't be read: {reason(error)}")


def output_error(path: str | Path, error: OSError) -> ItemError | PlaceError:
    """The error for an output that can't be written: of the item, or of the place."""
    name, code = show(path), error.errno
    if code in (errno.ENOSPC, errno.EDQUOT):
        return PlaceError("disk_full", f"{name} can't be written: {reason(error)}; free some space")
    if code == errno.EFBIG:
        return PlaceError("disk_full", f"{name} can't be written: file size limit (ulimit -f)")
    if code in (errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE, errno.ENXIO):
        return PlaceError(
            "read_only", f"{name} can't be written: {reason(error)}; check the output directory"
        )
    if code == errno.ENAMETOOLONG:
        return ItemError("name_too_long", f"{name}: the name is too long; use a shorter --name")
    if code in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
        return ItemError(
            "would_overwrite", f"{name} is in the way: {reason(error)}; use another --out"
        )
    return ItemError("encode_failed", f"{name} can't be written: {reason(error)}")


def reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


def flush(path: Path) -> None:
    """Return when the file's bytes are on the disk, so that a rename never shows a torn file."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def put_in_place(temporary: Path, final: str | Path, replace: bool) -> Stat:
    """Give a whole temporary file its final name on the same file system, and its Stat there.

    Without `replace` a file that is already there stays: FileExistsError.
    """
    if replace:
        os.replace(temporary, final)
        return Stat.of(os.stat(final))
    try:
        os.link(temporary, final)
    except FileExistsError:
        raise
    except OSError as e:
        # exFAT and some network file systems have no hard links
        if e.errno not in (errno.EPERM, errno.ENOTSUP, errno.EMLINK, errno.ENOSYS, errno.EXDEV):
            raise
        if os.path.lexists(final):
            raise FileExistsError(errno.EEXIST, "file exists") from None
        os.replace(temporary, final)
    else:
        temporary.unlink()
    return Stat.of(os.stat(final))
