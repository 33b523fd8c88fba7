"""The options that generate, img2img and inpaint share."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mediakit.engines.diffusion.schedulers import SCHEDULERS
from mediakit.errors import UserError
from mediakit.models.adapters import split_weight
from mediakit.params import AnyPath, PictureInput, PictureOutput, option
from mediakit.prompts.seeds import parse_seeds


def _seed(value: object) -> object:
    if isinstance(value, str | int):
        try:
            parse_seeds(value)
        except UserError as e:
            raise ValueError(e.message.partition(": ")[2]) from None
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _scheduler(value: str) -> str:
    if value not in SCHEDULERS:
        raise ValueError(f"expected one of {', '.join(SCHEDULERS)}")
    return value


def _adapters(value: object) -> object:
    """One alone, as a list of rows has it, is a list of one; each with a weight that is one."""
    told = (value,) if isinstance(value, str) else value
    for one in told if isinstance(told, list | tuple) else ():
        split_weight(str(one))
    return told


Seed = Annotated[int | str, BeforeValidator(_seed)]
Scheduler = Annotated[str, AfterValidator(_scheduler)]
Adapters = Annotated[tuple[str, ...], BeforeValidator(_adapters)]


class DiffusionParams(PictureOutput):
    model: str = option(
        "sdxl",
        "Model name (see: mediakit models list), a diffusers folder, a checkpoint (.safetensors or "
        ".ckpt), or hf:org/repository. starter-diffusion: tiny, draws coloured shapes, for trying "
        "out.",
    )
    prompt: str | None = option(
        None,
        "What the picture shows. (word:1.3) weighs a word, {red|blue} chooses one by the seed, "
        "__name__ takes a line of a wildcard file.",
    )
    negative_prompt: str | None = option(
        None, "What the picture should not show. Does nothing at a guidance of 1 or below."
    )
    steps: int | None = option(
        None,
        "Denoising steps. Left out: the model's own. 20 to 30 for most, 1 to 8 for turbo, "
        "lightning and lcm models; more is slower and changes little.",
        ge=1,
        le=1000,
    )
    guidance_scale: float | None = option(
        None,
        "How closely the prompt is followed. Left out: the model's own. 7 to 15 for Stable "
        "Diffusion 1.5, 5 to 8 for SDXL, 0 to 1 for turbo models; too much burns the colours.",
        ge=0,
        le=100,
    )
    seed: Seed | None = option(
        None,
        "The noise that the picture starts from: 5, 1,2,3, 10..20, or random. Left out, it is "
        "derived from the prompt, so that the same command finds its pictures again.",
    )
    images: int = option(1, "Pictures a prompt; their seeds count up from --seed.", ge=1, le=10_000)
    scheduler: Scheduler | None = option(
        None,
        "How the steps are taken: euler, euler-a, ddim, dpm++2m-karras, dpm++sde, unipc, lcm ... "
        "Left out: the model's own. dpm++2m-karras or unipc need the fewest steps.",
    )
    clip_skip: int | None = option(
        None,
        "Layers left out at the end of the text encoder; 1 for most anime models (A1111 counts "
        "one more). Left out: none.",
        ge=0,
        le=11,
    )
    eta: float | None = option(
        None, "Fresh noise in each step of the ddim scheduler, 0 (none) to 1.", ge=0, le=1
    )
    lora: Adapters = option(
        (),
        "Low-rank weights to add, by path, name or hf:, with their weight: style.safetensors:0.8. "
        "May be given several times. 0.6 to 1 suits most; more distorts.",
    )
    embedding: Adapters = option(
        (),
        "A textual inversion, by path, name or hf:; its file's name is its word in the prompt. "
        "May be given several times.",
    )
    vae: str | None = option(None, "Another VAE than the model's, by path, name or hf:.")
    components: str | None = option(
        None,
        "A diffusers folder, by path, name or hf:, that lends what a single file lacks: many of "
        "FLUX.1 hold the transformer only. Its own transformer need not be there.",
    )
    combinations: bool = option(
        False, "Make every combination of the {alternatives} instead of one by the seed."
    )
    wildcards: AnyPath | None = option(
        None, "Folder of wildcard files: __colour__ is a line of colour.txt there."
    )


class DiffusionExecution(PictureInput):
    batch: Literal["auto"] | Annotated[int, Field(ge=1)] = option(
        "auto",
        "Pictures that the model makes at once. auto: as many as suit their size; halved when "
        "memory runs out.",
    )
    compile: bool = option(
        False, "Compile the net first: takes a minute, and pays on a GPU from about 100 pictures."
    )
