"""Projectors of vision models in GGUF, of real layout, small and with random weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from gguf_files import gguf
from numpy.typing import NDArray

Tensors = dict[str, NDArray[np.float32]]
WIDTH, INNER, LAYERS, PATCH = 32, 64, 2, 8


def facts(kind: str, side: int) -> dict[str, Any]:
    """The pairs of a vision tower of `side` x `side` pixels; `kind` as llama.cpp calls it."""
    third = np.full(3, 0.5, np.float32)
    return {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.has_vision_encoder": True,
        "clip.projector_type": kind,
        "clip.use_gelu": True,
        "clip.vision.image_size": side,
        "clip.vision.patch_size": PATCH,
        "clip.vision.embedding_length": WIDTH,
        "clip.vision.feed_forward_length": INNER,
        "clip.vision.projection_dim": WIDTH,
        "clip.vision.block_count": LAYERS,
        "clip.vision.attention.head_count": 4,
        "clip.vision.attention.layer_norm_epsilon": 1e-5,
        "clip.vision.image_mean": third,
        "clip.vision.image_std": third,
    }


def llava(path: Path, to: int, **more: Any) -> Path:
    """As LLaVA 1.5 has it: CLIP, and two layers that lead to a model `to` numbers wide."""
    pairs = facts("mlp", 32) | more
    patches = (32 // PATCH) ** 2
    shapes = _tower(patches + 1) | {
        "v.class_embd": (WIDTH,),
        "v.pre_ln.weight": (WIDTH,),
        "v.pre_ln.bias": (WIDTH,),
        "mm.0.weight": (to, WIDTH),
        "mm.0.bias": (to,),
        "mm.2.weight": (to, to),
        "mm.2.bias": (to,),
    }
    return _write(path, pairs, shapes)


def smolvlm(path: Path, to: int, **more: Any) -> Path:
    """As SmolVLM has it (Idefics 3): SigLIP, and one layer after four patches became one."""
    side = 32
    pairs = facts("idefics3", side) | {
        "clip.vision.projector.scale_factor": 2,
        "clip.vision.preproc_image_size": 2 * side,
    }
    shapes = _tower((side // PATCH) ** 2) | {
        "v.patch_embd.bias": (WIDTH,),
        "v.post_ln.weight": (WIDTH,),
        "v.post_ln.bias": (WIDTH,),
        "mm.model.fc.weight": (to, WIDTH * 4),
    }
    return _write(path, pairs | more, shapes)


def _tower(positions: int) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "v.patch_embd.weight": (WIDTH, 3, PATCH, PATCH),
        "v.position_embd.weight": (positions, WIDTH),
    }
    sides = {"attn_q": (WIDTH, WIDTH), "attn_k": (WIDTH, WIDTH), "attn_v": (WIDTH, WIDTH),
             "attn_out": (WIDTH, WIDTH), "ffn_up": (INNER, WIDTH),
             "ffn_down": (WIDTH, INNER)}  # fmt: skip
    for layer in range(LAYERS):
        for name, shape in sides.items():
            shapes[f"v.blk.{layer}.{name}.weight"] = shape
            shapes[f"v.blk.{layer}.{name}.bias"] = shape[:1]
        for name in ("ln1", "ln2"):
            shapes[f"v.blk.{layer}.{name}.weight"] = (WIDTH,)
            shapes[f"v.blk.{layer}.{name}.bias"] = (WIDTH,)
    return shapes


def _write(path: Path, pairs: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> Path:
    draw = np.random.default_rng(0).standard_normal
    tensors = {
        name: np.ones(shape, np.float32)
        if "ln" in name and name.endswith("weight")
        else (draw(shape) * 2 / np.sqrt(shape[-1])).astype(np.float32)
        for name, shape in shapes.items()
    }
    path.write_bytes(gguf({k: v for k, v in pairs.items() if v is not None}, tensors))
    return path
