"""Which values a picture is made with where user, preset and model entry name none."""

import math
from typing import TYPE_CHECKING, Any

from mediakit.tasks.diffusion_options import DiffusionParams

if TYPE_CHECKING:
    from mediakit.engines.diffusion.probe import Model

# those of Stable Diffusion and of FLUX.1 dev
STEPS = 30
GUIDANCE = 7.5
EMBEDDED_GUIDANCE = 3.5


def unsaid(params: DiffusionParams, facts: "Model | None") -> dict[str, Any]:
    """Values for Params that are None: part of what a picture remembers, so that it is made again
    though a constant here has changed. Without `facts`, those that hold for every model."""
    found: dict[str, Any] = {}
    if params.steps is None:
        found["steps"] = STEPS
    if facts and params.guidance_scale is None:
        usual = GUIDANCE if facts.guided else 0.0
        found["guidance_scale"] = EMBEDDED_GUIDANCE if facts.embedded else usual
    return found


def unsaid_strength(params: DiffusionParams, usual: float | None) -> dict[str, float]:
    """The strength where nobody named it, of tasks that have a `usual` one."""
    named = getattr(params, "strength", None) is not None
    return {} if usual is None or named else {"strength": usual}


def unsaid_size(width: int | None, height: int | None, facts: "Model | None") -> dict[str, int]:
    """The sides of a generated picture that nobody named: the model's own."""
    sides = {"width": width, "height": height}
    return {name: facts.native for name, side in sides.items() if facts and side is None}


def rounded(side: int, facts: "Model") -> int:
    """A side as asked for, in multiples of what the model needs."""
    return max(facts.multiple, math.ceil(side / facts.multiple) * facts.multiple)
