"""What this run does to an output directory, written down so that a kill at any moment is safe."""

import contextlib
import errno
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
        self.history = History(folder / "journal", own=f"{self.run}.jsonl")
        self._mutex = threading.RLock()
        self._fd: int | None = None
        self._locks: Locks | None = None

    def open(self) -> None:
        """Take this run's lock, begin its journal, and clear up after runs that have ended."""
        with self._mutex:
            if self._fd is not None:
                return
            (self.folder / "journal").mkdir(parents=True, exist_ok=True)
            self._locks = Locks(self.folder / "lock")
            self._locks.wait(f"run {self.run}")
            self.temporary.mkdir(parents=True, exist_ok=True)
            path = self.folder / "journal" / f"{self.run}.jsonl"
            self._fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)
            if self._locks.acquire("clear up"):
                with contextlib.suppress(OSError):
                    self._clear_up()
                self._locks.release("clear up")

    @property
    def run_is_open(self) -> bool:
        return self._fd is not None

    @property
    def locks(self) -> Locks:
        assert self._locks is not None, "open() first"
        return self._locks

    @property
    def temporary(self) -> Path:
        """A folder of this run's own, on the file system of the outputs."""
        return self.folder / "tmp" / self.run

    def append(self, kind: str, key: str, flush: bool = False, **fields: object) -> None:
        """Add a line; with `flush` it is on the disk when this returns. OSError if it can't be."""
        with self._mutex:
            assert self._fd is not None, "open() first"
            # later than all that was seen, even if the clock was set back
            at = self.history.newest = max(time.time_ns(), self.history.newest + 1)
            line = {"t": kind, "at": at, "key": key, **fields}
            data = json.dumps(line, separators=(",", ":")).encode() + b"\n"
            end = os.fstat(self._fd).st_size
            try:
                if os.write(self._fd, data) != len(data):
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                if flush:
                    os.fsync(self._fd)
            except OSError:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._fd, end)  # no torn line in the middle
                raise

    def close(self) -> None:
        """End the run: its locks are free and its journal may be merged from now on."""
        with self._mutex:
            if self._fd is not None:
                shutil.rmtree(self.temporary, ignore_errors=True)
                os.close(self._fd)
                self.locks.close()
                self._fd = self._locks = None

    def _ended(self, runs: Iterable[str]) -> Iterator[str]:
        """Of these runs of this host, those whose process has ended."""
        for run in runs:
            # locks of other hosts can't be trusted to be seen
            mine = run.startswith(f"{self._host}-") and run != self.run
            if mine and self.locks.acquire(f"run {run}"):
                yield run
                self.locks.release(f"run {run}")

    def _clear_up(self) -> None:
        for run in self._ended(os.listdir(self.folder / "tmp")):
            shutil.rmtree(self.folder / "tmp" / run, ignore_errors=True)
        journals = [p.name for p in (self.folder / "journal").glob("*.jsonl")]
        ended = [f"{run}.jsonl" for run in self._ended(n.removesuffix(".jsonl") for n in journals)]
        if len(ended) >= MERGE_FROM:
            self._merge(ended)

    def _merge(self, names: list[str]) -> None:
        """Replace ended runs' journals by one file of their sum.

        A reader that misses a removed file lists the folder again and finds the merged one.
        """
        ended = self.temporary / "ended"
        ended.mkdir()
        for name in names:
            os.link(self.folder / "journal" / name, ended / name)
        past = History(ended)
        merged = f"{self._host}-merged.jsonl"
        with (self.temporary / "merged").open("wb") as file:
            for key, entry in past.entries.items():
                sums = {
                    name: making.line() if making else None
                    for name, making in (("made", entry.made), ("intended", entry.intended))
                }
                where = entry.failed or next((m.where for m in entry.makings()), ("", 0))
                line = {
                    "t": "item",
                    "at": entry.at,
                    "key": key,
                    **sums,
                    "starts": entry.starts,
                    "failed": bool(entry.failed),
                    "record": past.record(where),
                }
                file.write(json.dumps(line, separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        put_in_place(self.temporary / "merged", self.folder / "journal" / merged, replace=True)
        for name in names:
            if name != merged:
                (self.folder / "journal" / name).unlink(missing_ok=True)
        self.history.refresh()
