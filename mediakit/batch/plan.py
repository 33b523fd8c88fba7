"""Which items there are: every input with its output's name and its recipe, before any work."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from pydantic import ValidationError

from mediakit.batch.history import Entry
from mediakit.batch.item import PART, Item, Recipe, Source
from mediakit.batch.naming import (
    Template,
    check_distinct,
    check_inside,
    default_names,
    fold,
    hash_of,
    others,
)
from mediakit.batch.output import Output
from mediakit.batch.recipes import Job, Recipes
from mediakit.errors import ItemError, MediakitError, UserError, show
from mediakit.models.spec import ModelSpec
from mediakit.params import Batch, fault

# Params that name models; what a row names so is only its item's fault.
MODEL_FIELDS = {"model", "vae", "components", "lora", "embedding", "projector", "detector",
                "upscaler", "face_model"}  # fmt: skip
# Before the keys of items in error, which no name of an output can be: those are normalised.
NAMELESS = "?//"


class Planner:
    """Makes items of sources. `items` raises UserError for what is wrong with the whole command;
    what is wrong with one input is in its item. `pin`: see Recipes."""

    def __init__(
        self, job: Job, output: Output, pin: Callable[[ModelSpec], ModelSpec] = lambda spec: spec
    ) -> None:
        self.job = job
        self.output = output
        self.recipes = Recipes(job, pin)
        self.planned: list[Item] = []  # of a finite list, before `--shard` and `--limit`
        chosen = job.batch.shard or job.batch.retry_failed  # which are wanted is told later
        self._spread_one = job.task.spreading(None if chosen else job.batch.limit)
        fields = list(job.task.Params.model_fields)
        self.template = Template(job.batch.name, fields) if job.batch.name else None

    def items(self, sources: Iterable[Source]) -> list[Item]:
        """All items of a finite list, with distinct names; then `--shard` and `--limit`."""
        by_identity = {_identity(s): s for s in reversed(list(self._spread(sources)))}
        chosen = list(reversed(by_identity.values()))  # of equal ones the first
        del by_identity  # the peak of memory is here, and it grows with the number of items
        recipes = [self._try_recipe(source) for source in chosen]
        names = self._names(chosen, recipes)
        items = [self._item(*triple) for triple in zip(chosen, recipes, names, strict=True)]
        if len(items) > 1 and not (self.output.many or self.output.lines):
            raise UserError(
                "usage", f"-o takes one result here, and there are {len(items)}; use -o DIR"
            )
        self.planned = items
        return list(select(items, self.job.batch, self._entry))

    def _spread(self, sources: Iterable[Source], alone: bool = False) -> Iterator[Source]:
        """What the inputs mean; see Task.spreading."""
        for source in sources:
            try:
                if source.error:
                    raise source.error
                if self.output.beside_inputs:
                    source = _beside(source)
                params = self.recipes.own(source.row or {})
                yield from self._spread_one(source, params)
            except ValidationError as e:
                yield replace(source, error=_bad_row(source, e))
            except UserError as e:
                if not (source.row or alone):
                    raise
                yield replace(source, error=_item_error(source, e))
            except ItemError as e:
                yield replace(source, error=e)

    def stream(self, sources: Iterable[Source]) -> Iterator[Item]:
        """Items one by one, for inputs without end: a name that was taken is a failed item."""
        yield from select(self._one_by_one(sources), self.job.batch, self._entry)

    def _one_by_one(self, sources: Iterable[Source]) -> Iterator[Item]:
        taken: dict[bytes, bytes] = {}  # name -> whose, 8 bytes each
        for index, source in enumerate(self._spread(sources, alone=True)):
            item = self._alone(source, index)
            if item.error is None:
                owner = _digest(repr(_identity(source)))
                places = self._places(item) or [owner]
                if taken.get(places[0]) == owner:
                    continue  # the same once more
                if any(taken.setdefault(place, owner) != owner for place in places):
                    error = ItemError("name_collision", self._taken(item))
                    item = _in_error(source, item.recipe, error)
            yield item

    def _places(self, item: Item) -> list[bytes]:
        """What no other item of a stream may take: its outputs; standard output is for all."""
        if self.output.lines:
            return []
        if not self.output.many:
            return [b""]  # there is room for one
        return [_digest(fold(name)) for name in (item.output or "", *item.also)]

    def _alone(self, source: Source, index: int) -> Item:
        """An item of a stream: work has begun, so what is wrong with it is its own."""
        recipe = self._try_recipe(source)
        try:
            (name,) = self._names([source], [recipe], index)
            return self._item(source, recipe, name)
        except UserError as e:
            return _in_error(source, recipe, _item_error(source, e))

    def _taken(self, item: Item) -> str:
        path = show(item.source.path)
        if not self.output.many:
            return f"{path}: only the first input fits into one output; use -o DIR"
        return (
            f"{path}: {show(item.key)} is already the output of an earlier input; use --name with "
            "{hash}, or --from with a list file"
        )

    def _try_recipe(self, source: Source) -> Recipe | MediakitError:
        if source.error:
            return source.error
        try:
            return self.recipes.of(source.row, self.job.task.is_bare(source.relative))
        except ValidationError as e:
            return _bad_row(source, e)
        except UserError as e:
            if not source.row:
                raise
            return _item_error(source, e)

    def _names(
        self, sources: Sequence[Source], recipes: Sequence[Recipe | MediakitError], first: int = 0
    ) -> list[str | MediakitError]:
        """The output names; for inputs that have none, what is wrong with them."""
        own = self._own_names(sources, recipes)
        if self.template is None and any(own):
            return [
                s.error or f"{name or s.relative}{self._suffixes(s, r)[0]}"
                for s, name, r in zip(sources, own, recipes, strict=True)
            ]
        if self.template is None:
            good = [s for s in sources if not s.error]
            both = zip(sources, recipes, strict=True)
            named = iter(
                default_names(good, [self._suffixes(s, r) for s, r in both if not s.error])
            )
            return [s.error or next(named) for s in sources]
        triples = zip(sources, recipes, range(first, first + len(sources)), strict=True)
        names = [self._filled_in(self.template, *triple) for triple in triples]
        found = [
            (name, source, self._suffixes(source, recipe)[1:])
            for name, source, recipe in zip(names, sources, recipes, strict=True)
            if isinstance(name, str)
        ]
        check_distinct([f[0] for f in found], [f[1] for f in found], [f[2] for f in found])
        return names

    def _own_names(
        self, sources: Sequence[Source], recipes: Sequence[Recipe | MediakitError]
    ) -> list[str | None]:
        """Names that the task gives, with as much of the fingerprint as keeps them apart."""
        names = [self._own_name(s, r, 6) for s, r in zip(sources, recipes, strict=True)]
        count = Counter(fold(name) for name in names if name)
        return [
            self._own_name(s, r, 16) if name and count[fold(name)] > 1 else name
            for s, r, name in zip(sources, recipes, names, strict=True)
        ]

    def _own_name(self, source: Source, recipe: Recipe | MediakitError, digits: int) -> str | None:
        if self.template or not isinstance(recipe, Recipe):
            return None
        return self.job.task.own_name(source, recipe.params, recipe.hash[:digits])

    def _filled_in(
        self, template: Template, source: Source, recipe: Recipe | MediakitError, index: int
    ) -> str | MediakitError:
        if not isinstance(recipe, Recipe):
            return recipe
        try:
            suffix = self._suffixes(source, recipe)[0]
            return template.name(source, suffix, index, dict(recipe.params))
        except UserError as e:
            if source.row is None:
                raise
            return _item_error(source, e)

    def _suffixes(self, source: Source, recipe: Recipe | MediakitError) -> tuple[str, ...]:
        task, params = self.job.task, self.job.params
        params = recipe.params if isinstance(recipe, Recipe) else params
        if self.output.gathered:
            return (PART,)
        name = source.relative
        return task.suffix(name, params), *task.more_suffixes(name, params)

    def _item(
        self, source: Source, recipe: Recipe | MediakitError, name: str | MediakitError
    ) -> Item:
        place = self.output
        if not isinstance(recipe, Recipe):
            return _in_error(source, recipe, recipe)
        if not isinstance(name, str):
            return _in_error(source, recipe, name)
        key = os.path.realpath(place.file) if place.file else os.path.normpath(name)
        output = place.path(key)
        more = self._suffixes(source, recipe)[1:]
        item = Item(key, source, output, recipe, also=others(output, more) if output else ())
        try:
            if place.folder:
                check_inside(key)
            if item.output and not place.gathered:
                self.job.task.check_output(item.output, recipe.params)
        except MediakitError as e:
            if isinstance(e, UserError) and source.row is None:
                raise
            return _in_error(source, recipe, _item_error(source, e))
        return item

    def _entry(self, key: str) -> Entry:
        journal = self.output.journal
        return journal.history.entries.get(key, Entry()) if journal else Entry()


def _beside(source: Source) -> Source:
    """An input whose output is named after its whole path. ItemError if it is in no file."""
    if source.data is not None:
        raise ItemError("usage", "standard input is in no folder: leave --beside out")
    return replace(source, relative=os.path.abspath(source.path))


def _in_error(source: Source, recipe: Recipe | MediakitError | None, error: MediakitError) -> Item:
    """An item that can't be made, under a key of its own: its name may be another item's."""
    row = f"#{hash_of(source)[:12]}" if source.row else ""
    if line := _line(source):
        row += f"@{show(line)}"
    known = recipe if isinstance(recipe, Recipe) else None
    try:
        os.fsencode(source.path)
    except UnicodeEncodeError:  # half a surrogate pair, which JSON may hold, has no bytes
        source = replace(source, path=show(source.path))
    return Item(f"{NAMELESS}{source.path}{row}", source, None, known, error)


def _item_error(source: Source, error: MediakitError) -> ItemError:
    return ItemError(error.code, f"{_whose(source)}: {error.message}")


def _bad_row(source: Source, error: ValidationError) -> ItemError:
    told = f"{_whose(source)}: {fault(error)}"
    if source.columns:
        told += "; with a template, a column called as an option is that option: rename it"
    return ItemError("bad_row", told)


def _whose(source: Source) -> str:
    """The input, after the line of the list that names it."""
    path = source.called if source.is_text else show(source.path)
    if source.is_text:
        return path
    return f"{show(source.where)}: {path}" if source.where else path


def _identity(source: Source) -> tuple[str, str]:
    """Equal for inputs that are the same work."""
    row = json.dumps(source.row, sort_keys=True) if source.row else ""
    if source.is_text:
        return f"{source.path}\0{source.relative}\0{_line(source)}", row
    return os.path.abspath(source.path), row


def _line(source: Source) -> str:
    """Of a row of prompts in error, its line: it has no prompt to be told from others by."""
    return source.where if source.is_text and source.error else ""


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).digest()


def select(items: Iterable[Item], batch: Batch, entry: Callable[[str], Entry]) -> Iterator[Item]:
    """The items that `--shard`, `--retry-failed` and `--limit` leave."""
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
        yield item


def in_shard(key: str, index: int, count: int) -> bool:
    """Whether an item belongs to part `index` of `count`: the same on every machine."""
    digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8]) % count == index
