"""What this machine's cores can do: `python -m benchmarks.peak WEIGHTS THREADS` prints, as JSON,
the most GFLOP/s that a float32 convolution reaches, and GFLOP that a net needs for a pixel."""

import json
import sys
import time
from pathlib import Path

import torch

from mediakit.engines.upscaler import load

# channels, side: 3x3, as in the nets that are measured; smaller ones stay in the cache
SHAPES = ((64, 64), (64, 128), (64, 256), (128, 64), (128, 128), (256, 64))
SECONDS = 0.4  # for each


def reached(channels: int, side: int) -> float:
    """GFLOP/s of the fastest call of a 3x3 convolution, channels_last, through oneDNN."""
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1)
    layer = layer.to(memory_format=torch.channels_last)
    image = torch.rand(1, channels, side, side).to(memory_format=torch.channels_last)
    work = 2 * 9 * channels**2 * side**2 / 1e9
    fastest = float("inf")
    end = time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        begin = time.perf_counter()
        layer(image)
        fastest = min(fastest, time.perf_counter() - begin)
    return work / fastest


def work_per_pixel(weights: Path) -> float:
    """GFLOP of all convolutions of a net, for one pixel of the input."""
    total, side = 0, 32

    def count(layer: torch.nn.Module, inputs: object, output: torch.Tensor) -> None:
        nonlocal total
        total += 2 * output.numel() * layer.weight[0].numel()

    net = load(weights, "cpu", "float32", 1, False)._net.model
    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, 3, side, side))
    return total / side**2 / 1e9


def main(weights: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    with torch.inference_mode():
        peak = max(reached(*shape) for shape in SHAPES)
        print(json.dumps({"peak": peak, "per pixel": work_per_pixel(Path(weights))}))


if __name__ == "__main__":
    main(*sys.argv[1:])
