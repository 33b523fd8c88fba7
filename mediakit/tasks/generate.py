"""generate: prompts in, pictures out, by a diffusion model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit.batch.item import Decoded, Item, Source
from mediakit.errors import UserError
from mediakit.params import option
from mediakit.prompts.names import slug
from mediakit.tasks.diffusion import Asked, DiffusionTask, params_of, size_of
from mediakit.tasks.diffusion_options import DiffusionExecution, DiffusionParams

if TYPE_CHECKING:
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
        return f"{slug(params.prompt)}_{params.seed}_{fingerprint}{cls.suffix('', params)}"

    @classmethod
    def prompt_of(cls, source: Source, params: Any) -> str:
        return source.path

    @classmethod
    def check_useful(cls, told: Mapping[str, Any], outputs: list[str]) -> None:
        super().check_useful(told, outputs)
        for name in ("max_pixels", "background", "icc"):
            if name in told:
                raise UserError(
                    "useless_option",
                    f"--{name.replace('_', '-')} does nothing for generated pictures; leave it out",
                )

    def size(self, item: Item) -> tuple[int, int] | None:
        return size_of(params_of(item), self.facts(item))

    def decode(self, item: Item) -> Decoded:
        params = params_of(item)
        width, height = size_of(params, self.facts(item))
        request = self.request(item, width, height)
        return Decoded(Asked(request, _picture, width * height * 3), ())


def _picture(pixels: Any) -> "Picture":
    from mediakit.media.pictures import Picture

    return Picture(pixels, "png")
