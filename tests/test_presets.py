"""Preset files: found, checked, extended, shown."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from mediakit import presets


@pytest.fixture
def user_presets(home: Path) -> Path:
    folder = Path(os.environ["XDG_CONFIG_HOME"]) / "mediakit" / "presets"
    folder.mkdir(parents=True)
    return folder


def test_shipped_presets_are_valid_and_listed(mediakit: Any) -> None:
    listed = {r["name"]: r for r in mediakit("presets", "list", "--json").records}
    assert {"starter", "photo", "drawing", "faithful"} <= listed.keys()
    for name, record in listed.items():
        assert record["tasks"] and record["description"]
        assert yaml.safe_load(mediakit("presets", "show", name).stdout)["description"]
    assert mediakit("presets", "list").lines[0].startswith("drawing")


def test_a_users_preset_hides_a_shipped_one(mediakit: Any, user_presets: Path) -> None:
    (user_presets / "photo.yaml").write_text("description: mine\nupscale: {scale: 3}\n")
    shown = yaml.safe_load(mediakit("presets", "show", "photo").stdout)
    assert shown == {"description": "mine", "upscale": {"scale": 3}}
    (line,) = [s for s in mediakit("presets", "list").lines if s.startswith("photo")]
    assert line.endswith("upscale: mine")


def test_extends(mediakit: Any, user_presets: Path) -> None:
    (user_presets / "base.yaml").write_text("upscale: {scale: 3, format: png}\n")
    (user_presets / "more.yaml").write_text("extends: base\nupscale: {format: webp}\n")
    shown = yaml.safe_load(mediakit("presets", "show", "more").stdout)
    assert shown["upscale"] == {"scale": 3, "format": "webp"}
    Path("sub").mkdir()
    Path("sub/one.yaml").write_text("extends: ./two.yaml\nupscale: {scale: 2}\n")
    Path("sub/two.yaml").write_text("extends: base\n")
    shown = yaml.safe_load(mediakit("presets", "show", "sub/one.yaml").stdout)
    assert shown["upscale"] == {"scale": 2, "format": "png"}


BAD = {
    "upscale: {scal: 2}": "upscale: scal: there is no such option",
    "upscal: {scale: 2}": "no task upscal",
    "upscale: {scale: big}": "upscale: scale: ",
    "upscale: {scale: 99}": "upscale: scale: ",
    "upscale: {format: psd}": "upscale: format: ",
    "upscale: {tile: 5}": "upscale: tile: ",
    "upscale: {inputs: [a.png]}": "upscale: inputs: there is no such option",
    "upscale: {out: there}": "upscale: out: there is no such option",
    "upscale: {preset: photo}": "upscale: preset: there is no such option",
    "upscale: [scale]": "upscale: ",
    "upscale:": "upscale: ",
    "inputs: [a.png]": "no task inputs",
    "extends: [a]": "extends: ",
    "description: {a: b}": "description: ",
    "extends: nope": "no preset nope",
    "extends: ./nope.yaml": "there is no preset file",
    "extends: ./bad.yaml": "extends itself",
    "upscale: {scale: ": "is not YAML",
    "- a": "expected `task:`",
    "": "expected `task:`",
    "!!python/object/apply:os.system [id]": "is not YAML",
    "[" * 500: "is not YAML",
    "upscale: \x00": "is not YAML",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_bad_presets_are_refused_everywhere(mediakit: Any, text: str) -> None:
    Path("bad.yaml").write_text(text)
    for command in (
        ("presets", "check", "bad.yaml"),
        ("presets", "show", "./bad.yaml"),
        ("upscale", "--explain", "--preset", "./bad.yaml"),
    ):
        result = mediakit(*command, status=2)
        assert BAD[text] in result.stderr
        assert len(result.stderr.splitlines()) == 1
        assert result.errors[0] in ("bad_preset", "unknown_preset")
        assert result.stdout == b""


def test_presets_that_are_not_there(mediakit: Any) -> None:
    for name in ("nope", "./nope.yaml", "", "../photo"):
        result = mediakit("upscale", "--explain", "--preset", name, status=2)
        assert result.errors == ["unknown_preset"]
    assert "starter" in mediakit("presets", "show", "nope", status=2).stderr
    Path("latin.yaml").write_bytes(b"description: \xe9\n")
    assert mediakit("presets", "check", "latin.yaml", status=2).errors == ["bad_preset"]


def test_one_bad_preset_does_not_hide_the_others(mediakit: Any, user_presets: Path) -> None:
    (user_presets / "broken.yaml").write_text("upscale: {scal: 2}\n")
    result = mediakit("presets", "list", status=2)
    assert result.errors == ["bad_preset"]
    assert {line.split()[0] for line in result.lines} >= {"photo", "starter"}


def test_check(mediakit: Any) -> None:
    Path("good.yaml").write_text("description: x\nupscale: {scale: 2, exact: true}\n")
    assert mediakit("presets", "check", "good.yaml").stdout == b"good.yaml: valid, for upscale\n"


def test_shipped_presets_lie_beside_the_code_or_inside_the_package() -> None:
    assert (presets.shipped_folder() / "starter.yaml").is_file()
