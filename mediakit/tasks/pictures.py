"""What all tasks that make pictures share: their options' meaning, names, and writing."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mediakit import device
from mediakit.batch.files import output_error
from mediakit.batch.item import Item, Made
from mediakit.batch.record import record_of
from mediakit.batch.replay import note
from mediakit.batch.task import Task, Useless
from mediakit.errors import ItemError, UserError, show
from mediakit.media.formats import (
    COMPRESSED,
    LOSSLESS,
    LOSSY,
    MEDIA_TYPES,
    OPAQUE,
    READABLE,
    SUBSAMPLED,
    WRITABLE,
    sniff,
    suffix_of,
)
from mediakit.models.cache import ModelCache
from mediakit.models.spec import ModelSpec
from mediakit.models.state_dicts import Weights
from mediakit.models.store import Store
from mediakit.params import PictureInput, PictureOutput

if TYPE_CHECKING:
    from mediakit.media.pictures import Picture, Result, Written


class PictureTask(Task):
    """A task whose outputs are pictures; its Params are PictureOutput."""

    packages: ClassVar[tuple[str, ...]] = ("PIL", "numpy", "pyvips")
    note_in_exif: ClassVar[bool] = False  # in formats without text, the picture remembers there
    suffixes: ClassVar[frozenset[str]] = frozenset(READABLE)
    # also those that can't be written: `-o a.gif` is not meant to make a directory
    output_suffixes: ClassVar[frozenset[str]] = frozenset(READABLE)

    def __init__(self, execution: PictureInput, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self.execution: PictureInput = execution
        self._device = self._dtype = ""
        self._threads = 0

    # planning

    @classmethod
    def suffix(cls, name: str, params: PictureOutput) -> str:
        if params.format != "keep":
            return f".{params.format}"
        own = suffix_of(name)
        return name[len(name) - len(own) :] if own in WRITABLE else ".png"

    @classmethod
    def check_output(cls, name: str, params: PictureOutput) -> None:
        format = WRITABLE.get(suffix_of(name))
        if format is None:
            known = ", ".join(WRITABLE)
            raise UserError("usage", f"{show(name)}: an output must end in one of {known}")
        if params.format not in ("keep", format):
            raise UserError("usage", f"{show(name)} is not a name for --format {params.format}")

    @classmethod
    def useless(
        cls, told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
    ) -> Iterator[Useless]:
        yield from super().useless(told, values, outputs)
        formats = {WRITABLE.get(suffix_of(name)) for name in outputs} - {None}
        if values["format"] != "keep":
            formats.add(values["format"])
        for name, able in (
            ("quality", LOSSY), ("compression", COMPRESSED), ("subsampling", SUBSAMPLED),
            ("lossless", LOSSLESS),
        ):  # fmt: skip
            if name in told and values[name] and formats and not formats & set(able):
                kinds = ", ".join(sorted(f for f in formats if f))
                yield name, f"does nothing for {kinds}", f"use --format {' or '.join(able)}"

    @classmethod
    def sniff(cls, head: bytes) -> str:
        return sniff(head)

    # working

    def begin(self) -> None:
        e = self.execution
        self._device, self._dtype = device.choose(e.device, e.dtype)
        self._threads = e.threads or (1 if e.exact else device.free_cores())

    @contextmanager
    def net(self, spec: ModelSpec, blend: float | None = None) -> Iterator[Any]:
        """A net that spandrel loads; of two weights files mixed as `blend` says."""

        def arguments() -> tuple[Any, ...]:
            weights = Weights(self.store.files(spec), blend, partial(self.store.keep, spec))
            return weights, self._device, self._dtype, self._threads, self.execution.exact

        key = spec.engine, spec.sha256, blend, self._dtype
        with self.loaded(spec, key, self._device, arguments) as net:
            yield net

    def finish(self, item: Item, result: "Result", file: Path) -> "Result | Written":
        """The result, in memory for `encode`; or, if it is large, in its file."""
        from mediakit.media.pictures import HELD

        return self._write(item, result, file) if result.nbytes > HELD else result.held()

    def encode(self, item: Item, media: Any, file: Path) -> Made:
        """`media`: a Result, or Written."""
        from mediakit.media.pictures import Result

        made: Written = self._write(item, media, file) if isinstance(media, Result) else media
        size = {"width": made.width, "height": made.height}
        if made.frames > 1:
            size["frames"] = made.frames
        return Made(MEDIA_TYPES[format_of(item)], size, made.lost)

    def remembered(self, item: Item) -> dict[str, str]:
        """The text that the picture carries of how it was made; `mediakit replay` reads it."""
        return {"mediakit": json.dumps(note(record_of(type(self), item, "done")))}

    def _write(self, item: Item, result: "Result", file: Path) -> "Written":
        from mediakit.media.pictures import Encoding

        assert item.recipe is not None
        p = item.recipe.params
        assert isinstance(p, PictureOutput)
        encoding = Encoding(
            p.quality, p.compression, p.subsampling, p.lossless, self.remembered(item),
            self.note_in_exif,
        )  # fmt: skip
        try:
            return result.write(file, format_of(item), encoding)
        except OSError as e:
            raise output_error(item.output or item.key, e) from None


def check_encoding(params: PictureOutput) -> None:
    """UserError for options of the encoding that contradict each other, or say nothing."""
    if params.lossless and params.quality is not None:
        raise UserError("useless_option", "--quality does nothing beside --lossless")
    if params.background and find_spec("PIL"):  # a dry run does without
        from mediakit.media.pictures import background

        background(params.background)


def format_of(item: Item) -> str:
    """The format that the output's name says."""
    return WRITABLE[suffix_of(item.output or item.key)]


def unlike_input(item: Item, picture: "Picture") -> Iterator[str]:
    """What the output's format, which its name says, changes. ItemError if it can't hold the
    picture: before the work, not after."""
    from mediakit.media.pixels import is_opaque

    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, PictureOutput)
    format = format_of(item)
    if format in OPAQUE and not params.background and not is_opaque(picture.pixels):
        raise ItemError(
            "alpha_unsupported",
            f"{show(item.source.path)} has transparency, which {format} can't hold; use --format "
            "png, or --background white",
        )
    if params.format == "keep" and format != picture.format:
        yield f"the content is {picture.format}: written as {format}"


T = TypeVar("T")


def attempt(make: Callable[[], T]) -> T | ItemError:
    """What is made; or what is wrong with it, without the frames and all that they hold."""
    try:
        return make()
    except ItemError as e:
        code, message = e.code, e.message
    return ItemError(code, message)
