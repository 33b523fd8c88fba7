"""What is known of each item of an output directory, read from the journals of all runs over it.

Journal lines are told apart by `t`: `start` (work on an item begins), `stop` (it ended without an
answer), `intent` (its files are whole and about to be put in place), `done` (they are), `failed`,
and `item` (the sum of the others, written when journals of ended runs are merged). `at` says when,
in nanoseconds: it rises within a journal, and from one run's lines of an item to the next run's,
since the item's lock is held while they are written. In that order they are read, whatever
journals they are in.
"""

import contextlib
import heapq
import json
import os
import stat
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from mediakit.batch.files import FileState, Stat
from mediakit.errors import PlaceError, show

Line = dict[str, Any]
CHUNK = 1 << 20  # bytes of a journal in memory at a time


class Where(NamedTuple):
    """Where a record is: a journal's name, a line's offset, and the part of the line if any."""

    name: str
    offset: int
    part: str = ""


@dataclass(frozen=True, slots=True)
class Making:
    """How an item's files were made, and when: task, recipe hash, input's path and states,
    output states, and where the record is. `former` are files that were made for the item before,
    and not this time."""

    at: int
    task: str
    recipe: str
    source: str
    inputs: tuple[FileState, ...]
    outputs: tuple[FileState, ...]
    where: Where
    former: tuple[FileState, ...] = ()

    def with_stats(self, stats: list[list[int]]) -> "Making":
        """The same with the stats of its outputs."""
        outputs = tuple(
            FileState(o.path, o.sha256, o.size, Stat(*stat))
            for o, stat in zip(self.outputs, stats, strict=True)
        )
        return replace(self, outputs=outputs)

    def line(self) -> Line:
        """As it stands in a journal; the inverse of `parse`."""
        line = {
            "at": self.at,
            "task": self.task,
            "recipe": self.recipe,
            "source": self.source,
            "inputs": _lists(self.inputs),
            "outputs": _lists(self.outputs),
        }
        return {**line, "former": _lists(self.former)} if self.former else line

    @classmethod
    def parse(cls, line: Line, where: Where) -> "Making":
        inputs, outputs = _states(line["inputs"]), _states(line["outputs"])
        task, former = line.get("task", ""), _states(line.get("former", ()))
        about = (line["at"], task, line["recipe"], line["source"])
        return cls(*about, inputs, outputs, where, former)


def _at(pair: tuple[Line, Where]) -> int:
    at: int = pair[0]["at"]
    return at


def _lists(states: tuple[FileState, ...]) -> list[list[Any]]:
    return [[s.path, s.sha256, s.size, s.stat] for s in states]


