"""Names find catalog entries, paths find the user's own weights, and a slip finds a hint."""

import os
from hashlib import sha256

import pytest

from mediakit.errors import UserError
from mediakit.models.catalog import find, known
from mediakit.models.store import Store

STARTERS = {
    # name: (bytes and digest of the weights, scale)
    "realesrgan-x4plus": (33424520, "713ee713b0353afa", 4),
    "realesrgan-x4plus-anime": (8943500, "fe01c269cfd10cde", 4),
    "realesr-animevideov3": (1247368, "548a36f9c3f4ab8d", 4),
    "dat-light-x2": (45728932, "3888bf067c1a3790", 2),
    "dat-light-x3": (45774158, "dfb99deab865db05", 3),
    "dat-light-x4": (45819662, "e18223fc41500e72", 4),
}


@pytest.fixture
def stamps(tmp_path):
    return tmp_path / "stamps"


def test_the_starter_models_are_known_by_digest():
    found = {
        name: (
            spec.files[-1].size,
            spec.files[-1].sha256[:16],
            spec.defaults["upscale"]["scale"],
        )
        for name, spec in known().items()
        if "upscale" in spec.tasks
    }
    assert {name: found.get(name) for name in STARTERS} == STARTERS


@pytest.mark.parametrize("name", sorted(known()))
def test_entries_are_complete(name):
    spec = find(name)
    assert spec.name == name
    assert set(spec.defaults) <= set(spec.tasks)
    assert spec.good_at and spec.bad_at and spec.licence
    assert spec.homepage.startswith("https://")
    assert all(file.sources for file in spec.files)
    if spec.convert == "ncnn":
        assert sorted(file.name[-4:] for file in spec.files) == [".bin", "aram"]
    else:
        assert spec.convert is None


def test_callers_can_not_change_the_catalog():
    known().clear()
    assert "dat-light-x2" in known()


def test_a_slip_gets_a_hint():
    with pytest.raises(UserError) as error:
        find("realesrgan-4xplus")
    assert error.value.code == "unknown_model"
    assert "did you mean realesrgan-x4plus" in error.value.message
    assert "`mediakit models list`" in error.value.message


@pytest.mark.parametrize(
    "model", ["zzz", "", "no/such.pth", "nothing.safetensors", "x" * 300, "a/\0", "~", "/"]
)
def test_what_is_not_there_is_unknown(model):
    with pytest.raises(UserError) as error:
        find(model)
    assert error.value.code == "unknown_model"
    assert "mediakit models list" in error.value.message
    assert error.value.message.isprintable()


def test_a_file_of_the_users(tmp_path, stamps):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"abc")
    spec = find(str(path), engine="mediakit.engines.other:load", stamps=stamps)
    assert (spec.name, spec.revision, spec.tasks) == (str(path), "local", ())
    assert spec.engine == "mediakit.engines.other:load"
    assert (spec.sha256, spec.size) == (sha256(b"abc").hexdigest(), 3)
    assert Store(tmp_path / "cache").pull(spec) == path
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    assert find(str(path), stamps=stamps).sha256 == sha256(b"abd").hexdigest()


def test_an_unchanged_file_of_the_users_is_not_read_again(tmp_path, stamps):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"abc")
    os.utime(path, ns=(5, 5))
    find(str(path), stamps=stamps)
    path.write_bytes(b"xyz")  # a change that size and time do not show
    os.utime(path, ns=(5, 5))
    assert find(str(path), stamps=stamps).sha256 == sha256(b"abc").hexdigest()


def test_names_that_are_hard_to_print(tmp_path, stamps, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"-new\nline\xff")
    (tmp_path / name).write_bytes(b"abc")
    spec = find(name, stamps=stamps)
    assert spec.name == "-new\\nline\\xff"
    assert Store(tmp_path / "cache").pull(spec).read_bytes() == b"abc"


def test_an_ncnn_pair_of_the_users_is_converted_into_the_cache(compact, tmp_path, stamps):
    param, weights = compact().write(tmp_path, "my.upscaler")
    specs = [find(str(path), stamps=stamps) for path in (param, weights)]
    assert specs[0].sha256 == specs[1].sha256
    store = Store(tmp_path / "cache", offline=True)
    converted = store.pull(specs[0])
    assert converted.suffix == ".safetensors"
    assert converted.is_relative_to(tmp_path / "cache")
    assert store.pull(specs[1]) == converted
    param.rename(tmp_path / "renamed.param")
    weights.rename(tmp_path / "renamed.bin")
    assert store.pull(find(str(tmp_path / "renamed.bin"), stamps=stamps)) == converted
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cache",
        "renamed.bin",
        "renamed.param",
        "stamps",
    ]


def test_half_an_ncnn_pair(compact, tmp_path, stamps):
    param, weights = compact().write(tmp_path)
    data = weights.read_bytes()
    weights.unlink()
    with pytest.raises(UserError, match=r"net\.bin are not beside it") as error:
        find(str(param), stamps=stamps)
    assert error.value.code == "bad_weights"
    param.unlink()
    weights.write_bytes(data)  # alone it is some other kind: PyTorch files are called .bin too
    assert find(str(weights), stamps=stamps).convert is None
