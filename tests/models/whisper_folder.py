"""A Whisper model in the form of CTranslate2 whose weights are a header and a few bytes."""

import json
import struct
from collections.abc import Mapping

CONFIG = {"alignment_heads": [[1, 0]], "lang_ids": [50259], "suppress_ids": [1],
          "suppress_ids_begin": [220]}  # fmt: skip
TRANSLATION = {"add_source_bos": False, "bos_token": "<s>", "eos_token": "</s>"}
TRANSFORMERS = {"architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper"}


def text(value: object) -> bytes:
    return json.dumps(value).encode()


def weights(seed: str = "", spec: str = "WhisperSpec") -> bytes:
    """As ctranslate2.specs.model_spec.ModelSpec writes it; `seed` makes it another model."""
    name = spec.encode() + b"\0"
    return struct.pack("<IH", 6, len(name)) + name + struct.pack("<II", 3, 0) + seed.encode()


def folder(changes: Mapping[str, bytes | None] | None = None) -> dict[str, bytes]:
    """Name -> bytes; `changes` adds files, or takes those that are None out."""
    files: dict[str, bytes | None] = {
        "model.bin": weights(),
        "config.json": text(CONFIG),
        "tokenizer.json": text({"model": {"type": "BPE"}}),
        "vocabulary.txt": b"<unk>\na\n",
    }
    return {name: data for name, data in {**files, **(changes or {})}.items() if data is not None}
