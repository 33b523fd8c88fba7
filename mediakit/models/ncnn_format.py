"""What the numbers of an ncnn pair mean: layers from the .param, weights from the .bin.

Format: https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure
ValueError throughout, without the file's name: damaged, or of a kind that is not known.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float16] | NDArray[np.float32]
Value = int | float | tuple[float, ...]

_MAGIC = "7767517"
_FP16 = 0x01306B47
_FP32 = 0
_NONE, _LEAKY, _CLIP = 0, 2, 3  # kinds of activation that a convolution may carry
_MOST = 2**30  # weights of one layer: more is a damaged number


@dataclass(frozen=True)
class Layer:
    """One line of a .param: parameters by number; arrays (-233NN) under NN, as tuples."""

    type: str
    name: str
    params: dict[int, Value]

    def whole(self, number: int, default: int = 0) -> int:
        value = self.params.get(number, default)
        if not isinstance(value, int):
            raise ValueError(f"layer {self.name}: parameter {number} is not a whole number")
        return value

    def decimal(self, number: int) -> float:
        value = self.params.get(number, 0)
        return math.nan if isinstance(value, tuple) else float(value)


@dataclass(frozen=True)
class Conv:
    """A convolution of the net; `leaky`: a LeakyReLU of slope 0.2 follows."""

    weight: Array
    bias: Array
    leaky: bool


def read_param(path: Path) -> list[Layer]:
    """The layers of a .param text file in forward order."""
    lines = [
        line for line in path.read_bytes().decode("utf-8", "replace").splitlines() if line.strip()
    ]
    if not lines or lines[0].strip() != _MAGIC:
        raise ValueError("not an ncnn .param text file")
    try:
        count, _blobs = map(int, lines[1].split())
    except (IndexError, ValueError):
        raise ValueError("its second line does not give the number of layers") from None
    if len(lines) - 2 != count:
        raise ValueError(f"it should have {count} layers and has {len(lines) - 2}")
    return [_read_layer(line) for line in lines[2:]]


def _read_layer(line: str) -> Layer:
    kind, *words = line.split()
    name = words[0] if words else kind
    try:
        rest = words[1:]
        blobs = int(rest[0]) + int(rest[1])
        pairs = [text.split("=", 1) for text in rest[2 + blobs :]]
        return Layer(kind, name, dict(_read_value(int(key), value) for key, value in pairs))
    except (IndexError, ValueError, OverflowError):
        raise ValueError(f"layer {name} can't be understood") from None


def _read_value(key: int, text: str) -> tuple[int, Value]:
    if key <= -23300:  # an array: its length, then its values
        return -key - 23300, tuple(float(number) for number in text.split(",")[1:])
    return key, int(text) if text.lstrip("-").isdigit() else float(text)


class _Reader:
    """The numbers of a .bin, one after the other."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, count: int, kind: type[np.float16] | type[np.float32]) -> Array:
        length = count * np.dtype(kind).itemsize
        if not 0 < count < _MOST or self.at + length > len(self.data):
            raise ValueError(f"it ends too early, at byte {len(self.data)}")
        found = np.frombuffer(self.data, np.dtype(kind).newbyteorder("<"), count, self.at)
        self.at += length + -length % 4  # blocks begin at multiples of 4 bytes
        return cast(Array, found.astype(kind))

    def take_weights(self, count: int) -> Array:
        flag = int(self.take(1, np.float32).view(np.uint32)[0])
        if flag not in (_FP16, _FP32):
            raise ValueError(f"its weights are coded in a way that is not known (0x{flag:08X})")
        return self.take(count, np.float16 if flag == _FP16 else np.float32)


def read_blocks(layers: list[Layer], data: bytes) -> list[Conv | Array]:
    """Every layer with weights, in order: a Conv, or the slopes of a PReLU."""
    reader = _Reader(data)
    blocks: list[Conv | Array] = []
    for place, layer in enumerate(layers):
        if layer.type == "Convolution":
            after = layers[place + 1] if place + 1 < len(layers) else None
            blocks.append(_read_conv(layer, after, reader))
        elif layer.type == "PReLU":
            blocks.append(reader.take(layer.whole(0), np.float32))
    if left := len(data) - reader.at:
        raise ValueError(f"{left} bytes are left over")
    return blocks


def _read_conv(layer: Layer, after: Layer | None, reader: _Reader) -> Conv:
    outputs, kernel, size = layer.whole(0), layer.whole(1), layer.whole(6)
    plain = {
        layer.whole(11, kernel) == kernel,
        layer.whole(2, 1) == layer.whole(12, 1) == 1,  # dilation
        layer.whole(3, 1) == layer.whole(13, 1) == 1,  # stride
        layer.whole(4) == layer.whole(14, layer.whole(4)) == kernel // 2,  # padding
        layer.whole(5) == 1,  # has a bias
        layer.whole(7, 1) == 1,  # groups
        layer.whole(8) == 0,  # 8-bit
    }
    inputs = size // max(1, outputs * kernel * kernel)
    if plain != {True} or size != inputs * outputs * kernel * kernel or not size:
        raise ValueError(f"convolution {layer.name} is of a kind that is not known")
    weight = reader.take_weights(size).reshape(outputs, inputs, kernel, kernel)
    return Conv(weight, reader.take(outputs, np.float32), _is_leaky(layer, after))


def _is_leaky(layer: Layer, after: Layer | None) -> bool:
    """Whether a LeakyReLU follows, inside the layer or as one of its own."""
    kind = layer.whole(9)
    slope = layer.params.get(10, ())
    if kind == _NONE and after is not None and after.type == "ReLU":
        kind, slope = _LEAKY, (after.decimal(0),)
    if kind in (_NONE, _CLIP):  # some exports clip the picture to 0..1 at the end
        return False
    if kind != _LEAKY or not isinstance(slope, tuple) or not np.allclose(slope, (0.2,)):
        raise ValueError(f"the activation of {layer.name} is not LeakyReLU(0.2)")
    return True
