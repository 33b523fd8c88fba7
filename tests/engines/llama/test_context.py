"""What a context holds, and how much room it takes for it."""

from pathlib import Path

import numpy as np
import pytest
from gguf_files import tiny, vocabulary

from mediakit.engines.llama.context import THOUGHT_MARKS, Context, ContextFull
from mediakit.engines.llama.fit import Fit
from mediakit.engines.llama.loading import open_model
from mediakit.models.gguf import header

_CONTROL = 3


def opened(file: Path, length: int = 2048) -> Context:
    return open_model(file, header(file), Fit("cpu", 1, None, length)).context


def nothing() -> None:
    pass


def test_room_grows_and_what_comes_next_stays_the_same(tiny_file: Path) -> None:
    small, large = opened(tiny_file), opened(tiny_file)
    prompt = [*range(10, 200)]
    small.reserve(1)
    large.reserve(2048)
    assert small.evaluate(prompt, nothing) == large.evaluate(prompt, nothing) == 0
    small.reserve(512)  # there is as much
    assert small.count == 190
    small.evaluate([*prompt, *[20] * 322], nothing)
    with pytest.raises(ContextFull):
        small.add(20)
    small.reserve(513)
    assert small.count == 0
    small.evaluate(prompt, nothing)
    assert np.array_equal(small.logits(), large.logits())
    small.close()
    large.close()


def test_of_control_tokens_only_the_marks_of_thoughts_are_text(tmp_path: Path) -> None:
    tokens, types = vocabulary()
    tokens += THOUGHT_MARKS
    types += [_CONTROL] * len(THOUGHT_MARKS)
    file = tiny(tmp_path / "marks.gguf", **{
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": np.array(types, np.int32),
        "tokenizer.ggml.scores": np.zeros(len(tokens), np.float32),
    })  # fmt: skip
    context = opened(file)
    for mark in THOUGHT_MARKS:
        (token,) = context.tokenize(mark, special=True)
        assert context.piece(token) == mark.encode()
    assert context.piece(tokens.index("<|im_start|>")) == b""
    context.close()
