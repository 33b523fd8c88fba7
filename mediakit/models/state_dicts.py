"""How state dicts are made of others: of an ncnn pair, and of two nets mixed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediakit.errors import UserError, show
from mediakit.models.spec import ModelSpec


@dataclass(frozen=True)
class Weights:
    """The files of a net: of two the weights are mixed, `blend` of the first and the rest of the
    second. `keep` is called with a file and a function that writes its tensors as safetensors."""

    paths: tuple[Path, ...]
    blend: float | None = None
    keep: Callable[[Path, Callable[[Path], None]], object] | None = None


def from_ncnn(spec: ModelSpec, pair: Mapping[str, Path], part: Path) -> None:
    """Write the state dict of an ncnn pair (suffix -> file) to `part`, as safetensors.

    UserError missing_extra, bad_weights.
    """
    try:
        import safetensors.numpy

        from mediakit.models.ncnn import to_state_dict
    except ModuleNotFoundError as error:
        raise UserError(
            "missing_extra",
            f"{spec.name} must be converted, which needs {error.name}; "
            "install it with `pip install 'mediakit[upscale]'`",
        ) from None
    state = to_state_dict(pair[".param"], pair[".bin"])
    part.write_bytes(safetensors.numpy.save(state, metadata={"source_sha256": spec.sha256}))


def interpolate(
    a: Mapping[str, Any], b: Mapping[str, Any], weight: float, name: str
) -> dict[str, Any]:
    """`weight * a + (1 - weight) * b` for each tensor (numpy's or torch's), 0 <= weight <= 1.

    Network interpolation (arXiv:1811.10515). 1 gives `a` itself and 0 gives `b`, bit for bit;
    between, what `RealESRGANer.dni` of xinntao/Real-ESRGAN computes. UserError bad_weights, about
    the model `name`: the two are not of one net.
    """
    if weight in (0, 1):
        return dict(a if weight else b)
    if a.keys() != b.keys() or any(a[key].shape != b[key].shape for key in a):
        raise UserError(
            "bad_weights", f"{show(name)}: its two weights files are not of one net; get them again"
        )
    return {key: weight * a[key] + (1 - weight) * b[key] for key in a}
