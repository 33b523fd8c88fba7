"""What `mediakit models` says of a model."""

from collections.abc import Iterator
from typing import Any

from mediakit.errors import show
from mediakit.models import trust, upkeep
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store


def facts(store: Store, spec: ModelSpec) -> dict[str, Any]:
    spec = trust.fill(spec, store.root)
    path = store.path(spec)
    return {
        "name": spec.name, "aliases": spec.aliases, "kind": spec.kind, "tasks": spec.tasks,
        "bytes": spec.size or None, "licence": spec.licence, "description": spec.description,
        "good_at": spec.good_at, "bad_at": spec.bad_at, "homepage": spec.homepage,
        "family": spec.family, "native_side": spec.native_side, "memory": spec.memory,
        "revision": spec.revision, "sha256": spec.sha256 if spec.pinned else None,
        "path": str(path) if path else None,
        "bytes_on_disk": sum(upkeep.on_disk(store, spec).values()),
    }  # fmt: skip


def files(spec: ModelSpec) -> list[dict[str, Any]]:
    return [
        {"name": f.name, "bytes": f.size, "sha256": f.sha256, "sources": f.sources}
        for f in spec.files
    ]


def lines(store: Store, spec: ModelSpec) -> Iterator[tuple[str, str]]:
    yield "name", show(spec.name)
    yield "also called", ", ".join(spec.aliases)
    yield "description", spec.description
    yield "good at", spec.good_at.strip()
    yield "bad at", spec.bad_at.strip()
    yield "for", f"--{spec.kind}" if spec.kind != "model" else ""
    yield "tasks", ", ".join(spec.tasks) or "any"
    yield "family", spec.family or ""
    yield "native size", f"{spec.native_side}x{spec.native_side}" if spec.native_side else ""
    yield "memory", f"{spec.memory / 1e9:.0f} GB on a GPU" if spec.memory else ""
    yield "licence", spec.licence
    yield "homepage", spec.homepage
    yield "revision", spec.revision
    yield "size", size(spec)
    for task, own in spec.defaults.items():
        yield f"its {task}", ", ".join(f"{name} {value}" for name, value in own.items())
    if not spec.files:
        yield "files", f"those of {spec.repository}, recorded when they are first fetched"
    for file in spec.files:
        yield "file", file.name
        yield "  sha256", file.sha256 or "not known; the first download is trusted"
        for source in file.sources:
            yield "  from", source
    for path, count in upkeep.on_disk(store, spec).items():
        yield "on disk", f"{show(path)} ({bytes_(count)})"


def size(spec: ModelSpec) -> str:
    return bytes_(spec.size) if spec.size else "-"


def bytes_(count: int) -> str:
    if count >= 1e9:
        return f"{count / 1e9:.1f} GB"
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
