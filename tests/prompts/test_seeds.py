"""Which seeds `--seed` and `--images` mean."""

import random
from itertools import islice

import pytest

from mediakit.errors import UserError
from mediakit.prompts.seeds import (
    DERIVED,
    HIGHEST,
    Seeds,
    derived,
    parse_seeds,
    per_prompt,
    seeds_of,
)


def told(text: str, images: int = 1) -> list[int]:
    return list(seeds_of(parse_seeds(text), images, "a cat"))


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("5", [5]),
        ("0", [0]),
        (" 3, 1 ,2 ", [3, 1, 2]),
        ("10..13", [10, 11, 12, 13]),
        ("1,5..7,4", [1, 5, 6, 7, 4]),
        ("7..7", [7]),
        ("4294967294..4294967295", [4294967294, 4294967295]),
        ("007", [7]),
    ],
)
def test_told(text: str, seeds: list[int]) -> None:
    assert told(text) == seeds
    assert parse_seeds(text).told == len(seeds)


def test_a_number_of_a_row() -> None:
    assert parse_seeds(5) == Seeds((range(5, 6),))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("4294967296", "at most 4294967295"),
        ("1..4294967296", "at most"),
        ("9..3", "runs backwards; write 3..9"),
        ("-1", "-1 is written random here"),
        ("1,random", "expected"),
        ("", "expected"),
        ("1,,2", "expected"),
        ("1..", "expected"),
        ("1.5", "expected"),
        ("1e3", "expected"),
        ("0x10", "expected"),
        ("٣", "expected"),
        ("1_000", "expected"),
        ("9" * 10_000, "expected"),
        ("3,1..5", "names 3 twice"),
        ("7,7", "names 7 twice"),
    ],
)
def test_nonsense(text: str, cause: str) -> None:
    with pytest.raises(UserError, match=cause) as e:
        parse_seeds(text)
    assert e.value.code == "usage"
    assert "\n" not in e.value.message
    assert len(e.value.message) < 200


def test_a_range_of_all_seeds_takes_no_memory() -> None:
    seeds = parse_seeds("0..4294967295")
    assert seeds.told == 2**32
    assert list(islice(seeds_of(seeds, 1, ""), 3)) == [0, 1, 2]


def test_images_count_up_from_one_seed() -> None:
    assert told("5", 3) == [5, 6, 7]
    assert per_prompt(parse_seeds("5"), 3) == 3
    with pytest.raises(UserError, match="--images 2 and 3 seeds contradict"):
        per_prompt(parse_seeds("1..3"), 2)
    with pytest.raises(UserError, match="would pass"):
        per_prompt(parse_seeds(HIGHEST), 2)


def test_random_seeds_differ_every_time() -> None:
    one, two = told("random", 20), told("random", 20)
    assert len({*one, *two}) > 35
    assert all(0 <= seed <= HIGHEST for seed in one)


def test_derived_seeds_are_the_same_for_ever() -> None:
    # changing these makes everything again that was made without a seed
    assert [derived("a cat", 0), derived("a cat", 1)] == [3167848479, 846159209]
    assert derived("猫", 0) == 2461276253
    assert list(seeds_of(DERIVED, 2, "a cat")) == [derived("a cat", 0), derived("a cat", 1)]
    assert list(seeds_of(DERIVED, 1, "a cat", begun=1)) == [derived("a cat", 1)]


def test_any_text_is_seeds_or_a_usage_error() -> None:
    rand = random.Random(0)
    understood = 0
    for _ in range(5000):
        text = "".join(rand.choices("0123456789,..- random", k=rand.randint(0, 8)))
        try:
            seeds = parse_seeds(text)
        except UserError:
            continue
        understood += 1
        found = list(islice(seeds_of(seeds, 1, ""), 1000))
        assert len(set(found)) == len(found) >= 1
    assert understood > 100
