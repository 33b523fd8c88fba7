"""Which model a name means: an entry of the shipped catalog, or a weights file of the user's."""

import difflib
import functools
import os
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mediakit.errors import UserError, show
from mediakit.models.digests import digest
from mediakit.models.spec import LOCAL, ModelFile, ModelSpec

DEFAULT_ENGINE = "mediakit.engines.upscaler:load"
WEIGHTS = frozenset({".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".param", ".gguf", ".onnx"})

_FOLDER = Path(__file__).parent / "catalog"
# CSafeLoader reads the catalog in a tenth of the time; not every PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@functools.cache
def _entries() -> dict[str, ModelSpec]:
    entries: dict[str, ModelSpec] = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        for name, entry in yaml.load(path.read_bytes(), _LOADER).items():
            entries[name] = _entry(name, entry)
    return entries


def _entry(name: str, entry: dict[str, Any]) -> ModelSpec:
    try:
        return ModelSpec(name=name, **entry)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(
            "bad_model_entry", f"model {show(name)}: {where}: {first['msg']}; correct the entry"
        ) from None


def known() -> dict[str, ModelSpec]:
    """Every model of the shipped catalog, by name, in the catalog's order."""
    return dict(_entries())


def find(model: str, *, engine: str = DEFAULT_ENGINE, stamps: Path | None = None) -> ModelSpec:
    """The model that `model` names: a catalog name, or a path to weights, which `engine` loads.

    Digests of the user's files are remembered in the folder `stamps`, by default the model
    cache's. UserError: unknown_model; bad_weights for an ncnn file without its other half.
    """
    if entry := _entries().get(model):
        return entry
    path = Path(model).expanduser()
    if "/" in model or os.sep in model or path.suffix.lower() in WEIGHTS or _is_file(path):
        return _local(model, path, engine, stamps)
    close = difflib.get_close_matches(model, _entries(), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ";"
    raise UserError(
        "unknown_model", f"no model is named {show(model)!r}{hint} See `mediakit models list`"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long, say
        return False


def _local(model: str, path: Path, engine: str, stamps: Path | None) -> ModelSpec:
    files = _ncnn_pair(path) if path.suffix.lower() in (".param", ".bin") else (path,)
    try:
        entries = tuple(_local_file(file, stamps) for file in files)
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "this can't be the name of a file"
        raise UserError(
            "unknown_model",
            f"no weights at {show(model)}: {cause}; give a file, or a name from "
            "`mediakit models list`",
        ) from None
    return ModelSpec(
        name=show(model),
        description="A weights file of your own.",
        good_at="",
        bad_at="",
        licence="",
        homepage="",
        tasks=(),
        engine=engine,
        files=entries,
        convert="ncnn" if len(files) == 2 else None,
        revision=LOCAL,
        local=files[0].absolute(),
    )


def _local_file(path: Path, stamps: Path | None) -> ModelFile:
    if stamps is None:
        from mediakit.models.store import default_root

        stamps = default_root() / ".stamps"
    sha256 = digest(path, stamps)
    # The name is part of the digest of a pair, where only the suffix tells the two apart: a
    # renamed pair is the same model.
    return ModelFile.model_construct(
        name=f"weights{path.suffix}", size=path.stat().st_size, sha256=sha256, sources=()
    )


def _ncnn_pair(path: Path) -> tuple[Path, ...]:
    """(.param, .bin) of an ncnn model; a .bin that stands alone is of some other kind."""
    param, weights = path.with_suffix(".param"), path.with_suffix(".bin")
    if path == weights and not param.exists():
        return (path,)
    if path == param and path.exists() and not weights.exists():
        raise UserError(
            "bad_weights",
            f"{show(param)}: its weights {show(weights.name)} are not beside it; put them there",
        )
    return param, weights
