"""What generate, img2img and inpaint share: one engine, its options, and the flow of an item."""

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from mediakit import __version__
from mediakit.batch.item import Decoded, Item, Source
from mediakit.batch.task import Emit, Spread
from mediakit.errors import ItemError, MediakitError, UserError
from mediakit.models.adapters import split_weight
from mediakit.models.cache import ModelCache
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.prompts.alternatives import Alternatives, check_combinations
from mediakit.prompts.planning import Planner
from mediakit.prompts.seeds import DERIVED, parse_seeds
from mediakit.prompts.syntax import literal
from mediakit.tasks.diffusion_options import DiffusionExecution, DiffusionParams
from mediakit.tasks.pictures import PictureTask, check_encoding

if TYPE_CHECKING:
    from mediakit.engines.diffusion.engine import Diffusion
    from mediakit.engines.diffusion.probe import Model
    from mediakit.engines.diffusion.request import Files, Request
    from mediakit.media.pictures import Picture, Result, Written

ENGINE = "mediakit.engines.diffusion.engine:load"
# for models whose entry says nothing: those of Stable Diffusion and of FLUX.1 dev
STEPS = 30
GUIDANCE = 7.5
EMBEDDED_GUIDANCE = 3.5
_ROOM = 2 << 20  # pixels of a batch computed at once, as far as `auto` goes


@dataclass
class Asked:
    """A decoded item: what the engine is asked for, and how its picture becomes the result."""

    request: "Request"
    finish: "Callable[[Any], Picture]"  # H x W x 3 of the net -> the picture to write
    nbytes: int = 0
    opaque: bool = False


class DiffusionTask(PictureTask):
    """A picture from a prompt by a diffusion model; its Params are DiffusionParams."""

    extra = "diffusion"
    engine = ENGINE
    note_in_exif = True
    packages: ClassVar[tuple[str, ...]] = (
        "torch", "torchvision", "diffusers", "transformers", "accelerate", "peft", "compel",
        "safetensors", "dynamicprompts", *PictureTask.packages,
    )  # fmt: skip

    def __init__(self, execution: DiffusionExecution, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self.execution: DiffusionExecution = execution
        self.batch_size = self._at_once = 1
        self._net: Diffusion | None = None
        self._probed: dict[str, Model] = {}
        self._paths: dict[str, Path] = {}

    # planning

    @classmethod
    def model_names(cls, params: Any) -> Mapping[str, str]:
        names = {"diffusion": params.model}
        if params.vae:
            names["vae"] = params.vae
        for kind in ("lora", "embedding"):
            for number, told in enumerate(getattr(params, kind), 1):
                names[f"{kind}{number}"] = split_weight(told)[0] if kind == "lora" else told
        return names

    @classmethod
    def spreading(cls, limit: int | None) -> Spread:
        known: dict[tuple[str, bool], tuple[Alternatives, Planner]] = {}

        def spread(source: Source, params: Any) -> Iterator[Source]:
            prompt = cls.prompt_of(source, params)
            key = (str(params.wildcards), params.combinations)
            if key not in known:
                alternatives = Alternatives(params.wildcards)
                known[key] = alternatives, Planner(alternatives, params.combinations)
            alternatives, planner = known[key]
            if not cls.takes_text:  # a picture's seed does not depend on the pictures before it
                planner = Planner(alternatives, params.combinations)
            seeds = DERIVED if params.seed is None else parse_seeds(params.seed)
            count = planner.count(prompt, seeds, params.images)
            check_combinations(count, limit)
            for wanted in planner.wanted(prompt, seeds, params.images, limit):
                # what is spread out here is said once more, so that a record says it all
                row = {**(source.row or {}), "prompt": wanted.prompt, "seed": wanted.seed}
                row |= {"images": 1, "combinations": False, "wildcards": None}
                if params.negative_prompt:
                    chosen = alternatives.choose(params.negative_prompt, wanted.seed)
                    row["negative_prompt"] = chosen
                yield cls.variant(replace(source, row=row), count)

        return spread

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
        return params.model_copy(update={"steps": params.steps or STEPS})

    @classmethod
    def check_useful(cls, told: Mapping[str, Any], outputs: list[str]) -> None:
        super().check_useful(told, outputs)
        if told.get("exact"):
            for name in ("batch", "compile"):
                if told.get(name) not in (None, False, "auto", 1):
                    raise UserError(
                        "useless_option", f"--{name} does nothing with --exact; leave one out"
                    )
        if told.get("seed") == "random" and told.get("retry_failed"):
            raise UserError(
                "useless_option", "--retry-failed finds nothing with --seed random: leave one out"
            )

    # working

    def begin(self) -> None:
        super().begin()
        e = self.execution
        self.batch_size = 1 if e.exact else 16 if e.batch == "auto" else e.batch

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
        for group in _groups(batch, self.execution.batch == "auto"):
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
        """Also the `parameters` of A1111, which sites and tools read."""
        from mediakit.media.a1111 import Parameters, compose, to_fields

        p, facts = params_of(item), self.facts(item)
        assert item.recipe is not None
        spec = item.recipe.models["diffusion"]
        said = p.model_dump(exclude={"vae", "width", "height"})
        said |= {"model": _bare(spec.name), "model_hash": spec.sha256[:10]}
        said["guidance_scale"] = _guidance(p, facts)
        size = self.size(item)
        if size:
            said |= {"width": size[0], "height": size[1]}
        prompt = " ".join([p.prompt or "", *(_tag(*split_weight(told)) for told in p.lora)])
        text = compose(Parameters(prompt, p.negative_prompt or "", to_fields(said, __version__)))
        return {**super().remembered(item), "parameters": text}

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
        from mediakit.engines.diffusion.probe import probe

        assert item.recipe is not None
        key = item.recipe.models["diffusion"].sha256
        if key not in self._probed:
            self._probed[key] = probe(self._files(item))
        return self._probed[key]

    def _files(self, item: Item) -> "Files":
        from mediakit.engines.diffusion.request import Files

        return Files(
            self._path(item, "diffusion"),
            vae=self._path(item, "vae") if _has(item, "vae") else None,
        )

    def _path(self, item: Item, role: str) -> Path:
        """Where the item's model of a role is; it was pulled before."""
        assert item.recipe is not None
        spec = item.recipe.models[role]
        if spec.sha256 not in self._paths:
            self._paths[spec.sha256] = self.store.pull(spec)
        return self._paths[spec.sha256]

    @contextmanager
    def _model(self, item: Item) -> "Iterator[Diffusion]":
        """The item's model, loaded or found in the cache."""
        assert item.recipe is not None
        models, e = item.recipe.models, self.execution
        spec = models["diffusion"]
        module, _, function = spec.engine.partition(":")

        def load() -> "Diffusion":
            begin = time.perf_counter()
            loader = getattr(import_module(module), function)
            net: Diffusion = loader(
                self._files(item), self._device, self._dtype, self._threads, e.exact, e.compile
            )
            self.load_seconds += time.perf_counter() - begin
            return net

        vae = models["vae"].sha256 if "vae" in models else None
        key = (spec.sha256, vae, self._dtype, self._threads, e.exact, e.compile)
        with self.cache.use(key, self._device, load, spec.size) as net:
            self._net = net
            yield net

    def request(self, item: Item, width: int, height: int, **more: Any) -> "Request":
        """What the engine is asked for. ItemError for what the model can't do."""
        from mediakit.engines.diffusion.request import Lora, Request

        p = params_of(item)
        assert isinstance(p.seed, int) and p.steps
        facts = self.facts(item)
        loras = tuple(
            Lora(self._path(item, f"lora{number}"), split_weight(told)[1])
            for number, told in enumerate(p.lora, 1)
        )
        embeddings = tuple(
            self._path(item, f"embedding{number}") for number in range(1, len(p.embedding) + 1)
        )
        request = Request(
            prompt=literal(p.prompt or ""),
            seed=p.seed,
            width=width,
            height=height,
            steps=p.steps,
            guidance_scale=_guidance(p, facts),
            negative_prompt=literal(p.negative_prompt) if p.negative_prompt else None,
            scheduler=p.scheduler,
            eta=p.eta,
            clip_skip=p.clip_skip,
            loras=loras,
            embeddings=embeddings,
            **more,
        )
        facts.check(request)
        return request


def params_of(item: Item) -> DiffusionParams:
    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, DiffusionParams)
    return params


