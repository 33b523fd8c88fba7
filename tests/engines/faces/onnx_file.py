"""Tiny ONNX files, written by hand: detectors that give what a test wants, everywhere."""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

FLOAT, INTS_TYPE = 1, 7


def _varint(value: int) -> bytes:
    out = b""
    while True:
        value, low = value >> 7, value & 127
        out += bytes([low | (128 if value else 0)])
        if not value:
            return out


def _field(number: int, content: bytes | int | str) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    data = content.encode() if isinstance(content, str) else content
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _tensor(name: str, values: Sequence[float] | np.ndarray, dims: Iterable[int]) -> bytes:
    data = np.asarray(values, np.float32).tobytes()
    fields = [_field(1, dim) for dim in dims]
    return b"".join([*fields, _field(2, FLOAT), _field(8, name), _field(9, data)])


def _value(name: str, dims: Iterable[int]) -> bytes:
    shape = b"".join(_field(1, _field(1, dim)) for dim in dims)
    return _field(1, name) + _field(2, _field(1, _field(1, FLOAT) + _field(2, shape)))


def _node(kind: str, inputs: Iterable[str], output: str, ints: dict[str, list[int]]) -> bytes:
    attributes = [
        _field(1, key) + b"".join(_field(8, i) for i in values) + _field(20, INTS_TYPE)
        for key, values in ints.items()
    ]
    return b"".join(
        [
            *(_field(1, name) for name in inputs), _field(2, output), _field(3, output),
            _field(4, kind), *(_field(5, attribute) for attribute in attributes),
        ]
    )  # fmt: skip


def write(path: Path, outputs: dict[str, tuple[int, list[float]]], last: bool = False) -> Path:
    """A net whose outputs (name -> stride, value of each channel) are the same everywhere: 1x1
    convolutions of weight 0, each with a bias. `last`: the channels come last."""
    nodes, tensors, values = [], [], []
    for name, (stride, biases) in outputs.items():
        count = len(biases)
        tensors += [
            _tensor(f"{name}.w", np.zeros(count * 3), (count, 3, 1, 1)),
            _tensor(f"{name}.b", biases, (count,)),
        ]
        ints = {"kernel_shape": [1, 1], "strides": [stride, stride]}
        made = f"{name}.c" if last else name
        nodes.append(_node("Conv", ["input", f"{name}.w", f"{name}.b"], made, ints))
        side = 32 // stride
        if last:
            nodes.append(_node("Transpose", [made], name, {"perm": [0, 2, 3, 1]}))
        values.append(_value(name, (1, side, side, count) if last else (1, count, side, side)))
    graph = b"".join(
        [
            *(_field(1, node) for node in nodes), _field(2, "net"),
            *(_field(5, tensor) for tensor in tensors),
            _field(11, _value("input", (1, 3, 32, 32))), *(_field(12, value) for value in values),
        ]
    )  # fmt: skip
    model = _field(1, 7) + _field(8, _field(1, "") + _field(2, 11)) + _field(7, graph)
    path.write_bytes(model)
    return path


def centerface(
    path: Path, score: float = 0.9, size: float = 3.0, points: Sequence[float] | None = None
) -> Path:
    """As CenterFace gives it: a face at each cell, exp(size) * 4 pixels large. `points`: y and x
    of each, in parts of the box."""
    points = points or [0.4, 0.3, 0.4, 0.7, 0.6, 0.5, 0.8, 0.35, 0.8, 0.65]
    return write(
        path,
        {
            "537": (4, [score]), "538": (4, [size, size]), "539": (4, [0.0, 0.0]),
            "540": (4, list(points)),
        },
    )  # fmt: skip


def yunet(path: Path) -> Path:
    """As YuNet gives it: at each 32 pixels a face of 24 x 32 pixels around the middle."""
    points = [0.3, 0.4, 0.7, 0.4, 0.5, 0.55, 0.35, 0.7, 0.65, 0.7]
    outputs = {}
    for stride in (8, 16, 32):
        score = 0.9 if stride == 32 else 0.01
        values = {"cls": [score], "obj": [score], "bbox": [0.5, 0.5, math.log(0.75), 0.0]}
        for name, channels in (values | {"kps": points}).items():
            outputs[f"{name}_{stride}"] = (stride, channels)
    return write(path, outputs, last=True)
