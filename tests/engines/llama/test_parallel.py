"""Several answers at once are those that the model gives one by one."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mediakit.engines.llama import parallel
from mediakit.engines.llama.context import Place
from mediakit.engines.llama.engine import load
from mediakit.engines.llama.fit import Fit, Room
from mediakit.engines.llama.loading import open_model
from mediakit.engines.llama.model import Llama
from mediakit.engines.llama.parallel import Ask, families, shared
from mediakit.engines.llama.request import Message, Reply, Request, Sampling
from mediakit.errors import ItemError, Stopped, UserError
from mediakit.models.gguf import header

GREEDY = Sampling(temperature=0)
SYSTEM = "You are a helpful assistant who answers in one short sentence."
COUNTRIES = ("France", "Spain", "Italy", "Germany", "Poland", "Norway", "Egypt")


def ask(text: str, system: str = SYSTEM, **more: Any) -> Request:
    told: dict[str, Any] = {"sampling": GREEDY, "max_tokens": 20, **more}
    return Request((Message("system", system), Message("user", text)), **told)


CAPITALS = [ask(f"What is the capital of {name}?") for name in COUNTRIES]


@pytest.fixture(scope="module")
def several(smollm2_file: Path) -> Iterator[Llama]:
    model = load(smollm2_file, Fit("cpu", 1, None, 512, sequences=3))
    yield model
    model.close()


@pytest.fixture
def tiny_three(tiny_file: Path) -> Iterator[Llama]:
    model = load(tiny_file, Fit("cpu", 1, None, 256, sequences=3))
    yield model
    model.close()


def one_by_one(model: Llama, requests: list[Request]) -> list[str]:
    texts = []
    for request in requests:
        model.forget()
        texts.append(model.reply(request).text)
    return texts


def at_once(model: Llama, requests: list[Request]) -> list[str]:
    found = dict(model.replies(requests))
    assert sorted(found) == list(range(len(requests)))
    assert all(isinstance(reply, Reply) for reply in found.values())
    return [found[number].text for number in range(len(requests))]  # type: ignore[union-attr]


def test_what_prompts_share() -> None:
    assert shared([Ask([1, 2, 3], 1), Ask([1, 2, 4, 5], 1)]) == 2
    assert shared([Ask([1, 2, 3], 1)] * 2) == 2  # the last is evaluated for each
    assert shared([Ask([1], 1), Ask([1, 2], 1)]) == 0
    assert shared([Ask([1, 2], 1), Ask([3, 2], 1)]) == 0
    assert shared([Ask([1, 9], 1), Ask([1, 2], 1), Ask([1, 5], 1)]) == 1


def test_families_of_prompts_that_begin_alike() -> None:
    def prompts(first: int, count: int, length: int = 100) -> list[Ask]:
        return [Ask([first] * length + [n], 5) for n in range(count)]

    assert families(prompts(1, 5), 2) == [[0, 1, 2, 3, 4]]
    odd = Ask([7] * 50, 5)
    assert families([odd, *prompts(1, 5)], 3) == [[1, 2, 3, 4, 5], [0]]
    assert families([*prompts(1, 2), *prompts(2, 3)], 2) == [[0, 1], [2, 3, 4]]
    assert families([*prompts(1, 2), *prompts(2, 3)], 3) == [[2, 3, 4], [0, 1]]
    # so few leave most of the sequences idle
    assert families([*prompts(1, 2), *prompts(2, 3)], 8) == [[0, 1, 2, 3, 4]]
    apart = [Ask([n] * 50, 5) for n in range(4)]
    assert families(apart, 2) == [[0, 1, 2, 3]]
    assert families([*apart, Ask([2] * 50, 5)], 2) == [[0, 1, 2, 3, 4]]  # saves too little
    assert families([*prompts(1, 2, 3), *prompts(2, 2, 3)], 2) == [[0, 1, 2, 3]]
    assert families([], 2) == []


def test_answers_that_share_a_beginning(several: Llama) -> None:
    """Rounding may make another word of two that are nearly as probable."""
    pairs = zip(at_once(several, CAPITALS), one_by_one(several, CAPITALS), strict=True)
    assert sum(mine == alone for mine, alone in pairs) >= len(CAPITALS) - 2
    found = dict(several.replies(CAPITALS))
    for reply in found.values():
        assert isinstance(reply, Reply)
        assert several.count(SYSTEM) < reply.cached_tokens < reply.prompt_tokens
        assert reply.seconds > 0 and reply.first_token_seconds > 0
    assert several.reply(CAPITALS[0]).cached_tokens >= several.count(SYSTEM)  # and stays there


@pytest.mark.parametrize("agree", [None, False])
def test_answers_that_are_to_be_alike_are(
    smollm2_file: Path, monkeypatch: pytest.MonkeyPatch, agree: bool | None
) -> None:
    """To the last bit: where one pass for several gives other numbers, each has one of its own."""
    if agree is False:
        monkeypatch.setattr(parallel.np, "array_equal", lambda *pair: False)
    model = load(smollm2_file, Fit("cpu", 2, None, 512, sequences=3, alike=True))
    assert at_once(model, CAPITALS) == one_by_one(model, CAPITALS)
    assert model.sequences in ((1,) if agree is False else (1, 3))
    assert model.at_once == 1  # the last was made alone
    assert at_once(model, CAPITALS[::-1]) == one_by_one(model, CAPITALS[::-1])  # now it is known
    model.close()


def test_a_model_of_32_bits_is_alike(tiny_file: Path) -> None:
    """llama.cpp computes several of its rows otherwise than one."""
    model = load(tiny_file, Fit("cpu", 2, None, 256, sequences=4, alike=True))
    requests = [Request(raw=t * 5, sampling=GREEDY, max_tokens=60) for t in "abcdefgh"]
    assert at_once(model, requests) == one_by_one(model, requests)
    model.close()


def test_room_is_taken_for_what_is_asked() -> None:
    apart = Room(8192, 9 * 8192, 8, apart=True)
    assert apart.of(10, 0) == (512, 0)
    assert apart.of(10, 8) == (256, 8)
    assert apart.of(300, 8) == (512, 8)
    assert apart.of(9000, 20) == (8192, 8)
    assert Room(512, 1024, 8, apart=True).of(400, 8) == (512, 1)
    assert Room(300, 300, 8, apart=True).of(400, 8) == (300, 0)
    assert Room(512, 2048, 8).of(600, 0) == (1024, 8)
    assert Room(512, 2048, 8).of(9000, 3) == (2048, 8)


def test_what_comes_next_is_as_probable_as_alone(tiny_file: Path) -> None:
    context = open_model(tiny_file, header(tiny_file), Fit("cpu", 1, None, 256, 2)).context
    context.reserve(9, 2)
    prompts = [[5, 6, 7, 8, 9], [5, 6, 7, 20]]
    alone = []
    for prompt in prompts:
        context.evaluate(prompt, lambda: None)
        alone.append(context.logits().copy())
        context.keep(0)
    context.evaluate([5, 6, 7], lambda: None)
    context.fork(1)
    context.fork(2)
    context.decode([Place(8, 3, 1, False), Place(20, 3, 2, True), Place(9, 4, 1, True)])
    assert np.allclose(context.logits(2), alone[0], atol=1e-4)
    assert np.allclose(context.logits(1), alone[1], atol=1e-4)
    context.close()


def test_answers_that_share_nothing_and_are_chosen_otherwise(tiny_three: Llama) -> None:
    drawn = Sampling(temperature=1.5, seed=3)
    requests = [
        Request(raw="go", sampling=drawn, max_tokens=30),
        Request(raw="another " * 8, sampling=GREEDY, max_tokens=5),
        Request(raw="x", sampling=replace(drawn, seed=4), max_tokens=50, min_tokens=40),
        Request(raw="yes", sampling=GREEDY, grammar='root ::= "a" "b" | "c"', max_tokens=9),
        Request(raw="no", sampling=drawn, max_tokens=1),
        Request(raw="which", choices=("left", "right")),
        Request(raw="end", sampling=GREEDY, max_tokens=40, stop=("a", "e", " ")),
    ]
    assert at_once(tiny_three, requests) == one_by_one(tiny_three, requests)


def test_no_more_are_underway_than_there_is_room_for(
    tiny_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each answer may fill the whole context, and memory was free for one alone."""
    from mediakit.engines.llama import loading

    monkeypatch.setattr(loading.memory, "cells", lambda length, *more: length)
    model = load(tiny_file, Fit("cpu", 1, None, 256, sequences=3))
    requests = [Request(raw=text * 9, sampling=GREEDY, max_tokens=250) for text in "abcdef"]
    assert at_once(model, requests) == one_by_one(model, requests)
    model.close()


