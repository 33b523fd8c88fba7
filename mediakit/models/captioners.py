"""Which files are a captioning model in the layout of transformers, of which family, and what each
family can be asked."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from mediakit.errors import UserError, show
from mediakit.models.folders import component
from mediakit.models.spec import COMPONENT

# mode -> Florence-2's own word for it (Xiao et al. 2023, arXiv:2311.06242, table 13)
FLORENCE_MODES = {
    "brief": "<CAPTION>",
    "detailed": "<DETAILED_CAPTION>",
    "paragraph": "<MORE_DETAILED_CAPTION>",
    "tags": "<OD>",
    "regions": "<DENSE_REGION_CAPTION>",
    "ocr": "<OCR>",
}
LISTS = ("tags", "regions")  # modes whose answer is several texts, not one
CAPTIONS = ("brief", "detailed", "paragraph")


@dataclass(frozen=True)
class Family:
    """`prompt`: what a prompt is to it: the "beginning" that it goes on from, a "question", or
    nothing. `modes`: what else it can be asked for, by name; the first is the usual."""

    title: str
    prompt: str = ""
    modes: tuple[str, ...] = ()


# `family` of catalog entries, and the model_type of a config.json
FAMILIES = {
    "blip": Family("BLIP", prompt="beginning"),
    "git": Family("GIT", prompt="beginning"),
    "florence2": Family("Florence-2", modes=tuple(FLORENCE_MODES)),
    "vision-encoder-decoder": Family("a vision encoder-decoder"),
    "vlm": Family("a vision GGUF", prompt="question"),
}
_CLASSES = {
    "blip": "BlipForConditionalGeneration",
    "git": "GitForCausalLM",
    "florence2": "Florence2ForConditionalGeneration",
    "vision-encoder-decoder": "VisionEncoderDecoderModel",
}
_PICTURES = "preprocessor_config.json"
_PROCESSOR = "processor_config.json"  # holds the former too, in the newest layout
_BESIDE = re.compile(
    r"(?:generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|"
    r"preprocessor_config|processor_config)\.json|vocab\.txt|merges\.txt"
)
_LIST = "a name from `mediakit models list --task caption`"


def family_of(config: Mapping[str, Any]) -> str | None:
    """The family that a config.json names, if it is a captioner's."""
    kind = str(config.get("model_type"))
    architectures = config.get("architectures") or []
    return kind if kind in _CLASSES and architectures[:1] in ([_CLASSES[kind]], []) else None


def class_of(family: str) -> str:
    """The class of transformers."""
    return _CLASSES[family]


def choose(
    names: Collection[str], read: Callable[[str], bytes], where: str, wanted: bool
) -> tuple[str, ...] | None:
    """The files of the captioner among `names`; None if there is none.

    `read(name)`: what a small file holds. `where`: how messages call the folder, or hf:org/repo.
    UserError missing_component for one that is not whole, unsafe_weights for one that needs code
    of its own; and if one is `wanted`, unknown_model where there is none.
    """
    config = parsed(read(COMPONENT)) if COMPONENT in names else {}
    if config.get("model_type") == "florence2" and "auto_map" in config:
        raise UserError(
            "unsafe_weights",
            f"{where} is Florence-2 in a form that needs code from the hub, which is not run; use "
            "florence-2-base or florence-2-large, or hf:florence-community/...",
        )
    if family_of(config) is None:
        if wanted:
            kinds = "BLIP, Florence-2, GIT or a vision encoder-decoder"
            raise UserError("unknown_model", f"{where} is no captioner ({kinds}); give {_LIST}")
        return None
    weights = component(names)
    lacks = [] if weights else ["weights (model.safetensors)"]
    if _PICTURES not in names and _PROCESSOR not in names:
        lacks.append(_PICTURES)
    if "tokenizer.json" not in names and not {"vocab.json", "vocab.txt"} & set(names):
        lacks.append("tokenizer.json")
    if weights is None or lacks:
        raise UserError(
            "missing_component", f"{where} lacks {' and '.join(lacks)}; get the whole model again"
        )
    return (*weights.files, *sorted(name for name in names if _BESIDE.fullmatch(name)))


def not_a_file(model: str) -> UserError:
    """What to give in place of `model`, which names a file: these models are folders."""
    return UserError(
        "wrong_model",
        f"{show(model)} is one file; a captioner is a folder with {COMPONENT}, weights, tokenizer "
        f"and {_PICTURES}, or a vision GGUF; give such a one, or {_LIST}",
    )


def is_captioner(names: Collection[str]) -> bool:
    """Whether files that were chosen as a model are one of these."""
    return COMPONENT in names and bool({_PICTURES, _PROCESSOR} & set(names))


def parsed(data: bytes) -> dict[str, Any]:
    """A config.json; empty if it is none."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def check_asked(family: str, name: str, asked: Mapping[str, Any]) -> None:
    """UserError useless_option for what a model of the family can't be asked: `asked` holds the
    Params prompt, mode, min_words, max_words and beam_size that the user set."""
    able = FAMILIES[family]
    model = f"{show(name)} ({able.title})"
    if asked.get("prompt") and not able.prompt:
        cure = "use --mode" if able.modes else "leave it out, or use a vision GGUF"
        raise UserError("useless_option", f"--prompt: {model} can't be prompted; {cure}")
    mode = asked.get("mode")
    if mode and mode not in able.modes:
        what = f"has {', '.join(able.modes)}" if able.modes else "has no modes"
        raise UserError("useless_option", f"--mode {mode}: {model} {what}; leave it out")
    for option in ("min_words", "max_words"):
        if asked.get(option) is not None and mode and mode not in CAPTIONS:
            flag = option.replace("_", "-")
            raise UserError(
                "useless_option", f"--{flag} is for captions; leave it out with --mode {mode}"
            )
    if family == "vlm":
        for option in ("beam_size", "no_repeat_ngram_size", "min_words"):
            if asked.get(option) is not None:
                flag = option.replace("_", "-")
                raise UserError("useless_option", f"--{flag}: {model} has none; leave it out")
