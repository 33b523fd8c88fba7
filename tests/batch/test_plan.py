"""Which items a plan leaves, and what they depend on."""

from pathlib import Path

import pytest

from mediakit.batch import recipes
from mediakit.batch.item import Source
from mediakit.batch.output import Output
from mediakit.batch.plan import Planner, in_shard
from mediakit.batch.recipes import Job
from mediakit.errors import UserError
from mediakit.params import Batch
from mediakit.tasks.upscale import Upscale, UpscaleParams


def planner(batch: Batch | None = None, **params: object) -> Planner:
    job = Job(Upscale, UpscaleParams(**params), tuple(params), batch or Batch())
    return Planner(job, Output(None, folder=Path("out")))


def hash_of(row: dict[str, object] | None = None, **params: object) -> str:
    return planner(**params).recipes.of(row).hash


def test_the_recipe_is_what_the_result_depends_on() -> None:
    assert hash_of() == hash_of(scale=4) == hash_of(scale=4.0)  # the model's own scale
    assert hash_of({"scale": 2}) == hash_of(scale=2) == hash_of({"scale": "2"}, scale=3)
    different = [hash_of(), hash_of(scale=2), hash_of(quality=90), hash_of(model="dat-light-x4")]
    assert len(set(different)) == 4


def test_weights_are_known_by_content_not_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MEDIAKIT_CACHE", str(tmp_path / "cache"))
    for name, data in (("a.pth", b"1"), ("b.pth", b"1"), ("c.pth", b"2")):
        (tmp_path / name).write_bytes(data)
    a, b, c = (hash_of(model=str(tmp_path / f"{n}.pth")) for n in "abc")
    assert a == b != c


def test_a_row_with_another_model_takes_that_models_values() -> None:
    recipe = planner().recipes.of({"model": "dat-light-x2"})
    assert isinstance(recipe.params, UpscaleParams)
    assert (recipe.params.scale, recipe.given) == (2, ("model",))


def test_shards_are_even_and_never_change() -> None:
    keys = [f"d/{n}.png" for n in range(3000)]
    shards = [[k for k in keys if in_shard(k, i, 4)] for i in range(4)]
    assert sorted(key for shard in shards for key in shard) == sorted(keys)
    assert all(650 < len(shard) < 850 for shard in shards)
    # written down once: other versions on other machines must split alike
    assert [in_shard(f"{n}.png", 0, 2) for n in range(8)] == FIRST_OF_TWO


FIRST_OF_TWO = [True, True, True, True, False, False, False, False]


def test_recipes_of_a_stream_without_end_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", 5)
    endless = planner()
    sources = (Source(f"{n}.png", f"{n}.png", {"scale": 1 + n / 100}) for n in range(40))
    assert sum(1 for _ in endless.stream(sources)) == 40
    assert len(endless.recipes) <= 5


def test_a_template_that_can_not_be_is_found_before_any_input_is_read() -> None:
    with pytest.raises(UserError) as caught:
        planner(Batch(name="{nope}"))
    assert "{relpath} {stem} {ext} {name} {index} {hash}" in caught.value.message
