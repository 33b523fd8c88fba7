"""What a record, or the copy of it inside a picture, says about making the same thing again."""

import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mediakit.batch.item import Source
from mediakit.batch.record import SCHEMA
from mediakit.batch.rows import from_row
from mediakit.errors import UserError, show

KEYWORD = b"mediakit"  # of the text chunk in a PNG
_PNG = b"\x89PNG\r\n\x1a\n"


def records(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    """The records in a .jsonl file, in a PNG, or in all of both below a directory; and where
    each one is. UserError bad_record if a file named by hand holds none."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in (".png", ".jsonl") and ".mediakit" not in file.parts:
                yield from _in_file(file)
    elif found := list(_in_file(path)):
        yield from found
    else:
        raise UserError("bad_record", f"{show(path)} holds no record of mediakit's")


def _in_file(path: Path) -> Iterator[tuple[dict[str, Any], str]]:
    try:
        data = path.read_bytes()
    except OSError as e:
        raise UserError("bad_record", f"{show(path)} can't be read: {e.strerror}") from None
    lines = [_png_note(data)] if data.startswith(_PNG) else data.split(b"\n")
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line) if line and line.strip() else {}
        except ValueError:
            raise UserError("bad_record", f"{show(path)}:{number} is not JSON") from None
        if isinstance(record, dict) and str(record.get("schema")) == SCHEMA:
            yield record, f"{path}:{number}"


def _png_note(data: bytes) -> bytes | None:
    """The text that mediakit put into a PNG (an iTXt chunk, https://www.w3.org/TR/png/#11iTXt)."""
    at = len(_PNG)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + 8 + length]
        if kind == b"iTXt" and body.startswith(KEYWORD + b"\0"):
            packed = body[len(KEYWORD) + 1 : len(KEYWORD) + 2] == b"\1"
            _, _, text = body[len(KEYWORD) + 3 :].split(b"\0", 2)
            return zlib.decompress(text) if packed else text
        at += length + 12
    return None


def source_of(record: dict[str, Any], where: str) -> Source:
    """The input of a record, with the Params that were given as its row."""
    params = record.get("params") or {}
    given = record.get("given", list(params))
    row = {name: params[name] for name in given if name in params}
    named = {k: record[k] for k in ("input", "input_b64") if record.get(k)}
    return from_row({**row, **named}, where)


def note(record: dict[str, Any]) -> dict[str, Any]:
    """The part of a record that its picture carries: no absolute paths, no times."""
    params = {k: v for k, v in record["params"].items() if k in record["given"]}
    if os.path.isabs(str(params.get("model", ""))):
        params["model"] = os.path.basename(params["model"])
    name = record["input"]
    kept = {k: record[k] for k in ("schema", "task", "models")}
    return {**kept, "input": os.path.basename(name) if os.path.isabs(name) else name,
            "params": params}  # fmt: skip
