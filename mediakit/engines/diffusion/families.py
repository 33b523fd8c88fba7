"""Which families of diffusion models there are, and what each can do: a table."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mediakit.engines.diffusion.request import IMG2IMG, INPAINT, TEXT2IMG


@dataclass(frozen=True)
class Family:
    """Facts that hold for every checkpoint of an architecture.

    `pipelines`: task -> class of diffusers. `native`: the side in pixels that it was trained at,
    where the files don't tell. `multiple`: sides must be multiples of it.
    `guidance`: the argument of the pipeline that classifier-free guidance goes by, "" if there is
    none; `embedded`: the guidance is an input of the net (distilled models), of the same name.
    `encoded`: what encode_prompt returns, as names of the pipeline's arguments with "negative_"
    before those of the negative prompt; empty: the pipeline is given texts.
    `clip`: (text encoder, tokenizer) pairs that weights, chunks and embeddings work on.
    `words`: tokens that the longest-sighted text encoder takes (of a chat: those of the prompt),
    `reader` its tokenizer. `always`: more arguments of the pipeline.
    `fewest`: steps that its scheduler can count with.
    `unguided`: arguments that turn classifier-free guidance off.
    """

    name: str
    pipelines: Mapping[str, str]
    native: int
    multiple: int = 8
    net: str = "transformer"
    flow: bool = True
    guidance: str = "guidance_scale"
    negative: bool = True
    clip_skip: bool = False
    encoded: tuple[str, ...] = ()
    clip: tuple[tuple[str, str], ...] = ()
    words: int = 512
    reader: str = "tokenizer"
    fewest: int = 1
    always: Mapping[str, int] = field(default_factory=dict)
    unguided: Mapping[str, float] = field(default_factory=dict)


def _sd(prefix: str) -> dict[str, str]:
    return {
        TEXT2IMG: f"{prefix}Pipeline",
        IMG2IMG: f"{prefix}Img2ImgPipeline",
        INPAINT: f"{prefix}InpaintPipeline",
    }


_CLIP = (("text_encoder", "tokenizer"),)
_TWO_CLIPS = (*_CLIP, ("text_encoder_2", "tokenizer_2"))
_POOLED = ("prompt_embeds", "negative_prompt_embeds", "pooled_prompt_embeds",
           "negative_pooled_prompt_embeds")  # fmt: skip

FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        Family(
            "sd1", _sd("StableDiffusion"), 512, net="unet", flow=False, clip_skip=True,
            encoded=_POOLED[:2], clip=_CLIP, words=77,
        ),
        Family(
            "sd2", _sd("StableDiffusion"), 768, net="unet", flow=False, clip_skip=True,
            encoded=_POOLED[:2], clip=_CLIP, words=77,
        ),
        Family(
            "sdxl", _sd("StableDiffusionXL"), 1024, net="unet", flow=False, clip_skip=True,
            encoded=_POOLED, clip=_TWO_CLIPS, words=77,
        ),
        Family(
            "sd3", _sd("StableDiffusion3"), 1024, 16, clip_skip=True, encoded=_POOLED,
            words=256, reader="tokenizer_3",
        ),
        Family(
            "flux", _sd("Flux"), 1024, 16, guidance="", negative=False,
            encoded=("prompt_embeds", "pooled_prompt_embeds"), reader="tokenizer_2",
        ),
        Family(
            "flux-fill", {INPAINT: "FluxFillPipeline"}, 1024, 16, guidance="", negative=False,
            encoded=("prompt_embeds", "pooled_prompt_embeds"), reader="tokenizer_2",
        ),
        Family(
            "qwen-image", _sd("QwenImage"), 1328, 16, guidance="true_cfg_scale", words=1024,
            fewest=2, always={"max_sequence_length": 1024}, unguided={"true_cfg_scale": 1.0},
        ),
        # 512, of which 3 say that the user speaks
        Family("z-image", _sd("ZImage"), 1024, 16, words=509, unguided={"guidance_scale": 0.0}),
        Family(
            "flux2-klein", {TEXT2IMG: "Flux2KleinPipeline"}, 1024, 16, negative=False, words=509
        ),
    )
}  # fmt: skip

# Pipelines named in model_index.json whose family is not told by a table above
_OTHERS = {
    "LatentConsistencyModelPipeline": "sd1",
    "LatentConsistencyModelImg2ImgPipeline": "sd1",
}
# classes of model_index.json -> family
CLASSES: dict[str, str] = {
    kind: family.name
    for family in reversed(FAMILIES.values())
    for kind in family.pipelines.values()
} | _OTHERS


def other(pipeline: str) -> Family:
    """A pipeline of diffusers that no row above describes: text to image, as it comes."""
    return Family(pipeline, {TEXT2IMG: pipeline}, 1024, 16)
