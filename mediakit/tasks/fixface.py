"""fixface: pictures in, the same pictures out with their faces restored."""

from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit.batch.files import output_error
from mediakit.batch.item import Decoded, Item, Made
from mediakit.batch.task import Emit, Useless
from mediakit.errors import ItemError, UserError, show
from mediakit.models.cache import ModelCache
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.params import flag
from mediakit.tasks import faces
from mediakit.tasks.faces import ENGINES, PURPOSES, FaceNets, Faces, Fixed, blend_of
from mediakit.tasks.fixface_options import FixFaceExecution, FixFaceParams
from mediakit.tasks.fixface_result import COMPARE, compared, extras, may_copy, squared
from mediakit.tasks.pictures import PictureTask, attempt, check_encoding, unlike_input
from mediakit.tasks.tiles import Tiles

if TYPE_CHECKING:
    from mediakit.engines.faces.work import Portrait, Wanted
    from mediakit.engines.together import Together
    from mediakit.media.pictures import Picture, Rows

_ITEMS = 8  # whose faces go through a GPU together
# Params that say how faces are found, which an aligned one needs not be
_FINDING = (
    "detector", "scale", "upscaler", "faces", "min_face", "max_face", "threshold", "mask",
    "require_face", "save_crops",
)  # fmt: skip


@dataclass(frozen=True)
class Read:
    """A picture, and the bytes that it came in."""

    picture: "Picture"
    data: bytes

    @property
    def nbytes(self) -> int:
        return self.picture.nbytes + len(self.data)


