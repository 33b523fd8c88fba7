"""Choices: probabilities that are the products of those of their tokens."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mediakit.engines.llama.fit import Fit
from mediakit.engines.llama.loading import open_model
from mediakit.engines.llama.model import Llama
from mediakit.engines.llama.request import Message, Request
from mediakit.errors import ItemError, UserError
from mediakit.models.gguf import header


def chances(model: Llama, *choices: str, raw: str = "go ") -> dict[str, float]:
    reply = model.reply(Request(raw=raw, choices=choices))
    assert reply.finish_reason == "choice"
    assert reply.probabilities is not None
    assert sum(reply.probabilities.values()) == pytest.approx(1)
    assert reply.probabilities[reply.text] == max(reply.probabilities.values())
    return dict(reply.probabilities)


def expected(file: Path, choices: dict[str, list[str]], ends: set[str]) -> dict[str, float]:
    """By evaluating each choice by itself, from the beginning; `ends`: then the turn ends."""
    context = open_model(file, header(file), Fit("cpu", 1)).context
    found = {}
    for choice, tokens in choices.items():
        text = context.tokenize("go ", special=False)
        total = 0.0
        for token in (context.tokenize(part, special=False)[0] for part in tokens):
            context.keep(0)
            context.evaluate(text, lambda: None)
            total += float(_logs(context.logits())[token])
            text = [*text, token]
        if choice in ends:
            context.keep(0)
            context.evaluate(text, lambda: None)
            logs = _logs(context.logits())
            final = [t for t in range(context.vocabulary) if context.ends(t)]
            total += float(np.log(np.exp(logs[final]).sum()))
        found[choice] = np.exp(total)
    context.close()
    whole = sum(found.values())
    return {choice: value / whole for choice, value in found.items()}


def _logs(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    values = logits.astype(np.float64)
    return np.asarray(values - np.log(np.exp(values).sum()))


def test_of_one_token_each(small: Llama, tiny_file: Path) -> None:
    found = chances(small, "a", "b", "z")
    assert found == pytest.approx(expected(tiny_file, {c: [c] for c in "abz"}, set()), rel=1e-4)


def test_of_several_tokens_that_share_a_beginning(small: Llama, tiny_file: Path) -> None:
    words = {"abc": list("abc"), "abd": list("abd"), "xy": list("xy"), "q": ["q"]}
    assert chances(small, *words) == pytest.approx(expected(tiny_file, words, set()), rel=1e-4)


def test_a_choice_that_another_goes_on_from_has_to_end(small: Llama, tiny_file: Path) -> None:
    words = {"ab": list("ab"), "abc": list("abc"), "a": ["a"]}
    assert chances(small, *words) == pytest.approx(
        expected(tiny_file, words, {"ab", "a"}), rel=1e-4
    )


def test_of_equals_the_first_is_taken(small: Llama) -> None:
    reply = small.reply(Request(raw="go ", choices=("b", "b")))
    assert (reply.text, reply.probabilities) == ("b", {"b": 1.0})


def test_the_prompt_stays_for_the_next_item(small: Llama) -> None:
    first = small.reply(Request(raw="go to ", choices=("abc", "abd", "xyz")))
    second = small.reply(Request(raw="go to ", choices=("abc", "abd", "xyz")))
    assert second.cached_tokens == first.prompt_tokens - 1  # the last is evaluated again
    assert second.probabilities == pytest.approx(first.probabilities, rel=1e-4)


def test_a_choice_needs_room_in_the_context(small: Llama) -> None:
    with pytest.raises(ItemError) as raised:
        small.reply(Request(raw="a" * 510, choices=("abcd", "b")))
    assert raised.value.code == "context_too_long"


def test_a_choice_is_no_essay(small: Llama) -> None:
    with pytest.raises(UserError, match="a choice of 300 tokens"):
        small.reply(Request(raw="a", choices=("a" * 300, "b")))


def test_a_real_model_tells_praise_from_blame(smollm2: Llama) -> None:
    likes = []
    for review in ("I love it, wonderful!", "Broken, awful, I hate it."):
        said = f"Is this review positive? Answer Yes or No. Review: {review}"
        pieces: list[str] = []
        reply = smollm2.reply(
            Request((Message("user", said),), choices=("Yes", "No")), pieces.append
        )
        assert "".join(pieces) == reply.text
        assert reply.probabilities is not None
        likes.append(reply.probabilities["Yes"])
    assert likes[0] > likes[1]
