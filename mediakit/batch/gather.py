"""One file for all results: the rows of a batch as CSV, JSON Lines or JSON.

Each item's row is a part of its own in a state directory of the user's, with a journal as any
output directory has; the file is written from the parts when the batch ends. So it resumes, and
what several runs or shards have made comes together.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import platformdirs

from mediakit.batch.events import Event, Finished, Notify
from mediakit.batch.files import flush, output_error, put_in_place
from mediakit.batch.item import PART, Item
from mediakit.batch.journal import Journal
from mediakit.batch.naming import FOLDER
from mediakit.batch.output import Output, output_for, temporary_for
from mediakit.batch.record import to_json
from mediakit.batch.task import Task
from mediakit.errors import ItemError, MediakitError, PlaceError, UserError, show

_OBJECT = "object"  # the field whose own fields become columns

Row = dict[str, Any]


def output_of(task: type[Task], out: Path | None, single: bool, beside: bool = False) -> Output:
    """What `-o` and `--beside` mean to a task; see `output_for`. Nothing is created."""
    suffix = out.suffix.lower() if out else ""
    alone = single and suffix in task.output_suffixes
    if out and suffix in task.gathers and not (alone or out.is_dir()):
        return _gathering(out)
    return output_for(out, single, task.output_suffixes, task.prints, beside)


def _gathering(file: Path) -> Output:
    """The Output whose items are the parts of `file`."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(file))).hexdigest()[:32]
    folder = platformdirs.user_state_path("mediakit") / "gathered" / digest
    return Output(Journal(folder / FOLDER), folder=folder, gathered=file)


class Gathering:
    """Takes the events of a batch, hands them on, and writes its file.

    To whoever listens, the items have the file itself as their output.
    """

    def __init__(self, output: Output, notify: Notify, overwrite: bool) -> None:
        assert output.gathered and output.folder
        self.file = output.gathered
        self.folder = output.folder
        self._notify = notify
        self._overwrite = overwrite
        self._columns: dict[str, Mapping[str, Any]] = {}  # of the items so far, by key
        self._state = self.folder.with_suffix(".rendered")  # digest of the file as last written

    def check(self, inputs: Path | None) -> None:
        """UserError if the file is one that mediakit did not write, or that was edited since;
        or the list `inputs` itself."""
        if inputs and self.file.exists() and inputs.exists() and self.file.samefile(inputs):
            raise UserError("usage", f"{show(self.file)} is also the list of inputs; name another")
        if not self._overwrite and not self._is_ours():
            raise UserError(
                "would_overwrite",
                f"{show(self.file)} was not made by mediakit, or edited since; --overwrite "
                "replaces it",
            )

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            if event.status in ("done", "skipped"):
                self._columns[event.item.key] = event.item.source.columns
            event = self._told(event)
        self._notify(event)

    def write(self, complete: bool) -> bool:
        """Write the file: the rows of this batch's items, in their order, and unless the batch is
        `complete` those of others behind them. False if there is none.

        PlaceError; UserError if the file was edited meanwhile.
        """
        if not self._columns:
            return False
        writer = _WRITERS[self.file.suffix.lower()]
        final = os.path.realpath(self.file)
        part = temporary_for(final)
        try:
            os.makedirs(os.path.dirname(final), exist_ok=True)
            with part.open("w", encoding="utf-8", newline="", errors="surrogateescape") as stream:
                writer(stream, lambda: self._rows(complete))
            if not (self._overwrite or self._is_ours()):
                raise UserError(
                    "would_overwrite", f"{show(self.file)} was edited meanwhile; --overwrite"
                )
            flush(part)
            digest = _digest(part)
            put_in_place(part, final, replace=True)
            self._state.write_text(digest)
        except OSError as e:
            error = output_error(self.file, e)
            raise PlaceError(_place_code(error), error.message) from None
        finally:
            with suppress(OSError):
                part.unlink()
        return True

    def _rows(self, complete: bool) -> Iterator[Row]:
        for key, columns in self._columns.items():
            yield _row(self.folder / key, columns)
        if not complete:
            for key in sorted(self._parts()):
                if key not in self._columns:
                    yield _row(self.folder / key)

    def _parts(self) -> Iterator[str]:
        for folder, folders, names in os.walk(self.folder):
            folders[:] = [name for name in folders if name != FOLDER]
            for name in names:
                if name.endswith(PART):
                    yield os.path.relpath(os.path.join(folder, name), self.folder)

    def _is_ours(self) -> bool:
        if not self.file.exists():
            return True
        with suppress(OSError):
            return self._state.read_text() == _digest(self.file)
        return False

    def _told(self, event: Finished) -> Finished:
        record = event.record and {**event.record, "outputs": [str(self.file)], "artifacts": []}
        if record and record["status"] == "failed":
            record["outputs"] = []
        return replace(event, item=replace(event.item, output=None), record=record)


def part_of(item: Item, row: Mapping[str, Any]) -> bytes:
    """What the part of an item holds: the columns of its input, and what was made of it."""
    return to_json({"columns": item.source.columns, "row": row})


def _row(part: Path, columns: Mapping[str, Any] | None = None) -> Row:
    """A part's row; the `columns` of its input as they are now. Where one is called as something
    that was made, it keeps its name."""
    held = json.loads(part.read_bytes())
    own = held["columns"] if columns is None else columns
    return {**own, **{f"new_{k}" if k in own else k: v for k, v in held["row"].items()}}


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _place_code(error: MediakitError) -> str:
    return "unwritable" if isinstance(error, ItemError) else error.code


# the forms

Rows = Callable[[], Iterable[Row]]


def _json_lines(stream: IO[str], rows: Rows) -> None:
    for row in rows():
        stream.write(to_json(row).decode() + "\n")


def _json(stream: IO[str], rows: Rows) -> None:
    """One object: what each input is called -> the rest of its row."""
    stream.write("{")
    for number, row in enumerate(rows()):
        name = json.dumps(str(row.pop("input")))
        stream.write(f"{',' if number else ''}\n  {name}: {to_json(row).decode()}")
    stream.write("\n}\n")


def _csv(stream: IO[str], rows: Rows) -> None:
    """A column for every field of any row; fields of the object that a schema asked for are
    columns too, and so are those of other objects, behind their name and a dot."""
    names = list(dict.fromkeys(name for row in rows() for name in _flat(row)))
    writer = csv.DictWriter(stream, names, lineterminator="\n")
    writer.writeheader()
    for row in rows():
        writer.writerow({name: _cell(value) for name, value in _flat(row).items()})


def _flat(row: Row) -> Row:
    outer = {name: value for name, value in row.items() if not isinstance(value, dict)}
    flat = dict(outer)
    for name in (n for n in row if n not in outer):
        plain = name == _OBJECT
        flat |= {k if plain and k not in outer else f"{name}.{k}": v for k, v in row[name].items()}
    return flat


def _cell(value: object) -> object:
    if value is None:
        return ""
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


_WRITERS: dict[str, Callable[[IO[str], Rows], None]] = {
    ".jsonl": _json_lines,
    ".csv": _csv,
    ".json": _json,
}
