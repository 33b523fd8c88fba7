"""What files whose entry names no digest must hold: what they held at the first download; and of a
whole repository, which files at which commit are the model."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mediakit.models.spec import ModelFile, ModelSpec

_NAME = "trusted.json"


def fill(spec: ModelSpec, root: Path) -> ModelSpec:
    """`spec` with the files that its repository was recorded to have, and the digests and sizes
    that were recorded for files without one."""
    if spec.pinned or spec.local:
        return spec
    records = _read(root)
    if not spec.files and spec.repository in records:
        held = records[spec.repository]
        place = f"{spec.repository.partition('@')[0]}@{held['commit']}"
        files = tuple(ModelFile(name=n, sources=(f"{place}/{n}",)) for n in held["files"])
        spec = spec.model_copy(update={"files": files})
    return spec.model_copy(update={"files": tuple(_filled(file, records) for file in spec.files)})


def _filled(file: ModelFile, records: dict[str, Any]) -> ModelFile:
    if file.sha256:
        return file
    known = next((records[source] for source in file.sources if source in records), None)
    if known is None:
        return file
    return file.model_copy(update={"sha256": known["sha256"], "size": known["size"]})


def is_recorded(file: ModelFile, root: Path) -> bool:
    """Whether `file`'s digest is one that was recorded, not one that its entry names."""
    records = _read(root)
    return any(records.get(source, {}).get("sha256") == file.sha256 for source in file.sources)


def record(file: ModelFile, sha256: str, size: int, root: Path) -> None:
    """Remember what `file` held: from now on every source of it must give the same."""
    with _locked(root):
        held = {source: {"sha256": sha256, "size": size} for source in file.sources}
        _write(root, _read(root) | held)


def record_repository(
    repository: str, commit: str, files: Mapping[str, tuple[str | None, int]], root: Path
) -> None:
    """Remember which files are the model: name -> (sha256 if the hub told it, bytes)."""
    place = f"{repository.partition('@')[0]}@{commit}"
    known: dict[str, Any] = {
        f"{place}/{name}": {"sha256": sha256, "size": size}
        for name, (sha256, size) in files.items()
        if sha256
    }
    known[repository] = {"commit": commit, "files": list(files)}
    with _locked(root):
        _write(root, _read(root) | known)


def forget(spec: ModelSpec, root: Path) -> bool:
    """Trust the next download of `spec`'s files anew; whether anything was recorded."""
    own = {source for file in spec.files if not file.sha256 for source in file.sources}
    if spec.repository and not spec.files:
        listed = fill(spec, root).files
        own = {spec.repository, *(source for file in listed for source in file.sources)}
    with _locked(root):
        records = _read(root)
        if known := own & records.keys():
            _write(root, {source: held for source, held in records.items() if source not in known})
    return bool(known)


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".trusted.lock"):
        yield


def _read(root: Path) -> dict[str, Any]:
    try:
        found = json.loads((root / _NAME).read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _write(root: Path, records: dict[str, Any]) -> None:
    part = root / f"{_NAME}.{os.getpid()}"
    part.write_text(json.dumps(records, indent=1) + "\n")
    part.replace(root / _NAME)
