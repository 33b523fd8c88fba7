"""upscale: pictures in, larger pictures out, by a super-resolution net."""

from collections import deque
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from mediakit import device
from mediakit.batch.item import Decoded, Item
from mediakit.batch.task import Emit
from mediakit.errors import ItemError, UserError, show
from mediakit.models.cache import ModelCache
from mediakit.models.spec import ModelSpec
from mediakit.models.state_dicts import Weights
from mediakit.models.store import Store
from mediakit.params import SMALLEST_TILE, Number, PictureInput, PictureOutput, Tile, option
from mediakit.tasks.pictures import PictureTask, check_encoding, flag, unlike_input

if TYPE_CHECKING:
    from mediakit.engines.together import Together
    from mediakit.engines.upscaler import Upscaler
    from mediakit.media.pictures import Picture, Result, Written

# Pictures that a GPU is given at once: as many as fill it, for small ones fill it only together.
# A tile of 1024x1024 is the largest of any (engines/upscaler.py).
_TOGETHER_PIXELS = 1024 * 1024
_TOGETHER_ITEMS = 32
BATCHED = ("cuda",)


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
    width: int | None = option(
        None,
        "Width of the result in pixels, in place of --scale; the height follows unless given.",
        ge=1,
    )
    height: int | None = option(
        None,
        "Height of the result in pixels; the width follows unless given.",
        ge=1,
    )
    max_side: int | None = option(
        None, "Longer side of the result in pixels, in place of --scale.", ge=1
    )
    downscale_first: Number = option(
        1,
        "Make the picture this many times smaller before the model sees it: for soft scans, whose "
        "pixels hold less than they could. 1.5 to 2 suits most; more loses detail.",
        ge=1,
        le=8,
    )
    denoise: float | None = option(
        None,
        "How much noise to remove, 0 (little, keeps grain) to 1 (all, smooth), for models that "
        "can: realesr-general-x4v3. Left out: 0.5.",
        ge=0,
        le=1,
    )


class UpscaleExecution(PictureInput):
    tile: Tile = option(
        "auto",
        "Largest side, in pixels of the input, that the net sees at once. auto: what fits into "
        "free memory. Smaller needs less memory and is slower. At least 64; most nets but those "
        "for drawings take 128 where less is given, or seams would show.",
    )


