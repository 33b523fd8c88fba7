"""What a record, or the copy of it inside a picture, says about making the same thing again."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mediakit.batch.item import Source
from mediakit.batch.record import SCHEMA, Record
from mediakit.batch.rows import from_row, prompt_row
from mediakit.errors import ItemError, UserError, show
from mediakit.media.a1111 import parse, to_params
from mediakit.media.formats import READABLE, suffix_of
from mediakit.media.remembered import read_notes
from mediakit.prompts.syntax import settled

SUFFIXES = (*READABLE, ".jsonl")
NAMES = (
    "model",
    "vae",
    "components",
    "lora",
    "embedding",
    "detector",
    "upscaler",
    "face_model",
    "mask",
    "wildcards",
)  # params that name files
FORMATS = ("jpg", "webp", "avif", "tiff", "bmp", "gif", "jxl")


def records(path: Path, note: Callable[[str], None]) -> Iterator[tuple[Record, str]]:
    """The records in a .jsonl file, in a PNG, or in all of both below a directory; and where
    each one is. UserError bad_record if a file named by hand holds none, or is damaged; below a
    directory damaged files are passed over, and `note` is told."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES and ".mediakit" not in file.parts:
                try:
                    found = list(_in_file(file, note))
                except UserError as e:
                    note(f"passed over: {e.message}")
                else:
                    yield from found
    elif found := list(_in_file(path, note)):
        yield from found
    else:
        raise UserError("bad_record", f"{show(path)} holds no record of mediakit's")


def _in_file(path: Path, note: Callable[[str], None]) -> Iterator[tuple[Record, str]]:
    where = str(path)
    try:
        if path.suffix.lower() in READABLE:
            yield from _in_picture(path, note)
            return
        for number, line in enumerate(path.read_bytes().split(b"\n"), 1):
            where = f"{path}:{number}"
            record = json.loads(line) if line.strip() else {}
            if isinstance(record, dict) and record.get("schema") == SCHEMA:
                yield _checked(record), where
    except OSError as e:
        raise UserError("bad_record", f"{show(path)} can't be read: {e.strerror}") from None
    except ItemError as e:
        raise UserError("bad_record", e.message) from None
    except RecursionError:
        raise UserError("bad_record", f"{show(where)} is nested too deeply") from None
    except ValueError as e:
        raise UserError("bad_record", f"{show(where)} is no record: {e}") from None


def _in_picture(path: Path, note: Callable[[str], None]) -> Iterator[tuple[Record, str]]:
    """What mediakit wrote, else what A1111 and its kin did."""
    notes = read_notes(path)
    if "mediakit" in notes:
        record = json.loads(notes["mediakit"])
        if isinstance(record, dict) and record.get("schema") == SCHEMA:
            yield _checked(record), str(path)
    elif "parameters" in notes:
        yield _of_a1111(notes["parameters"], lambda text: note(f"{show(path)}: {text}")), str(path)


def _of_a1111(text: str, note: Callable[[str], None]) -> Record:
    """A record of generate. Its files are left out: there they are names of someone's own."""
    found, unknown = to_params(parse(text))
    left = [*(k for k in _THEIRS if found.get(k)), *unknown]
    if left:
        note(f"not taken over from what it says: {', '.join(left)}")
    params = {k: v for k, v in found.items() if v not in ("", None) and k not in _THEIRS}
    for name in ("prompt", "negative_prompt"):
        if name in params:  # braces mean nothing there
            params[name] = settled(params[name])
    return {"schema": SCHEMA, "task": "generate", "params": params, "given": list(params)}


# names of files that only their maker has, and what makes no sense for a new picture
_THEIRS = ("model", "vae", "loras", "strength")


def _checked(record: Record) -> Record:
    """ValueError unless what replay takes from a record is as docs/json.md has it."""
    params, given = record.get("params", {}), record.get("given", [])
    if not isinstance(params, dict):
        raise ValueError("its params are not an object")
    if not isinstance(given, list) or not all(isinstance(name, str) for name in given):
        raise ValueError("what was given is not a list of names")
    return record


def source_of(record: Record, where: str, is_text: bool) -> Source:
    """The input of a record, with the Params that were given as its row."""
    params = record.get("params", {})
    given = record.get("given", list(params))
    row = {name: params[name] for name in given if name in params}
    if is_text:
        made = next(iter(record.get("outputs") or ()), where.rpartition(":")[0] or where)
        format = READABLE.get(suffix_of(str(made)), "png")
        if format in FORMATS:  # png is what a prompt gets by itself
            row.setdefault("format", format)
        return prompt_row(row, where)
    named = {k: record[k] for k in ("input", "input_b64") if record.get(k)}
    return from_row({**row, **named}, where)


def note(record: Record) -> Record:
    """The part of a record that its picture carries: no absolute paths, no times, and nothing
    that its Params or its own format say already."""
    params = {k: v for k, v in record["params"].items() if k in record["given"]}
    params = {k: _bare(v) if k in NAMES else v for k, v in params.items()}
    models = [{**model, "name": _bare(model["name"])} for model in record["models"]]
    kept = {"schema": record["schema"], "task": record["task"], "models": models}
    if "prompt" in record["inputs"]:
        params.pop("format", None)
        return {**kept, "params": params}
    return {**kept, "input": _bare(record["input"]), "params": params}


def _bare(name: Any) -> Any:
    """Without the folders of an absolute path; of several names each."""
    if isinstance(name, list | tuple):
        return [_bare(one) for one in name]
    return os.path.basename(name) if isinstance(name, str) and os.path.isabs(name) else name
