"""Small GGUF files: any header, and a language model with random weights that llama.cpp loads."""

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 32
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_NORMAL, _UNKNOWN, _CONTROL, _BYTE = 1, 2, 3, 6  # token types
_BOOL, _TEXT = 7, 8


def text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def pair(key: str, value: Any) -> bytes:
    """A key with its value: bool, int (uint32), float, str, or an array of them or of numpy's."""
    return text(key) + _value(value)


def _value(value: Any) -> bytes:
    if isinstance(value, bool):
        return struct.pack("<IB", _BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", _TEXT) + text(value)
    if isinstance(value, np.ndarray):
        kind = {"float32": 6, "int32": 5, "uint32": 4}[str(value.dtype)]
        return struct.pack("<IIQ", 9, kind, len(value)) + value.tobytes()
    return struct.pack("<IIQ", 9, _TEXT, len(value)) + b"".join(map(text, value))


def gguf(
    pairs: Mapping[str, Any],
    tensors: Mapping[str, NDArray[np.float32]] | None = None,
    version: int = 3,
) -> bytes:
    """A whole file; tensors are 32-bit, their shapes as numpy has them (the last side first)."""
    tensors = tensors or {}
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(pairs))
    head += b"".join(pair(key, value) for key, value in pairs.items())
    data = b""
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        head += text(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", 0, len(data))
        data += tensor.astype("<f4").tobytes()
        data += bytes(-len(data) % ALIGNMENT)
    return head + bytes(-len(head) % ALIGNMENT) + data


def vocabulary() -> tuple[list[str], list[int]]:
    """Tokens and their types: control tokens, every byte, and some words."""
    control = ["<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|eot_id|>"]
    words = ["▁", "yes", "no", "maybe", "system", "user", "assistant", "[...]"]
    words += [chr(letter) for letter in range(ord("a"), ord("z") + 1)]
    tokens = ["<unk>", *control, *(f"<0x{byte:02X}>" for byte in range(256)), *words]
    types = [_UNKNOWN, *[_CONTROL] * len(control), *[_BYTE] * 256, *[_NORMAL] * len(words)]
    return tokens, types


def facts(layers: int = 2, width: int = 32, **more: Any) -> dict[str, Any]:
    """The pairs of a small model of Llama's architecture; `more` with _ in place of dots is not
    needed: give `**{"general.name": "x"}`."""
    tokens, types = vocabulary()
    return {
        "general.architecture": "llama",
        "general.name": "tiny",
        "llama.context_length": 512,
        "llama.embedding_length": width,
        "llama.block_count": layers,
        "llama.feed_forward_length": 2 * width,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.layer_norm_rms_epsilon": 1e-5,
        "llama.rope.dimension_count": width // 4,
        "tokenizer.ggml.model": "llama",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.scores": np.linspace(0, -1, len(tokens), dtype=np.float32),
        "tokenizer.ggml.token_type": np.array(types, np.int32),
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.chat_template": TEMPLATE,
        **more,
    }


def weights(pairs: Mapping[str, Any], seed: int = 0) -> dict[str, NDArray[np.float32]]:
    """Random, and large enough that what comes next depends on what came before."""
    width, inner = pairs["llama.embedding_length"], pairs["llama.feed_forward_length"]
    count = len(pairs["tokenizer.ggml.tokens"])
    draw = np.random.default_rng(seed).standard_normal

    def matrix(rows: int, columns: int) -> NDArray[np.float32]:
        return (draw((rows, columns)) / np.sqrt(columns) * 2).astype(np.float32)

    one = np.ones(width, np.float32)
    found = {"token_embd.weight": matrix(count, width), "output_norm.weight": one}
    for layer in range(pairs["llama.block_count"]):
        shapes = {"attn_q": (width, width), "attn_k": (width // 2, width),
                  "attn_v": (width // 2, width), "attn_output": (width, width),
                  "ffn_gate": (inner, width), "ffn_up": (inner, width),
                  "ffn_down": (width, inner)}  # fmt: skip
        block = {name: matrix(*shape) for name, shape in shapes.items()}
        block |= {"attn_norm": one, "ffn_norm": one}
        found |= {f"blk.{layer}.{name}.weight": tensor for name, tensor in block.items()}
    return found | {"output.weight": matrix(count, width)}


def tiny(path: Path, seed: int = 0, **more: Any) -> Path:
    """A language model that writes nonsense."""
    pairs = facts(**more)
    path.write_bytes(gguf(pairs, weights(pairs, seed)))
    return path
