"""upscale: pictures in, larger pictures out, by a super-resolution net."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit import device
from mediakit.batch.files import FileState, read_file
from mediakit.batch.item import Decoded, Item, Made
from mediakit.batch.record import record_of
from mediakit.batch.replay import note
from mediakit.batch.task import Emit, Task
from mediakit.errors import ItemError, UserError, show
from mediakit.media.formats import (
    LOSSY,
    MEDIA_TYPES,
    OPAQUE,
    READABLE,
    WRITABLE,
    sniff,
    suffix_of,
)
from mediakit.models.cache import ModelCache
from mediakit.models.store import Store
from mediakit.params import SMALLEST_TILE, Number, PictureInput, PictureOutput, Tile, option

if TYPE_CHECKING:
    from mediakit.engines.upscaler import Upscaler
    from mediakit.media.pictures import Picture, Pixels


class UpscaleParams(PictureOutput):
    model: str = option(
        "realesrgan-x4plus",
        "Model name (see: mediakit models list) or a weights file. realesrgan-x4plus: photos, "
        "sharp, invents texture; realesr-animevideov3: 20 times faster, for drawings; "
        "dat-light-x4: true to the original, soft.",
    )
    scale: Number | None = option(
        None,
        "How many times larger each side becomes. Left out: the model's own (4 for most). 2 is "
        "enough for most prints; above 4 the model runs twice, and details are invented.",
        ge=1,
        le=16,
    )


class UpscaleExecution(PictureInput):
    tile: Tile = option(
        "auto",
        "Largest side, in pixels of the input, that the net sees at once. auto: what fits into "
        "free memory. Smaller needs less memory and is slower. At least 64; most nets but those "
        "for drawings take 128 where less is given, or seams would show.",
    )


class Upscale(Task):
    name = "upscale"
    summary = "Enlarge pictures with a super-resolution model."
    Params = UpscaleParams
    Execution = UpscaleExecution
    extra = "upscale"
    packages = ("torch", "torchvision", "spandrel", "safetensors", "PIL", "numpy")
    suffixes = frozenset(READABLE)
    # also those that can't be written: `-o a.gif` is not meant to make a directory
    output_suffixes = frozenset(READABLE)

    def __init__(self, execution: UpscaleExecution, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self.execution: UpscaleExecution = execution
        self._device = self._dtype = self._dtype_used = ""
        self._threads = 0
        self._tile: int | None = None  # as told, or as stepped down to
        self._used_tile = 0
        self._smallest_tile = SMALLEST_TILE  # of the net that worked last
        self._side = 0  # the longest of the picture that it worked on

    # planning

    @classmethod
    def model_names(cls, params: UpscaleParams) -> Mapping[str, str]:
        return {"upscaler": params.model}

    @classmethod
    def suffix(cls, name: str, params: UpscaleParams) -> str:
        if params.format != "keep":
            return f".{params.format}"
        own = suffix_of(name)
        return name[len(name) - len(own) :] if own in WRITABLE else ".png"

    @classmethod
    def check(cls, params: UpscaleParams) -> None:
        if params.background and find_spec("PIL"):  # a dry run does without
            from mediakit.media.pictures import background

            background(params.background)

    @classmethod
    def check_output(cls, name: str, params: UpscaleParams) -> None:
        format = WRITABLE.get(suffix_of(name))
        if format is None:
            known = ", ".join(WRITABLE)
            raise UserError("usage", f"{show(name)}: an output must end in one of {known}")
        if params.format not in ("keep", format):
            raise UserError("usage", f"{show(name)} is not a name for --format {params.format}")

    @classmethod
    def check_useful(cls, told: Mapping[str, Any], outputs: list[str]) -> None:
        formats = {WRITABLE.get(suffix_of(name)) for name in outputs} - {None}
        if told.get("format", "keep") != "keep":
            formats.add(told["format"])
        if told.get("quality") is not None and formats and not formats & set(LOSSY):
            kinds = ", ".join(sorted(f for f in formats if f))
            raise UserError(
                "useless_option",
                f"--quality does nothing for {kinds}; leave it out, or use --format jpg or webp",
            )
        if told.get("threads") and told.get("device", "auto").split(":")[0] in ("cuda", "mps"):
            raise UserError(
                "useless_option", "--threads does nothing on a GPU; leave it or --device out"
            )

    @classmethod
    def sniff(cls, head: bytes) -> str:
        return sniff(head)

    # working

    def begin(self) -> None:
        e = self.execution
        self._device, self._dtype = device.choose(e.device, e.dtype)
        self._threads = e.threads or (1 if e.exact else device.free_cores())
        if e.tile != "auto":
            self._tile = int(e.tile)

    def used(self) -> Mapping[str, Any]:
        return {
            "device": self._device,
            "dtype": self._dtype_used,
            "threads": self._threads,
            "tile": self._used_tile,
            "exact": self.execution.exact,
        }

    def decode(self, item: Item) -> Decoded:
        from mediakit.media.pictures import read_picture

        path, data = item.source.path, item.source.data
        if data is None:
            data, state = read_file(path)
        else:
            state = FileState.of_bytes(path, data)
        picture = read_picture(data, path, self.execution.max_pixels)
        return Decoded(picture, (state,), [*picture.warnings, *_unlike_input(item, picture)])

    @contextmanager
    def _net(self, item: Item) -> Iterator["Upscaler"]:
        """The item's net, loaded or found in the cache."""
        assert item.recipe is not None
        spec = item.recipe.models["upscaler"]
        module, _, function = spec.engine.partition(":")
        e = self.execution

        def load() -> "Upscaler":
            begin = time.perf_counter()
            path = self.store.pull(spec)
            loader: Callable[..., Upscaler] = getattr(import_module(module), function)
            net = loader(path, self._device, self._dtype, self._threads, e.exact)
            self.load_seconds += time.perf_counter() - begin
            return net

        with self.cache.use((spec.sha256, self._dtype), self._device, load, spec.size) as net:
            yield net

    def compute(self, batch: list[tuple[Item, Decoded]], emit: Emit) -> list["Picture"]:
        results = []
        for item, decoded in batch:
            with self._net(item) as net:
                self._check_dtype(item, decoded, net)
                results.append(self._upscale(item, decoded.media, net, emit))
        return results

    def _check_dtype(self, item: Item, decoded: Decoded, net: "Upscaler") -> None:
        told = self.execution.dtype
        if told in ("auto", net.dtype):
            return
        assert item.recipe is not None
        name = show(item.recipe.models["upscaler"].name)
        text = f"{name} can't be computed in {told}: computed in {net.dtype}"
        if text not in decoded.warnings:  # a second try, with less memory
            decoded.warnings.append(text)

    def _upscale(self, item: Item, picture: "Picture", net: "Upscaler", emit: Emit) -> "Picture":
        from mediakit.media.enlarge import enlarge

        assert item.recipe is not None
        params: UpscaleParams = item.recipe.params  # type: ignore[assignment]
        scale = params.scale or net.scale

        def once(pixels: "Pixels") -> "Pixels":
            free = device.free_memory(self._device)
            self._smallest_tile, self._side = net.smallest_tile, max(pixels.shape[:2])
            told = max(self._tile, net.smallest_tile) if self._tile else None
            self._used_tile = told or net.auto_tile(free)
            self._dtype_used = net.dtype  # not every net can do every type
            return net.upscale(pixels, self._used_tile, emit)

        return replace(picture, pixels=enlarge(once, net.scale, picture.pixels, scale))

    def step_down(self) -> str | None:
        if self.execution.exact:  # other tiles, other bytes
            return None
        largest = min(self._used_tile, self._side)
        tile = max(largest // 2, self._smallest_tile)
        if tile >= largest:
            return None
        self._tile = tile
        return f"tile {tile}"

    def encode(self, item: Item, media: "Picture", file: Path) -> Made:
        from mediakit.media.pictures import flatten, write_picture

        assert item.recipe is not None
        params: UpscaleParams = item.recipe.params  # type: ignore[assignment]
        format = WRITABLE[suffix_of(item.output or item.key)]
        picture = flatten(media, params.background) if params.background else media
        warnings = write_picture(picture, file, format, params.quality, _note(item))
        size = {"width": picture.width, "height": picture.height}
        return Made(MEDIA_TYPES[format], size, warnings)


def _unlike_input(item: Item, picture: "Picture") -> Iterator[str]:
    """What the output's format, which its name says, changes. ItemError if it can't hold the
    picture: before the work, not after."""
    from mediakit.media.pixels import is_opaque

    assert item.recipe is not None
    params: UpscaleParams = item.recipe.params  # type: ignore[assignment]
    format = WRITABLE[suffix_of(item.output or item.key)]
    if format in OPAQUE and not params.background and not is_opaque(picture.pixels):
        raise ItemError(
            "alpha_unsupported",
            f"{show(item.source.path)} has transparency, which {format} can't hold; use --format "
            "png, or --background white",
        )
    if params.format == "keep" and format != picture.format:
        yield f"the content is {picture.format}: written as {format}"


def _note(item: Item) -> dict[str, str]:
    """What a PNG remembers of how it was made; `mediakit replay` reads it."""
    return {"mediakit": json.dumps(note(record_of(Upscale, item, "done")))}
