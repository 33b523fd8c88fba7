"""img2img: pictures in, the same restyled by a prompt out."""

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal

from mediakit.batch.item import Decoded, Item, Source
from mediakit.params import option
from mediakit.prompts.sidecars import sidecar_prompt
from mediakit.tasks.diffusion import DiffusionTask
from mediakit.tasks.diffusion_options import DiffusionExecution, DiffusionParams
from mediakit.tasks.diffusion_request import Asked
from mediakit.tasks.pictures import unlike_input


class Img2ImgParams(DiffusionParams):
    strength: float | None = option(
        None,
        "How much may change: 0.35 little, 0.55 moderately, 0.75 a lot; 0 keeps the picture, 1 "
        "ignores it. Left out: the model's own, else 0.55.",
        ge=0,
        le=1,
    )
    width: int | None = option(None, "Width of the result in pixels.", ge=16, le=8192)
    height: int | None = option(None, "Height of the result in pixels.", ge=16, le=8192)
    fit: Literal["crop", "pad", "stretch", "keep"] = option(
        "crop",
        "How a picture of other proportions comes to --width x --height. crop: fill it, cut both "
        "sides alike. pad: show all of it, the model paints the borders. stretch: distort it. "
        "keep: keep the proportions, as large as fits in. crop suits most photos.",
    )


class Img2Img(DiffusionTask):
    name = "img2img"
    summary = "Restyle pictures by a prompt."
    Params = Img2ImgParams
    Execution = DiffusionExecution
    usual_strength = 0.55

    @classmethod
    def prompt_of(cls, source: Source, params: Any) -> str:
        """That of the row or the command, else of the text file beside the picture."""
        return str(params.prompt) if params.prompt else sidecar_prompt(source.path)

    @classmethod
    def variant(cls, source: Source, count: int) -> Source:
        return seeded(source, count)

    @classmethod
    def in_vain(
        cls, told: Collection[str], values: Mapping[str, Any] | None
    ) -> Iterator[tuple[str, str]]:
        if "icc" in told:
            yield "icc", "here, the result is sRGB"
        sized = values is None or (values.get("width") and values.get("height"))
        if "fit" in told and not sized:
            yield "fit", "without width and height"

    def decode(self, item: Item) -> Decoded:
        from mediakit.media.fit import fit
        from mediakit.media.native import Native
        from mediakit.media.pictures import flatten, read_picture

        params = self.completed(item)
        assert isinstance(params, Img2ImgParams)
        data, state = item.source.read()
        picture = read_picture(data, item.source.path, self.execution.max_pixels)
        notes = [*picture.warnings, *unlike_input(item, picture)]
        if params.background:
            picture = flatten(picture, params.background)
        facts = self.facts(item)
        native = Native(facts.native, facts.multiple, facts.native * 3 // 2)
        fitted = fit(picture, params.fit, native, params.width, params.height)
        height, width = fitted.pixels.shape[:2]
        request = self.request(item, width, height, image=fitted.pixels, strength=params.strength)
        asked = Asked(request, fitted.back, fitted.nbytes)
        return Decoded(asked, (state,), [*notes, *fitted.warnings])


def seeded(source: Source, count: int) -> Source:
    """A picture's variant among `count`: its output is named by its seed."""
    if count == 1 or source.row is None:
        return source
    stem, suffix = os.path.splitext(source.relative)
    return replace(source, relative=f"{stem}_{source.row['seed']}{suffix}")
