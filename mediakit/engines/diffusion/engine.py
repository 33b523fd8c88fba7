"""How the files of a diffusion model become a loaded one."""

import warnings
from typing import Any

import torch

from mediakit.engines.diffusion.loaded import Diffusion, Place
from mediakit.engines.diffusion.parts import folder_parts, quiet, vae_part
from mediakit.engines.diffusion.probe import Model, probe
from mediakit.engines.diffusion.request import Files
from mediakit.engines.faults import meaning
from mediakit.heap import uncollected

__all__ = ["Diffusion", "load"]

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


def load(
    files: Files, device: str, dtype: str, threads: int, exact: bool, compile: bool = False
) -> Diffusion:
    """Open a diffusers folder or a checkpoint in one file; no hub is asked for anything.

    `exact`: one picture at a time, in the layout of memory that diffusers has by itself.
    `compile`: the repeated blocks of the net, which pays for long batches on a GPU. Raises
    UserError unknown_model, bad_weights, unsafe_weights, wrong_model or missing_component, and
    OutOfMemory.
    """
    with uncollected():
        return _load(files, Place(device, dtype, threads, exact, compile))


def _load(files: Files, place: Place) -> Diffusion:
    quiet()
    # deprecations inside the libraries: nothing that a user could change
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(diffusers|transformers)\b")
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*deprecated")
    model = probe(files)
    if place.device.startswith("cuda"):
        torch.backends.cudnn.benchmark = not place.exact
        torch.backends.cudnn.deterministic = place.exact
    fault: Exception | None = None
    try:
        parts = _load_parts(files, model, _DTYPES[place.dtype])
        return Diffusion(model, parts, place)
    except Exception as error:
        fault = meaning(error)
        if fault is None:
            raise
    raise fault


def _load_parts(files: Files, model: Model, dtype: torch.dtype) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if files.vae:
        family = "flux" if model.family.name.startswith("flux") else model.family.name
        given["vae"] = vae_part(files.vae, family, dtype)
    if files.path.is_dir():
        parts = folder_parts(files.path, dtype, given)
        lacking = tuple(name for name in model.lacks if parts.get(name) is None)
        if lacking and files.parts:
            parts |= folder_parts(files.parts, dtype, {}, lacking)
        return parts
    from mediakit.engines.diffusion.single_file import single_file_parts

    return single_file_parts(files, dtype, given)
