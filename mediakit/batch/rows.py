"""What lists say: names, rows with parameters, and mediakit's own records."""

import base64
import csv
import io
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from mediakit.batch.files import input_error
from mediakit.batch.inputs import named, streamed
from mediakit.batch.item import Row, Source
from mediakit.batch.naming import is_inside
from mediakit.batch.record import SCHEMA
from mediakit.errors import ItemError, UserError, show
from mediakit.prompts.listing import listed
from mediakit.prompts.names import slug

CHUNK = 1 << 16  # bytes of standard input read at once
MAGIC = 40  # bytes that tell a picture or a sound from a list
BOM = b"\xef\xbb\xbf"


class Lists:
    """Reads the lists of one command; `passed_over` counts records that had no outputs."""

    def __init__(self, is_text: bool = False, fields: Collection[str] | None = None) -> None:
        """`is_text`: the task's inputs are prompts, not files. `fields`: the Params that a row of
        prompts may set, all else being columns for a template; None where there is no template."""
        self.passed_over = 0
        self.is_text = is_text
        self.fields = fields
        self._head: bytes | None = None

    def file(self, path: Path) -> Iterator[Source]:
        """A list file: .txt one name a line, .csv and .jsonl one row a line."""
        readers: dict[str, Callable[[bytes, str], Iterator[Source]]] = {
            ".txt": lambda data, origin: self.lines(data.split(b"\n"), origin),
            ".csv": self.csv,
            ".jsonl": lambda data, origin: self.json_lines(data.split(b"\n"), origin),
        }
        reader = readers.get(path.suffix.lower())
        if reader is None:
            raise UserError(
                "usage", f"--from {show(path)}: expected a .txt, .csv or .jsonl file, or -"
            )
        try:
            data = path.read_bytes()
        except OSError as e:
            error = input_error(str(path), e)
            raise UserError(error.code, f"--from {error.message}") from None
        if data.startswith((b"\xff\xfe", b"\xfe\xff")) and b"\0" in data:
            raise UserError("usage", f"--from {show(path)} is UTF-16; save it as UTF-8")
        yield from reader(data.removeprefix(BOM), str(path))

    def peek(self, fd: int, null: bool) -> bytes:
        """What standard input begins with, which `stdin` will read with the rest."""
        if self._head is None:
            self._head = _head(fd, b"\0" if null else b"\n")
        return self._head

    def stdin(self, fd: int, null: bool, sniff: Callable[[bytes], str]) -> Iterator[Source]:
        """One file's bytes if `sniff` knows them, JSON Lines if it starts with `{`, else names,
        one a line, or (`null`) NUL-separated, as they come."""
        end = b"\0" if null else b"\n"
        head, self._head = self.peek(fd, null), None
        # lists have no NUL bytes; all that pictures and sounds begin with has one soon
        is_binary = b"\0" in head
        is_object = head.removeprefix(BOM).lstrip().startswith(b"{")
        if not (null or self.is_text) and (is_binary or is_object):
            if suffix := sniff(head):
                data = head + b"".join(iter(lambda: _read(fd), b""))
                yield Source("-", f"stdin{suffix}", data=data)
                return
            if is_binary:
                raise UserError(
                    "unsupported_format",
                    "standard input is neither a list nor a file of a known format; use -0 for "
                    "names from find -print0",
                )
        head = head.removeprefix(BOM)
        pieces = _pieces(fd, head, end)
        # a prompt may begin with {red|blue}
        start = rb'\s*\{\s*["}]' if self.is_text else rb"\s*\{"
        if re.match(start, head) and not null:
            if re.match(rb"\s*\{\s*\n", head):
                raise UserError(
                    "usage",
                    "standard input is one JSON object over several lines, not JSON Lines; put it "
                    "on one (jq -c)",
                )
            yield from self.json_lines(pieces, "standard input")
        else:
            for source in self.lines(pieces, "standard input", null):
                yield source if source.error or self.is_text else streamed(source.path)

    def lines(self, lines: Iterable[bytes], origin: str, null: bool = False) -> Iterator[Source]:
        """One name or prompt a line; empty lines are passed over, and among prompts comments."""
        if self.is_text:
            yield from prompts(lines, origin)
            return
        for number, line in enumerate(lines, 1):
            name = line if null else line.removesuffix(b"\r")
            if b"\0" in name:
                yield _bad(f"{origin}:{number}", "a NUL byte in a name; use -0 with - for those")
            elif name:
                yield named(os.fsdecode(name))

    def json_lines(self, lines: Iterable[bytes], origin: str) -> Iterator[Source]:
        """One JSON object a line: a row, or a record of mediakit's, whose outputs are inputs."""
        for number, line in enumerate(lines, 1):
            where = f"{origin}:{number}"
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("expected a JSON object")
            except (ValueError, RecursionError) as e:
                yield _bad(where, f"not JSON: {e}")
            else:
                is_record = "schema" in row and not self.is_text
                yield from self.record(row, where) if is_record else [self.row(row, where)]

    def record(self, record: dict[str, Any], where: str) -> Iterator[Source]:
        """The outputs of a record, under the names they had in their output directory."""
        if record["schema"] != SCHEMA:
            yield _bad(where, f"a record, but not of the form {SCHEMA}")
            return
        try:
            found = list(_outputs(record))
        except ValueError as e:
            yield _bad(where, str(e))
            return
        self.passed_over += not found
        yield from found

    def csv(self, data: bytes, origin: str) -> Iterator[Source]:
        """Rows under a line that names the columns; empty cells set nothing."""
        text = io.StringIO(data.decode("utf-8", "surrogateescape"), newline="")
        first = text.readline()
        text.seek(0)
        # as some spreadsheets have it; what the first line holds none of separates nothing
        between = next((mark for mark in ",;\t" if mark in first), ",")
        reader = csv.reader(text, delimiter=between, strict=True)
        try:
            names = [name.strip() for name in next(reader, [])]
            needed = {"prompt"} if self.is_text else {"input", "input_b64"}
            if self.fields is None and not needed & set(names):
                raise UserError(
                    "usage",
                    f"--from {show(origin)}: the first line must name the columns, one is "
                    f"{min(needed)}",
                )
            for row in reader:
                where = f"{origin}:{reader.line_num}"
                if len(row) > len(names):
                    yield _bad(where, "more values than columns")
                elif any(row):
                    row += [""] * (len(names) - len(row))
                    cells = zip(names, row, strict=True)
                    yield self.row({k: v for k, v in cells if v or self._is_column(k)}, where)
        except csv.Error as e:
            yield _bad(f"{origin}:{reader.line_num}", f"not CSV: {e}")

    def row(self, row: dict[str, Any], where: str) -> Source:
        if self.fields is None:
            return prompt_row(row, where) if self.is_text else from_row(row, where)
        columns = {name: value for name, value in row.items() if self._is_column(name)}
        told = {name: value for name, value in row.items() if name not in columns}
        text = str(columns.get("prompt") or "")
        return replace(prompt(text, told), where=_said(where), columns=columns)

    def _is_column(self, name: str) -> bool:
        return self.fields is not None and (name == "prompt" or name not in self.fields)