def _bare(name: str) -> str:
    """A model's name without folders and suffix, as A1111 shows it."""
    name = name.rstrip("/").replace("\\", "/").rpartition("/")[2]
    return name.removesuffix(".safetensors")


def _tag(name: str, weight: float) -> str:
    return f"<lora:{_bare(name)}:{weight:g}>"


def _has(item: Item, role: str) -> bool:
    return item.recipe is not None and role in item.recipe.models


def _guidance(params: DiffusionParams, facts: "Model") -> float:
    if params.guidance_scale is not None:
        return params.guidance_scale
    return EMBEDDED_GUIDANCE if facts.embedded else GUIDANCE if facts.guided else 0.0


def _groups(
    batch: list[tuple[Item, Decoded]], fitting: bool
) -> Iterator[list[tuple[Item, Decoded]]]:
    """Neighbours that one model makes, no more at once than suits their size if `fitting`."""
    group: list[tuple[Item, Decoded]] = []
    room = 0
    for item, decoded in batch:
        assert item.recipe is not None
        request = decoded.media.request
        pixels = request.width * request.height
        if group:
            assert group[0][0].recipe is not None
            other = item.recipe.models.items() != group[0][0].recipe.models.items()
            if other or (fitting and room + pixels > _ROOM):
                yield group
                group, room = [], 0
        group.append((item, decoded))
        room += pixels
    if group:
        yield group


def size_of(params: Any, facts: "Model") -> tuple[int, int]:
    """Width and height as asked for, or the model's own: multiples of what it needs."""
    width, height = params.width, params.height
    if width is None and height is None:
        return facts.native, facts.native
    width, height = width or facts.native, height or facts.native
    multiple = facts.multiple
    return _up(width, multiple), _up(height, multiple)


def _up(side: int, multiple: int) -> int:
    return max(multiple, math.ceil(side / multiple) * multiple)
