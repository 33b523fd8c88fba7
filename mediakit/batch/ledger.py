"""An item's life in its output directory: taken, judged, made or failed, and let go."""

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mediakit.batch.files import FileState, Stat, digest, flush, output_error, put_in_place
from mediakit.batch.history import Entry, Making, Where
from mediakit.batch.item import Decoded, Item, Made
from mediakit.batch.order import ANSWERS_AHEAD
from mediakit.batch.output import Output
from mediakit.batch.record import Record, add_result, now, record_of
from mediakit.batch.task import Task
from mediakit.batch.uptodate import Run, Verdict, is_current, judge, maker_of, origin
from mediakit.errors import ItemError, MediakitError, PlaceError, show
from mediakit.params import Batch


@dataclass(slots=True)
class Work:
    """An item on its way: what is known of it so far. `ticket` is its place in the order,
    `replaces` the files that may make way for its outputs, `earlier` how they were made."""

    item: Item
    ticket: int
    decoded: Decoded = field(default_factory=lambda: Decoded(None, ()))
    replaces: Mapping[str, Stat] = field(default_factory=dict)
    earlier: Making | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    attempts: list[dict[str, str]] = field(default_factory=list)
    execution: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The journal of one batch, item by item; all methods may be called from any thread.

    Without a journal (standard output) every item is simply to be made. Faults of the output
    directory are PlaceErrors.
    """

    def __init__(self, output: Output, task: type[Task], batch: Batch) -> None:
        self.output = output
        self.journal = output.journal
        self.task = task
        self.batch = batch

    def entry(self, item: Item) -> Entry:
        if self.journal is None:
            return Entry()
        entry = self.journal.history.entries.get(item.key, Entry())
        if entry.task not in ("", self.task.name):  # how another task fared says nothing
            entry = replace(entry, failed=False, starts=0)
        return entry

    def surely_current(self, item: Item) -> bool:
        """Whether stats alone show that nothing is to be done; writes nothing."""
        plain = not (self.batch.force or self.batch.verify or item.error or self.output.file)
        return plain and is_current(item, self.entry(item), self.output.base)

    def likely_current(self, item: Item) -> bool:
        """Whether it looks as if nothing is to be done; writes nothing, but may read a file."""
        if self.surely_current(item):
            return True
        with contextlib.suppress(MediakitError, OSError):
            return bool(self.output.file) and bool(self.judge(item).current)
        return True  # it fails anyway

    def suspect(self, item: Item) -> bool:
        """Whether a process died over the item, before this run began."""
        entry = self.entry(item)
        return bool(self.journal and entry.starts and entry.at <= self.journal.history.began)

    def take(self, item: Item) -> bool:
        """Lock the item and learn what others did to it; False if another run has it."""
        if self.journal is None:
            return True
        try:
            self.journal.open()
            if not self.journal.locks.acquire(item.key):
                return False
            self.journal.history.refresh()
        except OSError as e:
            error = output_error(self.journal.folder, e)
            raise PlaceError(
                error.code if isinstance(error, PlaceError) else "unwritable", error.message
            ) from None
        return True

    def judge(self, item: Item) -> Verdict:
        """What to do with an item that was taken. ItemError if it can't or should not be made."""
        if item.error:
            raise item.error
        entry = self.entry(item)
        if entry.starts >= 2:
            raise ItemError(
                "crashed",
                f"{show(item.source.path)}: mediakit died twice while working on it; the next run "
                "tries again",
            )
        if self.journal is None:
            return Verdict()
        adds = item.recipe is not None and self.task.adds(item.recipe.params)
        may_add = self.task.may_add(item.output or "")
        run = Run(self.task.name, self.journal.history.began, adds, may_add)
        return judge(item, entry, self.output, self.batch, run)

    def tell_earlier(self, work: Work) -> None:
        """Tell what was decoded of how the outputs that are there were made; see Decoded."""
        work.decoded.overwrite = self.batch.overwrite
        if self.journal and work.earlier:
            work.decoded.earlier = self.journal.history.record(work.earlier.where)

    def scratch(self, work: Work) -> None:
        """Give the work a temporary name, unless it has one; for `clear`."""
        if not work.decoded.file.name:
            with errors_of(work.item):
                work.decoded.file = self.output.temporary(work.ticket % ANSWERS_AHEAD)
                if self.journal:
                    work.decoded.partial = self.journal.partial(work.item.key)

    def clear(self, work: Work) -> None:
        """Remove what is left under the work's temporary name; before its ticket is answered."""
        if work.decoded.file.name:
            self.output.discard(work.decoded.file)
            work.decoded.file = Path()

    def start(self, item: Item) -> None:
        with errors_of(item):
            self._append("start", item)

    def abandon(self, item: Item) -> None:
        """Let an item go without an answer; the next run does it."""
        with contextlib.suppress(OSError):
            self._append("stop", item)
        self.release(item)

    def release(self, item: Item) -> None:
        if self.journal and self.journal.is_open:
            self.journal.locks.release(item.key)

    def skip(self, item: Item, current: Making | None, wanted: bool) -> Record | None:
        """An item is up to date: remember its stats if `current` has new ones, and give its
        record if `wanted`."""
        if self.journal and current:
            current = self._renew(item, current)
        if not wanted:
            return None
        made = current or self.entry(item).made
        known = self.journal.history.record(made.where) if self.journal and made else None
        record = record_of(self.task, item, "skipped")
        if known:
            artifacts = [
                {**a, "path": _moved(a["path"], known["outputs"], item.output)}
                for a in known["artifacts"]
            ]
            told = {k: record[k] for k in ("status", "input", "inputs", "outputs")}
            record = {**known, **told, "artifacts": artifacts}
        return record

    def _renew(self, item: Item, current: Making) -> Making:
        """Journal a making with the stats that its files have now, so that none is read again."""
        assert self.journal is not None
        with errors_of(item):
            self.output.clear_up(item)
            if self.output.file:
                # or make would call us again and again
                current = replace(current, outputs=tuple(map(_touched, current.outputs)))
            entry = self.entry(item)
            if current != entry.made or entry.intended or entry.starts:
                record = self.journal.history.record(current.where)
                made = {**current.line(), "record": record}
                self._append("item", item, made=made, intended=None, starts=0, failed=False)
        return current

    def commit(self, work: Work, made: Made, file: Path, record: Record) -> None:
        """Give whole temporary files their final names, so that a kill at any moment is safe.

        ItemError if a foreign file has come in the way.
        """
        item = work.item
        assert item.output and item.recipe
        pairs = [(file, item.output), *((extra.file, extra.path) for extra in made.extras)]
        finals = {self.output.final(path): part for part, path in pairs}
        with errors_of(item):
            states = tuple(self._whole(part, final) for final, part in finals.items())
            record["finished"] = now()
            add_result(record, item, made, states)
            making = Making(
                0,  # its line's
                self.task.name,
                item.recipe.hash,
                origin(item.source),
                work.decoded.inputs,
                states,
                Where("", 0),
                self._former(item, states),
            )
            self._append("intent", item, flush=True, **making.line(), record=record)
            stats = [self._give_name(work, part, final) for final, part in finals.items()]
            self._append("done", item, stats=stats)
            if work.decoded.partial:
                work.decoded.partial.unlink(missing_ok=True)
        self.release(item)

    def _whole(self, file: Path, final: str) -> FileState:
        """The state of a file that is written, once its bytes are on the disk."""
        flush(file)
        os.makedirs(os.path.dirname(final) or ".", exist_ok=True)
        return FileState(self.output.name(final), digest(file), file.stat().st_size)

    def _former(self, item: Item, states: tuple[FileState, ...]) -> tuple[FileState, ...]:
        """The files that were made for the item before, and are not made any more."""
        names = {state.path for state in states}
        before = (s for m in self.entry(item).makings() for s in (*m.outputs, *m.former))
        return tuple({s.path: s for s in before if s.path not in names}.values())

    def _give_name(self, work: Work, file: Path, final: str) -> Stat:
        try:
            return self._put_in_place(file, final, self._may_replace(work, final))
        except (FileExistsError, IsADirectoryError):
            raise ItemError(
                "would_overwrite",
                f"{show(final)} appeared or changed meanwhile; --overwrite replaces it",
            ) from None

    def _put_in_place(self, file: Path, final: str, replace: bool) -> Stat:
        """Also where a folder below the output directory is on another file system."""
        try:
            return put_in_place(file, final, replace)
        except OSError as e:
            if e.errno != errno.EXDEV:
                raise
        part = self.output.beside(final)
        try:
            shutil.copyfile(file, part)
            flush(part)
            return put_in_place(part, final, replace)
        finally:
            with contextlib.suppress(OSError):
                part.unlink()

    def _may_replace(self, work: Work, final: str) -> bool:
        """Whether what is there may go: still the file that was judged, or one of ours that was
        not known to be in the way, or --overwrite."""
        if self.batch.overwrite:
            return True
        with contextlib.suppress(OSError):
            there = Stat.of(os.lstat(final))
            if final in work.replaces:
                return work.replaces[final] == there
            entry = self.entry(work.item)
            return bool(maker_of(final, entry, self.output, self.batch.verify))
        return False

    def fail(self, item: Item, error: MediakitError, attempts: list[dict[str, str]]) -> Record:
        """The record of an item that failed, journalled if the disk allows."""
        record = record_of(self.task, item, "failed", error)
        record["attempts"] = attempts
        with contextlib.suppress(OSError):
            if item.error and self.journal and not self.entry(item).failed:
                self.journal.open()  # such an item is not taken
            if not (item.error and self.entry(item).failed):
                self._append("failed", item, record=record)
        if not item.error:
            self.release(item)
        return record

    def _append(self, kind: str, item: Item, flush: bool = False, **fields: Any) -> None:
        if self.journal and self.journal.is_open:
            self.journal.append(kind, item.key, flush, **{"task": self.task.name, **fields})


def _touched(state: FileState) -> FileState:
    """The state of a single output file, as new."""
    os.utime(state.path)
    return replace(state, stat=Stat.of(os.stat(state.path)))


def _moved(path: str, outputs: list[str], output: str | None) -> str:
    """The path of one of an item's files, now that its primary output is called otherwise."""
    if not (outputs and output):
        return path
    below = os.path.relpath(path, os.path.dirname(outputs[0]) or ".")
    name = os.path.basename(output) if path == outputs[0] else below
    return os.path.join(os.path.dirname(output), name)


@contextlib.contextmanager
def errors_of(item: Item) -> Iterator[None]:
    """What the disk says while an item's output is written, as an error of item or place."""
    try:
        yield
    except OSError as e:
        raise output_error(item.output or item.key, e) from None
