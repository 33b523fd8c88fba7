"""Which architecture a single-file checkpoint holds, told from its tensors' names and shapes."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mediakit.engines.diffusion.pickled import shapes_of
from mediakit.errors import UserError, show
from mediakit.models.keeping import PICKLES

Shapes = Mapping[str, tuple[int, ...]]

UNET = "model.diffusion_model."
_LARGEST_HEADER = 100_000_000  # bytes; the safetensors format's own limit

# The parts of a checkpoint: name -> where its tensors lie in the layouts there are
VAE = ("first_stage_model.", "vae.")
CLIP_L = (
    "cond_stage_model.transformer.text_model.",
    "conditioner.embedders.0.transformer.text_model.",
    "text_encoders.clip_l.transformer.text_model.",
)
OPEN_CLIP = ("cond_stage_model.model.", "conditioner.embedders.1.model.")
CLIP_G = ("text_encoders.clip_g.transformer.text_model.",)
T5 = ("text_encoders.t5xxl.transformer.",)
# T5's tokenizer, which no file holds and which is too large to ship
_BORROWED = {"flux": ("tokenizer_2",), "flux-fill": ("tokenizer_2",), "sd3": ("tokenizer_3",)}


@dataclass(frozen=True)
class Layout:
    """What a file holds. `parts`: component of the pipeline -> prefix of its tensors."""

    family: str
    shapes: Shapes
    metadata: Mapping[str, str]
    parts: Mapping[str, str]
    missing: tuple[str, ...]
    channels: int  # that the net takes: 4, or 9 for inpainting checkpoints
    native: int | None  # side in pixels, None: the family's
    scheduler: str
    guidance: bool = False

    @property
    def lacks(self) -> tuple[str, ...]:
        """What this file lacks, and what no file holds."""
        return (*self.missing, *_BORROWED.get(self.family, ()))


def identify(path: Path) -> Layout:
    """UserError unknown_model, bad_weights (damaged, or of no architecture that is read here),
    unsafe_weights (a pickle of more than tensors), wrong_model (a LoRA, VAE, refiner ...)."""
    name = show(path)
    shapes, metadata = header(path)
    if path.suffix.lower() not in (".safetensors", *PICKLES):
        raise UserError("bad_weights", f"{name}: only .safetensors and .ckpt checkpoints are read")
    if f"{UNET}input_blocks.0.0.weight" in shapes:
        return _of_unet(shapes, metadata, name)
    for prefix in (UNET, ""):
        if f"{prefix}double_blocks.0.img_attn.norm.key_norm.scale" in shapes and (
            f"{prefix}vector_in.in_layer.weight" in shapes
        ):
            return _of_flux(shapes, metadata, prefix)
        if f"{prefix}joint_blocks.0.context_block.attn.qkv.weight" in shapes and (
            f"{prefix}pos_embed" in shapes
        ):
            return _of_sd3(shapes, metadata, prefix)
    raise UserError(*_other(shapes, name))


def header(path: Path) -> tuple[Shapes, Mapping[str, str]]:
    """Shapes of all tensors, and the metadata. UserError unknown_model, bad_weights,
    unsafe_weights."""
    if path.suffix.lower() in PICKLES:
        return shapes_of(path), {}
    try:
        with path.open("rb") as file:
            size = int.from_bytes(file.read(8), "little")
            whole = file.seek(0, 2)
            if not 2 <= size <= min(_LARGEST_HEADER, whole - 8):
                raise ValueError("no safetensors header")
            file.seek(8)
            found = json.loads(file.read(size))
        metadata = found.pop("__metadata__", {})
        ends = [entry["data_offsets"][1] for entry in found.values()]
        if max(ends, default=0) + 8 + size != whole:
            raise ValueError("cut off")
        return {name: tuple(entry["shape"]) for name, entry in found.items()}, metadata
    except FileNotFoundError:
        raise UserError("unknown_model", f"{show(path)} does not exist") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            "bad_weights",
            f"{show(path)} is damaged or no safetensors file ({show(str(error)[:80])}); "
            "get it again",
        ) from None


def first(shapes: Shapes, prefixes: tuple[str, ...]) -> str | None:
    """The first of the prefixes that any tensor has."""
    return next((p for p in prefixes if any(name.startswith(p) for name in shapes)), None)


def _of_unet(shapes: Shapes, metadata: Mapping[str, str], name: str) -> Layout:
    channels = shapes[f"{UNET}input_blocks.0.0.weight"][1]
    inputs = [key for key in shapes if key.endswith("proj_in.weight") and UNET in key]
    if not inputs:
        raise UserError("bad_weights", f"{name} is a U-Net of an architecture that is not known")
    if channels not in (4, 9):
        raise UserError(
            "wrong_model", f"{name} takes {channels} channels: no text-to-image or inpainting model"
        )
    parts = {"vae": first(shapes, VAE)}
    if f"{UNET}label_emb.0.0.weight" in shapes:
        if first(shapes, ("conditioner.embedders.0.model.",)):
            raise UserError("wrong_model", f"{name} is a refiner, which makes no pictures alone")
        family = "sdxl"
        parts["text_encoder"] = first(shapes, CLIP_L)
        parts["text_encoder_2"] = first(shapes, OPEN_CLIP)
    elif len(shapes[inputs[0]]) == 2:  # linear projections came with SD 2
        family = "sd2"
        parts["text_encoder"] = first(shapes, OPEN_CLIP)
    else:
        family = "sd1"
        parts["text_encoder"] = first(shapes, CLIP_L)
    scheduler = {"sd1": "PNDMScheduler", "sd2": "DDIMScheduler", "sdxl": "EulerDiscreteScheduler"}
    return _layout(
        family, shapes, metadata, parts, (channels, _native(metadata), scheduler[family])
    )


def _of_flux(shapes: Shapes, metadata: Mapping[str, str], prefix: str) -> Layout:
    channels = shapes[f"{prefix}img_in.weight"][1]
    parts = {
        "vae": first(shapes, VAE),
        "text_encoder": first(shapes, CLIP_L),
        "text_encoder_2": first(shapes, T5),
    }
    # FLUX.1 Fill: latents, masked latents and the mask; else the latents of 2 x 2 places
    family = "flux-fill" if channels == 384 else "flux"
    told = (channels, _native(metadata), "FlowMatchEulerDiscreteScheduler")
    found = _layout(family, shapes, metadata, parts, told)
    guided = f"{prefix}guidance_in.in_layer.weight" in shapes
    return Layout(**{**found.__dict__, "guidance": guided})


def _of_sd3(shapes: Shapes, metadata: Mapping[str, str], prefix: str) -> Layout:
    parts = {
        "vae": first(shapes, VAE),
        "text_encoder": first(shapes, CLIP_L),
        "text_encoder_2": first(shapes, CLIP_G),
        "text_encoder_3": first(shapes, T5),
    }
    channels = shapes[f"{prefix}x_embedder.proj.weight"][1]
    told = (channels, _native(metadata), "FlowMatchEulerDiscreteScheduler")
    return _layout("sd3", shapes, metadata, parts, told)


def _layout(
    family: str,
    shapes: Shapes,
    metadata: Mapping[str, str],
    parts: Mapping[str, str | None],
    told: tuple[int, int | None, str],
) -> Layout:
    there = {part: prefix for part, prefix in parts.items() if prefix is not None}
    missing = tuple(part for part, prefix in parts.items() if prefix is None)
    channels, native, scheduler = told
    return Layout(family, shapes, metadata, there, missing, channels, native, scheduler)


def _native(metadata: Mapping[str, str]) -> int | None:
    """What ModelSpec's metadata (Stability AI) says of the resolution: "1024x1024"."""
    width = str(metadata.get("modelspec.resolution", "")).partition("x")[0]
    return int(width) if width.isdigit() else None


def _other(shapes: Shapes, name: str) -> tuple[str, str]:
    """Code and message for what no pipeline can be made of."""
    keys = list(shapes)
    if any("lora_" in key for key in keys):
        return "wrong_model", f"{name} is a LoRA; give it with --lora, beside its model"
    if any("down_blocks.0.resnets" in key or "single_transformer_blocks" in key for key in keys):
        return (
            "missing_component",
            f"{name} is one part of a diffusers model; give the folder that holds model_index.json",
        )
    if any(key.endswith("decoder.conv_in.weight") for key in keys):
        return "wrong_model", f"{name} is a VAE; give it with --vae, beside a model"
    return (
        "bad_weights",
        f"{name} is of an architecture that is not known; Stable Diffusion 1, 2, 3, XL and "
        "FLUX.1 are read from one file, others from a diffusers folder",
    )