class Upscale(PictureTask):
    name = "upscale"
    summary = "Enlarge pictures with a super-resolution model."
    Params = UpscaleParams
    Execution = UpscaleExecution
    extra = "upscale"
    result_version = 2
    packages = ("torch", "torchvision", "spandrel", "safetensors", *PictureTask.packages)

    def __init__(self, execution: UpscaleExecution, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self.execution: UpscaleExecution = execution
        self._dtype_used = ""
        self._tile: int | None = None  # as told, or as stepped down to
        self._used_tile = 0
        self._tiles: int | None = None  # at once, as stepped down to
        self._used_tiles = 1
        self._items = 1  # at once, at most
        # pixels of the latest pictures decoded: all that may be in the next batch are among them
        self._sizes: deque[int] = deque(maxlen=3 * _TOGETHER_ITEMS)
        self._smallest_tile = SMALLEST_TILE  # of the net that worked last
        self._side = 0  # the longest of the picture that it worked on

    # planning

    @classmethod
    def model_names(cls, params: UpscaleParams) -> Mapping[str, str]:
        return {"upscaler": params.model}

    @classmethod
    def settle(
        cls, params: UpscaleParams, given: Collection[str], models: Mapping[str, ModelSpec]
    ) -> UpscaleParams:
        sides = [name for name in ("width", "height", "max_side") if getattr(params, name)]
        if sides and "scale" in given:
            raise UserError("usage", f"--scale and {flag(sides[0])} contradict each other")
        if params.max_side and len(sides) > 1:
            raise UserError("usage", f"--max-side and {flag(sides[0])} contradict each other")
        spec = models["upscaler"]
        if params.denoise is not None and spec.blend != "denoise":
            raise UserError(
                "useless_option", f"{spec.name} has no denoise strength; leave --denoise out"
            )
        check_encoding(params)
        return params.model_copy(update={"scale": None}) if sides else params

    # working

    @property
    def batch_size(self) -> int:
        """How many pictures like the latest have no more than _TOGETHER_PIXELS; one on a CPU."""
        largest = max(self._sizes.copy(), default=1)
        return max(1, min(self._items, _TOGETHER_PIXELS // largest))

    @batch_size.setter
    def batch_size(self, most: int) -> None:
        self._items = most

    def begin(self) -> None:
        super().begin()
        e = self.execution
        if e.tile != "auto":
            self._tile = int(e.tile)
        if self._device.partition(":")[0] in BATCHED and not e.exact:
            self._items = _TOGETHER_ITEMS

    def warm_up(self) -> None:
        with suppress(Exception):  # `compute` says what is wrong
            import_module("mediakit.engines.upscaler")

    def used(self) -> Mapping[str, Any]:
        return {
            "device": self._device,
            "dtype": self._dtype_used,
            "threads": self._threads,
            "tile": self._used_tile,
            "batch": self._used_tiles,
            "exact": self.execution.exact,
        }

    def decode(self, item: Item) -> Decoded:
        from mediakit.media.pictures import Animation, in_srgb, read_media

        path = item.source.path
        data, state = item.source.read()
        media = read_media(data, path, self.execution.max_pixels)
        params = _params(item)
        about = media.about if isinstance(media, Animation) else media
        self._sizes.append(about.width * about.height)
        if isinstance(media, Animation):
            if params.icc == "srgb" or params.background:
                name = "--icc srgb" if params.icc == "srgb" else "--background"
                raise ItemError("animated", f"{show(path)} is animated; leave {name} out")
            notes = unlike_input(item, media.about)
            return Decoded(media, (state,), [*media.about.warnings, *notes])
        if params.icc == "srgb":
            media = in_srgb(media)
        return Decoded(media, (state,), [*media.warnings, *unlike_input(item, media)])

    @contextmanager
    def _net(self, item: Item) -> Iterator["Upscaler"]:
        """The item's net, loaded or found in the cache."""
        assert item.recipe is not None
        spec = item.recipe.models["upscaler"]

        def arguments() -> tuple[Any, ...]:
            blend = _params(item).denoise if spec.blend else None
            weights = Weights(self.store.files(spec), blend, partial(self.store.keep, spec))
            return weights, self._device, self._dtype, self._threads, self.execution.exact

        with self.loaded(spec, self._key(item), self._device, arguments) as net:
            yield net

    def _key(self, item: Item) -> Hashable:
        """Equal for items of one net."""
        assert item.recipe is not None
        spec = item.recipe.models["upscaler"]
        return spec.sha256, _params(item).denoise if spec.blend else None, self._dtype

    def compute(
        self, batch: list[tuple[Item, Decoded]], emit: Emit
    ) -> list["Result | Written | ItemError"]:
        results: list[Result | Written | ItemError] = []

        def share(done: float, told: str = "", piece: str = "", /) -> None:
            emit((len(results) + done) / len(batch), told, piece)

        for _, same in groupby(batch, lambda work: self._key(work[0])):
            works = list(same)
            with self._net(works[0][0]) as net, self._together(net) as together:
                begun = []  # all, before the first is asked for: so that they can go together
                for item, decoded in works:
                    self._check_dtype(item, decoded, net)
                    begun.append(_attempt(partial(self._upscale, item, decoded, together, share)))
                for (item, decoded), result in zip(works, begun, strict=True):
                    if isinstance(result, ItemError):
                        results.append(result)
                        continue
                    held = sum(r.nbytes for r in results if not isinstance(r, ItemError))
                    finish = partial(self._finish, item, result, decoded.file, held)
                    results.append(_attempt(finish))
        return results

    @contextmanager
    def _together(self, net: "Upscaler") -> Iterator["Together"]:
        """The net with as much at once as suits the device."""
        free = device.free_memory(self._device)
        told = max(self._tile, net.smallest_tile) if self._tile else None
        self._used_tile = told or net.auto_tile(free)
        self._smallest_tile = net.smallest_tile
        self._dtype_used = net.dtype  # not every net can do every type
        together = net.together(self._used_tile, net.auto_room(free, self._tiles))
        try:
            yield together
        finally:
            self._used_tiles = together.flow.largest

    def _finish(self, item: Item, result: "Result", file: Path, held: int) -> "Result | Written":
        """In memory, if there is room beside `held` bytes of others' results; else in its file."""
        from mediakit.media.pictures import HELD

        if held + result.nbytes > HELD:
            return self._write(item, result, file)
        return self.finish(item, result, file)

    def _check_dtype(self, item: Item, decoded: Decoded, net: "Upscaler") -> None:
        told = self.execution.dtype
        if told in ("auto", net.dtype):
            return
        assert item.recipe is not None
        name = show(item.recipe.models["upscaler"].name)
        text = f"{name} can't be computed in {told}: computed in {net.dtype}"
        if text not in decoded.warnings:  # a second try, with less memory
            decoded.warnings.append(text)

    def _upscale(self, item: Item, decoded: Decoded, together: "Together", emit: Emit) -> "Result":
        from mediakit.media.enlarge import Net, enlarge, enlarge_frames
        from mediakit.media.pictures import Animation, Result, background

        params, media = _params(item), decoded.media
        about = media.about if isinstance(media, Animation) else media
        size = _size(item, about, together.scale)
        self._side = max(about.width, about.height)
        through = Net(together.scale, lambda pixels: together.strips(pixels, emit))
        if isinstance(media, Animation):
            rows = enlarge_frames(through, media.frames(), media.count, size, media.channels)
        else:
            rows = enlarge(through, media.pixels, size, params.downscale_first)
        if params.background:
            rows = rows.flattened(background(params.background))
        return Result(media, rows)

    def step_down(self) -> str | None:
        if self.execution.exact:  # other tiles, other bytes
            return None
        if self._used_tiles > 1:
            self._tiles = self._used_tiles // 2
            return f"tiles at once: {self._tiles}"
        largest = min(self._used_tile, self._side)
        tile = max(largest // 2, self._smallest_tile)
        if tile >= largest:
            return None
        self._tile = tile
        return f"tile {tile}"


T = TypeVar("T")


def _attempt(make: Callable[[], T]) -> T | ItemError:
    """What is made; or what is wrong with it, without the frames and all that they hold."""
    try:
        return make()
    except ItemError as e:
        code, message = e.code, e.message
    return ItemError(code, message)


def _params(item: Item) -> UpscaleParams:
    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, UpscaleParams)
    return params


def _size(item: Item, picture: "Picture", own: int) -> tuple[int, int]:
    """Width and height of the result. ItemError if that is more than the models are good for."""
    from mediakit.media.sizes import LARGEST, Wanted, target, too_large

    params = _params(item)
    wanted = Wanted(params.scale, params.width, params.height, params.max_side)
    size = target(picture.width, picture.height, wanted, own)
    if too_large((picture.width, picture.height), size):
        raise ItemError(
            "too_large",
            f"{show(item.source.path)} has {picture.width}x{picture.height} pixels: "
            f"{size[0]}x{size[1]} is more than {LARGEST:.0f} times larger; ask for less",
        )
    return size
