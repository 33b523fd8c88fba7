"""How an ncnn pair (.param, .bin) becomes the state dict of the net that it was made from.

Every Upscayl model and the command-line builds of Real-ESRGAN come in this form. Two nets are
known by their structure: ESRGAN (RRDBNet, arXiv:1809.00219) and Real-ESRGAN's Compact
(SRVGGNetCompact). Names and shapes of the result are those of the official checkpoints.
"""

import math
from collections import Counter
from pathlib import Path

import numpy as np

from mediakit.errors import UserError, show
from mediakit.models.ncnn_format import Array, Conv, Layer, read_blocks, read_param

__all__ = ["read_param", "to_state_dict"]

_COMPACT = {"Input", "Split", "Convolution", "PReLU", "PixelShuffle", "Interp", "BinaryOp"}
_ESRGAN = {"Input", "Split", "Convolution", "ReLU", "Concat", "Eltwise", "BinaryOp", "Interp"}
_NEITHER = "it is neither an ESRGAN nor a Compact net"


def to_state_dict(param: Path, weights: Path) -> dict[str, Array]:
    """The official state dict of the net, ready for spandrel.

    Weights keep the number type of the file (float16 or float32; nothing is rounded), biases and
    slopes are float32: whoever loads them into a float32 net gets exactly the file's values.
    UserError bad_weights: missing or damaged, or a net of another kind.
    """
    for path in (param, weights):
        if not path.is_file():
            raise UserError("bad_weights", f"{show(path)} is missing; put it beside its other half")
    reading = param
    try:
        layers = read_param(param)
        kinds = {layer.type for layer in layers}
        compact = "PReLU" in kinds
        if strange := sorted(kinds - (_COMPACT if compact else _ESRGAN)):
            raise ValueError(f"{_NEITHER}: layers of type {strange[0]}")
        reading = weights
        blocks = read_blocks(layers, weights.read_bytes())
        reading = param
        return _compact(layers, blocks) if compact else _esrgan(layers, blocks)
    except ValueError as error:
        raise UserError(
            "bad_weights", f"{show(reading)}: {error}; get both files again, or use another model"
        ) from None


def _repeats(layer: Layer, factor: float) -> bool:
    """An Interp that repeats each pixel `factor` times (nearest)."""
    return layer.whole(0) == 1 and layer.decimal(1) == layer.decimal(2) == factor


def _esrgan(layers: list[Layer], blocks: list[Conv | Array]) -> dict[str, Array]:
    """conv_first, body.{b}.rdb{1..3}.conv{1..5}, conv_body, conv_up{u}, conv_hr, conv_last."""
    convs = [block for block in blocks if isinstance(block, Conv)]
    resizes = [layer for layer in layers if layer.type == "Interp"]
    depth, rest = divmod(len(convs) - 4 - len(resizes), 15)
    if depth < 1 or rest or not all(_repeats(layer, 2.0) for layer in resizes):
        raise ValueError(_NEITHER)
    names = ["conv_first"]
    names += [
        f"body.{block}.rdb{dense}.conv{conv}"
        for block in range(depth)
        for dense in (1, 2, 3)
        for conv in (1, 2, 3, 4, 5)
    ]
    names += ["conv_body", *(f"conv_up{n + 1}" for n in range(len(resizes)))]
    names += ["conv_hr", "conv_last"]
    named = dict(zip(names, convs, strict=True))
    _check_esrgan(named, layers, depth)
    return _flat(named)


def _check_esrgan(named: dict[str, Conv], layers: list[Layer], depth: int) -> None:
    """ValueError unless channels, activations, concatenations and residuals are an RRDBNet's."""
    features, growth = len(named["conv_first"].bias), len(named["body.0.rdb1.conv1"].bias)
    last = named["conv_last"]
    for name, conv in named.items():
        outputs, inputs = conv.weight.shape[:2]
        if name == "conv_first":
            good = not conv.leaky
        elif ".rdb" in name:
            dense = int(name[-1])
            wanted = features if dense == 5 else growth
            good = inputs == features + (dense - 1) * growth and outputs == wanted
            good = good and conv.leaky == (dense < 5)
        elif conv is last:
            good = inputs == features and not conv.leaky
        else:
            good = inputs == outputs == features and conv.leaky == (name != "conv_body")
        if not good:
            raise ValueError(f"{_NEITHER}: {name} does not fit")
    if _residuals(layers) != Counter({"concat": 12 * depth, "add 0.2": 4 * depth, "add": 1}):
        raise ValueError(f"{_NEITHER}: its residuals do not fit")


def _residuals(layers: list[Layer]) -> Counter[str]:
    """How often each kind of joint occurs; x + 0.2 y is written as one layer or as two."""
    found: Counter[str] = Counter()
    for layer in layers:
        if layer.type == "Concat":
            found["concat"] += 1
        elif layer.type == "Eltwise":
            scales = layer.params.get(1, ())
            fits = layer.whole(0) == 1 and np.shape(scales) == (2,)
            found["add 0.2" if fits and np.allclose(scales, (0.2, 1.0)) else "other"] += 1
        elif layer.type == "BinaryOp" and layer.whole(0) == 0 and not layer.whole(1):
            found["add"] += 1
        elif layer.type == "BinaryOp":
            product = layer.whole(0) == 2 and layer.whole(1) == 1
            fits = product and math.isclose(layer.decimal(2), 0.2, rel_tol=1e-5)
            found["times 0.2" if fits else "other"] += 1
    if pairs := found.pop("times 0.2", 0):
        found["add"] -= pairs
        found["add 0.2"] += pairs
    return found


def _compact(layers: list[Layer], blocks: list[Conv | Array]) -> dict[str, Array]:
    """body.{i}: convolutions at even i, the slopes of PReLUs at odd i."""
    tail = [layer for layer in layers if layer.type not in ("Input", "Split")][len(blocks) :]
    kinds = [layer.type for layer in tail]
    turns = all(isinstance(block, Conv) == (n % 2 == 0) for n, block in enumerate(blocks))
    if kinds[:3] != ["PixelShuffle", "Interp", "BinaryOp"] or not turns or len(blocks) % 2 == 0:
        raise ValueError(_NEITHER)
    if len(kinds) > 3:
        raise ValueError("it resizes its result once more: use the pair of the full scale (x4)")
    convs = [block for block in blocks if isinstance(block, Conv)]
    scale = tail[0].whole(0)
    inputs, outputs = convs[0].weight.shape[1], convs[-1].weight.shape[0]
    widths = [conv.weight.shape[1] for conv in convs[1:]]
    if (
        [len(conv.bias) for conv in convs[:-1]] != widths
        or [len(block) for block in blocks if not isinstance(block, Conv)] != widths
        or any(conv.leaky for conv in convs)
        or outputs != inputs * scale * scale
        or not _repeats(tail[1], scale)
        or tail[2].whole(0) != 0
    ):
        raise ValueError(f"{_NEITHER}: its shapes do not fit")
    state: dict[str, Array] = {}
    for place, block in enumerate(blocks):
        if isinstance(block, Conv):
            state |= _flat({f"body.{place}": block})
        else:
            state[f"body.{place}.weight"] = block
    return state


def _flat(named: dict[str, Conv]) -> dict[str, Array]:
    state: dict[str, Array] = {}
    for name, conv in named.items():
        state[f"{name}.weight"] = conv.weight
        state[f"{name}.bias"] = conv.bias
    return state
