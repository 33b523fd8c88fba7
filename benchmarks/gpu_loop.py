"""Pictures of a folder enlarged on a device, as a program of its own that says what it took.

`ours` is mediakit's engine, `plain` what one writes in an hour: a picture at a time through the
net in float16. Both see every picture once before the clock runs, so that neither start nor the
choice of algorithms counts; but with `--out`, where PNG is written and the process counts as a
whole, none before. Run on a CPU so far, never on a GPU.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from mediakit import device
from mediakit.engines.nets import spandrel
from mediakit.engines.upscaler import load

Array = NDArray[np.uint8]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("how", choices=("device", "ours", "plain", "apart"))
    parser.add_argument("--input", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    name, dtype = device.choose(args.device, "auto")
    if args.how == "device":
        print(json.dumps({"device": name}))
        return
    pictures = [np.asarray(Image.open(p).convert("RGB")) for p in sorted(args.input.iterdir())]
    ways = {"ours": ours, "plain": plain}
    if args.how == "apart":
        first, second = (list(way(args.weights, name, dtype)(pictures)) for way in ways.values())
        print(json.dumps({"psnr": min(map(psnr, first, second))}))
        return
    run = ways[args.how](args.weights, name, dtype)
    for _ in () if args.out else run(pictures):
        pass
    begin = time.perf_counter()
    pixels = 0
    for number, made in enumerate(run(pictures)):
        pixels += made.shape[0] * made.shape[1]
        if args.out:
            Image.fromarray(made).save(args.out / f"{number:03}.png")
    seconds = time.perf_counter() - begin
    print(json.dumps({"device": name, "mpix": pixels / seconds / 1e6, "seconds": seconds}))


def ours(weights: Path, name: str, dtype: str) -> Callable[[list[Array]], Iterator[Any]]:
    net = load(weights, name, dtype, device.free_cores(), False)

    def run(pictures: list[Array]) -> Iterator[Any]:
        free = device.free_memory(name)
        together = net.together(net.auto_tile(free), net.auto_room(free))
        for strips in [together.strips(picture) for picture in pictures]:
            yield np.concatenate(list(strips))

    return run


def plain(weights: Path, name: str, dtype: str) -> Callable[[list[Array]], Iterator[Any]]:
    net = spandrel.ModelLoader(name).load_from_file(weights)
    assert isinstance(net, spandrel.ImageModelDescriptor)
    net.eval().to(getattr(torch, dtype))

    @torch.inference_mode()
    def run(pictures: list[Array]) -> Iterator[Any]:
        for picture in pictures:
            image = torch.from_numpy(picture.copy()).to(name).permute(2, 0, 1)[None]
            made = net(image.to(net.dtype) / 255)[0].float().mul(255).round()
            yield made.to(torch.uint8).permute(1, 2, 0).contiguous().cpu().numpy()

    return run


def psnr(first: Array, second: Array) -> float:
    error = float(((first.astype(float) - second) ** 2).mean())
    return float(10 * np.log10(255**2 / max(error, 1e-6)))


if __name__ == "__main__":
    main()
