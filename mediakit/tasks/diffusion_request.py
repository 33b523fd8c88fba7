"""What the engine is asked for on behalf of an item."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediakit.batch.item import Decoded, Item
from mediakit.prompts.syntax import literal
from mediakit.tasks.diffusion_models import Models
from mediakit.tasks.diffusion_options import DiffusionParams

if TYPE_CHECKING:
    from mediakit.engines.diffusion.request import Request
    from mediakit.media.pictures import Picture

_ROOM = 2 << 20  # pixels of a batch computed at once, as far as `auto` goes


@dataclass
class Asked:
    """A decoded item: what the engine is asked for, and how its picture becomes the result."""

    request: "Request"
    finish: "Callable[[Any], Picture]"  # H x W x 3 of the net -> the picture to write
    nbytes: int = 0
    opaque: bool = False


def params_of(item: Item) -> DiffusionParams:
    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, DiffusionParams)
    return params


def request_of(item: Item, models: Models, size: tuple[int, int], **more: Any) -> "Request":
    """`size`: width and height. ItemError for what the model can't do."""
    from mediakit.engines.diffusion.request import Request

    p = params_of(item)
    assert isinstance(p.seed, int) and p.steps and p.guidance_scale is not None
    models.check_needed(item)
    request = Request(
        prompt=literal(p.prompt or ""),
        seed=p.seed,
        width=size[0],
        height=size[1],
        steps=p.steps,
        guidance_scale=p.guidance_scale,
        negative_prompt=literal(p.negative_prompt) if p.negative_prompt else None,
        scheduler=p.scheduler,
        eta=p.eta,
        clip_skip=p.clip_skip,
        loras=models.loras(item, p.lora),
        embeddings=models.embeddings(item, p.embedding),
        **more,
    )
    models.facts(item).check(request)
    return request


def groups(
    batch: list[tuple[Item, Decoded]], fitting: bool
) -> Iterator[list[tuple[Item, Decoded]]]:
    """Neighbours that one model makes, no more at once than suits their size if `fitting`."""
    group: list[tuple[Item, Decoded]] = []
    room = 0
    for item, decoded in batch:
        assert item.recipe is not None
        request = decoded.media.request
        pixels = request.width * request.height
        if group:
            assert group[0][0].recipe is not None
            other = item.recipe.models.items() != group[0][0].recipe.models.items()
            if other or (fitting and room + pixels > _ROOM):
                yield group
                group, room = [], 0
        group.append((item, decoded))
        room += pixels
    if group:
        yield group