def prompt(text: str, row: Row | None = None) -> Source:
    """An input that is a text."""
    return Source(text, slug(text), row, is_text=True)


def prompts(lines: Iterable[bytes], origin: str) -> Iterator[Source]:
    """One prompt a line, as `listed` reads them."""
    for one in listed(lines, origin):
        yield replace(prompt(one.text or one.where), error=one.error)


def prompt_row(row: dict[str, Any], where: str) -> Source:
    """A row of prompts: `prompt`, and other Params."""
    text = row.get("prompt")
    if not isinstance(text, str) or not text.strip():
        return _bad(where, 'a row needs "prompt", the text to work on')
    return replace(prompt(text, row), where=_said(where))


def from_row(row: dict[str, Any], where: str) -> Source:
    """A row: `input` (or `input_b64`), and Params; checked against the task's when planned."""
    row = dict(row)
    try:
        path = _name(row.pop("input", None), row.pop("input_b64", None))
    except ValueError as e:
        return _bad(where, str(e))
    return Source(path, os.path.basename(path), row, where=_said(where))


def _name(text: object, b64: object) -> str:
    """A file name of JSON, from text or bytes in base64. ValueError says what is wrong."""
    if b64:
        if not isinstance(b64, str):
            raise ValueError("input_b64 is not text")
        text = os.fsdecode(base64.b64decode(b64, validate=True))
    if not isinstance(text, str) or not text:
        raise ValueError('a row needs "input", the file to work on')
    if "\0" in text:
        raise ValueError("a name can't hold a NUL byte")
    os.fsencode(text)  # UnicodeEncodeError, a ValueError, for half a surrogate pair
    return text


def _outputs(record: dict[str, Any]) -> Iterator[Source]:
    """ValueError for a record whose fields are not as docs/json.md has them."""
    if record.get("status") not in ("done", "skipped"):
        return
    outputs = record.get("outputs")
    if not isinstance(outputs, list):
        raise ValueError("a record whose outputs are not a list")
    raw = record.get("outputs_b64") or [None] * len(outputs)
    for output, b64 in zip(outputs, raw, strict=True):
        path = _name(output, b64)
        relative = os.path.basename(path)
        if len(outputs) == 1 and record.get("key"):
            key = _name(record["key"], record.get("key_b64"))
            relative = key if is_inside(key) else relative
        yield Source(path, relative, upstream=(str(record.get("id", "")),))


def _said(where: str) -> str:
    """A line as messages have it: "photos.csv line 7" of "photos.csv:7"."""
    origin, _, number = where.rpartition(":")
    return f"{origin} line {number}" if origin and number.isdecimal() else where


def _bad(where: str, cause: str) -> Source:
    error = ItemError("bad_row", f"{show(_said(where))}: {cause}; mend the line")
    return Source(where, re.sub(r"\W+", "_", where), error=error)


def _read(fd: int) -> bytes:
    # not sys.stdin.buffer: its lock would be held by a waiting thread when the process exits
    try:
        return os.read(fd, CHUNK)
    except OSError as e:
        raise UserError("unreadable", f"standard input can't be read: {e.strerror}") from None


def _head(fd: int, end: bytes) -> bytes:
    """Enough to tell what comes, but not more than one line of a slow writer."""
    head = piece = _read(fd)
    # no row is a brace alone
    while (
        piece
        and len(head) < MAGIC
        and (not head.endswith(end) or head[0] >= 0x80 or head.strip() == b"{")
    ):
        piece = _read(fd)
        head += piece
    return head


def _pieces(fd: int, rest: bytes, end: bytes) -> Iterator[bytes]:
    while True:
        *lines, rest = rest.split(end)
        yield from lines
        piece = _read(fd)
        if not piece:
            break
        rest += piece
    if rest:
        yield rest
