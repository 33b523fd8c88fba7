"""Which models an item of a diffusion task takes, where their files are, and what they can do."""

import os
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit.batch.item import Item
from mediakit.errors import ItemError, MediakitError
from mediakit.models.adapters import split_weight
from mediakit.models.engines import WEIGHTS
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.tasks.diffusion_options import DiffusionParams

if TYPE_CHECKING:
    from mediakit.engines.diffusion.probe import Model
    from mediakit.engines.diffusion.request import Embedding, Files, Lora

# Roles whose files together are one set of loaded weights
LOADED = ("diffusion", "vae", "components")


def roles(params: DiffusionParams) -> dict[str, str]:
    """Role -> name or path. What a folder's entry says of itself counts only where neither the
    model's own does nor a LoRA's, so that it comes first; see `Planner`."""
    names = {"components": params.components} if params.components else {}
    names["diffusion"] = params.model
    if params.vae:
        names["vae"] = params.vae
    names |= {f"lora{i}": split_weight(told)[0] for i, told in enumerate(params.lora, 1)}
    return names | {f"embedding{i}": told for i, told in enumerate(params.embedding, 1)}


def without_paths(params: DiffusionParams) -> dict[str, Any]:
    """What counts of the adapters beside the digests of their files: weights, and words."""
    return {
        "lora": [split_weight(told)[1] for told in params.lora],
        "embedding": [word(told) for told in params.embedding],
    }


def word(told: str) -> str:
    """The word in the prompt that a textual inversion's path, address or name stands for."""
    name = told.partition("?")[0].rstrip("/").replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in WEIGHTS else name


def facts_of(models: Mapping[str, ModelSpec]) -> "Model | None":
    """What a model can do, if its files are here; what is wrong with them is told elsewhere."""
    from mediakit.engines.diffusion.probe import probe
    from mediakit.engines.diffusion.request import Files

    with suppress(MediakitError, OSError):
        path = Store(offline=True).path(models["diffusion"])
        return probe(Files(path)) if path else None
    return None


class Models:
    """The models of a batch's items, all of them pulled before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._probed: dict[str, Model] = {}
        self._paths: dict[str, Path] = {}

    def facts(self, item: Item) -> "Model":
        """What the item's model can do, by its files alone."""
        from mediakit.engines.diffusion.probe import probe

        key = spec_of(item).sha256
        if key not in self._probed:
            self._probed[key] = probe(self.files(item))
        return self._probed[key]

    def files(self, item: Item) -> "Files":
        from mediakit.engines.diffusion.request import Files

        path = self._path(item, "diffusion")
        assert path
        keep = partial(self._store.keep, spec_of(item))
        return Files(path, self._path(item, "vae"), self._path(item, "components"), keep)

    def key(self, item: Item) -> tuple[str | None, ...]:
        """Of what is loaded for the item: equal ones are one set of weights."""
        assert item.recipe is not None
        models = item.recipe.models
        return tuple(models[role].sha256 if role in models else None for role in LOADED)

    def check_needed(self, item: Item) -> None:
        """ItemError useless_option for components that the model does not lack."""
        assert item.recipe is not None
        models = item.recipe.models
        lacking = [name for name in self.facts(item).lacks if name != "vae" or "vae" not in models]
        if "components" in models and not lacking:
            raise ItemError(
                "useless_option",
                f"--components does nothing, {models['diffusion'].name} lacks nothing; leave it "
                "out",
            )

    def loras(self, item: Item, told: tuple[str, ...]) -> "tuple[Lora, ...]":
        from mediakit.engines.diffusion.request import Lora

        paths = (self._path(item, f"lora{i}") for i in range(1, len(told) + 1))
        return tuple(Lora(p, split_weight(t)[1]) for p, t in zip(paths, told, strict=True) if p)

    def embeddings(self, item: Item, told: tuple[str, ...]) -> "tuple[Embedding, ...]":
        from mediakit.engines.diffusion.request import Embedding

        paths = (self._path(item, f"embedding{i}") for i in range(1, len(told) + 1))
        return tuple(Embedding(p, word(t)) for p, t in zip(paths, told, strict=True) if p)

    def _path(self, item: Item, role: str) -> Path | None:
        """Where the item's model of a role is; None if it has none."""
        assert item.recipe is not None
        spec = item.recipe.models.get(role)
        if spec is None:
            return None
        if spec.sha256 not in self._paths:
            self._paths[spec.sha256] = self._store.pull(spec)
        return self._paths[spec.sha256]


def spec_of(item: Item) -> ModelSpec:
    assert item.recipe is not None
    return item.recipe.models["diffusion"]
