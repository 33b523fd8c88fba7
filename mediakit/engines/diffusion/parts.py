"""How the parts of a pipeline are loaded from a diffusers folder, asking no hub for anything."""

import importlib
import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mediakit.engines.diffusion import layout
from mediakit.engines.diffusion.configs import vae_config
from mediakit.engines.diffusion.pickled import unwrapped
from mediakit.engines.diffusion.probe import read_json
from mediakit.engines.faults import meaning
from mediakit.engines.weights import read_weights
from mediakit.errors import UserError, show

# Parts that no picture needs
_LEFT_OUT = ("safety_checker", "feature_extractor", "image_encoder")
_LIBRARIES = ("diffusers", "transformers")
_WEIGHTS = (".safetensors", ".bin")


def folder_parts(
    path: Path, dtype: torch.dtype, given: Mapping[str, Any], only: tuple[str, ...] | None = None
) -> dict[str, Any]:
    """Component or setting of model_index.json -> object; those `given` are not loaded.

    `only`: these and no others. UserError missing_component, bad_weights, unsafe_weights.
    """
    quiet()
    index = read_json(path / "model_index.json")
    found: dict[str, Any] = {}
    for name, value in index.items():
        if name.startswith("_") or name in _LEFT_OUT or (only and name not in only):
            continue
        if name in given:
            found[name] = given[name]
        elif not isinstance(value, list):
            found[name] = value  # a setting
        elif value[0] is not None:
            found[name] = load_part(path / name, value[0], value[1], dtype)
        else:
            found[name] = None
    return found


def load_part(folder: Path, library: str, kind: str, dtype: torch.dtype) -> Any:
    """One component. Weights are read as safetensors, or as pickles by a weights-only loader."""
    if library not in _LIBRARIES:
        raise UserError(
            "unsafe_weights",
            f"{show(folder)} needs code of its own ({show(library)}), which is not run",
        )
    if not folder.is_dir():
        raise UserError(
            "missing_component",
            f"{show(folder)} is missing; get the model's folder again, whole",
        )
    cls = getattr(importlib.import_module(library), kind, None)
    if cls is None:
        raise UserError(
            "bad_weights", f"{show(folder)}: {library} has no {show(kind)}; update {library}"
        )
    options: dict[str, Any] = {"local_files_only": True}
    if isinstance(cls, type) and issubclass(cls, torch.nn.Module):
        options |= {"torch_dtype" if library == "diffusers" else "dtype": dtype}
        options |= _variant(folder)
    return guarded(folder, lambda: cls.from_pretrained(str(folder), **options))


def guarded(path: Path, load: Any) -> Any:
    """What `load()` returns; its errors about the files become UserErrors that name `path`."""
    fault: Exception | None = None
    try:
        found = load()
        net = found if isinstance(found, torch.nn.Module) else None
        if net is not None and any(p.is_meta for p in net.parameters()):
            raise ValueError("weights are missing")
        return found
    except UserError:
        raise
    except MemoryError:
        raise
    except Exception as error:
        fault = meaning(error) or _reason(path, error)
    raise fault


def vae_part(path: Path, family: str, dtype: torch.dtype) -> Any:
    """Another VAE than the model's own: a folder, or one file in either layout."""
    quiet()
    from diffusers import AutoencoderKL

    if path.is_dir():
        kind = str(read_json(path / "config.json").get("_class_name"))
        return load_part(path, "diffusers", kind, dtype)
    shapes, _ = layout.header(path)
    prefix = next(
        (p for p in (*layout.VAE, "") if f"{p}encoder.down.0.block.0.conv1.weight" in shapes), None
    )
    if prefix is None:
        raise UserError(
            "wrong_model", f"{show(path)} is no VAE in one file; give the folder of a diffusers VAE"
        )
    import diffusers.loaders.single_file_utils as conversions

    convert: Any = conversions.convert_ldm_vae_checkpoint
    config = vae_config(shapes, prefix, family)
    state = {
        f"first_stage_model.{key.removeprefix(prefix)}": value
        for key, value in unwrapped(read_weights(path)).items()
        if key.startswith(prefix)
    }
    return guarded(
        path,
        lambda: filled(AutoencoderKL, config, convert(state, config), dtype),
    )


def filled(cls: Any, config: Mapping[str, Any], state: Mapping[str, Any], dtype: Any) -> Any:
    """A net of diffusers with these weights, all of them."""
    with torch.device("meta"):
        net = cls.from_config(dict(config))
    wanted = net.state_dict()
    wrong = [
        key for key, value in wanted.items() if key not in state or value.shape != state[key].shape
    ]
    if wrong:
        raise ValueError(f"{len(wrong)} weights of {cls.__name__} are missing: {wrong[0]} ...")
    net.load_state_dict({key: _own(state[key], dtype) for key in wanted}, assign=True)
    return net.eval().requires_grad_(False)


def _own(value: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Not a piece of a larger tensor: where that begins in memory, sums are added up otherwise."""
    piece = value.untyped_storage().nbytes() != value.numel() * value.element_size()
    return (value.clone() if piece else value).to(dtype).contiguous()


def quiet() -> None:
    """What the libraries say goes through our warnings, or nowhere."""
    import diffusers
    import transformers

    for library in (diffusers, transformers):
        said: Any = library.utils.logging
        said.set_verbosity(logging.CRITICAL)
        said.disable_progress_bar()


def _variant(folder: Path) -> dict[str, Any]:
    """The half precision files, where a folder holds no others."""
    names = [f.name for f in folder.iterdir() if f.suffix in _WEIGHTS]
    # model.fp16.safetensors, or of several parts model.fp16-00001-of-00002.safetensors
    whole = [name for name in names if not re.search(r"\.fp16[.-]", name)]
    return {"variant": "fp16"} if names and not whole else {}


def _reason(path: Path, error: Exception) -> UserError:
    """diffusers says OSError whatever it was; what it was stands in the errors before."""
    chain: list[BaseException] = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    said = " ".join(str(one) for one in chain)
    name, text = show(path), show((str(error).strip().splitlines() or [type(error).__name__])[0])
    if "weights_only" in said or "Unsupported global" in said or "Weights only load" in said:
        return UserError(
            "unsafe_weights",
            f"{name} holds code beside its weights and was not opened; get a .safetensors of it",
        )
    files = path.is_dir() and {file.suffix for file in path.iterdir()}.intersection(_WEIGHTS)
    if path.is_dir() and not files and isinstance(error, OSError):
        return UserError("missing_component", f"{name} lacks files ({text[:120]}); get it again")
    return UserError("bad_weights", f"{name} is damaged or not what it says ({text[:120]})")