def test_one_that_fails_costs_only_itself(tiny_three: Llama) -> None:
    good = Request(raw="go", sampling=GREEDY, max_tokens=5)
    found = dict(
        tiny_three.replies([good, replace(good, raw="long " * 400), replace(good, grammar="root"),
                            good])
    )  # fmt: skip
    assert isinstance(found[1], ItemError) and found[1].code == "context_too_long"
    assert isinstance(found[2], UserError) and found[2].code == "bad_grammar"
    assert [found[0].text, found[3].text] == one_by_one(tiny_three, [good] * 2)  # type: ignore[union-attr]


def test_numbers_that_are_none_are_one_answer_s_failure(
    tiny_three: Llama, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mediakit.engines.llama.context import Context

    logits, calls = Context.logits, iter(range(99))

    def spoiled(context: Context, at: int = -1) -> np.ndarray[Any, Any]:
        found = logits(context, at)
        return found * np.nan if next(calls) == 1 else found

    monkeypatch.setattr(Context, "logits", spoiled)
    requests = [Request(raw=text, sampling=GREEDY, max_tokens=3) for text in "abc"]
    failed = [e for _, e in tiny_three.replies(requests) if isinstance(e, ItemError)]
    assert [error.code for error in failed] == ["failed"]


def test_what_check_raises_passes_and_the_model_goes_on(tiny_three: Llama) -> None:
    def stop() -> None:
        raise Stopped

    requests = [Request(raw=text, sampling=GREEDY, max_tokens=9) for text in "abcd"]
    with pytest.raises(Stopped):
        list(tiny_three.replies(requests, stop))
    assert at_once(tiny_three, requests) == one_by_one(tiny_three, requests)
