"""Folders of nets.py as one file in the layout of the models' authors, and LoRAs for them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import DIFFUSERS_TO_LDM_MAPPING
from safetensors.torch import load_file, save_file

State = dict[str, torch.Tensor]
NET = "model.diffusion_model."
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def state_of(folder: Path) -> State:
    return dict(load_file(next(folder.glob("*.safetensors"))))


def config_of(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "config.json").read_bytes())
    return found


def ldm_unet(folder: Path) -> State:
    """A U-Net of diffusers under the names of CompVis/latent-diffusion."""
    config = config_of(folder)
    layers = config["layers_per_block"] + 1
    fixed = dict(DIFFUSERS_TO_LDM_MAPPING["unet"]["layers"])
    fixed |= DIFFUSERS_TO_LDM_MAPPING["unet"]["addition_embed_type"]
    return {
        NET + (fixed[key] if key in fixed else _unet_name(key, layers, config)): value
        for key, value in state_of(folder).items()
    }


def _unet_name(key: str, layers: int, config: Mapping[str, Any]) -> str:
    place, *rest = key.split(".")
    if place == "mid_block":
        kind, number, *inner = rest
        if kind == "resnets":
            return f"middle_block.{int(number) * 2}.{_resnet(inner)}"
        return f"middle_block.1.{'.'.join(inner)}"
    block, kind, number, *inner = rest
    first = int(block) * layers
    if place == "down_blocks":
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op.{inner[-1]}"
        row = f"input_blocks.{first + 1 + int(number)}"
    else:
        if kind == "upsamplers":
            attends = config["up_block_types"][int(block)].startswith("Cross")
            return f"output_blocks.{first + layers - 1}.{1 + attends}.conv.{inner[-1]}"
        row = f"output_blocks.{first + int(number)}"
    return f"{row}.0.{_resnet(inner)}" if kind == "resnets" else f"{row}.1.{'.'.join(inner)}"


def _resnet(inner: list[str]) -> str:
    return ".".join([_RESNET[inner[0]], *inner[1:]])


def ldm_vae(folder: Path, prefix: str = "first_stage_model.") -> State:
    levels = len(config_of(folder)["block_out_channels"])
    return {
        prefix + _vae_name(key, levels): (
            value[:, :, None, None] if "attentions" in key and value.dim() == 2 else value
        )
        for key, value in state_of(folder).items()
    }


def _vae_name(key: str, levels: int) -> str:
    for ours, theirs in {
        "mid_block.resnets.0": "mid.block_1",
        "mid_block.resnets.1": "mid.block_2",
        "mid_block.attentions.0": "mid.attn_1",
        "conv_norm_out": "norm_out",
        "group_norm": "norm",
        "to_q": "q",
        "to_k": "k",
        "to_v": "v",
        "to_out.0": "proj_out",
        "conv_shortcut": "nin_shortcut",
        "downsamplers.0": "downsample",
        "upsamplers.0": "upsample",
        ".resnets.": ".block.",
    }.items():
        key = key.replace(ours, theirs)
    parts = key.split(".")
    if parts[1] == "down_blocks":
        parts[1] = "down"
    elif parts[1] == "up_blocks":
        parts[1:3] = ["up", str(levels - 1 - int(parts[2]))]
    return ".".join(parts)


def ldm_clip(folder: Path, prefix: str) -> State:
    """CLIP in the layout of transformers, as it was before 5.6."""
    return {
        f"{prefix}text_model.{key.removeprefix('text_model.')}": value
        for key, value in state_of(folder).items()
    }


def open_clip(folder: Path, prefix: str) -> State:
    state = {k.removeprefix("text_model."): v for k, v in state_of(folder).items()}
    made: State = {}
    names = {
        "embeddings.token_embedding.weight": "token_embedding.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
        "final_layer_norm": "ln_final",
        "text_projection.weight": "text_projection",
        "encoder.layers.": "transformer.resblocks.",
        "layer_norm1": "ln_1",
        "layer_norm2": "ln_2",
        "mlp.fc1": "mlp.c_fc",
        "mlp.fc2": "mlp.c_proj",
        "self_attn.out_proj": "attn.out_proj",
    }
    for key, value in state.items():
        if "k_proj" in key or "v_proj" in key:
            continue
        if "q_proj" in key:
            three = [state[key.replace("q_proj", f"{p}_proj")] for p in "qkv"]
            key = key.replace("self_attn.q_proj.", "attn.in_proj_")
            value = torch.cat(three)
        for ours, theirs in names.items():
            key = key.replace(ours, theirs)
        made[prefix + key] = value.T if key == "text_projection" else value
    return made


def flux_net(folder: Path, prefix: str = NET) -> State:
    """FluxTransformer2DModel under the names of black-forest-labs/flux."""
    from mediakit.engines.diffusion import flux_names as names

    state = state_of(folder)
    made: State = {}

    def take(ours: str, theirs: str) -> None:
        for ending in (".weight", ".bias", ""):
            if f"{ours}{ending}" in state:
                made[f"{prefix}{theirs}{ending}"] = state.pop(f"{ours}{ending}")

    for theirs, ours in names._OUTSIDE.items():
        take(ours, theirs)
    config = config_of(folder)
    for kind, count, table in (
        ("double", config["num_layers"], names._DOUBLE),
        ("single", config["num_single_layers"], names._SINGLE),
    ):
        ours_block = "transformer_blocks" if kind == "double" else "single_transformer_blocks"
        for i in range(count):
            here, there = f"{ours_block}.{i}.", f"{kind}_blocks.{i}."
            for theirs, ours in table.items():
                take(here + ours, there + theirs)
            for theirs, several in names._SPLIT.items():
                for ending in (".weight", ".bias"):
                    if (kind == "single") == (theirs == "linear1"):
                        pieces = [state.pop(f"{here}{ours}{ending}") for ours in several]
                        made[f"{prefix}{there}{theirs}{ending}"] = torch.cat(pieces)
    assert not state
    for ending in ("weight", "bias"):
        name = f"{prefix}final_layer.adaLN_modulation.1.{ending}"
        made[name] = torch.cat(made[name].chunk(2)[::-1])
    return made


_SD3 = {
    "pos_embed.proj": "x_embedder.proj",
    "pos_embed.pos_embed": "pos_embed",
    "time_text_embed.timestep_embedder.linear_1": "t_embedder.mlp.0",
    "time_text_embed.timestep_embedder.linear_2": "t_embedder.mlp.2",
    "time_text_embed.text_embedder.linear_1": "y_embedder.mlp.0",
    "time_text_embed.text_embedder.linear_2": "y_embedder.mlp.2",
    "proj_out": "final_layer.linear",
    "norm_out.linear": "final_layer.adaLN_modulation.1",
    "transformer_blocks": "joint_blocks",
    "norm1_context.linear": "context_block.adaLN_modulation.1",
    "norm1.linear": "x_block.adaLN_modulation.1",
    "ff_context.net.0.proj": "context_block.mlp.fc1",
    "ff_context.net.2": "context_block.mlp.fc2",
    "ff.net.0.proj": "x_block.mlp.fc1",
    "ff.net.2": "x_block.mlp.fc2",
    "attn.to_add_out": "context_block.attn.proj",
    "attn.norm_added_": "context_block.attn.ln_",
    "attn.to_out.0": "x_block.attn.proj",
    "attn.norm_": "x_block.attn.ln_",
    "attn2.to_out.0": "x_block.attn2.proj",
    "attn2.norm_": "x_block.attn2.ln_",
    "attn.add_q_proj": "context_block.attn.qkv",
    "attn.to_q": "x_block.attn.qkv",
    "attn2.to_q": "x_block.attn2.qkv",
}


def sd3_net(state: State, last: int, prefix: str = NET) -> State:
    """SD3Transformer2DModel under the names of Stability-AI/sd3.5; `last`: of its blocks."""
    made: State = {}
    for key, value in state.items():
        if any(part in key for part in (".add_k_", ".add_v_", ".to_k.", ".to_v.")):
            continue
        if ".add_q_" in key or ".to_q." in key:
            names = (key.replace("_q", f"_{p}") for p in "qkv")
            value = torch.cat([state[name] for name in names])
        # there, those two of the last block have shift and scale the other way round
        if key.startswith(("norm_out.", f"transformer_blocks.{last}.norm1_context.")):
            value = torch.cat(value.chunk(2)[::-1])
        for ours, theirs in _SD3.items():
            if (f".{ours}" in f".{key}") and not (ours.startswith("attn.") and "attn2." in key):
                key = f".{key}".replace(f".{ours}", f".{theirs}", 1)[1:]
        made[prefix + key] = value
    return made


def single_file(folder: Path, family: str, file: Path, **extra: torch.Tensor) -> Path:
    """The folder as one checkpoint; `extra`: more tensors."""
    state: State = {}
    if family == "flux":
        state |= flux_net(folder / "transformer")
        state |= ldm_clip(folder / "text_encoder", "text_encoders.clip_l.transformer.")
        t5 = state_of(folder / "text_encoder_2")
        state |= {f"text_encoders.t5xxl.transformer.{k}": v for k, v in t5.items()}
        state |= ldm_vae(folder / "vae", "vae.")
    elif family.startswith("sd3"):
        net = folder / "transformer"
        state |= sd3_net(state_of(net), config_of(net)["num_layers"] - 1)
        for place, name in (("", "clip_l"), ("_2", "clip_g"), ("_3", "t5xxl")):
            part, prefix = folder / f"text_encoder{place}", f"text_encoders.{name}.transformer."
            if name == "t5xxl":
                state |= {prefix + key: value for key, value in state_of(part).items()}
                continue
            clip = ldm_clip(part, prefix)
            projection = f"{prefix}text_model.text_projection.weight"
            clip[f"{prefix}text_projection.weight"] = clip.pop(projection)
            state |= clip
        state |= ldm_vae(folder / "vae")
    else:
        state |= ldm_unet(folder / "unet") | ldm_vae(folder / "vae")
        if family == "sd1":
            state |= ldm_clip(folder / "text_encoder", "cond_stage_model.transformer.")
        elif family == "sd2":
            state |= open_clip(folder / "text_encoder", "cond_stage_model.model.")
        else:
            state |= ldm_clip(folder / "text_encoder", "conditioner.embedders.0.transformer.")
            state |= open_clip(folder / "text_encoder_2", "conditioner.embedders.1.model.")
    save(state | extra, file)
    return file


def save(state: State, file: Path, **metadata: str) -> Path:
    save_file({k: v.contiguous().clone() for k, v in state.items()}, file, metadata or None)
    return file


def lora(folder: Path, net: str, file: Path, kohya: bool = True, rank: int = 4) -> Path:
    """A LoRA for the attention of a net and of the text encoder, as trainers write it."""
    torch.manual_seed(9)
    state: State = {}
    for part, prefix in ((net, "unet"), ("text_encoder", "te")):
        for key, value in state_of(folder / part).items():
            if not key.endswith(("_proj.weight", "to_q.weight", "to_k.weight", "to_out.0.weight")):
                continue
            module = key.removesuffix(".weight")
            if prefix == "te":
                module = f"text_model.{module.removeprefix('text_model.')}"
            pair = torch.randn(rank, value.shape[1]) / 4, torch.randn(value.shape[0], rank) / 4
            if kohya:
                name = f"lora_{prefix}_{module.replace('.', '_')}"
                state[f"{name}.lora_down.weight"], state[f"{name}.lora_up.weight"] = pair
                state[f"{name}.alpha"] = torch.tensor(float(rank))
            else:
                name = f"{part}.{module}"
                state[f"{name}.lora_A.weight"], state[f"{name}.lora_B.weight"] = pair
    return save(state, file)
