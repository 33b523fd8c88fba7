"""inpaint: pictures and masks in, the masked parts painted anew; or more painted around them."""

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator

from mediakit.batch.files import read_file
from mediakit.batch.item import Decoded, Item, Source
from mediakit.batch.task import Spread
from mediakit.errors import UserError
from mediakit.media.extend import Extend, ExtendTo
from mediakit.media.maskfolder import MaskFolder
from mediakit.models.spec import ModelSpec
from mediakit.params import option
from mediakit.tasks.diffusion import DiffusionTask
from mediakit.tasks.diffusion_options import DiffusionExecution, DiffusionParams
from mediakit.tasks.diffusion_request import Asked
from mediakit.tasks.img2img import seeded
from mediakit.tasks.pictures import unlike_input

if TYPE_CHECKING:
    from mediakit.media.pictures import Picture, Pixels

ALPHA = "alpha"  # the mask is what is transparent


def _parsed(by: Callable[[str], object]) -> AfterValidator:
    def check(value: str) -> str:
        by(value)
        return value

    return AfterValidator(check)


class InpaintParams(DiffusionParams):
    mask: str | None = option(
        None,
        "White is repainted. A file, a directory with a mask a picture (a.png or a_mask.png for "
        "a.jpg), or alpha: what is transparent.",
        min_length=1,
    )
    invert_mask: bool = option(False, "Repaint what is black instead.")
    mask_grow: int = option(
        0,
        "Pixels to grow the mask by; negative shrinks. 4 to 16 where edges of what was there "
        "remain; more repaints the surroundings.",
        ge=-1000,
        le=1000,
    )
    mask_feather: int = option(
        8,
        "Pixels around the mask over which new fades into old; the mask itself is always "
        "repainted. 4 to 16 hides the seam, 32 and more for skies and walls, 0 is a hard edge. "
        "Beyond it no pixel changes.",
        ge=0,
        le=1000,
    )
    only_masked: bool = option(
        False,
        "Show the model only the mask and what is around it, at full resolution: for small "
        "things in large pictures, faces, hands.",
    )
    mask_padding: int = option(
        32,
        "Pixels around the mask that the model sees with --only-masked. 32 to 64; less: does not "
        "match the surroundings, more: less detail.",
        ge=0,
        le=4096,
    )
    mask_fill: Annotated[str, AfterValidator(lambda value: _fill(value))] = option(
        "original",
        "What the model starts from. original: what is there; blur: the colours around, to "
        "remove things; noise: random pixels of the picture, for something new. Matters less the "
        "nearer --strength is to 1.",
    )
    strength: float | None = option(
        None,
        "How much of what is under the mask may change: 0.5 moderately, 0.75 a lot, 1 all of it. "
        "Left out: the model's own, else 1.",
        ge=0,
        le=1,
    )
    extend: Annotated[str, _parsed(Extend.parse)] | None = option(
        None,
        "Paint more around the picture: left=128,right=10% (pixels, or percent of that side), or "
        "64 for all sides. Up to half the picture a side looks natural.",
    )
    extend_to: Annotated[str, _parsed(ExtendTo.parse)] | None = option(
        None,
        "Paint around the picture until it has these proportions (16:9) or this size "
        "(2000x1500); it stays in the middle.",
    )


def _fill(value: str) -> str:
    if value not in ("original", "blur", "noise"):
        raise ValueError("expected original, blur or noise")
    return value


