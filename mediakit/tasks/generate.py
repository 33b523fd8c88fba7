"""generate: prompts in, pictures out, by a diffusion model."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit.batch.item import Decoded, Item, Source
from mediakit.params import option
from mediakit.prompts.names import slug
from mediakit.tasks.diffusion import DiffusionTask
from mediakit.tasks.diffusion_options import DiffusionExecution, DiffusionParams
from mediakit.tasks.diffusion_request import Asked, params_of
from mediakit.tasks.diffusion_values import rounded, unsaid_size

if TYPE_CHECKING:
    from mediakit.engines.diffusion.probe import Model
    from mediakit.media.pictures import Picture


class GenerateParams(DiffusionParams):
    width: int | None = option(
        None,
        "Width in pixels; left out, what the model was trained at (512 for Stable Diffusion 1.5, "
        "1024 for SDXL). Far from it, things appear twice.",
        ge=16,
        le=8192,
    )
    height: int | None = option(None, "Height in pixels, as --width.", ge=16, le=8192)


class Generate(DiffusionTask):
    name = "generate"
    summary = "Make pictures from prompts."
    Params = GenerateParams
    Execution = DiffusionExecution
    input_role = "prompt"
    takes_text = True
    suffixes = frozenset()
    default_out = Path()

    @classmethod
    def suffix(cls, name: str, params: Any) -> str:
        return ".png" if params.format == "keep" else f".{params.format}"

    @classmethod
    def own_name(cls, source: Source, params: Any, fingerprint: str) -> str | None:
        return f"{slug(params.prompt)}_{params.seed}_{fingerprint}"

    @classmethod
    def prompt_of(cls, source: Source, params: Any) -> str:
        return source.path

    @classmethod
    def in_vain(
        cls, told: Collection[str], values: Mapping[str, Any] | None
    ) -> Iterator[tuple[str, str]]:
        for name in ("max_pixels", "background", "icc"):
            if name in told:
                yield name, "for generated pictures"

    @classmethod
    def unsaid(cls, params: Any, facts: "Model | None") -> dict[str, Any]:
        own = super().unsaid(params, facts)
        return own | unsaid_size(params.width, params.height, facts)

    def size(self, item: Item) -> tuple[int, int]:
        params, facts = params_of(item), self.facts(item)
        assert isinstance(params, GenerateParams)
        sides = params.width or facts.native, params.height or facts.native
        return rounded(sides[0], facts), rounded(sides[1], facts)

    def decode(self, item: Item) -> Decoded:
        self.completed(item)
        width, height = self.size(item)
        request = self.request(item, width, height)
        return Decoded(Asked(request, _picture, width * height * 3), ())


def _picture(pixels: Any) -> "Picture":
    from mediakit.media.pictures import Picture

    return Picture(pixels, "png")
