"""How weights become a net by spandrel, and what is wrong with those that can't."""

import importlib.util
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch

from mediakit.engines.faults import meaning
from mediakit.engines.nets import spandrel
from mediakit.engines.weights import read_weights, write_weights
from mediakit.errors import UserError, show
from mediakit.models.state_dicts import Weights, interpolate

M = TypeVar("M")
Descriptor = Any  # spandrel's, which has no types

# CodeFormer's licence is not a free one, and spandrel keeps it in a package of its own
_EXTRA = "spandrel_extra_arches"
_CODEFORMER = {"position_emb", "idx_pred_layer.1.weight", "quantize.embedding.weight"}


def opened(
    weights: Path | Weights, device: str, exact: bool, make: Callable[[Descriptor, str], M]
) -> M:
    """What `make` makes of the net in a .safetensors or .pth, and of the name for messages.

    Raises UserError unsafe_weights, bad_weights, unknown_model or missing_extra, OutOfMemory, and
    what `make` does.
    """
    if isinstance(weights, Path):
        weights = Weights((weights,))
    name = show(weights.paths[0])
    states = [spandrel.canonicalize_state_dict(read_weights(path)) for path in weights.paths]
    state = states[0]
    if len(states) == 2:
        share = 1.0 if weights.blend is None else weights.blend
        state = interpolate(states[0], states[1], share, name)
    # said once by nets that use torch's older call form; nothing a user could change
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    fault: Exception | None = None
    try:
        net = _build(state, name)
        if device.startswith("cuda"):
            torch.backends.cudnn.benchmark = not exact  # equal tiles: pays from the second on
            torch.backends.cudnn.deterministic = exact
            # or float32, and 16 bits with it, would be rounded to 11: torch's default for cuDNN
            torch.backends.cudnn.allow_tf32 = False
        made = make(net, name)
        for path, tensors in zip(weights.paths, states, strict=True):
            if weights.keep:
                weights.keep(path, partial(write_weights, tensors))
        return made
    except Exception as error:
        fault = meaning(error)
        if fault is None:
            raise
    raise fault


def _build(state: dict[str, Any], name: str) -> Descriptor:
    try:
        return _registry(state, name).load(state)
    except spandrel.UnsupportedModelError:
        reason = "is of an architecture that is not known"
    except UserError:
        raise
    except Exception as error:  # tensors that are missing, or of another shape than their names say
        if meaning(error):
            raise
        reason = "lacks weights or holds others than its architecture has"
    raise UserError("bad_weights", f"{name} {reason}; get another file of the model")


def _registry(state: dict[str, Any], name: str) -> Any:
    if not state.keys() >= _CODEFORMER:
        return spandrel.MAIN_REGISTRY
    if importlib.util.find_spec(_EXTRA) is None:
        raise UserError(
            "missing_extra",
            f"{name} is CodeFormer, whose licence allows no commercial use and which needs "
            "spandrel_extra_arches; install it from mediakit's folder: pip install '.[codeformer]'",
        )
    # of one of its nets, while it is imported
    warnings.filterwarnings("ignore", message="`torch.jit.script`", category=FutureWarning)
    from spandrel_extra_arches import EXTRA_REGISTRY  # type: ignore[import-untyped]

    return EXTRA_REGISTRY