class Inpaint(DiffusionTask):
    name = "inpaint"
    summary = "Repaint masked parts of pictures, or paint more around them."
    Params = InpaintParams
    Execution = DiffusionExecution
    usual_strength = 1.0

    @classmethod
    def settle(cls, params: Any, given: Collection[str], models: Mapping[str, ModelSpec]) -> Any:
        wanted = [name for name in ("mask", "extend", "extend_to") if getattr(params, name)]
        if len(wanted) > 1:
            flags = " and ".join(f"--{name.replace('_', '-')}" for name in wanted)
            raise UserError("usage", f"{flags} contradict each other; give one")
        return super().settle(params, given, models)

    @classmethod
    def in_vain(
        cls, told: Collection[str], values: Mapping[str, Any] | None
    ) -> Iterator[tuple[str, str]]:
        if values is None:
            return
        outside = values.get("extend") or values.get("extend_to")
        useless = {
            "mask_padding": "without only_masked" if not values.get("only_masked") else "",
            **dict.fromkeys(("invert_mask", "mask_grow"), "without a mask" if outside else ""),
            **dict.fromkeys(("only_masked", "mask_fill"), "with extend" if outside else ""),
        }
        yield from (
            (name, why) for name, why in useless.items() if why and name in told and values[name]
        )

    @classmethod
    def spreading(cls, limit: int | None) -> Spread:
        spread = super().spreading(limit)
        folders: dict[str, MaskFolder] = {}

        def with_mask(source: Source, params: Any) -> Iterable[Source]:
            told = params.mask
            if not (told or params.extend or params.extend_to):  # here: a row may give one
                raise UserError("usage", "nothing to paint: give --mask, --extend or --extend-to")
            if told and told != ALPHA:
                if os.path.isdir(told):
                    folder = folders.setdefault(told, MaskFolder(told))
                    if source.row is None and folder.masks_another(source.relative, source.path):
                        return []
                    told = folder.find(source.relative, source.path)
                source = replace(
                    source, beside={"mask": told}, row={**(source.row or {}), "mask": told}
                )
            return spread(source, params)

        return with_mask

    @classmethod
    def variant(cls, source: Source, count: int) -> Source:
        return seeded(source, count)

    def decode(self, item: Item) -> Decoded:
        from mediakit.media.native import Native
        from mediakit.media.paste import Repaint, prepare
        from mediakit.media.pictures import flatten, in_srgb, read_picture

        params = self.completed(item)
        assert isinstance(params, InpaintParams)
        data, state = item.source.read()
        states = [state]
        picture = read_picture(data, item.source.path, self.execution.max_pixels)
        if params.icc == "srgb":
            picture = in_srgb(picture)
        notes = list(picture.warnings)
        weights: Pixels
        if params.mask:
            weights = self._weights(item, params, picture, states, notes)
            fill = params.mask_fill
        else:
            picture, weights = self._extended(item, params, picture)
            fill = "blur"
        if params.background:
            picture = flatten(picture, params.background)
        facts = self.facts(item)
        native = Native(facts.native, facts.multiple, facts.native * 3 // 2)
        padding = params.mask_padding if params.only_masked else None
        assert isinstance(params.seed, int)
        repaint = Repaint(weights, padding, fill, params.seed)  # type: ignore[arg-type]
        prepared = prepare(picture, repaint, native)
        if not prepared.paste.opaque:
            notes += unlike_input(item, picture)
        height, width = prepared.pixels.shape[:2]
        request = self.request(
            item, width, height,
            image=prepared.pixels, mask=prepared.mask, strength=params.strength,
        )  # fmt: skip
        asked = Asked(request, prepared.paste.apply, prepared.nbytes, prepared.paste.opaque)
        return Decoded(asked, tuple(states), [*notes, *prepared.warnings])

    def _weights(
        self, item: Item, params: InpaintParams, picture: "Picture", states: list[Any],
        notes: list[str],
    ) -> "Pixels":  # fmt: skip
        """How much of each pixel is repainted; the mask's file joins `states`."""
        from mediakit.media.masks import alpha_mask, read_mask, sized, weights_of

        name = item.source.path
        if params.mask == ALPHA:
            mask, mask_name = alpha_mask(picture, name), name
        else:
            mask_name = item.source.beside["mask"]
            data, state = read_file(mask_name)
            states.append(state)
            mask = read_mask(data, mask_name, self.execution.max_pixels)
            mask, said = sized(mask, picture, mask_name, name)
            notes += said
        return weights_of(
            mask, mask_name, params.mask_grow, params.mask_feather, params.invert_mask
        )

    def _extended(
        self, item: Item, params: InpaintParams, picture: "Picture"
    ) -> "tuple[Picture, Pixels]":
        from mediakit.media.outpaint import extended

        wanted = (
            Extend.parse(params.extend) if params.extend else ExtendTo.parse(params.extend_to or "")
        )
        margins = wanted.margins(picture.width, picture.height, item.source.path)
        return extended(picture, margins, params.mask_feather)
