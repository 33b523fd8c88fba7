"""What a diffusion model is asked for and what it gives; imports no model library."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from mediakit.errors import ItemError

if TYPE_CHECKING:
    import numpy as np

# no numpy to find out what a model is
Pixels: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

TEXT2IMG, IMG2IMG, INPAINT = "text2img", "img2img", "inpaint"


@dataclass(frozen=True)
class Files:
    """The files of one loaded set of weights.

    `path`: a diffusers folder, or a checkpoint in the layout of its authors: .safetensors, or a
    pickle of tensors alone. `vae`: another VAE: a folder with its config.json, or one such file.
    `parts`: a diffusers folder that gives what `path` lacks (text encoders, tokenizers, VAE).
    `keep`: called with `path` and a function that writes its tensors as safetensors.
    """

    path: Path
    vae: Path | None = None
    parts: Path | None = None
    keep: Callable[[Path, Callable[[Path], None]], object] | None = None


@dataclass(frozen=True)
class Lora:
    """Low-rank weights (kohya's or diffusers' names), added `weight` times."""

    path: Path
    weight: float = 1.0


@dataclass(frozen=True)
class Embedding:
    """A textual inversion; `word` stands for it in the prompt, empty: the file's stem."""

    path: Path
    word: str = ""


Active: TypeAlias = tuple[tuple[Lora, ...], tuple[Embedding, ...]]


@dataclass(frozen=True)
class Request:
    """One picture. Sizes in pixels, multiples of `Model.multiple`.

    `scheduler`: a name of schedulers.SCHEDULERS, None: the model's own. `clip_skip`: layers left
    out at the end of the CLIP encoder, as diffusers counts (1: the last but one is read).
    `image`: H x W x 3 for img2img; with `mask`, H x W, for inpaint: 128 and more is repainted.
    `strength`: 0 keeps the picture, 1 ignores what is (re)painted.
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
    image: "Pixels | None" = None
    mask: "Pixels | None" = None
    strength: float = 1.0
    loras: tuple[Lora, ...] = ()
    embeddings: tuple[Embedding, ...] = ()

    @property
    def task(self) -> str:
        if self.image is None:
            return TEXT2IMG
        return IMG2IMG if self.mask is None else INPAINT

    @property
    def adapters(self) -> Active:
        return self.loras, self.embeddings


@dataclass(frozen=True)
class Picture:
    """H x W x 3, uint8, sRGB, and what its maker should know."""

    pixels: "Pixels"
    warnings: tuple[str, ...] = ()


# A request's answer: others of its batch come out though one picture is bad.
Made = Picture | ItemError
