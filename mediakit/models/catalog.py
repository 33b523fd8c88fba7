"""Which model a name means: a catalog entry, one of the user's own, an address, a file, or a
folder."""

import difflib
import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from mediakit.errors import UserError, show
from mediakit.models.engines import (
    CAPTION_ENGINE,
    CAPTION_TASKS,
    DEFAULT_ENGINE,
    DIFFUSION_ENGINE,
    DIFFUSION_TASKS,
    LLAMA_ENGINE,
    LLAMA_TASKS,
    WEIGHTS,
    WHISPER_ENGINE,
    WHISPER_TASKS,
)
from mediakit.models.spec import OWN, ModelSpec

_FOLDER = Path(__file__).parent / "catalog"
# CSafeLoader reads the catalog in a tenth of the time; not every PyYAML was built with it.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


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


@functools.cache
def _shipped_as(model: str) -> ModelSpec | None:
    """The entry of that name or alias, from the entries that hold the word: reading all of them
    takes longer than reading a small model."""
    word = model.encode("utf-8", "replace")
    for path in sorted(_FOLDER.glob("*.yaml")):
        for text in re.split(rb"^(?=\w)", path.read_bytes(), flags=re.MULTILINE):
            if word not in text:
                continue
            for name, entry in (yaml.load(text, _LOADER) or {}).items():
                if model in (name, *entry.get("aliases", ())):
                    return _entry(path, name, entry) if model == name else _shipped_as(name)
    return None


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
        usual = {**OWN, "engine": DEFAULT_ENGINE}
        if entry.get("tasks") == [*WHISPER_TASKS]:
            usual |= {"engine": WHISPER_ENGINE}
        elif entry.get("tasks") == [*CAPTION_TASKS]:
            usual |= {"engine": CAPTION_ENGINE}
        elif "repository" in entry:
            usual |= {"engine": DIFFUSION_ENGINE, "tasks": DIFFUSION_TASKS}
        elif ".gguf" in str(entry.get("files")):
            usual |= {"engine": LLAMA_ENGINE, "tasks": LLAMA_TASKS}
        spec = _entry(path, str(name), {**usual, **entry})
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
    return not (spec.local or spec.is_reference or _shipped_as(spec.name))


def tasks() -> set[str]:
    """What the models that mediakit knows by itself are for."""
    return {task for spec in _shipped().values() for task in spec.tasks}


def find(
    model: str,
    *,
    engine: str = DEFAULT_ENGINE,
    kind: str | None = None,
    stamps: Path | None = None,
) -> ModelSpec:
    """The model that `model` names: a catalog name, or weights: a path (of a folder of
    diffusers, of a captioner of transformers, or a Whisper model of CTranslate2 too), an address at
    the hub (hf:org/repository@revision/file, or without the file the whole repository; @main may be
    left out), or https. `engine` loads files; `kind` is what a catalog entry must be (model, lora,
    embedding, vae; None: any; components: a model of which a folder need not hold all).

    Digests of the user's files are remembered in the folder `stamps`, by default the model
    cache's. UserError: unknown_model; bad_weights for an ncnn file without its other half;
    missing_component for a folder that is not complete; wrong_model for another kind, and for
    a form that `engine` can't load; bad_model_entry for a models.yaml that is wrong.
    """
    named = (spec for spec in _own().values() if model in (spec.name, *spec.aliases))
    if spec := next(named, None) or _shipped_as(model):
        if kind:
            spec.check_kind("model" if kind == "components" else kind)
        return spec
    from mediakit.models import given  # knows all layouts: not for a name

    if re.fullmatch(r"hf:[\w.-]+/[\w.-]+(@[\w.-]+)?/?", model):
        return given.repository(model.rstrip("/"), engine)
    if model.startswith(("hf:", "https:", "http:")):
        return given.address(model, engine)
    path = Path(model).expanduser()
    if _is(path.is_dir):
        return given.folder(model, path, engine, stamps, lending=kind == "components")
    if "/" in model or os.sep in model or path.suffix.lower() in WEIGHTS or _is(path.is_file):
        return given.file(model, path, engine, stamps)
    close = difflib.get_close_matches(model.casefold(), known(), n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(close)}?" if close else ";"
    raise UserError(
        "unknown_model", f"no model is named {show(model)!r}{hint} See `mediakit models list`"
    )


def _is(kind_of_path: Callable[[], bool]) -> bool:
    try:
        return kind_of_path()
    except (OSError, ValueError):  # a name that is too long, say
        return False