class FixFace(PictureTask):
    name = "fixface"
    summary = "Restore faces in pictures: blurred, small, compressed or damaged ones."
    Params = FixFaceParams
    Execution = FixFaceExecution
    extra = "fixface"
    packages = ("torch", "torchvision", "spandrel", "safetensors", "cv2", *PictureTask.packages)

    def __init__(self, execution: FixFaceExecution, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self._tiles = Tiles(execution.tile)
        self._nets = FaceNets(self)

    # planning

    @classmethod
    def model_names(cls, params: FixFaceParams) -> Mapping[str, str]:
        names = {"restorer": params.model}
        if not params.aligned:
            names["detector"] = params.detector
        if params.scale > 1:
            names["upscaler"] = params.upscaler
        return names

    @classmethod
    def purposes(cls, role: str) -> tuple[str, ...]:
        return PURPOSES[role]

    @classmethod
    def engine_of(cls, role: str) -> str:
        return ENGINES[role]

    @classmethod
    def more_suffixes(cls, name: str, params: FixFaceParams) -> tuple[str, ...]:
        return (COMPARE,) if params.compare else ()

    @classmethod
    def settle(
        cls, params: FixFaceParams, given: Collection[str], models: Mapping[str, ModelSpec]
    ) -> FixFaceParams:
        spec = models["restorer"]
        known = not (spec.local or spec.is_reference)
        if params.weight is not None and known and "weight" not in spec.defaults.get(cls.name, {}):
            raise UserError(
                "useless_option", f"{spec.name} has no fidelity weight; leave --weight out"
            )
        if params.aligned and params.scale > 1:
            raise UserError("usage", "--aligned gives 512x512 pixels; leave --scale out")
        check_encoding(params)
        smallest, largest = params.min_face, params.max_face
        if isinstance(smallest, int) and isinstance(largest, int) and smallest > largest:
            raise UserError(
                "usage", f"--min-face {smallest} is above --max-face {largest}: no face is both"
            )
        return params

    @classmethod
    def useless(
        cls, told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
    ) -> Iterator[Useless]:
        yield from super().useless(told, values, outputs)
        if "list_file" in told:
            return
        for name in _FINDING:
            if values["aligned"] and name in told:
                yield name, "does nothing with --aligned", "leave that out"
        if "upscaler" in told and values["scale"] == 1:
            yield "upscaler", "does nothing at --scale 1", "give another --scale"

    # working

    def begin(self) -> None:
        super().begin()
        if self._device.partition(":")[0] in faces.BATCHED and not self.execution.exact:
            self.batch_size = _ITEMS

    def warm_up(self) -> None:
        import_module("mediakit.engines.faces.work")

    def used(self) -> Mapping[str, Any]:
        return {
            "device": self._device,
            "dtype": self._nets.dtype,
            "threads": self._threads,
            "tile": self._tiles.tile,
            "batch": self._nets.at_once,
            "exact": self.execution.exact,
        }

    def decode(self, item: Item) -> Decoded:
        from mediakit.media.pictures import in_srgb, read_picture

        path, params = item.source.path, _params(item)
        if item.output is None and (params.save_crops or params.compare):
            name = flag("save_crops" if params.save_crops else "compare")
            raise UserError("useless_option", f"{name} needs a file or directory: use -o DIR")
        data, state = item.source.read()
        picture = read_picture(data, path, self.execution.max_pixels)
        if params.aligned and picture.width != picture.height:
            raise ItemError(
                "not_aligned",
                f"{show(path)} has {picture.width}x{picture.height} pixels: an aligned face is "
                "square; leave --aligned out",
            )
        if params.icc == "srgb":
            picture = in_srgb(picture)
        warnings = [*picture.warnings, *unlike_input(item, picture)]
        return Decoded(Read(picture, data), (state,), warnings)

    def compute(self, batch: list[tuple[Item, Decoded]], emit: Emit) -> list["Fixed | ItemError"]:
        results: list[Fixed | ItemError] = []
        for _, same in groupby(batch, lambda work: _key(work[0])):
            works = list(same)
            done, share = len(results) / len(batch), len(works) / len(batch)

            def part(of: float, done: float = done, share: float = share) -> None:
                emit(done + share * of)

            with self._loaded(works[0][0]) as (nets, together):
                pictures = [decoded.media.picture for _, decoded in works]
                found = nets.portraits(pictures, _wanted(_params(works[0][0])), part)
                for (item, decoded), portrait in zip(works, found, strict=True):
                    finish = partial(self._fixed, item, decoded, portrait, together)
                    results.append(attempt(finish))
        return results

    @contextmanager
    def _loaded(self, item: Item) -> "Iterator[tuple[Faces, Together | None]]":
        """The item's models; None where the picture keeps its size."""
        assert item.recipe is not None
        with ExitStack() as stack:
            nets = stack.enter_context(self._nets.loaded(item, self._device, self._threads))
            spec = item.recipe.models.get("upscaler")
            if spec is None:
                yield nets, None
                return
            net = stack.enter_context(self.net(spec, blend_of(spec)))
            yield nets, stack.enter_context(self._tiles.together(net))

    def _fixed(
        self,
        item: Item,
        decoded: Decoded,
        portrait: "Portrait | ItemError",
        together: "Together | None",
    ) -> Fixed:
        """What is written of a picture. ItemError no_face, bad_picture, and `portrait` itself."""
        from mediakit.media.pictures import Result, Unchanged, background, flatten, rows_of

        params, picture = _params(item), decoded.media.picture
        portrait = faces.check(portrait, item, decoded)
        if params.require_face and not portrait.subjects:
            raise ItemError(
                "no_face",
                f"{show(item.source.path)}: no face was found; lower --threshold or --min-face",
            )
        told = self.execution.dtype
        if told not in ("auto", self._nets.dtype):
            name, text = show(params.model), f"can't be computed in {told}"
            decoded.warnings.append(f"{name} {text}: computed in {self._nets.dtype}")
        crops = faces.crops(portrait) if params.save_crops else []
        fixed = partial(Fixed, faces=faces.told(portrait), crops=crops)
        if not (portrait.restored or together) and may_copy(item, picture):
            both = compared(picture, picture.pixels) if params.compare else None
            copy = Unchanged(decoded.media.data, picture.width, picture.height)
            return fixed(copy, compared=both)
        rows = self._rows(item, picture, portrait, together)
        if params.background:
            rows = rows.flattened(background(params.background))
        if not params.compare:
            return fixed(self.finish(item, Result(picture, rows), decoded.file))
        after = rows.whole()
        before = flatten(picture, params.background) if params.background else picture
        both = compared(before, after)
        made = self.finish(item, Result(picture, rows_of(after, rows.opaque)), decoded.file)
        return fixed(made, compared=both)

    def _rows(
        self, item: Item, picture: "Picture", portrait: "Portrait", together: "Together | None"
    ) -> "Rows":
        """The picture with its restored faces."""
        from mediakit.media.pictures import Net, Wanted, enlarge, is_opaque, rows_of, target

        params = _params(item)
        if params.aligned:
            return squared(picture, portrait, params.strength)
        if together is None:
            rows = rows_of(picture.pixels, is_opaque(picture.pixels))
        else:
            self._tiles.side = max(picture.width, picture.height)
            size = target(picture.width, picture.height, Wanted(params.scale), 1)
            rows = enlarge(Net(together.scale, together.strips), picture.pixels, size)
        return faces.put_in(rows, portrait, picture, _wanted(params))

    def encode(self, item: Item, media: Any, file: Path) -> Made:
        from mediakit.media.pictures import Unchanged

        result = media.made
        try:
            if isinstance(result, Unchanged):
                result = result.write(file)
            made = super().encode(item, result, file)
            made.extras = tuple(extras(item, media, file))
        except OSError as e:
            raise output_error(item.output or item.key, e) from None
        if not _params(item).aligned:
            made.result["faces"] = media.faces
        return made

    def step_down(self) -> str | None:
        if self.execution.exact:
            return None
        return self._nets.step_down() or self._tiles.step_down()


def _wanted(params: FixFaceParams) -> "Wanted":
    from mediakit.engines.faces.work import Wanted

    most = {"all": None, "largest": 1}.get(str(params.faces), params.faces)
    return Wanted(
        most if most is None else int(most),
        None if params.min_face == "auto" else params.min_face,
        None if params.max_face == "auto" else params.max_face,
        params.threshold,
        params.strength,
        params.weight,
        params.mask,
    )


def _key(item: Item) -> Hashable:
    """Equal for items whose faces are found and restored alike."""
    assert item.recipe is not None
    models = tuple((role, spec.sha256) for role, spec in item.recipe.models.items())
    return models, _wanted(_params(item))


def _params(item: Item) -> FixFaceParams:
    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, FixFaceParams)
    return params
