"""Which files are a Whisper model in the form of CTranslate2; and of what is none, how one is made
of it."""

import json
import re
import shlex
from collections.abc import Callable, Collection
from pathlib import PurePath
from typing import Any

from mediakit.errors import UserError, show
from mediakit.models.spec import COMPONENT, PIPELINE

MODEL = "model.bin"
_TOKENIZER = "tokenizer.json"
_PREPROCESSOR = "preprocessor_config.json"  # says 128 mel bins, where it is not 80
_VOCABULARY = re.compile(r"vocabulary\.(?:json|txt)")
# In the config.json of every Whisper of CTranslate2 (ctranslate2.specs.whisper_spec.WhisperConfig),
# and of no other of its models.
_KEYS = frozenset({"suppress_ids", "suppress_ids_begin", "lang_ids", "alignment_heads"})
_LIST = "a name from `mediakit models list --task transcribe`"
_HAS = f"{MODEL}, {COMPONENT}, {_TOKENIZER} and vocabulary.json or vocabulary.txt"


def is_whisper(names: Collection[str]) -> bool:
    """Whether files that were chosen as a model are one of these."""
    return MODEL in names and COMPONENT in names and PIPELINE not in names


def choose(
    names: Collection[str], read: Callable[[str], bytes], where: str, wanted: bool
) -> tuple[str, ...] | None:
    """The files of the Whisper model among `names`; None if there is none.

    `read(name)`: what a small file holds. `where`: how messages call the folder, or hf:org/repo.
    UserError missing_component for one that is not whole; and if one is `wanted`, wrong_model or
    unknown_model where there is none. A pipeline of diffusers is None in any case.
    """
    if PIPELINE in names or not (wanted or MODEL in names):
        return None
    config = _config(read(COMPONENT)) if COMPONENT in names else {}
    is_one = bool(_KEYS & config.keys())
    if not (wanted or is_one):
        return None
    if not is_one and (COMPONENT in names or MODEL not in names):
        raise _not_one(names, config, where)
    vocabulary = sorted(name for name in names if _VOCABULARY.fullmatch(name))
    needed = (MODEL, COMPONENT, _TOKENIZER)
    lacks = [name for name in needed if name not in names]
    if lacks or not vocabulary:
        raise _incomplete(where, (*lacks, *(() if vocabulary else ("vocabulary.json",))))
    return (*needed, *vocabulary, *((_PREPROCESSOR,) if _PREPROCESSOR in names else ()))


def not_a_file(model: str) -> UserError:
    """What to give in place of `model`, which names a file: these models are folders."""
    path = PurePath(model)
    if path.name == MODEL:
        said = f"is one file of a Whisper model, which is a folder; give {show(path.parent)}"
    else:
        said = f"{_form(path.name)}; give {_LIST}, or a folder with {_HAS}"
    return UserError("wrong_model", f"{show(model)} {said}")


def _form(name: str) -> str:
    if name.endswith(".gguf") or re.fullmatch(r"ggml.*\.bin", name):
        return "is in the form of whisper.cpp, not of CTranslate2"
    if name.endswith((".pt", ".pth")):
        return "is in the form of OpenAI's program, not of CTranslate2"
    return "is no Whisper model of CTranslate2"


def _config(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _not_one(names: Collection[str], config: dict[str, Any], where: str) -> UserError:
    if config.get("model_type") == "whisper":
        is_repository = where.startswith("hf:")
        model = where[3:].partition("@")[0] if is_repository else shlex.quote(where)
        return UserError(
            "wrong_model",
            f"{where} is a Whisper model in the form of transformers; make one of CTranslate2 of "
            f"it with `ct2-transformers-converter --model {model} --output_dir whisper-ct2 "
            f"--copy_files {_TOKENIZER} {_PREPROCESSOR} --quantization float16`, and give that "
            f"folder, or {_LIST}",
        )
    if MODEL in names:
        return UserError(
            "wrong_model",
            f"{where} is a model of CTranslate2, but not Whisper: its {COMPONENT} has none of "
            f"Whisper's keys, such as suppress_ids; give {_LIST}",
        )
    for name in sorted(names):
        said = _form(name)
        if "form" in said:
            return UserError("wrong_model", f"{where}: {show(name)} {said}; give {_LIST}")
    return UserError(
        "unknown_model",
        f"{where} is no Whisper model of CTranslate2, which has {_HAS}; give such a folder, or "
        f"{_LIST}",
    )


def _incomplete(where: str, lacks: Collection[str]) -> UserError:
    cure = "get the whole model again"
    if set(lacks) == {_TOKENIZER}:
        cure = "copy it from the model that this one was converted from"
    return UserError(
        "missing_component",
        f"{where}: a Whisper model of CTranslate2 needs {' and '.join(lacks)}, which it lacks; "
        f"{cure}",
    )
