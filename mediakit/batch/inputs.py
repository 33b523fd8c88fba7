"""What the inputs are: arguments, directories and globs, lists, and standard input."""

import base64
import csv
import glob
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from mediakit.batch.item import Source
from mediakit.errors import ItemError, UserError, show

# Standard input is read in pieces of this many bytes.
CHUNK = 1 << 16


def from_arguments(
    arguments: Iterable[str], suffixes: Iterable[str], out: Path | None
) -> Iterator[Source]:
    """Files, directories (recursively, only known suffixes) and globs; `out` is left out.

    An existing path beats a glob. A name that leads nowhere is a failed item, except as the
    only argument: UserError.
    """
    arguments = list(arguments)
    known = frozenset(suffixes)
    for argument in arguments:
        path = Path(argument)
        if os.path.lexists(argument):
            if path.is_dir():
                yield from _walk(argument, known, out)
            else:
                yield _explicit(argument)
        elif found := sorted(glob.glob(argument, recursive=True)):
            for name in found:
                if not Path(name).is_dir():
                    yield _explicit(name)
        elif len(arguments) == 1:
            raise UserError("missing_file", f"{show(argument)} does not exist; check the name")
        else:
            yield _explicit(argument)


def _explicit(path: str) -> Source:
    return Source(path, os.path.basename(path))


def _walk(root: str, suffixes: frozenset[str], out: Path | None) -> Iterator[Source]:
    """Files below `root` in sorted order; links to directories are followed, circles are not."""
    avoid = _identity(out) if out else None
    stack: list[tuple[str, tuple[tuple[int, int], ...]]] = [(root, ())]
    while stack:
        folder, above = stack.pop()
        identity = _identity(folder)
        if identity is None or identity in above or (identity == avoid and above):
            continue
        try:
            with os.scandir(folder) as scan:
                entries = sorted((e.name, _is_dir(e)) for e in scan if not e.name.startswith("."))
        except OSError as e:
            error = ItemError("unreadable", f"{show(folder)} can't be listed: {e.strerror}")
            yield Source(folder, os.path.relpath(folder, root), error=error)
            continue
        for name, is_dir in entries:
            if not is_dir and os.path.splitext(name)[1].lower() in suffixes:
                path = os.path.join(folder, name)
                yield Source(path, os.path.relpath(path, root))
        below = [os.path.join(folder, name) for name, is_dir in reversed(entries) if is_dir]
        stack += [(path, (*above, identity)) for path in below]


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _identity(path: str | Path) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def from_list(path: Path) -> Iterator[Source]:
    """A list file: .txt one input a line, .csv and .jsonl one row a line."""
    readers: dict[str, Callable[[bytes, str], Iterator[Source]]] = {
        ".txt": lambda data, origin: from_lines(_lines(data, b"\n"), origin),
        ".csv": _csv,
        ".jsonl": lambda data, origin: from_json_lines(_lines(data, b"\n"), origin),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError("usage", f"--from {show(path)}: expected a .txt, .csv or .jsonl file, or -")
    try:
        data = path.read_bytes()
    except OSError as e:
        raise UserError("missing_file", f"--from {show(path)}: {e.strerror}") from None
    yield from reader(data, str(path))


def from_stdin(fd: int, null: bool, sniff: Callable[[bytes], bool]) -> Iterator[Source]:
    """Standard input: JSON Lines if it starts with `{`, one file's bytes if `sniff` says so,
    else names, one a line or NUL-separated."""
    head = _read(fd)
    if sniff(head):
        data = head + b"".join(iter(lambda: _read(fd), b""))
        yield Source("-", "stdin", data=data)
        return
    pieces = _stream(fd, head, b"\0" if null else b"\n")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{"):
        yield from from_json_lines(pieces, "standard input")
    else:
        yield from from_lines(pieces, "standard input", null)


def _read(fd: int) -> bytes:
    # not sys.stdin.buffer: its lock would be held by a waiting thread when the process exits
    return os.read(fd, CHUNK)


def _stream(fd: int, head: bytes, end: bytes) -> Iterator[bytes]:
    rest = head
    while head:
        *lines, rest = rest.split(end)
        yield from lines
        head = _read(fd)
        rest += head
    if rest:
        yield rest


def _lines(data: bytes, end: bytes) -> list[bytes]:
    return data.removeprefix(b"\xef\xbb\xbf").split(end)


def from_lines(lines: Iterable[bytes], origin: str, null: bool = False) -> Iterator[Source]:
    """One name a line; empty lines are passed over."""
    for line in lines:
        name = line if null else line.removesuffix(b"\r")
        if name:
            yield _explicit(os.fsdecode(name))


def from_json_lines(lines: Iterable[bytes], origin: str) -> Iterator[Source]:
    """One JSON object a line: a row, or a record of mediakit's, whose outputs become inputs."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{origin}:{number}"
        try:
            row = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
            if not isinstance(row, dict):
                raise ValueError("expected a JSON object")
        except ValueError as e:
            yield _bad(where, f"not JSON: {e}")
            continue
        yield from from_record(row) if "schema" in row else [from_row(row, where)]


def from_record(record: dict[str, Any]) -> Iterator[Source]:
    """The outputs of one of mediakit's own records; one that failed has none."""
    outputs = record.get("outputs") or []
    raw = record.get("outputs_b64") or [None] * len(outputs)
    if record.get("status") not in ("done", "skipped"):
        return
    for output, b64 in zip(outputs, raw, strict=False):
        path = os.fsdecode(base64.b64decode(b64)) if b64 else output
        name = os.path.basename(path)
        yield Source(path, name, upstream=(str(record.get("id", "")),))


def from_row(row: dict[str, Any], where: str) -> Source:
    """A row: `input` (or `input_b64`), and Params; checked against the task's when planned."""
    row = dict(row)
    name, b64 = row.pop("input", None), row.pop("input_b64", None)
    try:
        path = os.fsdecode(base64.b64decode(b64, validate=True)) if b64 else name
    except ValueError:
        return _bad(where, "input_b64 is not base64")
    if not isinstance(path, str) or not path:
        return _bad(where, 'a row needs "input", the file to work on')
    return Source(path, os.path.basename(path), row)


def _csv(data: bytes, origin: str) -> Iterator[Source]:
    text = io.StringIO(data.decode("utf-8-sig", "surrogateescape"), newline="")
    reader = csv.DictReader(text)
    if "input" not in (reader.fieldnames or []):
        raise UserError(
            "usage", f"--from {show(origin)}: the first line must name the columns, one is input"
        )
    try:
        for row in reader:
            where = f"{origin}:{reader.line_num}"
            if None in row:
                yield _bad(where, "more values than columns")
            else:
                yield from_row({k: v for k, v in row.items() if v not in ("", None)}, where)
    except csv.Error as e:
        yield _bad(f"{origin}:{reader.line_num}", f"not CSV: {e}")


def _bad(where: str, cause: str) -> Source:
    error = ItemError("bad_row", f"{show(where)}: {cause}; mend the line")
    return Source(where, re.sub(r"\W+", "_", where), error=error)
