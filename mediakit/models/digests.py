"""When a file's digest is believed without reading the file again.

Beside a verified file lies a stamp: its digest with the size and modification time it had then.
A stamp saves time; it is no protection against someone who may write into the cache.
"""

import contextlib
import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.lru_cache(maxsize=256)
def _digest(path: Path, size: int, mtime_ns: int, inode: int) -> str:
    """Read once a process, also where no stamp can be written."""
    return sha256_of(path)


def _stat(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _read(stamp: Path) -> dict[str, Any]:
    try:
        found = json.loads(stamp.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _says(stamp: dict[str, Any], stat: dict[str, int]) -> bool:
    return all(stamp.get(name) == value for name, value in stat.items())


def stamp_of(path: Path) -> Path:
    return path.with_name(path.name + ".stamp")


def write_stamp(path: Path, sha256: str, source: str | None = None) -> None:
    """`source`: where mediakit got the file; None: someone else put it there."""
    with contextlib.suppress(OSError):
        _write(stamp_of(path), {"sha256": sha256, **_stat(path), "source": source})


def _write(stamp: Path, said: dict[str, Any]) -> None:
    """Best effort: in a cache that may only be read, files are hashed at each start instead."""
    part = stamp.with_name(f"{stamp.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        part.write_text(json.dumps(said))
        part.replace(stamp)


def install(part: Path, final: Path, sha256: str, source: str) -> None:
    """Move a verified file to its final name; whole there, even if the power fails."""
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    final.parent.mkdir(parents=True, exist_ok=True)
    part.replace(final)
    write_stamp(final, sha256, source=source)


def stamped(path: Path) -> dict[str, Any]:
    """What the file's stamp says: sha256, size, mtime_ns, source; empty without one."""
    return _read(stamp_of(path))


def is_whole(path: Path, expected: str | None = None) -> bool:
    """Whether `path` holds what it should: `expected`, or else what it held when it was stamped.

    Cheap while size and modification time are those of its stamp; otherwise the file is hashed.
    """
    stamp = stamped(path)
    try:
        stat = _stat(path)
        expected = expected or stamp.get("sha256")
        if expected and _says(stamp, stat) and stamp.get("sha256") == expected:
            return True
        whole = expected is not None and sha256_of(path) == expected
    except OSError:
        return False
    if whole and expected is not None:
        write_stamp(path, expected, source=stamp.get("source"))
    return whole


def digest(path: Path, stamps: Path) -> str:
    """The sha256 of a file that lies outside the store; stamps of such files are kept in the folder
    `stamps`. Another file that was moved there is told by its inode."""
    key = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:32]
    stamp = stamps / f"{key}.stamp"
    found, stat = _read(stamp), {**_stat(path), "inode": path.stat().st_ino}
    if "sha256" in found and _says(found, stat):
        return str(found["sha256"])
    sha256 = _digest(path, **stat)
    with contextlib.suppress(OSError):
        stamps.mkdir(parents=True, exist_ok=True)
    _write(stamp, {"sha256": sha256, **stat})
    return sha256
