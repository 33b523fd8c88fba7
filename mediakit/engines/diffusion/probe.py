"""What a model is and can do, told from its files without loading them or any model library."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mediakit.engines.diffusion import layout
from mediakit.engines.diffusion.families import CLASSES, FAMILIES, Family, other
from mediakit.engines.diffusion.request import INPAINT, TEXT2IMG, Files, Request
from mediakit.engines.diffusion.schedulers import TAKES_ETA, known
from mediakit.errors import ItemError, UserError, show

LENT = ("vae", "text_encoder", "tokenizer")  # what folders may leave to others


@dataclass(frozen=True)
class Model:
    """A checkpoint's family and what sets it apart from others of the family.

    `native`: the side in pixels that it was trained at. `embedded`: the guidance scale is an
    input of the net; `guided`: it can be given at all. `scheduler`: the class of its own.
    `lacks`: components that must come from elsewhere.
    """

    name: str
    family: Family
    tasks: frozenset[str]
    native: int
    multiple: int
    scheduler: str
    guided: bool = True
    embedded: bool = False
    lacks: tuple[str, ...] = ()

    @property
    def schedulers(self) -> tuple[str, ...]:
        return tuple(known(self.family.flow))

    def check(self, request: Request) -> None:
        """ItemError for what the model can't do: wrong_model (the task), usage (sizes, ranges)
        and useless_option (a parameter that would do nothing)."""
        if request.task not in self.tasks:
            raise ItemError("wrong_model", self._cannot(request.task))
        sides = {"width": request.width, "height": request.height}
        for side, value in sides.items():
            if value < self.multiple or value % self.multiple:
                raise ItemError(
                    "usage",
                    f"a {side} of {value} can't be made by {self.name}; it takes multiples of "
                    f"{self.multiple}: {max(1, round(value / self.multiple)) * self.multiple}",
                )
        _check_arrays(request)
        if not 0 <= request.strength <= 1 or request.steps < 1:
            raise ItemError("usage", "strength lies between 0 and 1, and steps are at least 1")
        if request.steps < self.family.fewest:
            raise ItemError("usage", f"{self.name} takes at least {self.family.fewest} steps")
        self._check_useful(request)

    def _cannot(self, task: str) -> str:
        if self.tasks == {INPAINT}:
            return f"{self.name} is an inpainting checkpoint; give it a picture and a mask"
        return f"{self.name} ({self.family.name}) can't do {task}; take a Stable Diffusion model"

    def _check_useful(self, request: Request) -> None:
        family = self.family
        name, kinds = request.scheduler, known(family.flow)
        if name is not None and name not in kinds:
            raise ItemError(
                "useless_option",
                f"scheduler {show(name)}: {self.name} takes {', '.join(kinds)}, or its own",
            )
        kind = kinds[name][0] if name else self.scheduler
        useless = None
        if request.eta is not None and kind not in TAKES_ETA:
            useless = "eta does nothing with this scheduler; leave it out, or take ddim"
        elif request.clip_skip and not family.clip_skip:
            useless = f"clip skip: {self.name} has no CLIP encoder to skip layers of; leave it out"
        elif request.negative_prompt and (not family.negative or self.embedded):
            useless = f"{self.name} takes no negative prompt; leave it out"
        elif request.negative_prompt and request.guidance_scale <= 1:
            useless = (
                "a negative prompt does nothing at a guidance scale of 1 or less; leave it out"
            )
        elif request.guidance_scale > 1 and not self.guided:
            useless = f"guidance scale: {self.name} takes no guidance; leave it out, or give 0"
        elif request.embeddings and not family.clip:
            useless = f"textual inversions can't be used with {self.name}; leave them out"
        if useless:
            raise ItemError("useless_option", useless)


def probe(files: Files) -> Model:
    """What is at `files.path`. UserError unknown_model (nothing there), bad_weights (damaged or of
    an architecture that is not known), wrong_model (no text-to-image model), missing_component."""
    path = files.path
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise UserError("unknown_model", f"{show(path)} does not exist")
    return single(path)


def single(path: Path) -> Model:
    """The same for one file in the layout of its authors."""
    found = layout.identify(path)
    family = FAMILIES[found.family]
    native = found.native or family.native
    tasks = frozenset(family.pipelines)
    model = Model(show(path.name), family, tasks, native, family.multiple, found.scheduler)
    model = replace(model, lacks=found.lacks)
    if found.channels == 9:
        return replace(model, tasks=frozenset({INPAINT}))
    if found.family.startswith("flux"):
        return replace(model, guided=found.guidance, embedded=found.guidance)
    return model


def _folder(path: Path) -> Model:
    index = read_json(path / "model_index.json")
    kind = str(index.get("_class_name"))
    family = FAMILIES[CLASSES[kind]] if kind in CLASSES else other(kind)
    net = read_json(path / family.net / "config.json", needed=kind in CLASSES)
    if family.name == "sd1" and net.get("use_linear_projection"):
        family = FAMILIES["sd2"]
    vae = read_json(path / "vae" / "config.json", needed=False)
    levels = len(vae.get("block_out_channels", ())) or 4
    scale = 2 ** (levels - 1)
    sample = net.get("sample_size")
    native = sample * scale if isinstance(sample, int) else family.native
    scheduler = str(read_json(path / "scheduler" / "scheduler_config.json").get("_class_name"))
    tasks = frozenset(family.pipelines)
    multiple = max(family.multiple, scale) if family.net == "unet" else family.multiple
    model = Model(show(path.name), family, tasks, native, multiple, scheduler)
    lacks = tuple(name for name in LENT if index.get(name) == [None, None])
    model = replace(model, lacks=lacks)
    if net.get("in_channels") == 9:
        return replace(model, tasks=frozenset({INPAINT}))
    if family.name.startswith("flux"):
        distilled = bool(index.get("is_distilled"))
        guidance = bool(net.get("guidance_embeds"))
        if family.name == "flux2-klein":
            return replace(model, guided=not distilled)
        return replace(model, guided=guidance, embedded=guidance)
    if net.get("time_cond_proj_dim"):  # latent consistency models
        return replace(model, embedded=True)
    return replace(model, tasks=tasks if kind in CLASSES else frozenset({TEXT2IMG}))


def read_json(path: Path, needed: bool = True) -> Mapping[str, Any]:
    """A configuration, empty if it is not needed and not there. UserError missing_component,
    bad_weights."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        if not needed:
            return {}
        raise UserError(
            "missing_component", f"{show(path)} is missing; get the model's folder again, whole"
        ) from None
    except (ValueError, OSError) as error:
        raise UserError("bad_weights", f"{show(path)} can't be read ({error})") from None
    if not isinstance(found, dict):
        raise UserError("bad_weights", f"{show(path)} is no configuration; get the model again")
    return found


def _check_arrays(request: Request) -> None:
    size = request.height, request.width
    if request.image is not None and request.image.shape != (*size, 3):
        raise ItemError("usage", f"the picture is not {request.width} x {request.height}")
    if request.mask is not None and request.mask.shape != size:
        raise ItemError("usage", f"the mask is not {request.width} x {request.height}")
