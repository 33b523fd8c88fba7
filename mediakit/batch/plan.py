"""Which items there are: every input with its output's name and its recipe, before any work."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from mediakit.batch.history import Entry
from mediakit.batch.item import Item, Recipe, Row, Source
from mediakit.batch.naming import (
    Template,
    check_distinct,
    check_inside,
    default_names,
    fold,
)
from mediakit.batch.output import Output
from mediakit.batch.task import Task
from mediakit.errors import ItemError, MediakitError, show
from mediakit.models.catalog import find
from mediakit.models.spec import fill_in
from mediakit.params import Batch, Params

# Params that name a model; its digest counts, not its name.
MODEL_FIELDS = {"model"}


@dataclass(frozen=True)
class Job:
    """A command's defaults and rules for all its items; `given` names the Params the user set."""

    task: type[Task]
    params: Params
    given: tuple[str, ...]
    batch: Batch


class Planner:
    """Makes items of sources. `recipe` and `items` raise UserError for what is wrong with the
    whole command; what is wrong with one input is in its item."""

    def __init__(self, job: Job, output: Output) -> None:
        self.job = job
        self.output = output
        self.recipes: dict[str, Recipe] = {}
        fields = list(job.task.Params.model_fields)
        self.template = Template(job.batch.name, fields) if job.batch.name else None

    def recipe(self, row: Row | None = None) -> Recipe:
        """The recipe of items with this row: Params with the model's own values, and models."""
        cached = json.dumps(row, sort_keys=True, default=str) if row else ""
        if cached not in self.recipes:
            self.recipes[cached] = self._new_recipe(row or {})
        return self.recipes[cached]

    def _new_recipe(self, row: Row) -> Recipe:
        task, base = self.job.task, self.job.params
        params = task.Params(**{**dict(base), **row}) if row else base
        models = {role: find(name) for role, name in task.model_names(params).items()}
        for spec in models.values():
            params = fill_in(params, task.name, spec)
        said = {
            "task": task.name,
            "result_version": task.result_version,
            "params": params.model_dump(mode="json", exclude=MODEL_FIELDS),
            "models": {role: spec.sha256 for role, spec in models.items()},
        }
        digest = hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
        given = tuple(f for f in task.Params.model_fields if f in self.job.given or f in row)
        return Recipe(params, given, models, digest)

    def items(self, sources: Iterable[Source]) -> list[Item]:
        """All items of a finite list, with distinct names; then `--shard` and `--limit`."""
        found, recipes = [], []
        seen: set[tuple[str, str]] = set()
        for source in sources:
            row = json.dumps(source.row, sort_keys=True, default=str) if source.row else ""
            identity = (os.path.abspath(source.path), row)
            if identity not in seen:
                seen.add(identity)
                found.append(source)
                recipes.append(self._try_recipe(source))
        names = self._names(found, recipes)
        items = [self._item(*triple) for triple in zip(found, recipes, names, strict=True)]
        return list(select(items, self.job.batch, self._entry))

    def stream(self, sources: Iterable[Source]) -> Iterator[Item]:
        """Items one by one, for inputs without end: a name that was taken is a failed item."""
        taken: set[bytes] = set()

        def one_by_one() -> Iterator[Item]:
            for index, source in enumerate(sources):
                recipe = self._try_recipe(source)
                (name,) = self._names([source], [recipe], index)
                item = self._item(source, recipe, name)
                digest = hashlib.blake2b(os.fsencode(fold(item.key)), digest_size=8).digest()
                if digest in taken and item.error is None:
                    item.error = ItemError(
                        "name_collision",
                        f"{show(source.path)}: {show(item.key)} is already the output of an "
                        "earlier input; use --name",
                    )
                taken.add(digest)
                yield item

        yield from select(one_by_one(), self.job.batch, self._entry)

    def _try_recipe(self, source: Source) -> Recipe | MediakitError:
        if source.error:
            return source.error
        if not source.row:
            return self.recipe()
        try:
            return self.recipe(source.row)
        except ValidationError as e:
            first = e.errors()[0]
            where = ".".join(map(str, first["loc"]))
            return ItemError("bad_row", f"{show(source.path)}: {where}: {first['msg']}")
        except MediakitError as e:
            return e

    def _names(
        self,
        sources: Sequence[Source],
        recipes: Sequence[Recipe | MediakitError],
        first: int = 0,
    ) -> list[str]:
        suffixes = {id(s): self._suffix(s, r) for s, r in zip(sources, recipes, strict=True)}
        if self.template is None:
            return default_names(sources, lambda s: suffixes[id(s)])
        names = []
        for index, (source, recipe) in enumerate(zip(sources, recipes, strict=True), first):
            params: dict[str, Any] = dict(recipe.params) if isinstance(recipe, Recipe) else {}
            names.append(self.template.name(source, suffixes[id(source)], index, params))
        check_distinct(names, sources)
        return names

    def _suffix(self, source: Source, recipe: Recipe | MediakitError) -> str:
        params = recipe.params if isinstance(recipe, Recipe) else self.job.params
        return self.job.task.suffix(source.path, params)

    def _item(self, source: Source, recipe: Recipe | MediakitError, name: str) -> Item:
        place = self.output
        key = os.path.realpath(place.file) if place.file else os.path.normpath(name)
        if isinstance(recipe, MediakitError):
            return Item(source.path, source, None, None, recipe)
        item = Item(key, source, place.path(key), recipe)
        try:
            if place.folder:
                check_inside(key)
            if item.output:
                self.job.task.check_output(item.output, recipe.params)
        except ItemError as e:
            item.error = e
        return item

    def _entry(self, key: str) -> Entry:
        journal = self.output.journal
        return journal.history.entries.get(key, Entry()) if journal else Entry()


def select(items: Iterable[Item], batch: Batch, entry: Callable[[str], Entry]) -> Iterator[Item]:
    """The items that `--shard`, `--retry-failed` and `--limit` leave; in a list, those that a
    process died over come last, so that they cost no other item."""
    suspects: list[Item] = []
    left = batch.limit
    for item in items:
        if batch.shard and not in_shard(item.key, *batch.shard):
            continue
        known = entry(item.key)
        if batch.retry_failed and not (known.failed or known.starts):
            continue
        if left is not None:
            if left == 0:
                break
            left -= 1
        if known.starts and isinstance(items, list):
            suspects.append(item)
        else:
            yield item
    yield from suspects


def in_shard(key: str, index: int, count: int) -> bool:
    """Whether an item belongs to part `index` of `count`: the same on every machine."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8]) % count == index
