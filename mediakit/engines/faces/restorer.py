"""Nets that restore a face in the square they were trained on, and upscalers in their place."""

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import torch

from mediakit.device import empty_cache
from mediakit.engines.faults import meaning
from mediakit.engines.opening import opened
from mediakit.engines.upscaler import Upscaler
from mediakit.errors import ItemError, UserError
from mediakit.media.faces import SIDE
from mediakit.media.pixels import Pixels, highest
from mediakit.models.state_dicts import Weights

WEIGHT = 0.5  # CodeFormer's own
# Of 255: a square that is brighter on average than the first came back darker than the second.
_LIT, _BLACK = 8.0, 1.0
Restored = list[Pixels | ItemError]


class Restorer(Protocol):
    """`side`: pixels of the squares that it is shown; what it gives has SIDE."""

    side: int
    dtype: str
    takes_weight: bool

    def restore(self, squares: Sequence[Pixels], weight: float | None, most: int) -> Restored:
        """Each of some squares (side x side x 3, uint8 or uint16, all alike, RGB) as SIDE x SIDE
        x 3 of its type, or what is wrong with it: `most` at once through the net. OutOfMemory,
        PlaceError."""


class FaceNet:
    """GFPGAN, RestoreFormer or CodeFormer; one thread at a time may use it.

    All of them take and give -1 to 1 (spandrel leaves that to its caller). In float32: GFPGAN
    and RestoreFormer overflow float16.
    """

    side = SIDE
    dtype = "float32"

    def __init__(self, net: Any, device: str, threads: int) -> None:
        self.architecture = str(net.architecture.id)
        self.takes_weight = self.architecture == "CodeFormer"
        self._call = _CALLS[self.architecture]
        self._device = device
        self._threads = threads
        self._model = net.model.to(torch.device(device), torch.float32).eval()
        self.nbytes = sum(
            value.numel() * value.element_size()
            for value in (*net.model.parameters(), *net.model.buffers())
        )

    def restore(self, squares: Sequence[Pixels], weight: float | None, most: int) -> Restored:
        if torch.get_num_threads() != self._threads:  # OpenMP counts for each calling thread
            torch.set_num_threads(self._threads)

        def run(some: list[Pixels]) -> Restored:
            return self._forward(some, WEIGHT if weight is None else weight)

        return list(_checked(squares, most, run))

    @torch.inference_mode()
    def _forward(self, squares: list[Pixels], weight: float) -> Restored:
        most = highest(squares[0])
        # torch knows next to nothing of 16 bits without a sign
        stacked = torch.from_numpy(np.stack(squares).astype(np.float32)).to(self._device)
        # in this order in memory, too: the nets ask for views
        image = stacked.permute(0, 3, 1, 2).contiguous().div_(most).sub_(0.5).div_(0.5)
        out = self._call(self._model, image, weight)
        fine = torch.linalg.vector_norm(out, math.inf, dim=(1, 2, 3)).isfinite()
        whole = (
            out.nan_to_num_().clamp_(-1, 1).add_(1).div_(2).mul_(most).round_().permute(0, 2, 3, 1)
        )
        made = whole.cpu().numpy().astype(squares[0].dtype)
        return [
            pixels if is_fine else ItemError("bad_picture", f"{self.architecture} gave no numbers")
            for pixels, is_fine in zip(made, fine.tolist(), strict=True)
        ]

    def close(self) -> None:
        """Give the memory back; the net is of no use after."""
        del self._model
        empty_cache(self._device)


# The noise that StyleGAN adds is the file's own: drawn anew, no two runs would be the same.
_CALLS: dict[str, Callable[[Any, torch.Tensor, float], torch.Tensor]] = {
    "GFPGAN": lambda net, x, _: net(x, return_rgb=False, randomize_noise=False)[0],
    "RestoreFormer": lambda net, x, _: net(x)[0],
    "CodeFormer": lambda net, x, weight: net(x, weight=weight)[0],
}


class Enlarging:
    """An upscaler in a restorer's place: it is shown a square as many times smaller as it
    enlarges, so that there is something to restore."""

    takes_weight = False

    def __init__(self, net: Upscaler) -> None:
        self._net = net
        self.dtype = net.dtype
        self.side = max(1, round(SIDE / net.scale))
        self.nbytes = net.nbytes

    def restore(self, squares: Sequence[Pixels], weight: float | None, most: int) -> Restored:
        def run(some: list[Pixels]) -> Restored:
            return [_sized(made) for made in self._net.launch(some)()]

        return list(_checked(squares, most, run))

    def close(self) -> None:
        self._net.close()


def _sized(made: Pixels | ItemError) -> Pixels | ItemError:
    if isinstance(made, ItemError):
        return ItemError("bad_picture", made.message)
    if made.shape[:2] == (SIDE, SIDE):
        return made
    sized: Pixels = cv2.resize(made, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return sized


def _checked(
    squares: Sequence[Pixels], most: int, run: Callable[[list[Pixels]], Restored]
) -> Iterator[Pixels | ItemError]:
    """What `run` makes of so many at once; what came back black is said to be bad."""
    for first in range(0, len(squares), most):
        some = list(squares[first : first + most])
        fault: Exception | None = None
        try:
            made = run(some)
        except Exception as error:
            fault = meaning(error)
            if fault is None:
                raise
        if fault is not None:
            raise fault
        for square, pixels in zip(some, made, strict=True):
            if not isinstance(pixels, ItemError) and _is_black(square, pixels):
                yield ItemError("bad_picture", "the model made it all black")
            else:
                yield pixels


def _is_black(square: Pixels, made: Pixels) -> bool:
    level = highest(made) / 255
    return bool(square.mean() > _LIT * level and made.mean() < _BLACK * level)


def load(
    weights: Path | Weights, device: str, dtype: str, threads: int, exact: bool
) -> FaceNet | Enlarging:
    """Open the weights of a face net that spandrel knows, or of any upscaler.

    UserError wrong_model, and what `opened` raises.
    """

    def make(net: Any, name: str) -> FaceNet | Enlarging:
        purpose = getattr(net, "purpose", "another")
        if purpose == "FaceSR" and str(net.architecture.id) in _CALLS:
            return FaceNet(net, device, threads)
        rgb = (net.input_channels, net.output_channels) == (3, 3)
        if purpose not in ("SR", "Restoration") or not rgb:
            raise UserError(
                "wrong_model",
                f"{name} is a model for {purpose}: faces need one for faces, or an upscaler",
            )
        return Enlarging(Upscaler(net, device, dtype, threads, exact))

    return opened(weights, device, exact, make)
