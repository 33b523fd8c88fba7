"""Single-image super-resolution nets: which files are one, and pixels in, more pixels out."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mediakit.device import empty_cache
from mediakit.engines.copies import Copies, Landed
from mediakit.engines.faults import meaning
from mediakit.engines.flow import Made, Room
from mediakit.engines.nets import spandrel
from mediakit.engines.opening import opened
from mediakit.engines.tiling import Axis, Pixels, axis, run_tiled
from mediakit.engines.together import Emit, Together, silent
from mediakit.errors import ItemError, UserError
from mediakit.models.state_dicts import Weights

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}

# Bytes that one input pixel takes at the peak, for each channel of the net's first convolution,
# in float32: resident memory measured on a CPU at x4 (Compact 16, ESRGAN 140, SwinIR 80, DAT 271),
# rounded up.
_BYTES = {"Compact": 18, "ESRGAN": 160, "SwinIR": 95, "DAT": 300}
_BYTES_UNKNOWN = 450
_SHARE = 0.7  # of the free memory: allocators round up, and others want some too
_LADDER = range(64, 1024 + 1, 64)
# On 2 cores Compact nets take the same time a pixel in tiles of 384 and of 544 where freed memory
# is kept (heap.py), and 10 to 15 % less in small tiles elsewhere; larger tiles share fewer pixels.
# ESRGAN's time a pixel does not change.
_CPU_MOST = {"Compact": 384}
_EXACT = 256  # must not follow the free memory
# Input pixels that tiles share. Against untiled, on a photo: animevideov3 at 32 is at most 1
# level of 255 off anywhere; x4plus has 47.8 dB at 32, 51.8 at 48, 56.5 at 64. Tiles of less than
# twice that would share less: animevideov3 in tiles of 32 is up to 9 levels off.
_OVERLAP = {"Compact": 32}
_OVERLAP_OTHERS = 64
# Tiles at once on a GPU, at most; auto_tile's largest has as many pixels as 256 of 64 x 64.
_TILES = 64
_ALONE = Room()
BATCHED = ("cuda",)  # where a batch is begun before the last is taken in, and of many tiles


class Upscaler:
    """A loaded net; one thread at a time may use it."""

    def __init__(
        self,
        net: spandrel.ImageModelDescriptor[Any],
        device: str,
        dtype: str,
        threads: int,
        exact: bool,
    ) -> None:
        self.scale = int(net.scale)
        self.architecture = str(net.architecture.id)
        self.device = device
        self.dtype = dtype if _can(net, dtype) else "float32"
        self.threads = threads
        self.exact = exact
        self.batches = device.partition(":")[0] in BATCHED
        self._overlap = _OVERLAP.get(self.architecture, _OVERLAP_OTHERS)
        self.smallest_tile: int = max(2 * self._overlap, net.size_requirements.minimum)
        self._fine = torch.tensor([])  # of each tile of the last batch, on the device
        self._copies = Copies(device)
        net.model.register_forward_hook(self._look)
        # channels_last: 1.1 (ESRGAN) to 1.3 (Compact) times faster on 2 CPU cores
        layout = torch.preserve_format if device == "mps" else torch.channels_last
        net.model.to(memory_format=layout)
        self._net = net.to(torch.device(device), _DTYPES[self.dtype]).eval()
        self.nbytes = sum(
            value.numel() * value.element_size()
            for value in (*net.model.parameters(), *net.model.buffers())
        )

    def upscale(self, pixels: Pixels, tile: int, emit: Emit = silent) -> Pixels:
        """H x W x 3 to scale*H x scale*W x 3, uint8 or uint16, in tiles of at most `tile` pixels
        (`smallest_tile`, if that is more).

        All that `strips` makes, in one array; the same errors.
        """
        fault = None
        try:
            return run_tiled(*self.together(tile).begin(pixels, emit))
        except Exception as error:
            fault = meaning(error)
            if fault is None:
                raise
        raise fault

    def strips(self, pixels: Pixels, tile: int, emit: Emit = silent) -> Iterator[Pixels]:
        """The same from top to bottom, as strips of full width, each made when it is asked for.

        Memory holds one row of tiles of the result. `emit` gets the fraction done after each
        tile. Raises OutOfMemory, PlaceError(device_lost) and ItemError(failed); what `emit`
        raises passes.
        """
        return self.together(tile).strips(pixels, emit)

    def together(self, tile: int, room: Room = _ALONE) -> Together:
        """For several pictures, whose equal tiles go through the net in batches."""
        return Together(self, tile, room)

    def auto_room(self, free: int, most: int | None = None) -> Room:
        """What suits the device: as many pixels at once as the largest tile has that fits into
        `free` bytes, so that a batch takes no more memory than a tile might; but `most` tiles.

        One tile on a CPU, where more gain nothing and give other bits, and with `exact`.
        """
        alone = self.exact or self._net.tiling == spandrel.ModelTiling.INTERNAL
        if alone or not self.batches:
            return _ALONE
        return Room(most or _TILES, self.auto_tile(free) ** 2)

    def auto_tile(self, free: int) -> int:
        """The tile, in input pixels, that suits the device and fits into `free` bytes, at
        least `smallest_tile`.

        With `exact` always the same.
        """
        if self.exact:
            return _EXACT
        each = _BYTES.get(self.architecture, _BYTES_UNKNOWN) * _width(self._net.model)
        each = each * _DTYPES[self.dtype].itemsize // 4
        most = _CPU_MOST.get(self.architecture, _LADDER[-1]) if self.device == "cpu" else None
        fitting = [
            side
            for side in _LADDER
            if side * side * each <= free * _SHARE and side <= (most or side)
        ]
        return max([self.smallest_tile, *fitting])

    def close(self) -> None:
        """Give the memory back; the net is of no use after."""
        del self._net
        empty_cache(self.device)

    def cut(self, height: int, width: int, tile: int) -> tuple[Axis, Axis]:
        """The rows and columns of tiles of a picture."""
        needs = self._net.size_requirements
        tile = max(tile, self.smallest_tile)
        if self._net.tiling == spandrel.ModelTiling.INTERNAL:
            tile = max(height, width)
        rows, columns = (
            axis(side, tile, self._overlap, needs.multiple_of) for side in (height, width)
        )
        return rows, columns

    def launch(self, parts: list[Pixels]) -> Callable[[], Made]:
        """Begin with a batch of equal tiles; what is given waits for their results.

        On CUDA nothing is waited for before that. 16 bits, of which half types have too few, are
        computed in float32.
        """
        if torch.get_num_threads() != self.threads:  # OpenMP counts for each calling thread
            torch.set_num_threads(self.threads)
        dtype = self.dtype if parts[0].dtype == np.uint8 else "float32"
        return partial(self._land, parts, self._forward(parts, dtype), dtype != "float32")

    def _land(self, parts: list[Pixels], wait: Callable[[], Landed], half: bool) -> Made:
        """The results, or what is wrong; tiles that overflowed a half type again in float32."""
        pixels, fine = wait()
        made: Made = list(pixels)
        bad = [i for i, is_fine in enumerate(fine) if not is_fine]
        if bad and half:
            parts = [parts[i] for i in bad]
            again = self._land(parts, self._forward(parts, "float32"), False)
            for i, one in zip(bad, again, strict=True):
                made[i] = one
            return made
        for i in bad:
            made[i] = ItemError(
                "failed", f"{self.architecture} gave no numbers; its weights may be damaged"
            )
        return made

    @torch.inference_mode()
    def _forward(self, parts: list[Pixels], dtype: str) -> Callable[[], Landed]:
        eight = parts[0].dtype == np.uint8
        most = 255 if eight else 65535
        other = dtype != self.dtype
        try:
            if other:
                self._net.to(_DTYPES[dtype])
            image = self._copies.up(parts).to(_DTYPES[dtype]).div_(most)
            out = self._net(image)  # clamps to 0 ... 1, and pads as the net needs it
        finally:
            if other:
                self._net.to(_DTYPES[self.dtype])
        whole = out.float().mul_(most).round_().permute(0, 2, 3, 1)
        whole = whole.to(torch.uint8) if eight else whole.to(torch.int32).to(torch.int16)
        return self._copies.down(whole.contiguous(), self._fine)

    def _look(self, module: object, inputs: object, output: Any) -> None:
        """Infinities must be seen before they are clamped to white; the flags are read with the
        pixels, so that nobody waits for them."""
        if not isinstance(output, torch.Tensor):
            output = output[0]
        # max and abs pass on what is no number
        self._fine = torch.linalg.vector_norm(output, math.inf, dim=(1, 2, 3)).isfinite()


def load(weights: Path | Weights, device: str, dtype: str, threads: int, exact: bool) -> Upscaler:
    """Open a .safetensors or .pth of any super-resolution net that spandrel knows.

    Types that the net can't do become float32 (see `Upscaler.dtype`). Raises UserError
    wrong_model, and what `opened` raises.
    """

    def make(net: object, name: str) -> Upscaler:
        return Upscaler(_known(net, name), device, dtype, threads, exact)

    return opened(weights, device, exact, make)


def _known(net: object, name: str) -> spandrel.ImageModelDescriptor[Any]:
    purpose = getattr(net, "purpose", "another")
    if not isinstance(net, spandrel.ImageModelDescriptor) or purpose not in ("SR", "Restoration"):
        raise UserError(
            "wrong_model", f"{name} is a model for {purpose}, not for upscaling whole pictures"
        )
    if (net.input_channels, net.output_channels) != (3, 3):
        raise UserError(
            "wrong_model",
            f"{name} takes {net.input_channels} channels and gives {net.output_channels}; "
            "upscaling needs an RGB model",
        )
    return net


def _width(model: torch.nn.Module) -> int:
    """Channels that the net works with: those its first convolution makes."""
    for part in model.modules():
        if isinstance(part, torch.nn.Conv2d):
            return part.out_channels
    return 64


def _can(net: spandrel.ImageModelDescriptor[Any], dtype: str) -> bool:
    if dtype == "float16":
        return bool(net.supports_half)
    return dtype != "bfloat16" or bool(net.supports_bfloat16)
