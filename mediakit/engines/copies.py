"""How pixels get onto a device and back: beside the net's work where that is CUDA, plainly else."""

from collections.abc import Callable

import numpy as np
import torch

from mediakit.engines.tiling import Pixels

Landed = tuple[Pixels, list[bool]]


class Copies:
    """Copies for one device. The CUDA half follows torch's documentation and was never run."""

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        # made where it is first needed: by then the device is known to work
        self._side: torch.cuda.Stream | None = None

    def up(self, parts: list[Pixels]) -> torch.Tensor:
        """H x W x 3 of 8 or 16 bits each, all alike, as N x 3 x H x W integers on the device.

        To CUDA through pinned memory and without waiting. It queues with the net's own work: an
        upload is 16 times smaller than what a net of scale 4 gives back.
        """
        if self._device.type == "cuda":
            # H x W x 3 in memory is what channels_last means: permute moves nothing
            image = self._pinned(parts).to(self._device, non_blocking=True).permute(0, 3, 1, 2)
        else:
            images = [_tensor(part).to(self._device).permute(2, 0, 1)[None] for part in parts]
            image = images[0] if len(images) == 1 else torch.cat(images)
        # torch can do next to nothing with 16 bits without a sign
        return image if image.dtype == torch.uint8 else image.to(torch.int32).bitwise_and_(0xFFFF)

    def _pinned(self, parts: list[Pixels]) -> torch.Tensor:
        shape, dtype = (len(parts), *parts[0].shape), _tensor(parts[0]).dtype
        host = torch.empty(shape, dtype=dtype, pin_memory=True)
        for place, part in zip(host, parts, strict=True):
            place.copy_(_tensor(part))
        return host

    def down(self, made: torch.Tensor, fine: torch.Tensor) -> Callable[[], Landed]:
        """What waits for N x H x W x 3 (uint8, or int16 for 16 bits) and a flag for each to be in
        the host's memory.

        From CUDA into pinned memory on a stream of its own, while the net goes on with the next
        batch; torch keeps pinned memory for the next copy.
        """
        if self._device.type != "cuda":
            return lambda: _landed(made.cpu(), fine.cpu())
        if self._side is None:
            self._side = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        side = self._side
        side.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(side):
            pixels, flags = (
                torch.empty(t.shape, dtype=t.dtype, pin_memory=True).copy_(t, non_blocking=True)
                for t in (made, fine)
            )
            copied = side.record_event()
        for tensor in (made, fine):  # not to be reused for the net before it is copied
            tensor.record_stream(side)

        def wait() -> Landed:
            copied.synchronize()
            return _landed(pixels, flags)

        return wait


def _tensor(part: Pixels) -> torch.Tensor:
    """The same memory, unless that is read-only, which torch can't say; 16 bits as int16."""
    part = part if part.flags.writeable else part.copy()
    return torch.from_numpy(part if part.dtype == np.uint8 else part.view(np.int16))


def _landed(pixels: torch.Tensor, flags: torch.Tensor) -> Landed:
    made: Pixels = pixels.numpy()
    return made if made.dtype == np.uint8 else made.view(np.uint16), flags.tolist()
