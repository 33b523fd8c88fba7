"""Which requests are computed at once, and which need no computing."""

from typing import Any

import torch

from mediakit.engines.diffusion.request import Picture, Request


def keeps(request: Request, flow: bool) -> Picture | None:
    """The picture itself where nothing is (re)painted: strength 0, or too little of it for one
    step (of flow-matching models a part of a step counts as one)."""
    if request.image is None:
        return None
    share = request.steps * request.strength
    if request.strength > 0 and (flow or int(share) >= 1):
        return None
    if request.strength == 0:
        return Picture(request.image)
    said = (
        f"a strength of {request.strength:g} is {share:g} of {request.steps} steps, less than one"
    )
    return Picture(request.image, (f"{said}: the picture stays as it is; take more steps",))


def alike(request: Request, said: dict[str, Any]) -> tuple[Any, ...]:
    """Requests of equal tuples differ in prompt, seed and pictures only."""
    embeds = said.get("prompt_embeds")
    length = tuple(embeds.shape) if isinstance(embeds, torch.Tensor) else 0
    r = request
    return (
        r.task, r.width, r.height, r.steps, r.guidance_scale, r.scheduler, r.eta, r.strength,
        length, frozenset(said),
    )  # fmt: skip


def joined(said: list[dict[str, Any]]) -> dict[str, Any]:
    """The arguments of several prompts as one batch."""
    made: dict[str, Any] = {}
    for name in said[0].keys() - {"warnings"}:
        values = [one[name] for one in said]
        made[name] = torch.cat(values) if isinstance(values[0], torch.Tensor) else values
    return made
