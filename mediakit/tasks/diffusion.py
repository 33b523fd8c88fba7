"""What generate, img2img and inpaint share: one engine, its options, and the flow of an item."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar

from mediakit.batch.item import Decoded, Item, Source
from mediakit.batch.task import Emit, Spread, Useless
from mediakit.errors import ItemError, MediakitError, UserError
from mediakit.heap import uncollected
from mediakit.models.cache import ModelCache
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.tasks import diffusion_models
from mediakit.tasks.diffusion_models import Models, spec_of
from mediakit.tasks.diffusion_notes import parameters
from mediakit.tasks.diffusion_options import DiffusionExecution, DiffusionParams
from mediakit.tasks.diffusion_request import groups, params_of, request_of
from mediakit.tasks.diffusion_spread import Spreader
from mediakit.tasks.diffusion_values import unsaid, unsaid_strength
from mediakit.tasks.pictures import PictureTask, check_encoding

if TYPE_CHECKING:
    from mediakit.engines.diffusion.engine import Diffusion
    from mediakit.engines.diffusion.probe import Model
    from mediakit.engines.diffusion.request import Request
    from mediakit.media.pictures import Result, Written

ENGINE = "mediakit.engines.diffusion.engine:load"


class DiffusionTask(PictureTask):
    """A picture from a prompt by a diffusion model; its Params are DiffusionParams."""

    extra = "diffusion"
    engine = ENGINE
    note_in_exif = True
    usual_strength: ClassVar[float | None] = None  # of tasks that take one
    packages: ClassVar[tuple[str, ...]] = (
        "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "compel",
        "safetensors", "dynamicprompts", *PictureTask.packages,
    )  # fmt: skip

    def __init__(self, execution: DiffusionExecution, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self.execution: DiffusionExecution = execution
        self.batch_size = self._at_once = 1
        self._net: Diffusion | None = None
        self._models = Models(store)

    # planning

    @classmethod
    def model_names(cls, params: Any) -> Mapping[str, str]:
        return diffusion_models.roles(params)

    @classmethod
    def without_paths(cls, params: Any) -> Mapping[str, Any]:
        return diffusion_models.without_paths(params)

    @classmethod
    def spreading(cls, limit: int | None) -> Spread:
        return Spreader(cls, limit)

    @classmethod
    def prompt_of(cls, source: Source, params: Any) -> str:
        """The prompt of an input. UserError or ItemError if it has none."""
        if not params.prompt:
            raise UserError("no_prompt", "no prompt; give --prompt TEXT")
        return str(params.prompt)

    @classmethod
    def variant(cls, source: Source, count: int) -> Source:
        """One of `count` items that an input means; its row says which."""
        return source

    @classmethod
    def settle(cls, params: Any, given: Collection[str], models: Mapping[str, ModelSpec]) -> Any:
        check_encoding(params)
        return params

    @classmethod
    def unsaid(cls, params: Any, facts: "Model | None") -> dict[str, Any]:
        """Values for Params that nobody named; see `diffusion_values`."""
        return unsaid(params, facts) | unsaid_strength(params, cls.usual_strength)

    @classmethod
    def useless(
        cls, told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
    ) -> Iterator[Useless]:
        yield from super().useless(told, values, outputs)
        rows = "list_file" in told or not outputs
        for name, why in cls.in_vain(told, None if rows else values):
            yield name, f"does nothing {why}", ""
        if values["exact"]:
            for name in ("batch", "compile"):
                if name in told and values[name] not in (False, "auto", 1):
                    yield name, "does nothing with --exact", "leave that out"
        if values["seed"] == "random" and values["retry_failed"] and "retry_failed" in told:
            yield "retry_failed", "finds nothing with --seed random", "leave that out"

    @classmethod
    def in_vain(
        cls, told: Collection[str], values: Mapping[str, Any] | None
    ) -> Iterator[tuple[str, str]]:
        """Names of Params that were `told`, by the command line or a row, and do nothing beside
        the `values` of all, and why; None: what others hold is not known."""
        yield from ()

    # working

    def begin(self) -> None:
        with uncollected():  # imports torch
            super().begin()
        e = self.execution
        self.batch_size = 1 if e.exact else 16 if e.batch == "auto" else e.batch

    def warm_up(self) -> None:
        import_module("mediakit.engines.diffusion.warm")

    def used(self) -> Mapping[str, Any]:
        return {
            "device": self._device,
            "dtype": self._dtype,
            "threads": self._threads,
            "batch": self._at_once,
            "offload": self._net.offload if self._net else "none",
            "compile": self.execution.compile,
            "exact": self.execution.exact,
        }

    def compute(
        self, batch: list[tuple[Item, Decoded]], emit: Emit
    ) -> "list[Result | Written | MediakitError]":
        results: list[Result | Written | MediakitError] = []
        done = 0
        for group in groups(batch, self.execution.batch == "auto"):
            self._at_once = 1 if self.execution.exact else len(group)
            with self._model(group[0][0]) as net:
                asked = [decoded.media.request for _, decoded in group]
                share = len(group) / len(batch)

                def step(part: float, done: int = done, share: float = share) -> None:
                    emit(done / len(batch) + part * share)

                made = net.run(asked, step)
            done += len(group)
            for (item, decoded), picture in zip(group, made, strict=True):
                results.append(self._result(item, decoded, picture))
        return results

    def _result(
        self, item: Item, decoded: Decoded, made: Any
    ) -> "Result | Written | MediakitError":
        from mediakit.media.pictures import Result, rows_of

        if isinstance(made, ItemError):
            return made
        decoded.warnings.extend(made.warnings)
        picture = decoded.media.finish(made.pixels)
        rows = rows_of(picture.pixels, decoded.media.opaque or picture.pixels.shape[2] == 3)
        return self.finish(item, Result(picture, rows), decoded.file)

    def remembered(self, item: Item) -> dict[str, str]:
        return {**super().remembered(item), "parameters": parameters(item, self.size(item))}

    def size(self, item: Item) -> tuple[int, int] | None:
        """Width and height that the item's Params alone ask for."""
        return None

    def step_down(self) -> str | None:
        if self.execution.exact or self._net is None:
            return None
        return self._net.step_down()

    # models

    def facts(self, item: Item) -> "Model":
        """What the item's model can do, by its files alone."""
        return self._models.facts(item)

    @contextmanager
    def _model(self, item: Item) -> "Iterator[Diffusion]":
        """The item's model, loaded or found in the cache."""
        e = self.execution

        def arguments() -> tuple[Any, ...]:
            files = self._models.files(item)
            return files, self._device, self._dtype, self._threads, e.exact, e.compile

        key = (self._models.key(item), self._dtype, self._threads, e.exact, e.compile)
        with self.loaded(spec_of(item), key, self._device, arguments) as net:
            self._net = net
            yield net

    def request(self, item: Item, width: int, height: int, **more: Any) -> "Request":
        """What the engine is asked for. ItemError for what the model can't do."""
        return request_of(item, self._models, (width, height), **more)

    def completed(self, item: Item) -> DiffusionParams:
        """The item's Params, with values that could not be known when it was planned: its model
        was not here."""
        recipe = item.recipe
        assert recipe is not None
        own = self.unsaid(params_of(item), self.facts(item))
        if own:
            params = recipe.params.model_copy(update=own)
            given = tuple(f for f in self.Params.model_fields if f in recipe.given or f in own)
            item.recipe = replace(recipe, params=params, given=given)
        return params_of(item)
