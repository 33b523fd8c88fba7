"""Which files of a whole repository at the hub are a model: listed once, at one commit, and
recorded.

Of weights in several number types the variant fp16 is taken where there is one: half the bytes to
fetch, and what a GPU computes in (`variant: ""` in an entry asks for the others).
"""

import re
from collections.abc import Collection
from pathlib import Path

from mediakit.errors import UserError, show
from mediakit.models import captioners, hub, trust, whisper
from mediakit.models.engines import CAPTION_TASKS, DIFFUSION_TASKS, WHISPER_TASKS
from mediakit.models.folders import component, pipeline
from mediakit.models.spec import PIPELINE, ModelSpec

# What the libraries that train adapters call their only file
_ADAPTERS = ("pytorch_lora_weights.safetensors", "learned_embeds.safetensors", "learned_embeds.bin")
_WEIGHTS = r"(?:[^\s./\\:][^\s/\\:]*/)*[^\s./\\:][^\s/\\:]*\.(?:safetensors|ckpt|pt|pth|bin)"


def resolve(spec: ModelSpec, root: Path, offline: bool) -> None:
    """Record the files of `spec.repository`, so that `trust.fill` knows them.

    Raises Unfetched; UserError unknown_model, wrong_model, bad_weights, missing_component,
    missing_extra.
    """
    assert spec.repository is not None
    listing = hub.list_files(spec.repository, offline)
    place = f"{spec.repository.partition('@')[0]}@{listing.commit}"
    names = listing.files.keys()

    def read(name: str) -> bytes:
        return hub.read(f"{place}/{name}", offline)

    where = show(spec.repository)
    found = whisper.choose(names, read, where, spec.tasks == WHISPER_TASKS)
    if not found and PIPELINE not in names:
        found = captioners.choose(names, read, where, spec.tasks == CAPTION_TASKS)
    chosen: tuple[str, ...]
    if found:
        chosen = found
    elif PIPELINE in names:
        index = hub.read(f"{place}/{PIPELINE}", offline)
        chosen = pipeline(names, index, show(spec.name), spec.variant).files
    elif layout := component(names, spec.variant):
        chosen = layout.files
    else:
        chosen = (_only_file(spec, names),)
    check_tasks(spec, chosen)
    files = {name: listing.files[name] for name in chosen}
    trust.record_repository(spec.repository, listing.commit, files, root)


def check_tasks(spec: ModelSpec, names: Collection[str]) -> None:
    """UserError wrong_model if the model that these files are is for none of `spec.tasks`."""
    found: tuple[str, ...] = DIFFUSION_TASKS
    if whisper.is_whisper(names):
        found = WHISPER_TASKS
    elif captioners.is_captioner(names):
        found = CAPTION_TASKS
    if spec.repository and spec.tasks and not set(spec.tasks) & set(found):
        raise UserError(
            "wrong_model",
            f"{show(spec.name)} is a model for {' and '.join(found)}, not for "
            f"{' and '.join(spec.tasks)}; see `mediakit models list --task {spec.tasks[0]}`",
        )


def _only_file(spec: ModelSpec, names: Collection[str]) -> str:
    """The one checkpoint or adapter of a repository that holds no folder of diffusers."""
    for name in _ADAPTERS:
        if name in names:
            return name
    weights = sorted(name for name in names if re.fullmatch(_WEIGHTS, name))
    safe = [name for name in weights if name.endswith(".safetensors")]
    if len(safe or weights) == 1:
        return (safe or weights)[0]
    if weights:
        address = (spec.repository or "").removesuffix("@main")
        some = ", ".join(show(name) for name in weights[:5])
        said = f"it holds {len(weights)} files of weights ({some}{', ...' * (len(weights) > 5)}); "
        said += f"name one: {show(address)}/{show(weights[0])}"
    else:
        said = "it holds no weights; give another one"
    raise UserError("unknown_model", f"{show(spec.name)} has no {PIPELINE}, and {said}")
