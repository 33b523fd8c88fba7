"""caption: pictures in, what is on them out: as text, for photo managers, or as data."""

import json
import os
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit import device
from mediakit.batch.files import input_error
from mediakit.batch.item import Decoded, Extra, Item, Made, Row, extra_file
from mediakit.batch.task import Emit, Task
from mediakit.errors import ItemError, UserError, show
from mediakit.media.captions import STOCK, joined
from mediakit.media.formats import READABLE, sniff
from mediakit.models.cache import ModelCache
from mediakit.models.captioners import CAPTION_ENGINE, LISTS, check_asked
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.tasks.caption_options import FORMATS, MOST_WORDS, CaptionExecution, CaptionParams
from mediakit.tasks.pictures import flag

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
class Said:
    """A caption on its way to its files: what those hold now, and what was put there before."""

    caption: "Caption"
    held: Mapping[str, bytes]
    earlier: Mapping[str, Any] | None
    overwrite: bool
    warnings: list[str] = field(default_factory=list)

    @property
    def nbytes(self) -> int:
        return 1000 + sum(map(len, self.held.values()))


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
        return _suffix(name, _formats(params)[0], params)

    @classmethod
    def more_suffixes(cls, name: str, params: CaptionParams) -> tuple[str, ...]:
        return tuple(_suffix(name, format, params) for format in _formats(params)[1:])

    @classmethod
    def adds(cls, params: CaptionParams) -> bool:
        return params.append

    @classmethod
    def check_output(cls, name: str, params: CaptionParams) -> None:
        format = _format(name)
        if format not in FORMATS:
            known = ", ".join(f".{name}" for name in FORMATS)
            raise UserError("usage", f"{show(name)}: an output must end in one of {known}")
        if params.format and format != params.format[0]:
            raise UserError("usage", f"{show(name)} is not a name for --format {params.format[0]}")
        if params.append and format == "json":
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
    def check_useful(cls, told: Mapping[str, Any], outputs: list[str]) -> None:
        for name in ("top_p", "seed"):
            if name in told and not told.get("temperature"):
                raise _useless(name, "does nothing unless words are drawn", "add --temperature 0.7")
        if told.get("temperature") and (told.get("beam_size") or 1) > 1:
            raise _useless("beam_size", "follows the likeliest", "leave --temperature out")
        if "separator" in told and not told.get("append"):
            raise _useless("separator", "stands between what is there and the caption",
                           "add --append")  # fmt: skip
        formats = {_format(name) for name in outputs} & FORMATS.keys()
        formats |= set(told.get("format", ()))
        if "xmp_name" in told and formats and "xmp" not in formats:
            raise _useless("xmp_name", "names .xmp files", "use --format xmp")
        if "append" in told and not (told.get("out") or told.get("beside")):
            raise _useless("append", "adds to files", "use -o DIR, or --beside")
        if "append" in told and told.get("out") and _is_gathered(told["out"]):
            raise _useless("append", "adds to the files of pictures", "use -o DIR, or --beside")
        if told.get("threads") and told.get("device", "auto").split(":")[0] in ("cuda", "mps"):
            raise _useless("threads", "does nothing on a GPU", "leave --device out")
        if told.get("exact") and "batch_size" in told:
            raise _useless("batch_size", "is 1 with --exact", "leave that out")

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
        with suppress(Exception):  # `compute` says what is wrong
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
        held = _held(item)
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
                found = model.captions(seen, request(_params(item)))
            for number, caption in zip(group, found, strict=True):
                results[number] = _said(*batch[number], caption)
            emit(sum(result is not None for result in results) / len(batch))
        return results

    def _check_execution(self, model: "Captioner") -> None:
        """UserError for options that do nothing for this model."""
        e = self.execution
        if e.gpu_layers is not None and model.family != "vlm":
            raise _useless("gpu_layers", f"is for GGUFs, and {model.name} is none", "use --device")
        if e.dtype != "auto" and model.family == "vlm":
            raise _useless("dtype", "does nothing for a GGUF", "take a file quantised otherwise")

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
        params = _params(item)
        paths = [item.output or item.key, *item.also]
        files = [file, *(extra_file(file, number) for number in range(len(item.also)))]
        formats = [_format(paths[0]) if item.output else _formats(params)[0], *_formats(params)[1:]]
        text = f"{params.prefix}{media.caption.text}{params.suffix}"
        result: dict[str, Any] = {"text": text, "words": len(media.caption.text.split())}
        if params.mode in LISTS:
            result["tags"] = list(media.caption.tags)
        for format, path, each in zip(formats, paths, files, strict=False):
            each.write_bytes(_content(format, path, media, params, result))
        extras = tuple(
            Extra(each, path, format, FORMATS[format])
            for each, path, format in zip(files[1:], paths[1:], formats[1:], strict=True)
        )
        warnings = [] if media.caption.text else ["the model said nothing"]
        return Made(FORMATS[formats[0]], result, warnings, formats[0], extras)


