"""What a record, or the copy of it inside a picture, says about making the same thing again."""

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from mediakit.batch.item import Source
from mediakit.batch.record import SCHEMA, Record
from mediakit.batch.rows import from_row
from mediakit.errors import UserError, show

KEYWORD = b"mediakit"  # of the text chunk in a PNG
LONGEST_NOTE = 1 << 20  # bytes; mediakit writes some hundred
SUFFIXES = (".png", ".jsonl")
_PNG = b"\x89PNG\r\n\x1a\n"


def records(path: Path, note: Callable[[str], None]) -> Iterator[tuple[Record, str]]:
    """The records in a .jsonl file, in a PNG, or in all of both below a directory; and where
    each one is. UserError bad_record if a file named by hand holds none, or is damaged; below a
    directory damaged files are passed over, and `note` is told."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and ".mediakit" not in file.parts:
                try:
                    found = list(_in_file(file))
                except UserError as e:
                    note(f"passed over: {e.message}")
                else:
                    yield from found
    elif found := list(_in_file(path)):
        yield from found
    else:
        raise UserError("bad_record", f"{show(path)} holds no record of mediakit's")


def _in_file(path: Path) -> Iterator[tuple[Record, str]]:
    where = str(path)
    try:
        data = path.read_bytes()
        lines = [_png_note(data)] if data.startswith(_PNG) else data.split(b"\n")
        for number, line in enumerate(lines, 1):
            where = f"{path}:{number}"
            record = json.loads(line) if line and line.strip() else {}
            if isinstance(record, dict) and record.get("schema") == SCHEMA:
                yield _checked(record), where
    except OSError as e:
        raise UserError("bad_record", f"{show(path)} can't be read: {e.strerror}") from None
    except RecursionError:
        raise UserError("bad_record", f"{show(where)} is nested too deeply") from None
    except (ValueError, zlib.error) as e:
        raise UserError("bad_record", f"{show(where)} is no record: {e}") from None


def _checked(record: Record) -> Record:
    """ValueError unless what replay takes from a record is as docs/json.md has it."""
    params, given = record.get("params", {}), record.get("given", [])
    if not isinstance(params, dict):
        raise ValueError("its params are not an object")
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError("what was given is not a list of names")
    return record


def _png_note(data: bytes) -> bytes | None:
    """The text that mediakit put into a PNG (an iTXt chunk, https://www.w3.org/TR/png/#11iTXt).

    ValueError or zlib.error for a chunk that is not one.
    """
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if kind == b"iTXt" and body.startswith(KEYWORD + b"\0"):
            packed = body[len(KEYWORD) + 1 : len(KEYWORD) + 2] == b"\1"
            parts = body[len(KEYWORD) + 3 :].split(b"\0", 2)
            if len(parts) != 3:
                raise ValueError("its text chunk is cut off")
            return _unpacked(parts[2]) if packed else parts[2]
        at += length + 12
    return None


def _unpacked(text: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    unpacked = unpacker.decompress(text, LONGEST_NOTE)
    if not unpacker.eof:
        raise ValueError("its text chunk is cut off, or too long")
    return unpacked


def source_of(record: Record, where: str) -> Source:
    """The input of a record, with the Params that were given as its row."""
    params = record.get("params", {})
    given = record.get("given", list(params))
    row = {name: params[name] for name in given if name in params}
    named = {k: record[k] for k in ("input", "input_b64") if record.get(k)}
    return from_row({**row, **named}, where)


def note(record: Record) -> Record:
    """The part of a record that its picture carries: no absolute paths, no times."""
    params = {k: v for k, v in record["params"].items() if k in record["given"]}
    if os.path.isabs(str(params.get("model", ""))):
        params["model"] = os.path.basename(params["model"])
    name = record["input"]
    kept = {k: record[k] for k in ("schema", "task", "models")}
    return {**kept, "input": os.path.basename(name) if os.path.isabs(name) else name,
            "params": params}  # fmt: skip
