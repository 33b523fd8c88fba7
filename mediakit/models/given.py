"""Which model an address, a file or a folder is that the user gave in place of a name."""

import os
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from mediakit.errors import UserError, show
from mediakit.models import captioners, whisper
from mediakit.models.digests import digest
from mediakit.models.engines import (
    CAPTION_ENGINE,
    CAPTION_TASKS,
    DIFFUSION_ENGINE,
    DIFFUSION_TASKS,
    LLAMA_ENGINE,
    LLAMA_TASKS,
    WEIGHTS,
    WHISPER_ENGINE,
    WHISPER_TASKS,
)
from mediakit.models.folders import read_folder
from mediakit.models.sources import scheme_of
from mediakit.models.spec import COMPONENT, LOCAL, OWN, ModelFile, ModelSpec

_LONGEST = 250  # a reference, quoted, is the name of a folder


def repository(model: str, engine: str) -> ModelSpec:
    """A whole repository at the hub; which of its files are the model, the first pull says.

    What it is for is not known before: `engine` tells what is wanted of it, if it is one of those
    that are given folders.
    """
    if engine == LLAMA_ENGINE:
        raise _one_of_several(model, f"{model}/model-Q4_K_M.gguf")
    name = model if "@" in model else f"{model}@main"
    wanted = {
        DIFFUSION_ENGINE: DIFFUSION_TASKS,
        WHISPER_ENGINE: WHISPER_TASKS,
        CAPTION_ENGINE: CAPTION_TASKS,
    }
    return ModelSpec(
        **{
            **OWN,
            "description": "A repository at the hub.",
            "tasks": wanted.get(engine, DIFFUSION_TASKS + WHISPER_TASKS + CAPTION_TASKS),
            "revision": name.partition("@")[2],
        },
        name=name,
        engine=engine if engine in wanted else DIFFUSION_ENGINE,
        repository=name,
    )


def address(model: str, engine: str) -> ModelSpec:
    """A file at the hub or on the web; what its first download holds is trusted."""
    source = model
    if model.startswith("hf:") and "@" not in model:
        organisation, _, rest = model.partition("/")
        repository, _, name = rest.partition("/")
        source = f"{organisation}/{repository}@main/{name}"
    suffix = PurePosixPath(source.partition("?")[0]).suffix.lower()
    if not source.startswith(("hf:", "https:")) or not scheme_of(source):
        forms = "hf:org/repository@revision/file or https://host/file, or hf:org/repository"
    elif len(quote(source)) > _LONGEST:
        forms = "a shorter address, or fetch the file yourself and give its path"
    elif suffix not in WEIGHTS - {".param"}:
        forms = f"the address of a weights file ({', '.join(sorted(WEIGHTS - {'.param'}))})"
    elif engine == WHISPER_ENGINE:
        raise whisper.not_a_file(model)
    elif engine == CAPTION_ENGINE and suffix != ".gguf":
        raise captioners.not_a_file(model)
    else:
        file = ModelFile(name=f"weights{suffix}", sources=(source,))
        revision = source.partition("@")[2].partition("/")[0] if source.startswith("hf:") else "web"
        return ModelSpec(
            **{
                **OWN,
                "description": "Weights at an address.",
                "revision": revision,
                "tasks": _tasks(suffix),
            },
            name=source,
            engine=_engine(suffix, engine),
            files=(file,),
        )
    raise UserError("unknown_model", f"{show(model)} is no model; give {forms}")


def file(model: str, path: Path, engine: str, stamps: Path | None) -> ModelSpec:
    if engine == WHISPER_ENGINE and os.path.isfile(path):
        raise whisper.not_a_file(model)
    if engine == CAPTION_ENGINE and os.path.isfile(path) and path.suffix.lower() != ".gguf":
        raise captioners.not_a_file(model)
    files = _ncnn_pair(path) if path.suffix.lower() in (".param", ".bin") else (path,)
    try:
        entries = tuple(_file(file, stamps) for file in files)
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or "this can't be the name of a file"
        raise UserError(
            "unknown_model",
            f"no weights at {show(model)}: {cause}; give a file, or a name from "
            "`mediakit models list`",
        ) from None
    suffix = path.suffix.lower()
    return ModelSpec(
        **{
            **OWN,
            "description": "A weights file of your own.",
            "revision": LOCAL,
            "tasks": _tasks(suffix),
        },
        name=show(model),
        engine=_engine(suffix, engine),
        files=entries,
        convert="ncnn" if len(files) == 2 else None,
        local=files[0].absolute(),
    )


def folder(
    model: str, path: Path, engine: str, stamps: Path | None, lending: bool = False
) -> ModelSpec:
    """A folder of the user's: what it holds says what it is for, whatever `engine` is wanted."""
    if engine == LLAMA_ENGINE:
        raise _one_of_several(model, _first_gguf(path))

    def read(name: str) -> bytes:
        return (path / name).read_bytes()

    try:
        listing = os.listdir(path)
        spoken = whisper.choose(listing, read, show(model), engine == WHISPER_ENGINE)
        seen = None
        if not spoken:
            seen = captioners.choose(listing, read, show(model), engine == CAPTION_ENGINE)
        names = spoken or seen or read_folder(path, lending).files
        family = captioners.family_of(captioners.parsed(read(COMPONENT))) if seen else None
        entries = tuple(_file(path / name, stamps, name) for name in names)
    except OSError as error:
        raise UserError(
            "unknown_model", f"{show(error.filename or model)} can't be read: {error.strerror}"
        ) from None
    return ModelSpec(
        **{
            **OWN,
            "description": "A model folder of your own.",
            "tasks": WHISPER_TASKS if spoken else CAPTION_TASKS if seen else DIFFUSION_TASKS,
            "revision": LOCAL,
        },
        name=show(model),
        engine=WHISPER_ENGINE if spoken else CAPTION_ENGINE if seen else DIFFUSION_ENGINE,
        family=family,
        files=entries,
        local=path.absolute(),
    )


def _file(path: Path, stamps: Path | None, name: str | None = None) -> ModelFile:
    if stamps is None:
        from mediakit.models.store import default_root

        stamps = default_root() / ".stamps"
    sha256 = digest(path, stamps)
    # The name is part of the digest of a pair, where only the suffix tells the two apart: a
    # renamed pair is the same model.
    return ModelFile.model_construct(
        name=name or f"weights{path.suffix}", size=path.stat().st_size, sha256=sha256, sources=()
    )


def _engine(suffix: str, engine: str) -> str:
    return LLAMA_ENGINE if suffix == ".gguf" else engine


def _tasks(suffix: str) -> tuple[str, ...]:
    return LLAMA_TASKS if suffix == ".gguf" else ()


def _first_gguf(folder: Path) -> str:
    try:
        names = sorted(name for name in os.listdir(folder) if name.lower().endswith(".gguf"))
    except OSError:
        names = []
    # a projector is no model
    names.sort(key=lambda name: "mmproj" in name.lower())
    return str(folder / (names[0] if names else "model.gguf"))


def _one_of_several(model: str, example: str) -> UserError:
    return UserError(
        "unknown_model",
        f"{show(model)} is a whole folder; a language model is one file in GGUF: give that, such "
        f"as {show(example)}",
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
