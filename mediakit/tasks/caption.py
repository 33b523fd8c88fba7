"""caption: pictures in, what is on them out: as text, for photo managers, or as data."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit import device
from mediakit.batch.item import Decoded, Item, Made, Row
from mediakit.batch.task import Emit, Task, Useless
from mediakit.errors import ItemError, UserError, show
from mediakit.heap import uncollected
from mediakit.media.captions import STOCK
from mediakit.media.formats import READABLE, sniff
from mediakit.models.cache import ModelCache
from mediakit.models.captioners import check_asked
from mediakit.models.engines import CAPTION_ENGINE
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.tasks.caption_checks import useless
from mediakit.tasks.caption_options import FORMATS, MOST_WORDS, CaptionExecution, CaptionParams
from mediakit.tasks.caption_result import Said, held_by, lost, params_of, suffix, written
from mediakit.tasks.text_files import check_name, format_of, formats_of

if TYPE_CHECKING:
    from mediakit.engines.caption.request import Caption, Request
    from mediakit.engines.caption.transformers import Captioner

GGUF = "mediakit.engines.caption.gguf"  # goes between caption and the engine of GGUFs
_ASKED = (
    "prompt", "mode", "min_words", "max_words", "beam_size", "no_repeat_ngram_size",
    "temperature", "top_p", "seed", "repetition_penalty",
)  # fmt: skip
_BATCH = {"cpu": 8}  # a CPU gains no more from more; GPUs do
_BATCH_OTHERS = 32


@dataclass(slots=True)
class Look:
    """A picture as the model sees it, and what the files of its caption hold."""

    seen: Any
    held: Mapping[str, bytes]

    @property
    def nbytes(self) -> int:
        return int(self.seen.nbytes) + sum(map(len, self.held.values()))


class CaptionTask(Task):
    name = "caption"
    summary = "Say what is on pictures: a sentence, tags, or answers to a question."
    Params = CaptionParams
    Execution = CaptionExecution
    extra = "caption"
    engine = CAPTION_ENGINE
    packages = ("PIL", "numpy", "pyvips", "torch", "torchvision", "transformers")
    suffixes = frozenset(READABLE)
    output_suffixes = frozenset(f".{name}" for name in FORMATS)
    prints = True
    gathers = frozenset({".jsonl", ".csv", ".json"})  # the last as kohya's metadata

    def __init__(self, execution: CaptionExecution, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self.execution: CaptionExecution = execution
        self._device = self._dtype = ""
        self._threads = 0

    # planning

    @classmethod
    def model_names(cls, params: CaptionParams) -> Mapping[str, str]:
        names = {"captioner": params.model}
        return names | ({"projector": params.projector} if params.projector else {})

    @classmethod
    def suffix(cls, name: str, params: CaptionParams) -> str:
        return suffix(name, formats_of(params)[0], params)

    @classmethod
    def more_suffixes(cls, name: str, params: CaptionParams) -> tuple[str, ...]:
        return tuple(suffix(name, format, params) for format in formats_of(params)[1:])

    @classmethod
    def may_add(cls, name: str) -> bool:
        return format_of(name) != "json"

    @classmethod
    def adds(cls, params: CaptionParams) -> bool:
        return params.append

    @classmethod
    def check_output(cls, name: str, params: CaptionParams) -> None:
        check_name(name, params, FORMATS)
        if params.append and format_of(name) == "json":
            raise UserError("usage", "--append: nothing can be put behind json; use txt or xmp")

    @classmethod
    def settle(
        cls, params: CaptionParams, given: Collection[str], models: Mapping[str, ModelSpec]
    ) -> CaptionParams:
        if (params.min_words or 0) > (params.max_words or MOST_WORDS):
            raise UserError("usage", "--min-words is more than --max-words; swap them")
        if params.append and "json" in params.format:
            raise UserError("usage", "--append: nothing can be put behind json; use txt or xmp")
        spec = models["captioner"]
        if family := family_of_spec(spec):
            check_asked(family, spec.name, {name: getattr(params, name) for name in given})
        if family == "vlm" and not params.projector and len(spec.files) < 2:
            raise UserError(
                "missing_component",
                f"{show(spec.name)} sees pictures by its projector only; give that file, which is "
                "called mmproj-... .gguf, with --projector",
            )
        if params.projector and family != "vlm":
            raise UserError(
                "useless_option",
                f"--projector is for GGUFs; {show(spec.name)} is none: leave it out",
            )
        return params

    @classmethod
    def useless(
        cls, told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
    ) -> Iterator[Useless]:
        yield from super().useless(told, values, outputs)
        yield from useless(told, values, outputs)

    @classmethod
    def sniff(cls, head: bytes) -> str:
        return sniff(head)

    @classmethod
    def row(cls, item: Item, result: Mapping[str, Any]) -> Row:
        row = {"input": item.source.path, "caption": result["text"]}
        return row | ({"tags": list(result["tags"])} if "tags" in result else {})

    # working

    def begin(self) -> None:
        e = self.execution
        self._device, self._dtype = device.choose(e.device, e.dtype)
        self._threads = e.threads or (1 if e.exact else device.free_cores())
        usual = _BATCH.get(self._device, _BATCH_OTHERS)
        self.batch_size = e.batch_size or (1 if e.exact else usual)

    def warm_up(self) -> None:
        with uncollected():
            import_module("mediakit.engines.caption.transformers")

    def used(self) -> Mapping[str, Any]:
        return {
            "device": self._device,
            "dtype": self._dtype,
            "threads": self._threads,
            "batch_size": self.batch_size,
            "exact": self.execution.exact,
        }

    def decode(self, item: Item) -> Decoded:
        from mediakit.media.still import read_still

        assert item.recipe is not None
        data, state = item.source.read()
        picture = read_still(data, item.source.path, self.execution.max_pixels)
        see = import_module(_engine(item)).eyes(self._files(item)[0])
        held = held_by(item)
        return Decoded(Look(see(picture.pixels), held), (state,), list(picture.warnings))

    def compute(
        self, batch: list[tuple[Item, Decoded]], emit: Emit
    ) -> list["Said | ItemError | UserError"]:
        results: list[Any] = [None] * len(batch)
        groups: dict[str, list[int]] = {}  # what is one model, asked one thing
        for number, (item, _) in enumerate(batch):
            assert item.recipe is not None
            groups.setdefault(item.recipe.hash, []).append(number)
        for group in groups.values():
            item = batch[group[0]][0]
            with self._model(item) as model:
                check_asked(model.family, model.name, _given(item))
                self._check_execution(model)
                seen = [batch[number][1].media.seen for number in group]
                found = model.captions(seen, request(params_of(item)))
            for number, caption in zip(group, found, strict=True):
                results[number] = _said(*batch[number], caption)
            emit(sum(result is not None for result in results) / len(batch))
        return results

    def _check_execution(self, model: "Captioner") -> None:
        """UserError for options that do nothing for this model."""
        e = self.execution
        if e.gpu_layers is not None and model.family != "vlm":
            raise UserError(
                "useless_option",
                f"--gpu-layers is for GGUFs, and {model.name} is none; leave it out",
            )
        if e.dtype != "auto" and model.family == "vlm":
            raise UserError(
                "useless_option",
                "--dtype does nothing for a GGUF; leave it out, or take a file quantised otherwise",
            )

    def _model(self, item: Item) -> "AbstractContextManager[Captioner]":
        """The item's model, loaded or found in the cache."""
        assert item.recipe is not None
        specs = item.recipe.models

        def arguments() -> tuple[Any, ...]:
            for spec in specs.values():
                self.store.pull(spec)
            more = (self.execution.gpu_layers,) if _is_gguf(item) else ()
            return *self._files(item), self._device, self._dtype, self._threads, *more

        key = (*(spec.sha256 for spec in specs.values()), self._dtype)
        spec = specs["captioner"].model_copy(update={"engine": f"{_engine(item)}:load"})
        return self.loaded(spec, key, self._device, arguments)

    def _files(self, item: Item) -> tuple[Path, ...]:
        """What the engine is given: a folder; or a GGUF and its projector."""
        assert item.recipe is not None
        return tuple(f for spec in item.recipe.models.values() for f in self.store.files(spec))

    def step_down(self) -> str | None:
        return None  # the runner halves batches by itself

    def encode(self, item: Item, media: Said, file: Path) -> Made:
        return written(item, media, file)


