"""What is known of each item of an output directory, read from the journals of all runs over it.

Journal lines are told apart by `t`: `start` (work on an item begins), `stop` (it ended without an
answer), `intent` (its files are whole and about to be put in place), `done` (they are), `failed`,
and `item` (the sum of the others, written when journals of ended runs are merged). Lines of one
item never overlap in time, its lock sees to that; `at` orders them between files.
"""

import contextlib
import json
import os
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mediakit.batch.files import FileState, Stat

Line = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Making:
    """How an item's files were made: recipe hash, input's path and states, output states.

    `where` is the journal and offset of the line that holds the record.
    """

    recipe: str
    source: str
    inputs: tuple[FileState, ...]
    outputs: tuple[FileState, ...]
    where: tuple[str, int]

    def line(self) -> Line:
        """As it stands in a journal; the inverse of `parse`."""
        return {
            "recipe": self.recipe,
            "source": self.source,
            "inputs": [[s.path, s.sha256, s.size, s.stat] for s in self.inputs],
            "outputs": [[s.path, s.sha256, s.size, s.stat] for s in self.outputs],
        }

    @classmethod
    def parse(cls, line: Line, where: tuple[str, int]) -> "Making":
        inputs, outputs = (
            tuple(
                FileState(path, sha256, size, Stat(*stat) if stat else None)
                for path, sha256, size, stat in line[name]
            )
            for name in ("inputs", "outputs")
        )
        return cls(line["recipe"], line["source"], inputs, outputs, where)


@dataclass(frozen=True, slots=True)
class Entry:
    """What is known of one item: the files it has, those it may have, and how it last ended."""

    at: int = 0  # of the last line, nanoseconds
    made: Making | None = None
    intended: Making | None = None
    failed: tuple[str, int] | None = None  # where its record is
    starts: int = 0  # begun and never ended: the process died
    fresh: bool = False  # learnt after this run began, so from another one

    def makings(self) -> tuple[Making, ...]:
        return tuple(m for m in (self.intended, self.made) if m)

    def after(self, line: Line, where: tuple[str, int]) -> "Entry":
        """This entry after one more line. That a file was made survives a later failure."""
        if line["at"] < self.at:
            return self
        now = replace(self, at=line["at"])
        match line["t"]:
            case "start":
                return replace(now, starts=self.starts + 1)
            case "stop":
                return replace(now, starts=0)
            case "intent":
                return replace(now, intended=Making.parse(line, where), failed=None)
            case "done" if self.intended:
                outputs = tuple(
                    replace(output, stat=Stat(*stat))
                    for output, stat in zip(self.intended.outputs, line["stats"], strict=True)
                )
                return Entry(at=line["at"], made=replace(self.intended, outputs=outputs))
            case "failed":
                return replace(now, failed=where, starts=0)
            case "item":
                return Entry(
                    at=line["at"],
                    made=Making.parse(line["made"], where) if line["made"] else None,
                    intended=Making.parse(line["intended"], where) if line["intended"] else None,
                    failed=where if line["failed"] else None,
                    starts=line["starts"],
                )
        return self


class History:
    """The entries of all journals in a folder but the one named `own`; safe for threads."""

    def __init__(self, folder: Path, own: str = "") -> None:
        self.folder = folder
        self.own = own
        self.entries: dict[str, Entry] = {}
        self.newest = 0
        self._seen: dict[str, tuple[int, int]] = {}  # file name -> inode, bytes read
        self._mutex = threading.Lock()
        self._began = False
        self.refresh()
        self._began = True

    def refresh(self) -> None:
        """Take in what other runs have appended since the last call."""
        with self._mutex:
            while not self._read_all():  # a file went away under us: merged by another run
                pass

    def _read_all(self) -> bool:
        try:
            names = os.listdir(self.folder)
        except OSError:
            return True
        for name in names:
            if name != self.own and name.endswith(".jsonl"):
                try:
                    self._read(name)
                except FileNotFoundError:
                    return False
        return True

    def _read(self, name: str) -> None:
        path = self.folder / name
        inode, offset = self._seen.get(name, (0, 0))
        status = os.stat(path)
        if (status.st_ino, status.st_size) == (inode, offset):
            return
        with path.open("rb") as file:
            now = os.fstat(file.fileno()).st_ino
            if now != inode:
                offset = 0
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    break  # still being written, or cut off by a crash
                with contextlib.suppress(ValueError, LookupError, TypeError):
                    self._apply(json.loads(line), (name, offset))
                offset += len(line)
        self._seen[name] = (now, offset)

    def _apply(self, line: Line, where: tuple[str, int]) -> None:
        entry = self.entries.get(line["key"], Entry()).after(line, where)
        self.newest = max(self.newest, entry.at)
        self.entries[line["key"]] = replace(entry, fresh=self._began)

    def record(self, where: tuple[str, int]) -> Line | None:
        """The record in the journal line at `where`, None if it was merged away meanwhile."""
        name, offset = where
        with contextlib.suppress(OSError, ValueError, KeyError):
            with (self.folder / name).open("rb") as file:
                file.seek(offset)
                record: Line = json.loads(file.readline())["record"]
            return record
        return None
