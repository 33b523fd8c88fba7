"""Output names: always distinct, whatever the inputs are called."""

import itertools
import os
import random

import pytest

from mediakit.batch.item import Source
from mediakit.batch.naming import Template, check_inside, default_names, fold
from mediakit.errors import ItemError

PARTS = ["a", "A", "b", "a.jpg", "\xe9", "e\u0301", "ß", "ss", "a_1"]
SUFFIXES = [".jpg", ".png", ".JPG", ""]


def source(path: str, row: dict[str, object] | None = None, root: str = "") -> Source:
    return Source(path, os.path.relpath(path, root) if root else os.path.basename(path), row)


def distinct(names: list[str]) -> bool:
    return len({fold(name) for name in names}) == len(names)


@pytest.mark.parametrize("seed", range(20))
def test_default_names_never_meet(seed: int) -> None:
    draw = random.Random(seed)
    paths = {
        "/".join(draw.choices(PARTS, k=draw.randint(1, 3))) + draw.choice(SUFFIXES)
        for _ in range(60)
    }
    sources = [source(path) for path in sorted(paths)]
    names = default_names(sources, [(".png",)] * len(sources))
    assert distinct(names)
    assert default_names(sources[::-1], [(".png",)] * len(sources)) == names[::-1]
    for name in names:
        check_inside(name)


def test_names_of_many_rows_of_one_input() -> None:
    sources = [source("a.png", {"seed": n}) for n in range(8000)]  # 6 hex digits are too few
    assert distinct(default_names(sources, [(".png",)] * 8000))


def test_each_step_is_taken_only_where_it_must_be() -> None:
    sources = [source(p) for p in ("x/a.jpg", "x/a.png", "y/a.png", "y/b.png")]
    names = default_names(sources, [(".webp",)] * 4)
    assert names == ["a.jpg.webp", "x/a.webp", "y/a.webp", "b.webp"]


@pytest.mark.parametrize("name", ["/etc/x.png", "../x.png", "a/../../x.png", ".mediakit/x", "."])
def test_names_outside(name: str) -> None:
    with pytest.raises(ItemError) as caught:
        check_inside(name)
    assert caught.value.code == "outside_out"


def test_parts_have_255_bytes_at_most() -> None:
    check_inside("d/" + "é" * 127 + "a")
    with pytest.raises(ItemError) as caught:
        check_inside("d/" + "é" * 128 + "/x.png")
    assert caught.value.code == "name_too_long"


def test_values_in_a_template_are_one_part_of_a_path() -> None:
    template = Template("{model}/{stem}{ext}", ["model"])
    name = template.name(source("p/a.png"), ".png", 0, {"model": "/weights/../x.pth"})
    assert name == "_weights_.._x.pth/a.png"


def test_the_hash_follows_path_and_row() -> None:
    template = Template("{hash}", [])
    sources = [
        source(path, row)
        for path, row in itertools.product(["a.png", "b.png"], [None, {"scale": 2}, {"scale": 3}])
    ]
    names = [template.name(s, ".png", 0, {}) for s in sources]
    assert len(set(names)) == 6
    assert names[0] == template.name(source("./a.png"), ".png", 9, {})