def family_of_spec(spec: ModelSpec) -> str | None:
    """The family of a model, as far as it is known before the model is loaded."""
    return "vlm" if "llama" in spec.engine else spec.family


def request(params: CaptionParams) -> "Request":
    """What the engine is asked for."""
    from mediakit.engines.caption.request import Request

    phrases = (*(STOCK if params.strip else ()), *params.strip_phrase)
    told = {name: getattr(params, name) for name in _ASKED}
    return Request(**{**told, "temperature": params.temperature or None}, phrases=phrases)


def _given(item: Item) -> dict[str, Any]:
    assert item.recipe is not None
    return {name: getattr(item.recipe.params, name) for name in item.recipe.given}


def _is_gguf(item: Item) -> bool:
    assert item.recipe is not None
    return family_of_spec(item.recipe.models["captioner"]) == "vlm"


def _engine(item: Item) -> str:
    """The module that loads the item's model, and shows it pictures."""
    assert item.recipe is not None
    return GGUF if _is_gguf(item) else item.recipe.models["captioner"].engine.partition(":")[0]


def _said(item: Item, decoded: Decoded, caption: "Caption | ItemError") -> "Said | ItemError":
    if isinstance(caption, ItemError):
        return ItemError(caption.code, f"{show(item.source.path)}: {caption.message}")
    said = Said(caption, decoded.media.held, decoded.earlier, decoded.overwrite)
    return lost(item, said) or said
