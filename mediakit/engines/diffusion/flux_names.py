"""How the tensors of FLUX.1 are called in diffusers; its own conversion knows one size only."""

import re
from collections.abc import Mapping
from typing import Any

import torch

from mediakit.engines.diffusion.parts import filled

# Names of black-forest-labs/flux (src/flux/model.py) -> those of FluxTransformer2DModel
_OUTSIDE = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
    "final_layer.adaLN_modulation.1": "norm_out.linear",
}
_DOUBLE = {
    "img_mod.lin": "norm1.linear",
    "txt_mod.lin": "norm1_context.linear",
    "img_attn.norm.query_norm.scale": "attn.norm_q.weight",
    "img_attn.norm.key_norm.scale": "attn.norm_k.weight",
    "txt_attn.norm.query_norm.scale": "attn.norm_added_q.weight",
    "txt_attn.norm.key_norm.scale": "attn.norm_added_k.weight",
    "img_attn.proj": "attn.to_out.0",
    "txt_attn.proj": "attn.to_add_out",
    "img_mlp.0": "ff.net.0.proj",
    "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj",
    "txt_mlp.2": "ff_context.net.2",
}
_SINGLE = {
    "modulation.lin": "norm.linear",
    "norm.query_norm.scale": "attn.norm_q.weight",
    "norm.key_norm.scale": "attn.norm_k.weight",
    "linear2": "proj_out",
}
# One matrix there, several here; the last takes the rest
_SPLIT = {
    "img_attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "txt_attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
}
_BLOCK = re.compile(r"(double|single)_blocks\.(\d+)\.(.+?)(\.weight|\.bias|)$")


def convert_flux(
    state: Mapping[str, Any], config: Mapping[str, Any], prefix: str, dtype: torch.dtype
) -> Any:
    """The transformer, of the tensors below `prefix`. ValueError: some are missing."""
    from diffusers import FluxTransformer2DModel

    width = int(config["attention_head_dim"]) * int(config["num_attention_heads"])
    weights: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if key.startswith(prefix):
            weights |= _renamed(key.removeprefix(prefix), value, width)
    return filled(FluxTransformer2DModel, config, weights, dtype)


def _renamed(key: str, value: torch.Tensor, width: int) -> dict[str, torch.Tensor]:
    block = _BLOCK.match(key)
    if block is None:
        stem, _, kind = key.rpartition(".")
        if stem not in _OUTSIDE:
            return {}
        if stem == "final_layer.adaLN_modulation.1":  # (shift, scale) there, (scale, shift) here
            value = torch.cat(value.chunk(2)[::-1])
        return {f"{_OUTSIDE[stem]}.{kind}": value}
    kind, number, stem, ending = block.groups()
    place = f"{'transformer' if kind == 'double' else 'single_transformer'}_blocks.{number}."
    if stem in _SPLIT:
        names = _SPLIT[stem]
        sizes = [width] * (len(names) - 1)
        pieces = torch.split_with_sizes(value, [*sizes, len(value) - sum(sizes)])
        return {f"{place}{name}{ending}": p for name, p in zip(names, pieces, strict=True)}
    table = _DOUBLE if kind == "double" else _SINGLE
    name = table.get(stem)
    return {f"{place}{name}{ending}": value} if name else {}
