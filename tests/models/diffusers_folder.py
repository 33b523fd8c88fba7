"""A folder in the layout of diffusers whose weights are a few real tensors."""

import json
from collections.abc import Mapping
from hashlib import sha256

import numpy as np
from safetensors.numpy import save

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.42.1",
    "feature_extractor": [None, None],
    "requires_safety_checker": False,
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def weights(seed: str, kind: str = "float32") -> bytes:
    """A safetensors file that is not like those of other seeds."""
    values = np.frombuffer(sha256(seed.encode()).digest() * 64, np.uint8).astype(kind)
    return save({"weight": values})


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def folder(changes: Mapping[str, bytes | None] | None = None) -> dict[str, bytes]:
    """Path -> bytes of what is a model; `changes` adds files, or takes those that are None out."""
    files: dict[str, bytes | None] = {
        "model_index.json": text(INDEX),
        "scheduler/scheduler_config.json": text({"_class_name": "DDIMScheduler"}),
        "text_encoder/config.json": text({"model_type": "clip_text_model"}),
        "text_encoder/model.safetensors": weights("text_encoder"),
        "tokenizer/merges.txt": b"#version: 0.2\n",
        "tokenizer/vocab.json": text({"a": 0}),
        "unet/config.json": text({"_class_name": "UNet2DConditionModel"}),
        "unet/diffusion_pytorch_model.safetensors": weights("unet"),
        "vae/config.json": text({"_class_name": "AutoencoderKL"}),
        "vae/diffusion_pytorch_model.safetensors": weights("vae"),
    }
    return {name: data for name, data in {**files, **(changes or {})}.items() if data is not None}
