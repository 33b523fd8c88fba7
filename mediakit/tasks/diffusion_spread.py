"""Which pictures an input means, and all that their rows must say so that records say it all."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from mediakit.batch.item import Row, Source
from mediakit.batch.recipes import kind_of
from mediakit.errors import MediakitError, UserError
from mediakit.models.catalog import find
from mediakit.models.spec import ModelSpec, fill_in
from mediakit.prompts.alternatives import Alternatives, check_combinations
from mediakit.prompts.planning import Planner
from mediakit.prompts.seeds import DERIVED, parse_seeds
from mediakit.tasks.diffusion_models import facts_of

if TYPE_CHECKING:
    from mediakit.engines.diffusion.probe import Model
    from mediakit.tasks.diffusion import DiffusionTask


# What every row says once it is spread out: there is one picture left to make of it
_SPREAD = {"images": 1, "combinations": False, "wildcards": None}


class Spreader:
    """One batch's; `limit`: how many of its items are wanted at most."""

    def __init__(self, task: "type[DiffusionTask]", limit: int | None) -> None:
        self._task = task
        self._limit = limit
        self._known: dict[tuple[str, bool], tuple[Alternatives, Planner]] = {}
        self._models: dict[Any, tuple[dict[str, ModelSpec], Model | None]] = {}

    def __call__(self, source: Source, params: Any) -> Iterator[Source]:
        row = source.row or {}
        if not _SPREAD.items() <= row.items():  # of a record, which may hold a preset's values
            self._check_row(row, params)
        prompt = self._task.prompt_of(source, params)
        alternatives, planner = self._planner(params)
        seeds = DERIVED if params.seed is None else parse_seeds(params.seed)
        count = planner.count(prompt, seeds, params.images)
        check_combinations(count, self._limit)
        own = self._unsaid(params)
        for wanted in planner.wanted(prompt, seeds, params.images, self._limit):
            # what is spread out here is said once more
            row = {**row, **own, **_SPREAD, "prompt": wanted.prompt, "seed": wanted.seed}
            if params.negative_prompt:
                row["negative_prompt"] = alternatives.choose(params.negative_prompt, wanted.seed)
            yield self._task.variant(replace(source, row=row), count)

    def _check_row(self, row: Row, params: Any) -> None:
        """UserError useless_option for what a row says in vain; see `DiffusionTask.in_vain`."""
        for name, why in self._task.in_vain(row, dict(params)):
            raise UserError("useless_option", f"{name} does nothing {why}; leave it empty")

    def _planner(self, params: Any) -> tuple[Alternatives, Planner]:
        key = (str(params.wildcards), params.combinations)
        if key not in self._known:
            alternatives = Alternatives(params.wildcards)
            self._known[key] = alternatives, Planner(alternatives, params.combinations)
        alternatives, planner = self._known[key]
        if not self._task.takes_text:  # a picture's seed does not depend on the pictures before it
            planner = Planner(alternatives, params.combinations)
        return alternatives, planner

    def _unsaid(self, params: Any) -> dict[str, Any]:
        """Values that nobody named. What is wrong with the models is told by their recipe."""
        task = self._task
        with suppress(MediakitError):
            key = tuple(task.model_names(params).items())
            if key not in self._models:
                specs = {r: find(n, engine=task.engine, kind=kind_of(r)) for r, n in key}
                self._models[key] = specs, facts_of(specs)
            found, facts = self._models[key]
            for spec in reversed(found.values()):  # as `batch.plan.Planner` does
                params = fill_in(params, task.name, spec)
            return task.unsaid(params, facts)
        return {}