def _is_gathered(out: Path) -> bool:
    return out.suffix.lower() in (".jsonl", ".csv") and not out.is_dir()


def family_of_spec(spec: ModelSpec) -> str | None:
    """The family of a model, as far as it is known before the model is loaded."""
    return "vlm" if "llama" in spec.engine else spec.family


def request(params: CaptionParams) -> "Request":
    """What the engine is asked for."""
    from mediakit.engines.caption.request import Request

    phrases = (*(STOCK if params.strip else ()), *params.strip_phrase)
    told = {name: getattr(params, name) for name in _ASKED}
    return Request(**{**told, "temperature": params.temperature or None}, phrases=phrases)


def _params(item: Item) -> CaptionParams:
    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, CaptionParams)
    return params


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


def _formats(params: CaptionParams) -> tuple[str, ...]:
    return params.format or ("txt",)


def _format(name: str) -> str:
    """The format that an output's name says."""
    return os.path.splitext(name)[1].lower().removeprefix(".")


def _suffix(name: str, format: str, params: CaptionParams) -> str:
    own = os.path.splitext(name)[1] if format == "xmp" and params.xmp_name == "full" else ""
    return f"{own}.{format}"


def _held(item: Item) -> dict[str, bytes]:
    """What the item's files hold, of those to which something is added."""
    if item.output is None:
        return {}
    found = {}
    for path in (item.output, *item.also):
        if _params(item).append or _format(path) == "xmp":
            with suppress(FileNotFoundError):
                try:
                    found[path] = Path(path).read_bytes()
                except FileNotFoundError:
                    raise
                except OSError as e:
                    raise input_error(path, e) from None
    return found


def _said(item: Item, decoded: Decoded, caption: "Caption | ItemError") -> "Said | ItemError":
    if isinstance(caption, ItemError):
        return ItemError(caption.code, f"{show(item.source.path)}: {caption.message}")
    said = Said(caption, decoded.media.held, decoded.earlier, decoded.overwrite)
    error = _lost(item, said)
    return error or said


def _lost(item: Item, said: Said) -> ItemError | None:
    """What would be lost: a file holds what was not made here, and is not added to any more."""
    earlier = said.earlier
    added = earlier is not None and earlier["params"].get("append")
    if not added or _params(item).append or said.overwrite:
        return None
    return ItemError(
        "would_overwrite",
        f"{show(item.output)} also holds what was there before a caption was added; --append "
        "keeps that, --overwrite replaces it",
    )


def _content(
    format: str, path: str, media: Said, params: CaptionParams, result: Mapping[str, Any]
) -> bytes:
    """What a file is to hold. ItemError would_overwrite where what was put there is gone."""
    text = result["text"]
    if format == "json":
        told = {k: result[k] for k in ("text", "tags") if k in result}
        asked = {k: getattr(params, k) for k in ("mode", "prompt") if getattr(params, k)}
        whole = {"caption": told.pop("text"), **told, **asked, "model": params.model}
        return (json.dumps(whole, ensure_ascii=False, indent=1) + "\n").encode()
    held = media.held.get(path)

    def put(old: str) -> str:
        return _put(old, text, path, media, params) if params.append else text

    if format == "xmp":
        from mediakit.media.xmp_sidecar import packet

        return packet(held, path, put, result.get("tags", ()))
    try:
        old = (held or b"").decode()
    except UnicodeDecodeError:
        raise ItemError(
            "corrupt", f"{show(path)} is not text in UTF-8: nothing can be put behind it"
        ) from None
    return f"{put(old)}\n".encode()


def _put(old: str, text: str, path: str, media: Said, params: CaptionParams) -> str:
    """The text behind what is there, in place of what was put there before."""
    separator = params.separator.replace(r"\n", "\n")
    before = media.earlier["result"].get("text") if media.earlier else None
    made = joined(old, text, separator, before)
    if made is None and media.overwrite:
        made = joined(old, text, separator)
    if made is None:
        raise ItemError(
            "would_overwrite",
            f"{show(path)}: the caption that was put there was edited; --overwrite adds another",
        )
    return made


def _useless(name: str, why: str, cure: str) -> UserError:
    return UserError("useless_option", f"{flag(name)} {why}: {cure}, or leave it out")
