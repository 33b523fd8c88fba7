"""One file for all results: the rows of a batch as CSV, JSON Lines or JSON.

Each item's row is a part of its own in a state directory of the user's, with a journal as any
output directory has; the file is written from the parts when the batch ends. So it resumes, and
what several runs or shards have made comes together.
"""

import csv
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import platformdirs

from mediakit.batch.events import Event, Finished, Note, Notify
from mediakit.batch.files import flush, output_error, put_in_place
from mediakit.batch.history import Entry
from mediakit.batch.item import Item
from mediakit.batch.journal import Journal
from mediakit.batch.naming import FOLDER
from mediakit.batch.output import Output, output_for, temporary_for
from mediakit.batch.record import to_json
from mediakit.batch.task import Task
from mediakit.errors import ItemError, PlaceError, UserError, show

ERROR = "error"  # the field that says why there is nothing else
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
        assert output.gathered and output.folder and output.journal
        self.file = output.gathered
        self.items: Sequence[Item] = ()  # all that are planned, whichever are wanted now
        self._folder = output.folder
        self._history = output.journal.history
        self._notify = notify
        self._overwrite = overwrite
        self._seen: dict[str, Item] = {}  # that ended in this run, by key
        self._errors: dict[str, str] = {}
        self._state = self._folder.with_suffix(".rendered")  # digests of the file as we wrote it
        self._held = self._folder.with_suffix(".rows")  # keys of the rows that it has

    def check(self, inputs: Path | None) -> None:
        """UserError if the file is one that mediakit did not write, or that was edited since;
        or the list `inputs` itself. PlaceError if it could not be written."""
        if inputs and self.file.exists() and inputs.exists() and self.file.samefile(inputs):
            raise UserError("usage", f"{show(self.file)} is also the list of inputs; name another")
        self._check_ours()
        with self._errors_of_place():
            part = self._part()
            os.makedirs(part.parent, exist_ok=True)
            part.open("ab").close()
            part.unlink()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Finished):
            self._seen[event.item.key] = event.item
            if event.error:
                self._errors[event.item.key] = f"{event.error.message} [{event.error.code}]"
            event = self._told(event)
        self._notify(event)

    def write(self) -> bool:
        """Write the file: a row for every planned item that was made, in this run or before, or
        that failed now; in their order. False if nothing came of any, or if all failed: a file
        that is there then stays as it is.

        PlaceError; UserError if the file was edited meanwhile.
        """
        if not self._seen:
            return False
        from filelock import FileLock

        with self._errors_of_place(), FileLock(self._folder.with_suffix(".lock")):
            self._history.refresh()
            made = [item.key for item in self._planned() if self._is_made(item)]
            if not made and self.file.exists():
                return False
            self._check_ours()
            part = self._part()
            try:
                with part.open("w", encoding="utf-8", newline="", errors="replace") as stream:
                    _WRITERS[self.file.suffix.lower()](stream, self._rows)
                flush(part)
                # a kill between the two leaves a file that is known all the same
                self._remember(_digest(part), *self._digests())
                put_in_place(part, os.path.realpath(self.file), replace=True)
                self._tell_left_out(made)
            finally:
                with suppress(OSError):
                    part.unlink()
        return True

    def _tell_left_out(self, made: Sequence[str]) -> None:
        """Say how many rows the file had that it has no more."""
        former: list[str] = []
        with suppress(OSError, ValueError):
            former = json.loads(self._held.read_bytes())
        if count := len({*former} - {*made}):
            rows = f"{count} row{'s' * (count > 1)} of earlier runs"
            self._notify(
                Note(
                    f"{show(self.file)}: left out {rows} that this command did not make; the "
                    "command that made them brings them back without computing them again"
                )
            )
        _write(self._held, json.dumps(made))

    def _planned(self) -> Iterable[Item]:
        return self.items or self._seen.values()

    def _rows(self) -> Iterator[Row]:
        for item in self._planned():
            source, error = item.source, self._errors.get(item.key)
            if error:
                own = {"prompt" if source.is_text else "input": source.path}
                yield {**(source.columns or own), ERROR: error}
            elif self._is_made(item):
                yield _row(self._folder / item.key, source.columns)

    def _is_made(self, item: Item) -> bool:
        if item.key in self._errors:
            return False
        if item.key in self._seen:
            return True
        made = self._history.entries.get(item.key, Entry()).made
        return bool(made and item.recipe and made.recipe == item.recipe.hash)

    def _part(self) -> Path:
        return temporary_for(os.path.realpath(self.file))

    def _check_ours(self) -> None:
        if self._overwrite or not self.file.exists():
            return
        with suppress(OSError):
            if _digest(self.file) in self._digests():
                return
        raise UserError(
            "would_overwrite",
            f"{show(self.file)} was not made by mediakit, or edited since; --overwrite replaces it",
        )

    def _digests(self) -> list[str]:
        with suppress(OSError):
            return self._state.read_text().split()
        return []

    def _remember(self, *digests: str) -> None:
        _write(self._state, "\n".join(digests[:2]))

    @contextmanager
    def _errors_of_place(self) -> Iterator[None]:
        try:
            yield
        except OSError as e:
            error = output_error(self.file, e)
            code = "unwritable" if isinstance(error, ItemError) else error.code
            kept = "; what was made is kept: the same command writes it" if self._seen else ""
            raise PlaceError(code, f"{error.message}{kept}") from None

    def _told(self, event: Finished) -> Finished:
        record = event.record and {**event.record, "outputs": [str(self.file)], "artifacts": []}
        if record and record["status"] == "failed":
            record["outputs"] = []
        return replace(event, item=replace(event.item, output=None), record=record)


def _row(part: Path, columns: Mapping[str, Any]) -> Row:
    """A part's row behind the `columns` of its input, which keep their names where something
    that was made is called as one of them."""
    made = json.loads(part.read_bytes())
    return {**columns, **{f"new_{k}" if k in columns else k: v for k, v in made.items()}}


def _write(file: Path, text: str) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_text(text)
    flush(part)
    os.replace(part, file)


def _digest(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


# the forms

Rows = Callable[[], Iterable[Row]]


def _json_lines(stream: IO[str], rows: Rows) -> None:
    for row in rows():
        stream.write(to_json(row).decode() + "\n")


def _json(stream: IO[str], rows: Rows) -> None:
    """One object: what each input is called -> the rest of its row."""
    stream.write("{")
    for number, row in enumerate(row for row in rows() if ERROR not in row):
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
