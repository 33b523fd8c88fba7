"""What a GGUF file says it is, read and checked before llama.cpp sees a byte of it."""

import math
import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediakit.errors import UserError, show
from mediakit.models.gguf_reader import Damaged, Reader
from mediakit.models.gguf_types import FILE_TYPES

_NEWEST = 3
_MOST_LAYERS, _MOST_EXPERTS = 512, 1024  # LLAMA_MAX_LAYERS and LLAMA_MAX_EXPERTS
_ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
_EPSILONS = ("attention.layer_norm_epsilon", "attention.layer_norm_rms_epsilon")
_TOKENS = "tokenizer.ggml.tokens"
# arrays -> their type; llama.cpp reads as many of each as there are tokens, unchecked
_BESIDE_TOKENS = {"tokenizer.ggml.scores": 6, "tokenizer.ggml.token_type": 5}
_OTHER_MAGIC = {
    b"lmgg": "is a model of whisper.cpp or an old one of llama.cpp",
    b"tjgg": "is a model of an old llama.cpp",
    b"fmgg": "is a model of an old llama.cpp",
    b"algg": "is a LoRA adapter of an old llama.cpp",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says; `kind` is model, projector, adapter or what else it calls itself.

    `cache_bytes`: of a 16-bit KV cache, for each token of context. `tensor_bytes`: of all weights.
    `bos` and `eos` are the texts of these tokens, empty where there is none.
    """

    kind: str
    architecture: str
    name: str
    quantisation: str
    context_length: int
    vocabulary: int  # tokens
    layers: int
    cache_bytes: int
    tensor_bytes: int
    chat_template: str
    bos: str
    eos: str
    generates: bool  # text, one token after the other
    impossible: str | None  # a key whose value can't be

    def check_chat(self, path: Path) -> None:
        """UserError wrong_model unless it is a language model that writes."""
        if self.kind == "projector":
            said = "is the projector of a vision model; give the model itself, and this one to "
            raise UserError("wrong_model", f"{show(path)} {said}--projector")
        if self.kind == "adapter":
            raise _wrong(path, "is a LoRA adapter, not a model")
        if self.kind != "model":
            raise _wrong(path, f"holds {show(self.kind)!r}, not a model")
        if not (self.vocabulary and self.context_length):
            raise _wrong(path, f"holds no language model (architecture {show(self.architecture)})")
        if not self.generates:
            raise _wrong(path, "is a model for embeddings, which writes no text")
        if self.impossible:
            raise _bad(path, f"an impossible {show(self.architecture)}.{self.impossible}")

    def check_projector(self, path: Path) -> None:
        """UserError wrong_model unless it is what lets a model see pictures."""
        if self.kind != "projector":
            raise UserError(
                "wrong_model",
                f"{show(path)} is not the projector of a vision model, a file that is often "
                "called mmproj-...gguf; give that one",
            )


def header(path: Path) -> Header:
    """Read the header of a file; UserError unknown_model, bad_weights (what is wrong with it), or
    wrong_model for a form that is not GGUF. Allocates no more than the file has bytes."""
    try:
        with path.open("rb") as file:
            _check_magic(path, file.read(8))
            # a map of the file costs no memory for what is skipped
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                try:
                    return _header(Reader(data))
                except Damaged as error:
                    fault = str(error)
                except struct.error:
                    fault = "it ends too early"
    except OSError as error:
        raise UserError(
            "unknown_model", f"{show(path)} can't be read: {error.strerror or error}"
        ) from None
    raise _bad(path, fault)


def _bad(path: Path, fault: str) -> UserError:
    return UserError("bad_weights", f"{show(path)}: a damaged GGUF file ({fault}); fetch it again")


def _wrong(path: Path, said: str) -> UserError:
    cure = "give a language model in GGUF, or a name from `mediakit models list --task chat`"
    return UserError("wrong_model", f"{show(path)} {said}; {cure}")


def _check_magic(path: Path, head: bytes) -> None:
    magic = head[:4]
    if magic in _OTHER_MAGIC:
        raise _wrong(path, _OTHER_MAGIC[magic])
    if magic != b"GGUF":
        raise _wrong(path, "is no GGUF file")
    if len(head) < 8:
        raise _bad(path, "it ends too early")
    (version,) = struct.unpack("<I", head[4:])
    if version & 0xFFFF == 0:
        raise _wrong(path, "is a GGUF file for big-endian machines")
    if not 2 <= version <= _NEWEST:
        raise _wrong(path, f"is GGUF version {version}, and mediakit reads 2 and 3")


def _header(reader: Reader) -> Header:
    """Damaged for what llama.cpp would end the process over, and for one part of several."""
    values = reader.values
    parts = _number(values, "split.count", 1)
    if parts > 1:
        raise Damaged(
            f"it is part {_number(values, 'split.no') + 1} of {parts}; join them with "
            "llama-gguf-split --merge"
        )
    architecture = _word(values, "general.architecture")
    count = reader.counts.get(_TOKENS, (0, 0))[1]
    for key, kind in _BESIDE_TOKENS.items():
        if reader.counts.get(key, (kind, count)) != (kind, count):
            raise Damaged(f"{key} does not go with its tokens")
    most = max(reader.types, key=lambda name: reader.types[name], default="none")
    return Header(
        kind=_kind(architecture, values),
        architecture=architecture,
        name=_word(values, "general.name"),
        quantisation=FILE_TYPES.get(_number(values, "general.file_type", -1), most),
        context_length=_number(values, f"{architecture}.context_length"),
        vocabulary=count,
        layers=_number(values, f"{architecture}.block_count"),
        cache_bytes=_cache_bytes(architecture, values),
        tensor_bytes=reader.tensor_bytes,
        chat_template=_word(values, "tokenizer.chat_template"),
        bos=reader.text(_TOKENS, _number(values, "tokenizer.ggml.bos_token_id", -1)),
        eos=reader.text(_TOKENS, _number(values, "tokenizer.ggml.eos_token_id", -1)),
        generates=values.get(f"{architecture}.attention.causal") is not False
        and f"{architecture}.pooling_type" not in values
        and values.get("tokenizer.ggml.model") != "bert",
        impossible=_impossible(architecture, values),
    )


def _kind(architecture: str, values: Mapping[str, Any]) -> str:
    kind = _word(values, "general.type") or "model"
    if architecture == "clip" or kind in ("mmproj", "clip-vision"):
        return "projector"
    return "adapter" if "adapter.type" in values else kind


def _word(values: Mapping[str, Any], key: str) -> str:
    value = values.get(key, "")
    return value if isinstance(value, str) else ""


def _number(values: Mapping[str, Any], key: str, default: int = 0) -> int:
    value = values.get(key)
    return value if isinstance(value, int) else default


def _cache_bytes(architecture: str, values: Mapping[str, Any]) -> int:
    """Keys and values of 16 bits, of all layers: an upper bound where a layer has a window or a
    recurrent state instead."""
    a = f"{architecture}.attention"
    heads = values.get(f"{a}.head_count_kv", values.get(f"{a}.head_count"))
    each = heads if isinstance(heads, list) else [heads]
    if not all(isinstance(count, int) for count in each):
        return 0
    layers = _number(values, f"{architecture}.block_count")
    total = sum(each) if isinstance(heads, list) else each[0] * layers
    width = _number(values, f"{architecture}.embedding_length")
    queries = values.get(f"{a}.head_count")
    most = max(queries, default=1) if isinstance(queries, list) else queries
    side = width // most if isinstance(most, int) and most > 0 else 0
    keys = _number(values, f"{a}.key_length", side)
    return int(2 * total * (keys + _number(values, f"{a}.value_length", side)))


def _impossible(architecture: str, values: Mapping[str, Any]) -> str | None:
    """A key whose value llama.cpp would end the process over (GGML_ASSERT in llama-model.cpp), as
    tried with 1,700 values."""
    of = {key.removeprefix(f"{architecture}."): value for key, value in values.items()}
    layers = _number(of, "block_count")
    checks = {
        "block_count": 0 < layers <= _MOST_LAYERS,
        "nextn_predict_layers": _number(of, "nextn_predict_layers") <= layers,
        "expert_count": _experts_go_together(of),
        "rope.scaling.type": of.get("rope.scaling.type", "none") in _ROPE_SCALINGS,
    }
    for key in _EPSILONS:
        value = of.get(key, 0.0)
        checks[key] = isinstance(value, float) and 0 <= value < math.inf
    return next((key for key, is_fine in checks.items() if not is_fine), None)


def _experts_go_together(of: Mapping[str, Any]) -> bool:
    """Of a mixture of experts: how many there are, are used, and in which groups."""
    experts, groups = _number(of, "expert_count"), _number(of, "expert_group_count")
    used = of.get("expert_used_count", 0)
    used = max(used, default=0) if isinstance(used, list) else used
    if not experts:
        return not used and not groups
    if not isinstance(used, int) or not 0 < used <= experts <= _MOST_EXPERTS or groups >= experts:
        return False
    if groups <= 1:
        return True
    return experts % groups == 0 and 0 < _number(of, "expert_group_used_count") < groups
