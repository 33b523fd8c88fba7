"""Which files of a folder in the layout of diffusers are the model: configs, tokenizers, one set
of weights.

Of several sets safetensors come before .bin, which is a pickle. `variant` is diffusers' word for
the middle part of names such as diffusion_pytorch_model.fp16.safetensors.
"""

import json
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediakit.errors import UserError, show
from mediakit.models.spec import COMPONENT, PIPELINE

# Not loaded by the engine; the first one's weights are a fifth of a Stable Diffusion 1.5.
UNUSED = frozenset({"safety_checker", "image_encoder"})
_OPTIONAL = frozenset({"feature_extractor"})  # reads pictures for the safety checker
_BESIDE = frozenset({".json", ".txt", ".model", ".jinja"})  # configs, vocabularies, templates
_NAME = re.compile(r"[^\s./\\:\0][^\s/\\:\0]*")  # of a file that any disk and any source can have
_WITHOUT_WEIGHTS = re.compile(r"Tokenizer|Scheduler|FeatureExtractor|Processor")
_STEM = r"(?P<stem>diffusion_pytorch_model|model|pytorch_model)"
_KIND = r"\.(?P<kind>safetensors|bin)"
_WEIGHTS = re.compile(
    rf"{_STEM}(?:\.(?P<variant>\w+?))?(?:-(?P<shard>\d{{5}})-of-(?P<shards>\d{{5}}))?"
    rf"(?:\.(?P<old>\w+))?{_KIND}"
)
_SHARDS = re.compile(  # the files that say which shard holds what
    rf"{_STEM}{_KIND}(?:\.(?P<old>\w+))?\.index(?:\.(?P<variant>\w+))?\.json"
)


@dataclass(frozen=True)
class Layout:
    """The files of a model, as paths from its folder, and the variant to load them with."""

    files: tuple[str, ...]
    variant: str | None


@dataclass(frozen=True)
class _Set:
    """One complete set of a component's weights."""

    kind: str
    variant: str
    files: tuple[str, ...]


def read_folder(folder: Path, lending: bool = False) -> Layout:
    """The model in a folder of diffusers, or one component of it (such as a VAE).

    `lending`: it lends components to another model, and need not have all of its own.
    fp32 where it is there, else the variant that is. UserError: unknown_model for a folder that
    is neither; bad_weights for a damaged index; missing_component. OSError if it can't be read.
    """
    if (folder / PIPELINE).is_file():
        found = (path.relative_to(folder) for path in folder.glob("*/*") if path.is_file())
        names = [path.as_posix() for path in found]
        index = (folder / PIPELINE).read_bytes()
        return pipeline(names, index, show(folder), lending=lending)
    if (folder / COMPONENT).is_file() and (layout := component(os.listdir(folder))):
        return layout
    raise UserError(
        "unknown_model",
        f"{show(folder)} is no folder of a model: one has {PIPELINE}, and beside it a folder with "
        "config and weights for each component (unet/, vae/, text_encoder/, tokenizer/, "
        "scheduler/); give such a folder, a .safetensors file, or a name from "
        "`mediakit models list`",
    )


def pipeline(
    names: Collection[str], index: bytes, where: str, prefer: str = "", lending: bool = False
) -> Layout:
    """The model that `names` and the content of its model_index.json are.

    `prefer`: the variant wanted where there is one. `where`: how messages call it. `lending`: what
    is not there is not missed. UserError bad_weights for an index that is none, missing_component.
    """
    classes = _components(index, where)
    inside = {name: _inside(names, name) for name in classes}
    weighty = [name for name, said in classes.items() if not _WITHOUT_WEIGHTS.search(said)]
    sets = {name: _sets(inside[name]) for name in weighty}
    if lending:
        classes = {
            n: said for n, said in classes.items() if inside[n] and (n not in sets or sets[n])
        }
        sets = {name: group for name, group in sets.items() if group}
    else:
        _check_complete(where, inside, sets)
    variants = sorted({s.variant for group in sets.values() for s in group}, key=_fp16_first)
    for wanted in (prefer, "", *variants):
        chosen = {name: _best(group, wanted) for name, group in sets.items()}
        if all(chosen.values()):
            break
    files = [PIPELINE]
    for name in classes:
        best = chosen.get(name)
        kept = [*_beside(inside[name]), *(best.files if best else ())]
        files += [f"{name}/{file}" for file in sorted(kept)]
    used = any(best and best.variant for best in chosen.values())
    return Layout(tuple(files), wanted if used else None)


