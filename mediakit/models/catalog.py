"""Which model a name means: a catalog entry, one of the user's own, an address, or a file."""

import difflib
import functools
import os
import re
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import yaml
from pydantic import ValidationError

from mediakit.errors import UserError, show
from mediakit.models.digests import digest
from mediakit.models.sources import scheme_of
from mediakit.models.spec import LOCAL, ModelFile, ModelSpec

DEFAULT_ENGINE = "mediakit.engines.upscaler:load"
WEIGHTS = frozenset({".safetensors", ".pth", ".pt", ".ckpt", ".bin", ".param", ".gguf", ".onnx"})

_FOLDER = Path(__file__).parent / "catalog"
# CSafeLoader reads the catalog in a tenth of the time; not every PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LONGEST = 250  # a reference, quoted, is the name of a folder
# What an entry of the user's may leave out
_OWN: dict[str, Any] = {
    "description": "A model of your own.",
    "good_at": "",
    "bad_at": "",
    "licence": "",
    "homepage": "",
    "tasks": (),
    "revision": "your own",
}


def user_file() -> Path:
    """Where the user's own entries are."""
    from platformdirs import user_config_path

    return user_config_path("mediakit") / "models.yaml"


@functools.cache
def _shipped() -> dict[str, ModelSpec]:
    entries: dict[str, ModelSpec] = {}
    for path in sorted(_FOLDER.glob("*.yaml")):
        for name, entry in yaml.load(path.read_bytes(), _LOADER).items():
            entries[name] = _entry(path, name, entry)
    return entries


def _own() -> dict[str, ModelSpec]:
    """The entries of models.yaml. UserError bad_model_entry names file, entry and key."""
    path = user_file()
    try:
        content = yaml.load(path.read_bytes(), _LOADER)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise _bad(path, f"can't be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise _bad(path, f"is not YAML: {' '.join(str(error).split())}") from None
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(isinstance(e, dict) for e in content.values()):
        raise _bad(path, "must hold names of models, and under each its keys")
    entries = {}
    taken = {other for spec in _shipped().values() for other in (spec.name, *spec.aliases)}
    for name, entry in content.items():
        if not re.fullmatch(r"[A-Za-z0-9][\w.-]*", str(name)):
            raise _bad(path, f"{show(name)!r} can't be a name; use letters, digits, . _ and -")
        spec = _entry(path, str(name), {**_OWN, "engine": DEFAULT_ENGINE, **entry})
        for word in (spec.name, *spec.aliases):
            if word in taken:
                raise _bad(path, f"{word} is the name of another model; take another one")
            taken.add(word)
        entries[spec.name] = spec
    return entries


def _entry(path: Path, name: str, entry: dict[str, Any]) -> ModelSpec:
    try:
        return ModelSpec(**{**entry, "name": name})
    except ValidationError as error:
        errors = error.errors()
        misspelt = (e for e in errors if e["type"] == "extra_forbidden")
        first = next(misspelt, errors[0])
        where = ".".join([name, *map(str, first["loc"])])
        said = "no such key" if first["type"] == "extra_forbidden" else first["msg"]
        raise _bad(path, f"{show(where)}: {said.removeprefix('Value error, ')}") from None


def _bad(path: Path, said: str) -> UserError:
    return UserError("bad_model_entry", f"{show(path)}: {said}; correct the file")


def known() -> dict[str, ModelSpec]:
    """Every model of the catalog, by name, in the catalog's order, then the user's own."""
    return {**_shipped(), **_own()}


def is_own(spec: ModelSpec) -> bool:
    """Whether it is an entry of models.yaml."""
    return not (spec.name in _shipped() or spec.local or spec.is_reference)


def tasks() -> set[str]:
    """What the models that mediakit knows by itself are for."""
    return {task for spec in _shipped().values() for task in spec.tasks}


def find(model: str, *, engine: str = DEFAULT_ENGINE, stamps: Path | None = None) -> ModelSpec:
    """The model that `model` names: a catalog name, or weights that `engine` loads: a path, an
    address at the hub (hf:org/repository@revision/file; @main may be left out), or https.

    Digests of the user's files are remembered in the folder `stamps`, by default the model
    cache's. UserError: unknown_model; bad_weights for an ncnn file without its other half;
    bad_model_entry for a models.yaml that is wrong.
    """
    entries = known()
    if entry := entries.get(model):
        return entry
    for spec in entries.values():
        if model in spec.aliases:
            return spec
    if model.startswith(("hf:", "https:", "http:")):
        return _reference(model, engine)
    path = Path(model).expanduser()
    if "/" in model or os.sep in model or path.suffix.lower() in WEIGHTS or _is_file(path):
        return _local(model, path, engine, stamps)
    close = difflib.get_close_matches(model.casefold(), entries, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ";"
    raise UserError(
        "unknown_model", f"no model is named {show(model)!r}{hint} See `mediakit models list`"
    )


def _reference(model: str, engine: str) -> ModelSpec:
    """A file at the hub or on the web; what its first download holds is trusted."""
    source = model
    if model.startswith("hf:") and "@" not in model:
        organisation, _, rest = model.partition("/")
        repository, _, name = rest.partition("/")
        source = f"{organisation}/{repository}@main/{name}"
    suffix = PurePosixPath(source.partition("?")[0]).suffix.lower()
    if not source.startswith(("hf:", "https:")) or not scheme_of(source):
        forms = "hf:org/repository@revision/file or https://host/file"
    elif len(quote(source)) > _LONGEST:
        forms = "a shorter address, or fetch the file yourself and give its path"
    elif suffix not in WEIGHTS - {".param"}:
        forms = f"the address of a weights file ({', '.join(sorted(WEIGHTS - {'.param'}))})"
    else:
        file = ModelFile(name=f"weights{suffix}", sources=(source,))
        revision = source.partition("@")[2].partition("/")[0] if source.startswith("hf:") else "web"
        return ModelSpec(
            **{**_OWN, "description": "Weights at an address.", "revision": revision},
            name=source,
            engine=engine,
            files=(file,),
        )
    raise UserError("unknown_model", f"{show(model)} is no model; give {forms}")


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
        **{**_OWN, "description": "A weights file of your own.", "revision": LOCAL},
        name=show(model),
        engine=engine,
        files=entries,
        convert="ncnn" if len(files) == 2 else None,
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
