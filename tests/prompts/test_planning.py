"""Which pictures a prompt, its seeds and its alternatives come to."""

import pytest

from mediakit.errors import ItemError, UserError
from mediakit.prompts.alternatives import Alternatives
from mediakit.prompts.planning import Planner, Wanted
from mediakit.prompts.seeds import derived, parse_seeds


def planner(combinations: bool = False) -> Planner:
    return Planner(Alternatives(), combinations)


def test_a_plain_prompt() -> None:
    assert list(planner().wanted("a cat")) == [Wanted("a cat", derived("a cat", 0))]
    assert [w.seed for w in planner().wanted("a cat", parse_seeds("3,1"))] == [3, 1]
    assert [w.seed for w in planner().wanted("a cat", parse_seeds("7"), 3)] == [7, 8, 9]


def test_the_same_command_gives_the_same() -> None:
    one, two = planner(), planner()
    assert list(one.wanted("{a|b} {c|d}", images=9)) == list(two.wanted("{a|b} {c|d}", images=9))


def test_a_prompt_asked_for_twice_is_two_pictures() -> None:
    plan = planner()
    twice = [*plan.wanted("a cat"), *plan.wanted("a dog"), *plan.wanted("a cat")]
    assert [w.seed for w in twice] == [
        derived("a cat", 0),
        derived("a dog", 0),
        derived("a cat", 1),
    ]
    assert [twice[0], twice[2]] == list(planner().wanted("a cat", images=2))


def test_at_random_by_the_items_seed() -> None:
    seeds = parse_seeds("0..99")
    wanted = list(planner().wanted("{red|blue} star", seeds))
    assert {w.prompt for w in wanted} == {"red star", "blue star"}
    alone = [next(planner().wanted("{red|blue} star", parse_seeds(w.seed))) for w in wanted]
    assert alone == wanted
    assert planner().count("{red|blue} star", seeds) == 100


def test_every_combination() -> None:
    plan = planner(combinations=True)
    wanted = list(plan.wanted("{red|blue} star", parse_seeds("1,2")))
    assert [(w.prompt, w.seed) for w in wanted] == [
        ("red star", 1), ("red star", 2), ("blue star", 1), ("blue star", 2),
    ]  # fmt: skip
    assert plan.count("{red|blue} star", parse_seeds("1,2")) == 4
    derive = list(plan.wanted("{red|blue} star"))  # another alternative changes no seed
    assert [w.seed for w in derive] == [derived("red star", 0), derived("blue star", 0)]


def test_no_more_than_wanted() -> None:
    plan = planner(combinations=True)
    assert plan.count("{a|b|c}" * 30, parse_seeds("0..9")) == 3**30 * 10
    assert len(list(plan.wanted("{a|b|c}" * 30, parse_seeds("0..9"), most=12))) == 12
    assert list(plan.wanted("a", most=0)) == []


def test_what_can_not_be() -> None:
    with pytest.raises(ItemError, match="never closed"):
        list(planner().wanted("{a"))
    with pytest.raises(UserError, match="contradict"):
        list(planner().wanted("a", parse_seeds("1,2"), 2))
