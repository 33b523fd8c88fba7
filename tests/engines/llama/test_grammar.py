"""Answers that obey a grammar, each in a state of its own."""

import re
from pathlib import Path
from typing import Any

import pytest

from mediakit.engines.llama.fit import Fit
from mediakit.engines.llama.loading import open_model
from mediakit.engines.llama.model import Llama
from mediakit.engines.llama.request import Message, Request, Sampling
from mediakit.errors import UserError
from mediakit.models.gguf import header

WILD = {"temperature": 2.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0}
PERSON = r'root ::= "{\"name\": \"" [a-z]{1,8} "\", \"age\": " [1-9] [0-9]? "}"'


def ask(grammar: str, seed: int = 0, **more: Any) -> Request:
    settings: dict[str, Any] = {"max_tokens": 60, **more}
    return Request(raw="go ", sampling=Sampling(**WILD, seed=seed), grammar=grammar, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(8))
def test_a_model_of_nonsense_writes_what_the_grammar_says(small: Llama, seed: int) -> None:
    reply = small.reply(ask(PERSON, seed))
    assert re.fullmatch(r'\{"name": "[a-z]{1,8}", "age": [1-9][0-9]?\}', reply.text)
    assert reply.finish_reason == "stop"


def test_a_real_model_too_and_its_state_is_its_own(smollm2: Llama) -> None:
    asked = Request(
        (Message("user", "Describe Bob, who is 25, as JSON."),),
        sampling=Sampling(temperature=0), grammar=PERSON, max_tokens=40,
    )  # fmt: skip
    first = smollm2.reply(asked)
    assert re.fullmatch(r'\{"name": "[a-z]{1,8}", "age": [1-9][0-9]?\}', first.text)
    for tokens in (1, 3):  # left in the middle
        assert smollm2.reply(Request(asked.messages, sampling=asked.sampling, grammar=PERSON,
                                     max_tokens=tokens)).finish_reason == "length"  # fmt: skip
    assert smollm2.reply(asked).text == first.text


def test_one_that_can_not_end_in_time_is_cut(small: Llama) -> None:
    reply = small.reply(ask('root ::= "abc" [a-z]{50}', max_tokens=10))
    assert reply.finish_reason == "length"
    assert reply.text.startswith("abc")


def test_where_it_ends_so_does_the_answer(small: Llama) -> None:
    """Even before min_tokens: nothing else may come."""
    reply = small.reply(ask('root ::= "ab"', min_tokens=9))
    assert (reply.text, reply.finish_reason) == ("ab", "stop")


@pytest.mark.parametrize("text", ["naïve", "日本", "🎉"])
def test_characters_that_take_several_tokens(small: Llama, text: str) -> None:
    assert small.reply(ask(f'root ::= "{text}"')).text == text


@pytest.mark.parametrize(
    "grammar",
    ['root ::= "a', 'start ::= "a"', 'root ::= root "a"', "root ::= x", "", 'root ::= ("a"'],
)
def test_a_grammar_that_is_none_is_refused(small: Llama, capfd: Any, grammar: str) -> None:
    with pytest.raises(UserError) as raised:
        small.reply(ask(grammar))
    assert raised.value.code == "bad_grammar"
    assert capfd.readouterr() == ("", "")
    assert small.reply(ask('root ::= "ok"')).text == "ok"


def test_many_grammars_in_turn(small: Llama) -> None:
    for number in [*range(12), 0, 11, 1]:
        assert small.reply(ask(f'root ::= "n{number}"')).text == f"n{number}"


def test_what_is_most_probable_of_what_may_come_is_taken(small: Llama, tiny_file: Path) -> None:
    """As if all tokens were held against the grammar first, and not only the one chosen."""
    greedy = Sampling(temperature=0)
    context = open_model(tiny_file, header(tiny_file), Fit("cpu", 1)).context
    allowed = [t for t in range(context.vocabulary) if context.piece(t) in (b"x", b"y")]
    assert len(allowed) == 4  # letters, and bytes
    for letter in "abcdefgh":
        context.evaluate(context.tokenize(f"{letter} ", special=True), lambda: None)
        best = max(allowed, key=lambda token: context.logits()[token])
        asked = Request(raw=f"{letter} ", sampling=greedy, grammar='root ::= "x" | "y"')
        assert small.reply(asked).text.encode() == context.piece(best)
    context.close()
