"""Where the parts of a model lie, and what is done where the memory does not suffice."""

from typing import Any

import torch

from mediakit.device import free_memory

# Bytes a pixel that a VAE's decoder takes at its peak, for each byte of a number and each channel
# of its last level: resident memory measured on a CPU in float32, 128 channels (7.7 at 512 x 512,
# 9.3 at 256 x 256, where fixed costs show): 4.3 GB for 1024 x 1024.
_DECODER = 8
# Bytes of the same, above which a CPU decodes pictures sooner one by one: 0.21 s each at 256 x 256,
# 0.33 s in a batch of 16; at 64 x 64 and 16 channels 6.3 and 3.8 ms.
_CACHED = 2**26
_SHARE = 0.7  # of the free memory: allocators round up, and others want some too
_ROOM = 2**31  # bytes that a denoising step takes beside the weights, at 1024 x 1024 and batch 1


class Memory:
    """How the pipeline `pipe` is laid out on `device`, and the smaller ways that are left."""

    def __init__(self, pipe: Any, device: str, exact: bool) -> None:
        self._pipe = pipe
        self._device = device
        self._exact = exact
        self._tiled = False
        self.offload = "none"

    def place(self) -> None:
        """Everything on the device if it fits with room to work, else one part at a time, else
        parts of a part. The GPU branches follow diffusers' guide "Reduce memory usage"."""
        if self._device == "cpu":
            return
        sizes = [_nbytes(part) for part in self._parts()]
        free = free_memory(self._device)
        if sum(sizes) + _ROOM < free or self._device == "mps":
            self._pipe.to(self._device)
        elif max(sizes) + _ROOM < free:
            self._offload_models()
        else:
            self._offload_groups()

    def prepare(self, height: int, width: int, count: int) -> None:
        """Choose tiling and slicing of the VAE for `count` pictures of that size."""
        vae = self._pipe.vae
        if self._tiled or self._exact or not hasattr(vae, "enable_tiling"):
            return
        channels = getattr(vae.config, "block_out_channels", (128,))[0]
        upcast = getattr(vae.config, "force_upcast", False)
        size = 4 if upcast else vae.dtype.itemsize
        need = height * width * channels * size * _DECODER
        room = free_memory(self._device) * _SHARE
        most = min(room / count, _CACHED) if self._device == "cpu" else room / count
        _switch(vae, "slicing", count > 1 and need > most)
        _switch(vae, "tiling", need > room)

    def step_down(self) -> str | None:
        """Need less from now on; how, or None where there is no smaller way."""
        if self._exact:  # other bytes
            return None
        vae = self._pipe.vae
        if not self._tiled and hasattr(vae, "enable_tiling"):
            self._tiled = True
            _switch(vae, "tiling", True)
            _switch(vae, "slicing", True)
            return "VAE in tiles"
        if not self._device.startswith("cuda"):
            return None
        if self.offload == "none":
            self._offload_models()
            return "one part of the model on the device at a time"
        if self.offload == "model":
            self._offload_groups()
            return "layers of the model on the device as they are needed"
        return None

    def rest(self) -> None:
        """Between pictures: what was moved to the device goes back."""
        if self.offload == "model":
            self._pipe.maybe_free_model_hooks()

    def _offload_models(self) -> None:
        self._pipe.to("cpu")
        self._pipe.enable_model_cpu_offload(device=self._device)
        self.offload = "model"

    def _offload_groups(self) -> None:
        self._pipe.remove_all_hooks()
        self._pipe.to("cpu")
        self._pipe.enable_group_offload(
            onload_device=torch.device(self._device),
            offload_device=torch.device("cpu"),
            offload_type="leaf_level",
            use_stream=True,
        )
        self.offload = "group"

    def _parts(self) -> list[torch.nn.Module]:
        return [
            part for part in self._pipe.components.values() if isinstance(part, torch.nn.Module)
        ]


def nbytes(pipe: Any) -> int:
    """Bytes of all weights."""
    parts = (part for part in pipe.components.values() if isinstance(part, torch.nn.Module))
    return sum(_nbytes(part) for part in parts)


def _nbytes(part: torch.nn.Module) -> int:
    values = [*part.parameters(), *part.buffers()]
    return sum(value.numel() * value.element_size() for value in values)


def _switch(vae: Any, what: str, on: bool) -> None:
    getattr(vae, f"{'enable' if on else 'disable'}_{what}")()
