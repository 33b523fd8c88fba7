"""An item's life in its output directory: taken, judged, made or failed, and let go."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mediakit.batch.files import FileState, Stat, digest, flush, output_error, put_in_place
from mediakit.batch.history import Entry, Making
from mediakit.batch.item import Decoded, Item, Made
from mediakit.batch.output import Output
from mediakit.batch.record import Record, add_result, now, record_of
from mediakit.batch.task import Task
from mediakit.batch.uptodate import Verdict, is_current, judge, origin
from mediakit.errors import ItemError, MediakitError, show
from mediakit.params import Batch


@dataclass(slots=True)
class Work:
    """An item on its way: what is known of it so far. `ticket` is its place in the order."""

    item: Item
    ticket: int
    decoded: Decoded = field(default_factory=lambda: Decoded(None, ()))
    replace: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    attempts: list[dict[str, str]] = field(default_factory=list)
    execution: dict[str, Any] = field(default_factory=dict)


class Ledger:
    """The journal of one batch, item by item; all methods may be called from any thread.

    Without a journal (standard output) every item is simply to be made.
    """

    def __init__(self, output: Output, task: type[Task], batch: Batch) -> None:
        self.output = output
        self.journal = output.journal
        self.task = task
        self.batch = batch

    def entry(self, item: Item) -> Entry:
        if self.journal is None:
            return Entry()
        return self.journal.history.entries.get(item.key, Entry())

    def surely_current(self, item: Item) -> bool:
        """Whether stats alone show that nothing is to be done; writes nothing."""
        plain = not (self.batch.force or self.batch.verify or item.error or self.output.file)
        return plain and is_current(item, self.entry(item), self.output.base)

    def take(self, item: Item) -> bool:
        """Lock the item and learn what others did to it; False if another run has it."""
        if self.journal is None:
            return True
        try:
            self.journal.open()
        except OSError as e:
            raise output_error(self.journal.folder, e) from None
        if not self.journal.locks.acquire(item.key):
            return False
        self.journal.history.refresh()
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
        if item.output is None:
            return Verdict()
        return judge(item, entry, self.output, self.batch)

    def start(self, item: Item) -> None:
        self._append("start", item)

    def abandon(self, item: Item) -> None:
        """Let an item go without an answer; the next run does it."""
        with contextlib.suppress(OSError):
            self._append("stop", item)
        self.release(item)

    def release(self, item: Item) -> None:
        if self.journal and self.journal.run_is_open:
            self.journal.locks.release(item.key)

    def skip(self, item: Item, current: Making | None, wanted: bool) -> Record | None:
        """An item is up to date: remember its new stats, and give its record if `wanted`."""
        if self.journal and current:
            if self.output.file:
                os.utime(self.output.file)  # or make would call us again and again
            self._renew(item, current)
        if not wanted:
            return None
        entry = self.entry(item)
        made = current or entry.made
        known = self.journal.history.record(made.where) if self.journal and made else None
        record = record_of(self.task, item, "skipped")
        if known:
            record = {**known, **{k: record[k] for k in ("status", "input", "inputs", "outputs")}}
        return record

    def _renew(self, item: Item, making: Making) -> None:
        """Journal a making with the stats that its files have now, so that none is read again."""
        assert self.journal is not None
        base = self.output.base
        with contextlib.suppress(OSError):
            outputs = [_with_stat(o, base / o.path) for o in making.outputs]
            inputs = [_with_stat(i, item.source.path) for i in making.inputs]
            if item.source.data is not None:
                inputs = list(making.inputs)
            now_made = Making(
                making.recipe, making.source, tuple(inputs), tuple(outputs), making.where
            )
            if now_made == self.entry(item).made:
                return
            self._append(
                "item",
                item,
                made=now_made.line(),
                intended=None,
                starts=0,
                failed=False,
                record=self.journal.history.record(making.where),
            )

    def commit(self, work: Work, made: Made, file: Path, record: Record) -> None:
        """Give a whole temporary file its final name, so that a kill at any moment is safe.

        OSError if the disk says no; ItemError if a foreign file has come in the way.
        """
        item = work.item
        assert item.output and self.journal and item.recipe
        final = Path(item.output)
        flush(file)
        state = FileState(
            os.path.relpath(final, self.output.base) if self.output.folder else item.key,
            digest(file),
            file.stat().st_size,
        )
        record["finished"] = now()
        add_result(record, made, state, item.output)
        making = Making(
            item.recipe.hash, origin(item.source), work.decoded.inputs, (state,), ("", 0)
        )
        final.parent.mkdir(parents=True, exist_ok=True)
        self._append("intent", item, flush=True, **making.line(), record=record)
        try:
            stat = put_in_place(file, final, work.replace or self.batch.overwrite)
        except (FileExistsError, IsADirectoryError):
            raise ItemError(
                "would_overwrite", f"{show(final)} appeared meanwhile; --overwrite replaces it"
            ) from None
        self._append("done", item, stats=[stat])
        self.release(item)

    def fail(self, item: Item, error: MediakitError, attempts: list[dict[str, str]]) -> Record:
        """The record of an item that failed, journalled if the disk allows."""
        record = record_of(self.task, item, "failed", error)
        record["attempts"] = attempts
        with contextlib.suppress(OSError):
            self._append("failed", item, record=record)
        self.release(item)
        return record

    def _append(self, kind: str, item: Item, flush: bool = False, **fields: Any) -> None:
        if self.journal and self.journal.run_is_open:
            self.journal.append(kind, item.key, flush, **fields)


def _with_stat(state: FileState, path: str | Path) -> FileState:
    return FileState(state.path, state.sha256, state.size, Stat.of(os.stat(path)))