def _states(lists: Iterable[list[Any]]) -> tuple[FileState, ...]:
    return tuple(
        [
            FileState(path, sha256, size, Stat(*stat) if stat else None)
            for path, sha256, size, stat in lists
        ]
    )


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one item: the files it has, those it may have, and how it last ended."""

    at: int = 0  # of the last line
    made: Making | None = None
    intended: Making | None = None
    failed: bool = False
    starts: int = 0  # begun and never ended: the process died, or is still at it
    task: str = ""  # that was the last to begin it: `failed` and `starts` are that one's

    def makings(self) -> tuple[Making, ...]:
        return tuple(m for m in (self.intended, self.made) if m)

    def after(self, line: Line, where: Where) -> "Entry":
        """This entry after one more line. That a file was made survives a later failure."""
        at, task = line["at"], line.get("task", "")
        failed, starts = (self.failed, self.starts) if task == self.task else (False, 0)
        match line["t"]:
            case "start":
                return Entry(at, self.made, self.intended, failed, starts + 1, task)
            case "stop":
                return Entry(at, self.made, self.intended, failed, 0, task)
            case "intent":
                making = Making.parse(line, where)
                return Entry(at, self.made, making, False, starts, task)
            case "done" if self.intended:
                return Entry(at, self.intended.with_stats(line["stats"]), task=task)
            case "failed":
                return Entry(at, self.made, self.intended, True, 0, task)
            case "item":
                made, intended = (
                    Making.parse(line[part], where._replace(part=part)) if line[part] else None
                    for part in ("made", "intended")
                )
                return Entry(at, made, intended, line["failed"], line["starts"], task)
        return self


class History:
    """The entries of the journals in a folder: all but `own`, or `only` some; safe for threads."""

    def __init__(self, folder: Path, own: str = "", only: Collection[str] = ()) -> None:
        self.folder = folder
        self.entries: dict[str, Entry] = {}
        self.newest = 0
        self._own = own
        self._only = only
        self._seen: dict[str, int] = {}  # file name -> bytes read
        self._makers: tuple[int, dict[str, list[Making]]] = (-1, {})  # of when, see `makers`
        self._mutex = threading.Lock()
        self.refresh()
        self.began = max(time.time_ns(), self.newest)

    def refresh(self) -> None:
        """Take in what other runs have appended since the last call."""
        with self._mutex:
            entries = self.entries
            while not self._read(entries):
                self._seen, entries = {}, {}
            self.entries = entries

    def _read(self, entries: dict[str, Entry]) -> bool:
        """False if all must be read anew: another run merged journals under us, or a line came to
        light after a later one of its item."""
        try:
            tails = [self._tail(name) for name in self._grown()]
            # most often there is one, and merging takes a tenth of the time of reading
            merged = heapq.merge(*tails, key=_at) if len(tails) > 1 else chain(*tails)
            for line, where in merged:
                entry = entries.get(line["key"], Entry())
                if line["at"] < entry.at:
                    return False
                # of one moment are only a line and the sum that a killed merger left beside it
                if line["at"] > entry.at or line["t"] == "item":
                    with contextlib.suppress(ValueError, LookupError, TypeError):
                        entry = entry.after(line, where)
                    entries[line["key"]] = entry
                    self.newest = max(self.newest, entry.at)
        except FileNotFoundError:
            return False
        return True

    def _grown(self) -> list[str]:
        """The journals that are longer than what was read of them."""
        try:
            names = os.listdir(self.folder)
        except OSError:
            return []
        return [
            name
            for name in names
            if name != self._own
            and (not self._only or name in self._only)
            and name.endswith(".jsonl")
            and self._size(name) != self._seen.get(name, 0)
        ]

    def _size(self, name: str) -> int:
        """Bytes of a journal; 0 of what is none. FileNotFoundError if it was merged away."""
        path = self.folder / name
        try:
            found = os.stat(path)
        except FileNotFoundError:
            if os.path.islink(path):  # that leads nowhere, and would not go away
                return 0
            raise
        return found.st_size if stat.S_ISREG(found.st_mode) else 0

    def _tail(self, name: str) -> Iterator[tuple[Line, Where]]:
        """The lines of a journal that were not read yet; `at` rises."""
        newest = 0
        while True:
            offset = self._seen.get(name, 0)
            lines = self._lines(name, offset)
            for data in lines:
                if not data.endswith(b"\n"):
                    return  # still being written, or cut off by a crash
                with contextlib.suppress(ValueError, LookupError, TypeError):
                    line = json.loads(data.decode())
                    if line["at"] >= newest and isinstance(line["key"], str):
                        newest = line["at"]
                        yield line, Where(name, offset)
                offset += len(data)
                self._seen[name] = offset
            if not lines:
                return

    def _lines(self, name: str, offset: int) -> list[bytes]:
        try:
            with (self.folder / name).open("rb") as file:
                file.seek(offset)
                return file.readlines(CHUNK)
        except FileNotFoundError:
            raise
        except OSError as e:
            path, cause = show(self.folder / name), (e.strerror or str(e)).lower()
            raise PlaceError(
                "unwritable", f"the journal {path} can't be read: {cause}; check its permissions"
            ) from None

    def makers(self, name: str) -> list[Making]:
        """All that once made the file that journals call so, for whatever item."""
        with self._mutex:
            if self._makers[0] != self.newest:
                found: dict[str, list[Making]] = {}
                for entry in self.entries.values():
                    for making in entry.makings():
                        for state in (*making.outputs, *making.former):
                            found.setdefault(state.path, []).append(making)
                self._makers = self.newest, found
            return self._makers[1].get(name, [])

    def record(self, where: Where) -> Line | None:
        """The record at `where`, None if it was merged away meanwhile."""
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            with (self.folder / where.name).open("rb") as file:
                file.seek(where.offset)
                line = json.loads(file.readline())
            record: Line = (line[where.part] if where.part else line)["record"]
            return record
        return None
