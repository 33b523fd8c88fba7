"""What a row means: its Params with the models' own values, the models, and their fingerprint."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from mediakit.batch.item import Recipe, Row
from mediakit.batch.task import Task
from mediakit.models.catalog import find
from mediakit.models.spec import ModelSpec, fill_in
from mediakit.params import Batch, Params

# Params that name files whose digests count, not their names
DIGESTED = {"model", "vae", "components", "projector", "detector", "upscaler", "face_model",
            "mask", "image"}  # fmt: skip
# Recipes kept, one for each kind of row.
RECIPES = 10_000


@dataclass(frozen=True)
class Job:
    """A command's defaults and rules for all its items; `given` names the Params the user set."""

    task: type[Task]
    params: Params
    given: tuple[str, ...]
    batch: Batch


class Recipes:
    """Recipes of a command's items. UserError for what is wrong with the Params or the models.
    `pin` gives a model whose digests are not known those of its files."""

    def __init__(self, job: Job, pin: Callable[[ModelSpec], ModelSpec] = lambda spec: spec) -> None:
        self.job = job
        self._pin = pin
        self._kept: dict[str, Recipe] = {}
        self._found: dict[tuple[str, str, str], ModelSpec] = {}

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def of(self, row: Row | None = None, bare: bool = False) -> Recipe:
        """The recipe of items with this row: Params with the model's own values, and models; of
        `bare` items, which need none, without."""
        cached = f"{bare * '-'}{json.dumps(row, sort_keys=True) if row else ''}"
        if cached not in self._kept:
            if len(self._kept) >= RECIPES:
                self._kept.clear()
            self._kept[cached] = self._new_recipe(row or {}, bare)
        return self._kept[cached]

    def check(self) -> None:
        """UserError for what is wrong with the command's own Params; no model is asked for, for
        rows may name others."""
        self._settled({})

    def _settled(
        self, row: Row, bare: bool = False
    ) -> tuple[Params, tuple[str, ...], Mapping[str, ModelSpec]]:
        """Params with all that models and task have to say, which were given, and the models."""
        task, params = self.job.task, self.own(row)
        given = tuple(f for f in task.Params.model_fields if f in self.job.given or f in row)
        names = {} if bare else task.model_names(params)
        models = {role: self._find(name, role) for role, name in names.items()}
        for role, spec in reversed(models.items()):  # what a LoRA needs comes before its model's
            spec.check_task(*task.purposes(role))
            params = fill_in(params, task.name, spec)
        return task.settle(params, given, models), given, models

    def _new_recipe(self, row: Row, bare: bool) -> Recipe:
        task = self.job.task
        params, given, found = self._settled(row, bare)
        models = {role: self._pin(spec) for role, spec in found.items()}
        said = {
            "task": task.name,
            "result_version": task.result_version,
            "params": {
                **params.model_dump(mode="json", exclude=DIGESTED),
                **task.without_paths(params),
            },
            "models": {role: spec.sha256 for role, spec in models.items()},
        }
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        return Recipe(params, given, models, digest)

    def _find(self, name: str, role: str) -> ModelSpec:
        """Once a batch, so that all its items mean the same."""
        kind, engine = kind_of(role), self.job.task.engine_of(role)
        if (name, kind, engine) not in self._found:
            self._found[name, kind, engine] = find(name, engine=engine, kind=kind)
        return self._found[name, kind, engine]

    def own(self, row: Row) -> Params:
        """The Params with a row's, before the model's own values are filled in."""
        base = self.job.params
        return self.job.task.Params(**{**dict(base), **row}) if row else base


def kind_of(role: str) -> str:
    """What a model must be to take a role: "lora2" is a lora."""
    kind = role.rstrip("0123456789")
    kinds = ("lora", "embedding", "vae", "components", "projector")
    return kind if kind in kinds else "model"
