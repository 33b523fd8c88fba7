"""upscale: pictures in, larger pictures out, by a super-resolution net."""

from collections import deque
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit.batch.item import Decoded, Item, Made
from mediakit.batch.task import Emit, Useless
from mediakit.errors import ItemError, UserError, show
from mediakit.models.cache import ModelCache
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.params import Number, PictureInput, PictureOutput, Tile, flag, option
from mediakit.tasks import faces
from mediakit.tasks.faces import FaceNets, Fixed
from mediakit.tasks.pictures import PictureTask, attempt, check_encoding, unlike_input
from mediakit.tasks.tiles import Tiles

if TYPE_CHECKING:
    from mediakit.engines.faces.work import Portrait
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
    fix_faces: bool = option(
        False,
        "Restore the faces too, as mediakit fixface does, at the size that they then have.",
    )
    face_model: str = option("gfpgan-1.4", "Model that restores the faces of --fix-faces.")
    detector: str = option("yunet", "Model that finds the faces of --fix-faces.")


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
        self._tiles = Tiles(execution.tile)
        self._nets = FaceNets(self)
        self._items = 1  # at once, at most
        # pixels of the latest pictures decoded: all that may be in the next batch are among them
        self._sizes: deque[int] = deque(maxlen=3 * _TOGETHER_ITEMS)

    # planning

    @classmethod
    def model_names(cls, params: UpscaleParams) -> Mapping[str, str]:
        names = {"upscaler": params.model}
        if params.fix_faces:
            names |= {"restorer": params.face_model, "detector": params.detector}
        return names

    @classmethod
    def purposes(cls, role: str) -> tuple[str, ...]:
        return faces.PURPOSES[role]

    @classmethod
    def engine_of(cls, role: str) -> str:
        return faces.ENGINES[role]

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
        if params.fix_faces and find_spec("cv2") is None:
            raise UserError(
                "missing_extra",
                "--fix-faces needs OpenCV; install it from mediakit's folder: pip install "
                "'.[fixface]'",
            )
        check_encoding(params)
        return params.model_copy(update={"scale": None}) if sides else params

    @classmethod
    def useless(
        cls, told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
    ) -> Iterator[Useless]:
        yield from super().useless(told, values, outputs)
        if not values["fix_faces"] and "list_file" not in told:
            for name in ("face_model", "detector"):
                if name in told:
                    yield name, "does nothing without --fix-faces", "add that"

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
        if self._device.partition(":")[0] in BATCHED and not self.execution.exact:
            self._items = _TOGETHER_ITEMS

    def warm_up(self) -> None:
        import_module("mediakit.engines.upscaler")

    def used(self) -> Mapping[str, Any]:
        return {
            "device": self._device,
            "dtype": self._dtype_used,
            "threads": self._threads,
            "tile": self._tiles.tile,
            "batch": self._tiles.at_once,
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
            if params.fix_faces:
                raise ItemError("animated", f"{show(path)} is animated; leave --fix-faces out")
            notes = unlike_input(item, media.about)
            return Decoded(media, (state,), [*media.about.warnings, *notes])
        if params.icc == "srgb":
            media = in_srgb(media)
        return Decoded(media, (state,), [*media.warnings, *unlike_input(item, media)])

    def _key(self, item: Item) -> Hashable:
        """Equal for items of one net."""
        assert item.recipe is not None
        models = tuple((role, spec.sha256) for role, spec in item.recipe.models.items())
        return models, _spec(item)[1]

    def compute(
        self, batch: list[tuple[Item, Decoded]], emit: Emit
    ) -> list["Result | Written | Fixed | ItemError"]:
        results: list[Result | Written | Fixed | ItemError] = []

        def share(done: float, told: str = "", piece: str = "", /) -> None:
            emit((len(results) + done) / len(batch), told, piece)

        for _, same in groupby(batch, lambda work: self._key(work[0])):
            works = list(same)
            with self.net(*_spec(works[0][0])) as net, self._tiles.together(net) as together:
                self._dtype_used = net.dtype  # not every net can do every type
                portraits = self._portraits(works, share)
                begun = []  # all, before the first is asked for: so that they can go together
                for (item, decoded), portrait in zip(works, portraits, strict=True):
                    self._check_dtype(item, decoded, net)
                    begin = partial(self._upscale, item, decoded, portrait, together, share)
                    begun.append(attempt(begin))
                for (item, decoded), result, portrait in zip(works, begun, portraits, strict=True):
                    if isinstance(result, ItemError):
                        results.append(result)
                        continue
                    held = sum(r.nbytes for r in results if not isinstance(r, ItemError))
                    finish = partial(self._finish, item, result, decoded.file, held)
                    results.append(faces.with_faces(attempt(finish), portrait))
        return results

    def _portraits(
        self, works: list[tuple[Item, Decoded]], share: Emit
    ) -> list["Portrait | ItemError | None"]:
        """The restored faces of each picture; None where none are asked for."""
        first = works[0][0]
        if not _params(first).fix_faces:
            return [None] * len(works)
        pictures = [decoded.media for _, decoded in works]
        with self._nets.loaded(first, self._device, self._threads) as nets:
            return [*nets.portraits(pictures, faces.usual(), lambda _: share(0.0, "faces"))]

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

    def _upscale(
        self,
        item: Item,
        decoded: Decoded,
        portrait: "Portrait | ItemError | None",
        together: "Together",
        emit: Emit,
    ) -> "Result":
        from mediakit.media.enlarge import Net, enlarge, enlarge_frames
        from mediakit.media.pictures import Animation, Result, background

        params, media = _params(item), decoded.media
        about = media.about if isinstance(media, Animation) else media
        size = _size(item, about, together.scale)
        self._tiles.side = max(about.width, about.height)
        through = Net(together.scale, lambda pixels: together.strips(pixels, emit))
        if isinstance(media, Animation):
            rows = enlarge_frames(through, media.frames(), media.count, size, media.channels)
        else:
            rows = enlarge(through, media.pixels, size, params.downscale_first)
            if portrait is not None:
                checked = faces.check(portrait, item, decoded)
                rows = faces.put_in(rows, checked, media, faces.usual())
        if params.background:
            rows = rows.flattened(background(params.background))
        return Result(media, rows)

    def encode(self, item: Item, media: Any, file: Path) -> Made:
        if not isinstance(media, Fixed):
            return super().encode(item, media, file)
        made = super().encode(item, media.made, file)
        made.result["faces"] = media.faces
        return made

    def step_down(self) -> str | None:
        if self.execution.exact:  # other tiles, other bytes
            return None
        return self._tiles.step_down() or self._nets.step_down()


def _spec(item: Item) -> tuple[ModelSpec, float | None]:
    """The item's model, and how its weights are mixed."""
    assert item.recipe is not None
    spec = item.recipe.models["upscaler"]
    return spec, _params(item).denoise if spec.blend else None


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
