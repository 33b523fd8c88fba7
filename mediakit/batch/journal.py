"""What this run does to an output directory, written down so that a kill at any moment is safe."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mediakit.batch.files import put_in_place
from mediakit.batch.history import History
from mediakit.batch.locks import Locks

# From this many journals of ended runs on, they are merged into one.
MERGE_FROM = 16


class Journal:
    """This run's journal in `folder`, beside those of all others; safe for threads.

    Nothing is created on the disk before `open`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._host = socket.gethostname().replace("/", "_") or "host"
        self.run = f"{self._host}-{os.getpid()}-{time.time_ns()}"
        self.temporary = folder / "tmp" / self.run  # on the file system of the outputs
        self.history = History(folder / "journal", own=f"{self.run}.jsonl")
        self._mutex = threading.RLock()
        self._fd: int | None = None
        self._last = 0
        self._locks: Locks | None = None
        self._started: set[str] = set()  # items begun and not answered for
        self._tells = False  # this run's journal says more than what was begun and let go
        self._made_parent = False

    def open(self) -> None:
        """Take this run's lock, begin its journal, and clear up after runs that have ended."""
        with self._mutex:
            if self._fd is not None:
                return
            self._lock()
            (self.folder / "journal").mkdir(exist_ok=True)
            self.temporary.mkdir(parents=True, exist_ok=True)
            path = self.folder / "journal" / f"{self.run}.jsonl"
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            self._clear_up()

    def _lock(self) -> None:
        """Take this run's lock, on a file that no ending run has removed meanwhile."""
        while True:
            self._made_parent = self._made_parent or not self.folder.parent.exists()
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                locks = Locks(self.folder / "lock")
            except FileNotFoundError:
                continue
            locks.wait(f"run {self.run}")
            if locks.is_there:
                self._locks = locks
                return
            locks.close()

    def partial(self, key: str) -> Path:
        """Where unfinished work on an item may be kept from run to run; nothing is created."""
        digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        return self.folder / "partial" / digest[:24]

    @property
    def is_open(self) -> bool:
        return self._fd is not None

    @property
    def locks(self) -> Locks:
        assert self._locks is not None, "open() first"
        return self._locks

    def append(self, kind: str, key: str, flush: bool = False, **fields: object) -> None:
        """Add a line; with `flush` it is on the disk when this returns. OSError if it can't be."""
        with self._mutex:
            assert self._fd is not None, "open() first"
            # later than all that was seen, even if the clock was set back
            self._tells = self._tells or kind not in ("start", "stop")
            (self._started.add if kind == "start" else self._started.discard)(key)
            self._last = max(time.time_ns(), self.history.newest + 1, self._last + 1)
            line = {**fields, "t": kind, "at": self._last, "key": key}
            data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
            written = os.write(self._fd, data)
            if written != len(data):
                with contextlib.suppress(OSError):  # no torn line in the middle
                    os.ftruncate(self._fd, os.fstat(self._fd).st_size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fd = self._fd
        if flush:  # may take long: meanwhile others append
            os.fsync(fd)

    def close(self) -> None:
        """End the run: its locks are free and its journal may be merged from now on."""
        with self._mutex:
            if self._fd is not None:
                shutil.rmtree(self.temporary, ignore_errors=True)
                os.close(self._fd)
                if not (self._tells or self._started):
                    self._leave_no_trace()
            elif _holds_something(self.folder / "tmp"):
                with contextlib.suppress(OSError):  # there was nothing to do but this
                    self._locks = Locks(self.folder / "lock")
                    self._clear_up()
            if self._locks:
                self._locks.close()
            self._fd = self._locks = None

    def _leave_no_trace(self) -> None:
        """Remove the folder of a run that came to nothing, if no other run has been there."""
        journals = self.folder / "journal"
        with contextlib.suppress(OSError):  # something in it, or someone
            if os.listdir(journals) != [f"{self.run}.jsonl"] or not self.locks.acquire_all():
                return
            self.temporary.parent.rmdir()
            (journals / f"{self.run}.jsonl").unlink()
            journals.rmdir()
            (self.folder / "lock").unlink()
            self.folder.rmdir()
            if self._made_parent:
                self.folder.parent.rmdir()

    def _clear_up(self) -> None:
        """Remove what killed runs have left, and merge journals if there are many."""
        with contextlib.suppress(OSError):
            if not self.locks.acquire("clear up"):
                return
            try:
                for run in self._ended(os.listdir(self.folder / "tmp")):
                    shutil.rmtree(self.folder / "tmp" / run, ignore_errors=True)
                names = [path.stem for path in (self.folder / "journal").glob("*.jsonl")]
                ended = [f"{run}.jsonl" for run in self._ended(names)]
                if self.is_open and len(ended) >= MERGE_FROM:
                    self._merge(ended)
            finally:
                self.locks.release("clear up")

    def _ended(self, runs: Iterable[str]) -> Iterator[str]:
        """Of these runs of this host, those whose process has ended."""
        for run in runs:
            # locks of other hosts can't be trusted to be seen
            host = run.removesuffix("-merged").rsplit("-", 2)[0]  # may hold a "-" itself
            if host == self._host and run != self.run and self.locks.acquire(f"run {run}"):
                yield run
                self.locks.release(f"run {run}")

    def _merge(self, names: list[str]) -> None:
        """Replace ended runs' journals by one file of their sum.

        A reader that misses a removed file lists the folder again and finds the merged one.
        """
        past = History(self.folder / "journal", only=names)
        with (self.temporary / "merged").open("wb") as file:
            for key, entry in sorted(past.entries.items(), key=lambda pair: pair[1].at):
                makings = {
                    name: {**making.line(), "record": past.record(making.where)} if making else None
                    for name, making in (("made", entry.made), ("intended", entry.intended))
                }
                line = {
                    "t": "item",
                    "at": entry.at,
                    "key": key,
                    **makings,
                    "task": entry.task,
                    "starts": entry.starts,
                    "failed": entry.failed,
                }
                file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        # a name of its own: a reader remembers how far it has read each
        merged = self.folder / "journal" / f"{self.run}-merged.jsonl"
        put_in_place(self.temporary / "merged", merged, replace=True)
        for name in names:
            (self.folder / "journal" / name).unlink(missing_ok=True)
        self.history.refresh()


def _holds_something(folder: Path) -> bool:
    try:
        return bool(os.listdir(folder))
    except OSError:
        return False
