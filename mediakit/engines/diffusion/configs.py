"""The configuration of each part of a single-file checkpoint, from the shapes of its tensors."""

import math
from typing import Any

from mediakit.engines.diffusion.layout import UNET, Layout, Shapes

# What SD 1.x, 2.x and XL were trained with (their scheduler_config.json)
_NOISE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000,
    "clip_sample": False,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
# Scaling (and shift) of latents: arXiv:2112.10752, arXiv:2307.01952; of SD 3 and FLUX.1 their
# vae/config.json
_SCALING: dict[str, dict[str, Any]] = {
    "sd1": {"scaling_factor": 0.18215},
    "sd2": {"scaling_factor": 0.18215},
    "sdxl": {"scaling_factor": 0.13025, "force_upcast": True},
    "sd3": {"scaling_factor": 1.5305, "shift_factor": 0.0609},
    "flux": {"scaling_factor": 0.3611, "shift_factor": 0.1159},
}
_HEAD = 64  # channels of an attention head, in CLIP and from SD 2 on in the U-Net too


def vae_config(shapes: Shapes, prefix: str, family: str) -> dict[str, Any]:
    """AutoencoderKL, in the original layout below `prefix`."""
    levels = _count(shapes, f"{prefix}encoder.down.")
    channels = [shapes[f"{prefix}encoder.down.{i}.block.0.conv2.weight"][0] for i in range(levels)]
    return {
        "_class_name": "AutoencoderKL",
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "latent_channels": shapes[f"{prefix}decoder.conv_in.weight"][1],
        "layers_per_block": _count(shapes, f"{prefix}encoder.down.0.block."),
        "use_quant_conv": f"{prefix}quant_conv.weight" in shapes,
        "use_post_quant_conv": f"{prefix}post_quant_conv.weight" in shapes,
        **_SCALING.get(family, _SCALING["flux"]),
    }


