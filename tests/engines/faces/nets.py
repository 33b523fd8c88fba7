"""Weights of face nets that are the same on every machine, with every version of every library."""

import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

GFPGAN = {
    "out_size": 512, "num_style_feat": 512, "channel_multiplier": 2, "decoder_load_path": None,
    "fix_decoder": False, "num_mlp": 8, "input_is_latent": True, "different_w": True, "narrow": 1,
    "sft_half": True,
}  # fmt: skip


def uniform(name: str, count: int) -> NDArray[np.float32]:
    """-1 to 1: a hash (Chris Wellons' lowbias32) of place and name."""
    x = np.arange(count, dtype=np.uint32) + np.uint32(zlib.crc32(name.encode()))
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B), (16, 1)):
        x ^= x >> np.uint32(shift)
        x *= np.uint32(factor)
    made: NDArray[np.float32] = x.astype(np.float32)
    made *= np.float32(2.0**-31)
    made -= np.float32(1)
    return made


def gfpgan_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, NDArray[np.float32]]:
    """A state dict of GFPGANv1Clean whose result depends on the input and is a picture: grey on
    average, light and dark in places."""
    return {name: _tensor(name, shape) for name, shape in shapes.items()}


def _tensor(name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    made = uniform(name, int(np.prod(shape))).reshape(shape)
    if name.startswith("stylegan_decoder.noises"):
        return made
    if shape == (1,):  # of the noise: the reference draws it anew each time
        return np.zeros(shape, np.float32)
    if len(shape) < 2 or name.endswith("bias"):
        return np.ones(shape, np.float32) if "modulation" in name else made * np.float32(0.1)
    inputs = int(np.prod(shape[2 if "modulated_conv.weight" in name else 1 :]))
    level = 0.02 if "to_rgb" in name and len(shape) == 5 else 1.0  # or all would be white
    return made * np.float32(level * (3 / inputs) ** 0.5)
