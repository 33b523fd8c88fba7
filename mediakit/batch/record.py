"""The JSON record of an item: one shape for --json, the journal, --dry-run and replay."""

import base64
import datetime
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mediakit.batch.files import FileState
from mediakit.batch.item import Item, Made
from mediakit.batch.task import Task
from mediakit.errors import MediakitError

SCHEMA = "mediakit/1"

Record = dict[str, Any]
Status = Literal["planned", "done", "skipped", "failed"]


def record_of(
    task: type[Task], item: Item, status: Status, error: MediakitError | None = None
) -> Record:
    """The record of an item that is planned or failed, and the frame of one that is done."""
    recipe, source = item.recipe, item.source
    given = recipe.given if recipe else ()
    outputs = [item.output] if item.output else []
    return {
        "schema": SCHEMA,
        "id": hashlib.sha256(
            f"{task.name}\0{item.key}".encode("utf-8", "surrogateescape")
        ).hexdigest()[:16],
        "task": task.name,
        "key": item.key,
        "status": status,
        "input": source.path,
        "inputs": {task.input_role: source.path, **source.beside},
        "outputs": [] if status == "failed" else outputs,
        "artifacts": [],
        "params": recipe.params.model_dump(mode="json") if recipe else {},
        "given": list(given),
        "execution": {},
        "models": [spec.record(role) for role, spec in recipe.models.items()] if recipe else [],
        "result": {},
        "seconds": {},
        "warnings": [],
        "attempts": [],
        "source": list(source.upstream),
        "error": {"code": error.code, "message": error.message} if error else None,
        "finished": now() if status in ("done", "failed") else None,
    }


def add_result(record: Record, item: Item, made: Made, states: Sequence[FileState] = ()) -> None:
    """Fill in what encoding made; `states` are those of its files, the primary output's first."""
    record["result"] = made.result
    record["warnings"] += made.warnings
    kinds = [(item.output, made.role, made.media_type)]
    kinds += [(extra.path, extra.role, extra.media_type) for extra in made.extras]
    for (path, role, media_type), state in zip(kinds, states, strict=False):
        artifact = {"path": path, "role": role, "media_type": media_type}
        record["artifacts"].append({**artifact, "bytes": state.size, "sha256": state.sha256})


def now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def to_json(record: Mapping[str, Any]) -> bytes:
    """One line of JSON, UTF-8; names that are not UTF-8 come with a `_b64` twin."""
    try:
        return json.dumps(record, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(_with_bytes(record), ensure_ascii=False).encode()


def _with_bytes(value: Any) -> Any:
    """Strings with raw bytes in them made readable, and beside each the bytes in base64."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if isinstance(value, Mapping):
        out: dict[str, Any] = {}
        for key, item in value.items():
            out[key] = _with_bytes(item)
            if isinstance(item, str) and not _is_utf8(item):
                out[f"{key}_b64"] = _b64(item)
            elif isinstance(item, list) and any(
                isinstance(i, str) and not _is_utf8(i) for i in item
            ):
                out[f"{key}_b64"] = [_b64(i) for i in item]
        return out
    if isinstance(value, list):
        return [_with_bytes(item) for item in value]
    return value


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _b64(text: str) -> str:
    return base64.b64encode(os.fsencode(text)).decode()