def component(names: Collection[str], prefer: str = "") -> Layout | None:
    """A component of its own (such as a VAE): config.json and weights; None if that is not it."""
    top = [name for name in names if _NAME.fullmatch(name)]
    group = _sets(top)
    best = _best(group, prefer) or _best(group, "") or next(iter(group), None)
    if COMPONENT not in top or not best:
        return None
    return Layout((COMPONENT, *best.files), best.variant or None)


def _components(index: bytes, where: str) -> dict[str, str]:
    """Component -> name of its class, of those that are used."""
    try:
        content = json.loads(index)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise UserError("bad_weights", f"{where}: {PIPELINE} is damaged; get it again")
    found: dict[str, Any] = {
        name: said
        for name, said in content.items()
        if isinstance(said, list) and len(said) == 2 and said[0] and name not in UNUSED
    }
    if not found or not all(re.fullmatch(r"\w+", name) for name in found):
        raise UserError("bad_weights", f"{where}: {PIPELINE} names no components; get it again")
    return {name: str(said[1]) for name, said in found.items()}


def _inside(names: Collection[str], folder: str) -> list[str]:
    tails = (name.removeprefix(f"{folder}/") for name in names if name.startswith(f"{folder}/"))
    return [tail for tail in tails if _NAME.fullmatch(tail)]


def _beside(names: Collection[str]) -> list[str]:
    return [name for name in names if Path(name).suffix in _BESIDE and not _SHARDS.fullmatch(name)]


def _sets(names: Collection[str]) -> list[_Set]:
    """The complete sets of weights; of one in shards all shards and their index."""
    whole: dict[tuple[str, str, str], str] = {}
    shards: dict[tuple[str, str, str], list[tuple[str, int]]] = {}
    indexes: dict[tuple[str, str, str], str] = {}
    for name in names:
        if match := _SHARDS.fullmatch(name):
            indexes[_key(match)] = name
        elif match := _WEIGHTS.fullmatch(name):
            if match["shard"]:
                shards.setdefault(_key(match), []).append((name, int(match["shards"])))
            else:
                whole[_key(match)] = name
    found = []
    for key in sorted(whole.keys() | (shards.keys() & indexes.keys())):
        parts = shards.get(key, [])
        is_split = key in indexes and parts and len(parts) == parts[0][1]
        # Where both are there, diffusers takes the shards, and transformers the one file.
        if is_split and (key not in whole or key[0].startswith("diffusion")):
            files = tuple(sorted([indexes[key], *(name for name, _ in parts)]))
        elif key in whole:
            files = (whole[key],)
        else:
            continue
        found.append(_Set(key[1], key[2], files))
    return found


def _key(match: re.Match[str]) -> tuple[str, str, str]:
    return match["stem"], match["kind"], match["variant"] or match["old"] or ""


def _best(group: Collection[_Set], wanted: str) -> _Set | None:
    for kind in ("safetensors", "bin"):
        for variant in (wanted, ""):
            for one in group:
                if (one.kind, one.variant) == (kind, variant):
                    return one
    return None


def _fp16_first(variant: str) -> tuple[bool, str]:
    return variant != "fp16", variant


def _check_complete(
    where: str, inside: Mapping[str, list[str]], sets: Mapping[str, list[_Set]]
) -> None:
    for name, names in inside.items():
        if name in sets and not sets[name]:
            lacks = "weights (.safetensors)"
        elif name in sets and COMPONENT not in names:
            lacks = COMPONENT
        elif not _beside(names) and name not in _OPTIONAL:
            lacks = "files"
        else:
            continue
        raise UserError(
            "missing_component",
            f"{where}: {PIPELINE} names {name}, but {name}/ has no {lacks}; get the whole folder",
        )
