"""Thoughts apart from answers, however the text comes in pieces."""

import pytest

from mediakit.prompts.thinking import Thinking

TEXT = "<think>\nwell: 1 < 2 </thin king\n</think>\n\nYes, a<b and <thin>.\n"
ANSWER = "Yes, a<b and <thin>.\n"


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_any_pieces_give_the_same(size: int) -> None:
    thinking = Thinking()
    pieces = [TEXT[at : at + size] for at in range(0, len(TEXT), size)]
    given = [thinking.answer(piece) for piece in pieces]
    assert "".join(given) + thinking.answer("", last=True) == ANSWER
    assert thinking.thought.strip() == "well: 1 < 2 </thin king"


def test_what_is_no_mark_comes_at_once() -> None:
    thinking = Thinking()
    assert thinking.answer("Hello") == "Hello"
    assert thinking.answer(" <") == " "
    assert thinking.answer("b") == "<b"
    assert thinking.answer("<th") + thinking.answer("", last=True) == "<th"
    assert thinking.thought == ""


def test_a_thought_that_was_cut_is_no_answer() -> None:
    thinking = Thinking()
    assert thinking.answer("<think>so and") + thinking.answer(" so", last=True) == ""
    assert thinking.thought == "so and so"


HARMONY = (
    "<|channel|>analysis<|message|>They greet. <|end|>No.<|end|><|start|>assistant"
    "<|channel|>final<|message|>Hello, <|en you."
)


@pytest.mark.parametrize("size", [1, 2, 5, 1000])
def test_the_channels_of_gpt_oss(size: int) -> None:
    thinking = Thinking()
    pieces = [HARMONY[at : at + size] for at in range(0, len(HARMONY), size)]
    given = [thinking.answer(piece) for piece in pieces]
    assert "".join(given) + thinking.answer("", last=True) == "Hello, <|en you."
    assert thinking.thought == "They greet. <|end|>No."


def test_a_final_channel_alone_is_the_answer() -> None:
    thinking = Thinking()
    assert thinking.answer("<|channel|>final<|mess") == ""
    assert thinking.answer("age|>Hello") == "Hello"
    assert thinking.thought == ""
