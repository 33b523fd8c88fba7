"""CLIP's tokenizer, built from the merges that ship with the package (its licence beside them)."""

import gzip
from functools import cache
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizer

_MERGES = Path(__file__).parent / "families" / "clip" / "merges.txt.gz"
_START, _END = "<|startoftext|>", "<|endoftext|>"


@cache
def _vocabulary() -> tuple[dict[str, int], list[tuple[str, str]]]:
    """Ids in the order of openai/CLIP's simple_tokenizer.py: bytes, bytes that end a word,
    merges, the two marks; 49,408 in all."""
    pairs = gzip.decompress(_MERGES.read_bytes()).decode().split("\n")[:-1]
    merges = [(first, second) for first, _, second in (pair.partition(" ") for pair in pairs)]
    letters = _letters()
    words = [*letters, *(letter + "</w>" for letter in letters)]
    words += [first + second for first, second in merges]
    return {word: i for i, word in enumerate([*words, _START, _END])}, merges


def clip_tokenizer(pad: str = _END) -> Any:
    """`pad`: what short prompts are filled up with: "!" for open_clip's encoders."""
    vocabulary, merges = _vocabulary()
    kind: Any = CLIPTokenizer  # takes pairs too, whatever its annotation says
    return kind(vocab=vocabulary, merges=merges, pad_token=pad, model_max_length=77)


def _letters() -> list[str]:
    """One printable letter a byte (GPT-2's bytes_to_unicode)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    return [chr(b) for b in plain] + [chr(256 + i) for i in range(len(others))]