def clip_config(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """CLIP in the layout of transformers: that of OpenAI, ViT-L."""
    vocabulary, size = shapes[f"{prefix}embeddings.token_embedding.weight"]
    layers = f"{prefix}encoder.layers."
    return _clip(vocabulary, size, _count(shapes, layers), "quick_gelu") | {
        "intermediate_size": shapes[f"{layers}0.mlp.fc1.weight"][0],
        "max_position_embeddings": shapes[f"{prefix}embeddings.position_embedding.weight"][0],
    }


def open_clip_config(shapes: Shapes, prefix: str, family: str) -> dict[str, Any]:
    """CLIP in the layout of open_clip: ViT-H in SD 2, which reads the last layer but one and so
    needs no more than 23 of 24, and ViT-bigG in XL."""
    vocabulary, size = shapes[f"{prefix}token_embedding.weight"]
    layers = _count(shapes, f"{prefix}transformer.resblocks.")
    config = _clip(vocabulary, size, min(layers, 23) if family == "sd2" else layers, "gelu") | {
        "intermediate_size": shapes[f"{prefix}transformer.resblocks.0.mlp.c_fc.weight"][0],
        "max_position_embeddings": shapes[f"{prefix}positional_embedding"][0],
    }
    if family == "sdxl":
        config["projection_dim"] = shapes[f"{prefix}text_projection"][1]
    return config


def sd3_clip_config(shapes: Shapes, prefix: str, second: bool) -> dict[str, Any]:
    """Both with a projection: ViT-L, and ViT-bigG (`second`), in the layout of transformers."""
    out = shapes[f"{prefix.removesuffix('text_model.')}text_projection.weight"][0]
    config = clip_config(shapes, prefix) | {"projection_dim": out}
    return config | {"hidden_act": "gelu"} if second else config


def t5_config(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """The encoder of T5 1.1."""
    vocabulary, size = shapes[f"{prefix}shared.weight"]
    block = f"{prefix}encoder.block.0.layer."
    buckets, heads = shapes[f"{block}0.SelfAttention.relative_attention_bias.weight"]
    return {
        "model_type": "t5",
        "vocab_size": vocabulary,
        "d_model": size,
        "d_kv": shapes[f"{block}0.SelfAttention.q.weight"][0] // heads,
        "d_ff": shapes[f"{block}1.DenseReluDense.wo.weight"][1],
        "num_heads": heads,
        "num_layers": _count(shapes, f"{prefix}encoder.block."),
        "relative_attention_num_buckets": buckets,
        "feed_forward_proj": "gated-gelu",
    }


def unet_config(layout: Layout, native: int) -> dict[str, Any]:
    """UNet2DConditionModel."""
    shapes, family = layout.shapes, layout.family
    channels, depths, layers = _levels(shapes)
    to_k = next(key for key in shapes if key.endswith("attn2.to_k.weight"))
    cross = [depth > 0 for depth in depths]
    config = {
        "_class_name": "UNet2DConditionModel",
        "in_channels": layout.channels,
        "out_channels": shapes[f"{UNET}out.2.weight"][0],
        "sample_size": native // 8,
        "block_out_channels": channels,
        "layers_per_block": layers,
        "down_block_types": ["CrossAttnDownBlock2D" if c else "DownBlock2D" for c in cross],
        "up_block_types": ["CrossAttnUpBlock2D" if c else "UpBlock2D" for c in reversed(cross)],
        "cross_attention_dim": shapes[to_k][1],
        "attention_head_dim": 8 if family == "sd1" else [max(1, c // _HEAD) for c in channels],
        "use_linear_projection": family != "sd1",
    }
    if family == "sdxl":
        conditions = shapes[f"{UNET}label_emb.0.0.weight"][1]
        prefix = layout.parts.get("text_encoder_2")
        pooled = shapes[f"{prefix}text_projection"][1] if prefix else 1280
        middle = _count(shapes, f"{UNET}middle_block.1.transformer_blocks.")
        config |= {
            "transformer_layers_per_block": [*(max(1, d) for d in depths[:-1]), middle],
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": (conditions - pooled) // 6,  # sizes, crop, target
            "projection_class_embeddings_input_dim": conditions,
        }
    return config


def flux_config(layout: Layout, prefix: str) -> dict[str, Any]:
    """FluxTransformer2DModel; rotary axes are shared out as 16 : 56 : 56."""
    shapes = layout.shapes
    head = shapes[f"{prefix}double_blocks.0.img_attn.norm.key_norm.scale"][0]
    hidden, channels = shapes[f"{prefix}img_in.weight"]
    return {
        "_class_name": "FluxTransformer2DModel",
        "patch_size": 1,
        "in_channels": channels,
        "out_channels": 64 if channels == 384 else None,
        "num_layers": _count(shapes, f"{prefix}double_blocks."),
        "num_single_layers": _count(shapes, f"{prefix}single_blocks."),
        "attention_head_dim": head,
        "num_attention_heads": hidden // head,
        "joint_attention_dim": shapes[f"{prefix}txt_in.weight"][1],
        "pooled_projection_dim": shapes[f"{prefix}vector_in.in_layer.weight"][1],
        "guidance_embeds": layout.guidance,
        "axes_dims_rope": [head // 8, head * 7 // 16, head * 7 // 16],
    }


def sd3_config(layout: Layout, prefix: str) -> dict[str, Any]:
    """SD3Transformer2DModel. Heads are of 64 channels in SD 3, and as long as their norms in 3.5;
    some blocks of 3.5 medium attend to the picture twice."""
    shapes = layout.shapes
    first = f"{prefix}joint_blocks.0.x_block.attn."
    hidden, channels, patch, _ = shapes[f"{prefix}x_embedder.proj.weight"]
    head = shapes.get(f"{first}ln_q.weight", (_HEAD,))[0]
    count = _count(shapes, f"{prefix}joint_blocks.")
    return {
        "_class_name": "SD3Transformer2DModel",
        "sample_size": 128,
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": shapes[f"{prefix}final_layer.linear.weight"][0] // patch**2,
        "num_layers": count,
        "attention_head_dim": head,
        "num_attention_heads": hidden // head,
        "joint_attention_dim": shapes[f"{prefix}context_embedder.weight"][1],
        "caption_projection_dim": shapes[f"{prefix}context_embedder.weight"][0],
        "pooled_projection_dim": shapes[f"{prefix}y_embedder.mlp.0.weight"][1],
        "pos_embed_max_size": math.isqrt(shapes[f"{prefix}pos_embed"][1]),
        "qk_norm": "rms_norm" if f"{first}ln_q.weight" in shapes else None,
        "dual_attention_layers": tuple(
            i
            for i in range(count)
            if f"{prefix}joint_blocks.{i}.x_block.attn2.qkv.weight" in shapes
        ),
    }


def scheduler_config(layout: Layout, prediction: str) -> dict[str, Any]:
    """As published with the family's first model."""
    if layout.family == "sd3":
        return {"_class_name": layout.scheduler, "shift": 3.0}
    if layout.family.startswith("flux"):
        dynamic = (
            {"shift": 3.0, "use_dynamic_shifting": True} if layout.guidance else {"shift": 1.0}
        )
        return {"_class_name": layout.scheduler, **dynamic}
    zero = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return {
        "_class_name": layout.scheduler,
        **_NOISE,
        "prediction_type": prediction,
        # a tensor of that name is how fine-tunes of XL with zero terminal noise say so
        **(zero if "ztsnr" in layout.shapes else {}),
    }


def _clip(vocabulary: int, size: int, layers: int, activation: str) -> dict[str, Any]:
    return {
        "model_type": "clip_text_model",
        "vocab_size": vocabulary,
        "hidden_size": size,
        "num_hidden_layers": layers,
        "num_attention_heads": max(1, size // _HEAD),
        "hidden_act": activation,
        "bos_token_id": 49406,
        "eos_token_id": 2,  # as published: the pooled place is that of the largest id
        "pad_token_id": 1,
        "projection_dim": size,
        "layer_norm_eps": 1e-5,
    }


def _levels(shapes: Shapes) -> tuple[list[int], list[int], int]:
    """(channels, depth of the transformers, residual blocks) of each level on the way down."""
    channels: list[int] = []
    depths: list[int] = []
    level = 0
    count = _count(shapes, f"{UNET}input_blocks.")
    layers = 0
    for i in range(1, count):
        block = f"{UNET}input_blocks.{i}."
        if f"{block}0.op.weight" in shapes:
            level += 1
            continue
        if level == len(channels):
            channels.append(shapes[f"{block}0.in_layers.2.weight"][0])
            depths.append(_count(shapes, f"{block}1.transformer_blocks."))
        layers += level == 0
    return channels, depths, layers


def _count(shapes: Shapes, prefix: str) -> int:
    """How many numbers follow a prefix: 0 ... n-1."""
    start = len(prefix)
    return len({key[start:].partition(".")[0] for key in shapes if key.startswith(prefix)})
