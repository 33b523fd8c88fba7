"""What may happen to a drawn picture before the captioner sees it, and what it must see through."""

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tools.starter.draw import SIDE

_BENT = 2.5  # pixels, how far a bent picture's points lie from where they were, at most
_SIZES = (24, 32, 48, 96, 128, 256, 512)  # pixels a side that a picture may have had on its way


def degrade(pictures: Tensor) -> Tensor:
    """Count x 3 x SIDE x SIDE, uint8, in and out; each picture is spared much of what there is.

    Moved, turned and bent a little; blurred; of another size for a while, or a JPEG; with colours
    a little off, evenly or not; with noise. The chances are torch's.
    """
    values = _bent(pictures.float() / 255)
    values = _blurred(values)
    values = values + 0.03 * torch.randn(len(values), 3, 1, 1) * _some(values)
    values = values + 0.03 * _smooth(len(values), 3, 4) * _some(values)
    values = values + 0.04 * torch.randn_like(values) * _some(values)
    whole = (values.clamp(0, 1) * 255).round().byte()
    for index in (torch.rand(len(whole)) < 0.3).nonzero()[:, 0].tolist():
        whole[index] = _sent(whole[index])
    return whole


def _some(values: Tensor) -> Tensor:
    """A strength for each picture, 0 for half of them."""
    return (2 * torch.rand(len(values), 1, 1, 1) - 1).clamp(min=0)


def _bent(values: Tensor) -> Tensor:
    """Turned by up to 8 degrees, moved by 3 pixels, scaled by a tenth, and waved."""
    count = len(values)
    strength = _some(values)[:, 0, 0]
    turn, across, down, wide, high = (strength[:, 0] * (2 * torch.rand(count) - 1) for _ in "12345")
    angle = turn * 0.14
    rows = [
        torch.stack([angle.cos() * (1 + wide / 10), -angle.sin(), across * 6 / SIDE], -1),
        torch.stack([angle.sin(), angle.cos() * (1 + high / 10), down * 6 / SIDE], -1),
    ]
    grid = functional.affine_grid(torch.stack(rows, 1), list(values.shape), align_corners=False)
    waves = _smooth(count, 2, 7).permute(0, 2, 3, 1) * (2 * _BENT / SIDE) * _some(values)
    return functional.grid_sample(values, grid + waves, padding_mode="border", align_corners=False)


def _smooth(count: int, channels: int, points: int) -> Tensor:
    """Random fields over a picture, made of so many points a side; about -1..1."""
    coarse = 2 * torch.rand(count, channels, points, points) - 1
    return functional.interpolate(coarse, (SIDE, SIDE), mode="bicubic", align_corners=False)


def _blurred(values: Tensor) -> Tensor:
    """Mixed with itself blurred by 1.5 pixels."""
    line = torch.exp(-(torch.arange(-4.0, 5) ** 2) / (2 * 1.5**2))
    kernel = (line / line.sum()).view(1, 1, -1, 1).expand(3, 1, -1, 1)
    padded = functional.pad(values, (4, 4, 4, 4), mode="replicate")
    soft = functional.conv2d(padded, kernel, groups=3)
    soft = functional.conv2d(soft, kernel.transpose(2, 3), groups=3)
    return torch.lerp(values, soft, _some(values))


def _sent(pixels: Tensor) -> Tensor:
    """One picture after it was of another size, or after it was a JPEG."""
    image = Image.fromarray(pixels.permute(1, 2, 0).numpy())
    way = int(torch.randint(0, len(_SIZES) + 4, ()))
    if way < len(_SIZES):
        side = _SIZES[way]
        image = image.resize((side, side), Image.Resampling.BICUBIC)
        image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    else:
        held = io.BytesIO()
        image.save(held, "JPEG", quality=int(torch.randint(40, 96, ())))
        image = Image.open(held).convert("RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)
