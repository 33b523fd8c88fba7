"""What a diffusion model is asked for and what it gives; imports no model library."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mediakit.errors import ItemError

Pixels = np.ndarray[Any, np.dtype[np.uint8]]

TEXT2IMG, IMG2IMG, INPAINT = "text2img", "img2img", "inpaint"


@dataclass(frozen=True)
class Files:
    """The files of one loaded set of weights.

    `path`: a diffusers folder, or a .safetensors checkpoint in the layout of its authors.
    `vae`: another VAE: a folder with its config.json, or a .safetensors.
    `parts`: a diffusers folder that gives what `path` lacks (text encoders, tokenizers, VAE).
    `prediction`: "epsilon" or "v_prediction" where a single file is misjudged (SD 2.x tells by
    its weights at best).
    """

    path: Path
    vae: Path | None = None
    parts: Path | None = None
    prediction: str | None = None


@dataclass(frozen=True)
class Lora:
    """Low-rank weights (kohya's or diffusers' names), added `weight` times."""

    path: Path
    weight: float = 1.0


@dataclass(frozen=True)
class Request:
    """One picture. Sizes in pixels, multiples of `Model.multiple`.

    `scheduler`: a name of schedulers.SCHEDULERS, None: the model's own. `clip_skip`: layers left
    out at the end of the CLIP encoder, as diffusers counts (1: the last but one is read).
    `image`: H x W x 3 for img2img; with `mask`, H x W, for inpaint: 128 and more is repainted.
    `strength`: 0 keeps the picture, 1 ignores what is (re)painted. `embeddings`: files of textual
    inversions; a file's stem is the word that stands for it in the prompt.
    """

    prompt: str
    seed: int
    width: int
    height: int
    steps: int
    guidance_scale: float
    negative_prompt: str | None = None
    scheduler: str | None = None
    eta: float | None = None
    clip_skip: int | None = None
    image: Pixels | None = None
    mask: Pixels | None = None
    strength: float = 1.0
    loras: tuple[Lora, ...] = ()
    embeddings: tuple[Path, ...] = ()

    @property
    def task(self) -> str:
        if self.image is None:
            return TEXT2IMG
        return IMG2IMG if self.mask is None else INPAINT

    @property
    def adapters(self) -> tuple[tuple[Lora, ...], tuple[Path, ...]]:
        return self.loras, self.embeddings


@dataclass(frozen=True)
class Picture:
    """H x W x 3, uint8, sRGB, and what its maker should know."""

    pixels: Pixels
    warnings: tuple[str, ...] = ()


# A request's answer: others of its batch come out though one picture is bad.
Made = Picture | ItemError
