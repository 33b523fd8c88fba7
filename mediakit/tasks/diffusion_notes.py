"""What A1111's web UI would have written into an item's picture; sites and tools read it."""

import os

from mediakit import __version__
from mediakit.batch.item import Item
from mediakit.models.adapters import split_weight
from mediakit.models.engines import WEIGHTS
from mediakit.tasks.diffusion_models import spec_of
from mediakit.tasks.diffusion_request import params_of


def parameters(item: Item, size: tuple[int, int] | None) -> str:
    """Its `parameters` text. `size`: width and height, where the Params alone ask for them."""
    from mediakit.media.a1111 import Parameters, compose, to_fields

    p, spec = params_of(item), spec_of(item)
    said = p.model_dump(exclude={"vae", "width", "height"})
    said |= {"model": _bare(spec.name), "model_hash": spec.sha256[:10]}
    if size:
        said |= {"width": size[0], "height": size[1]}
    prompt = " ".join([p.prompt or "", *(_tag(*split_weight(told)) for told in p.lora)])
    return compose(Parameters(prompt, p.negative_prompt or "", to_fields(said, __version__)))


def _bare(name: str) -> str:
    """A model's name without folders and suffix, as A1111 shows it."""
    name = name.rstrip("/").replace("\\", "/").rpartition("/")[2]
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in WEIGHTS else name


def _tag(name: str, weight: float) -> str:
    return f"<lora:{_bare(name)}:{weight:g}>"
