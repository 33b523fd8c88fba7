"""Where an option's value comes from, and which options are refused."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
import yaml

from mediakit.cli.defaults import Command

Explain = Callable[..., tuple[Any, str]]


@pytest.fixture
def explained(mediakit: Any) -> Explain:
    """Value and source of an option."""

    def run(option: str, *args: str) -> tuple[Any, str]:
        for record in mediakit("upscale", *args, "--explain", "--json").records:
            if record["option"] == option:
                return record["value"], record["source"]
        raise LookupError(option)

    return run


@pytest.fixture
def preset() -> Path:
    path = Path("mine.yaml")
    path.write_text("upscale: {scale: 3, format: png, tile: 128, exact: true, max_pixels: 9M}\n")
    return path


def test_precedence(
    explained: Explain, preset: Path, put: Any, mediakit: Any, monkeypatch: Any
) -> None:
    put("a.png")

    def recorded(*args: str) -> Any:
        row = b'{"input": "a.png"}\n{"input": "a.png", "scale": 6}'
        options = ("upscale", "-", "-o", "out", "--dry-run", "--json", "--name", "{index}{ext}")
        first, second = mediakit(*options, *args, stdin=row).records
        assert (second["params"]["scale"], "scale" in second["given"]) == (6, True)
        return first["params"]["scale"], "scale" in first["given"]

    assert explained("--scale") == (4, "model realesrgan-x4plus")
    assert explained("--scale", "--model", "dat-light-x2") == (2, "model dat-light-x2")
    assert recorded() == (4, False)
    args = ["--preset", str(preset)]
    assert explained("--scale", *args) == (3, f"preset {preset}")
    assert recorded(*args) == (3, True)
    monkeypatch.setenv("MEDIAKIT_UPSCALE_SCALE", "1.5")
    assert explained("--scale", *args) == (1.5, "environment")
    assert recorded(*args) == (1.5, True)
    args += ["--scale", "2"]
    assert explained("--scale", *args) == (2, "command line")
    assert recorded(*args) == (2, True)
    assert explained("--shard", "--shard", "0/4") == ("0/4", "command line")
    assert explained("--quality") == (None, "default")
    assert explained("--model") == ("realesrgan-x4plus", "default")


def test_precedence_of_execution(explained: Explain, preset: Path, monkeypatch: Any) -> None:
    preset_args = ["--preset", str(preset)]
    assert explained("--exact", *preset_args) == (True, f"preset {preset}")
    assert explained("--exact", *preset_args, "--no-exact") == (False, "command line")
    assert explained("--tile", *preset_args) == (128, f"preset {preset}")
    assert explained("--max-pixels", *preset_args) == (9_000_000, f"preset {preset}")
    monkeypatch.setenv("MEDIAKIT_TILE", "64")
    assert explained("--tile", *preset_args) == (64, "environment")
    monkeypatch.setenv("MEDIAKIT_UPSCALE_TILE", "96")
    assert explained("--tile") == (96, "environment")
    monkeypatch.setenv("MEDIAKIT_MEMORY_BUDGET", "2GiB")
    assert explained("--memory-budget") == (2 * 2**30, "environment")
    monkeypatch.setenv("MEDIAKIT_UPSCALE_PRESET", str(preset))
    assert explained("--scale") == (3, f"preset {preset}")


def test_every_option_has_its_variable(mediakit: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("MEDIAKIT_UPSCALE_JSON", "1")
    monkeypatch.setenv("MEDIAKIT_UPSCALE_FROM", "x.txt")
    monkeypatch.setenv("MEDIAKIT_UPSCALE_OUT", "there")
    values = {r["option"]: r["value"] for r in mediakit("upscale", "--explain").records}
    assert (values["--from"], values["--out"], values["--json"]) == ("x.txt", "there", "True")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("MEDIAKIT_UPSCALE_SCALE", "99"),
        ("MEDIAKIT_UPSCALE_QUALITY", "high"),
        ("MEDIAKIT_UPSCALE_FORMAT", "psd"),
        ("MEDIAKIT_EXACT", "maybe"),
        ("MEDIAKIT_TILE", "5"),
        ("MEDIAKIT_UPSCALE_SHARD", "4/4"),
        ("MEDIAKIT_UPSCALE_LIMIT", "0"),
    ],
)
def test_a_bad_variable_is_named(
    mediakit: Any, monkeypatch: Any, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    result = mediakit("upscale", "a.png", "-o", "out", status=2)
    assert result.errors == ["usage"]
    assert variable in result.stderr


def test_explain_for_people(mediakit: Any) -> None:
    text = mediakit("upscale", "--explain", "--scale", "2", "-o", "out").lines
    assert any(line.split() == ["--scale", "2", "command", "line"] for line in text)
    assert any(line.split() == ["--out", "out", "command", "line"] for line in text)
    assert mediakit("upscale", "--explain", "--model", "nope", status=2).errors == ["unknown_model"]


def test_a_record_limited_to_what_was_given_is_a_preset(put: Any, mediakit: Any) -> None:
    put("a.png")
    command = ("upscale", "a.png", "-o", "out", "--dry-run", "--json")
    args = ("--scale", "2.5", "--format", "webp", "--quality", "80", "--background", "#fff")
    (record,) = mediakit(*command, *args).records
    assert set(record["given"]) == {"scale", "format", "quality", "background"}
    section = {name: record["params"][name] for name in record["given"]}
    Path("p.yaml").write_text(yaml.safe_dump({"upscale": section}))
    mediakit("presets", "check", "p.yaml")
    (again,) = mediakit(*command, "--preset", "./p.yaml").records
    assert again == record
    # and another model then brings its own values
    section = {"model": "dat-light-x2"}
    Path("p.yaml").write_text(yaml.safe_dump({"upscale": section}))
    (other,) = mediakit(*command, "--preset", "./p.yaml").records
    assert (other["params"]["scale"], other["given"]) == (2, ["model"])


# options that would do nothing, or contradict each other

USELESS = [
    "a.png -o out --quality 90",
    "a.png -o out --quality 90 --format tiff",
    "a.png -o x.png --quality 90",
    "a.png -o - --quality 90",
    "- -o out --quality 90 --format png",
    "a.png -o x.png --name {stem}{ext}",
    "a.png -o - --name {stem}{ext}",
    "a.png -o x.png --shard 0/2",
    "a.png -o x.png --limit 5",
    "a.png -o out --shard 0/1",
    "a.png -o - --force",
    "a.png -o - --overwrite",
    "a.png -o - --verify",
    "a.png -o - --retry-failed",
    "a.png -o out -0",
    "a.png -o out -q --no-progress",
    "a.png -o out --force --verify",
    "a.png -o out --device cuda --threads 4",
    "a.png -o out --preset ./empty.yaml",
    "b.jpg -o out --compression 9",
    "a.png -o out --subsampling 4:2:0",
    "b.jpg -o out --lossless",
    "a.png -o out --format webp --lossless --quality 90",
    "a.png -o out --denoise 0.5",
    "a.png -o out --face-model gfpgan-1.4 --no-fix-faces",
]
CONTRADICTIONS = [
    "a.png -o out -q -v",
    "a.png -o out --force --retry-failed",
    "a.png -o - --json",
    "a.png --beside",
    "a.png --beside -o out",
    "a.png -o out --scale 2 --width 100",
    "a.png -o out --scale 2 --max-side 100",
    "a.png -o out --max-side 100 --height 100",
]
USEFUL = [
    "a.png -o out --quality 90 --format webp",
    "a.png b.jpg -o out --quality 90",
    "a.png -o x.webp --quality 90",
    "a.png b.jpg -o out --compression 9",
    "b.jpg -o out --subsampling 4:2:0 --icc srgb",
    "b.jpg -o out --format avif --lossless",
    "a.png -o out --width 100 --height 100",
    "a.png -o out --max-side 100 --downscale-first 1.5",
    "a.png -o out --model realesr-general-x4v3 --denoise 0.2",
    "b.jpg -o - --quality 90",
    "a.png -o out --fix-faces --face-model gfpgan-1.4 --detector yunet",
    "- -o out --quality 90",
    "a.png -o x.png --format png --force",
    "b.jpg -o out --background white",
    "a.png -o out --limit 5 --shard 0/2 --fail-fast --verify --offline --no-progress",
    "a.png -o out --scale 4 --device auto --threads 1 --tile auto --dtype auto --exact",
    "a.png -o out --memory-budget 1g --max-pixels 1m --overwrite --retry-failed --json -v",
]


@pytest.fixture
def batch(put: Any, mediakit: Any) -> Iterator[Any]:
    put("a.png", "b.jpg")
    Path("empty.yaml").write_text("description: nothing\n")
    yield lambda line, status: mediakit("upscale", *line.split(), "--dry-run", status=status)
    assert sorted(os.listdir()) == ["a.png", "b.jpg", "empty.yaml"]


@pytest.mark.parametrize("line", USELESS)
def test_an_option_that_would_do_nothing_is_an_error(batch: Any, line: str) -> None:
    assert batch(line, 2).errors == ["useless_option"]


@pytest.mark.parametrize("line", CONTRADICTIONS)
def test_options_that_contradict_each_other(batch: Any, line: str) -> None:
    assert batch(line, 2).errors == ["usage"]


@pytest.mark.parametrize("line", USEFUL)
def test_options_that_do_something(batch: Any, line: str) -> None:
    assert batch(line, 0).errors == []


def test_every_option_is_in_one_of_these_tests(mediakit: Any) -> None:
    from mediakit.cli.options import fields, flags
    from mediakit.tasks import registry

    tried = " ".join(USELESS + CONTRADICTIONS + USEFUL) + " --dry-run --explain --from --model"
    names = [flags(name, field, model) for model, name, field in fields(registry.task("upscale"))]
    missing = [n for n in names if not any(f" {flag.split('/')[0]}" in tried for flag in n)]
    assert missing == []


def test_what_presets_and_environment_say_may_be_useless(
    put: Any, mediakit: Any, monkeypatch: Any
) -> None:
    put("a.png")
    Path("q.yaml").write_text("upscale: {quality: 90}\n")
    mediakit("upscale", "a.png", "-o", "out", "--preset", "./q.yaml", "--dry-run")
    monkeypatch.setenv("MEDIAKIT_UPSCALE_QUALITY", "90")
    monkeypatch.setenv("MEDIAKIT_UPSCALE_NAME", "{stem}{ext}")
    mediakit("upscale", "a.png", "-o", "x.png", "--dry-run")


def test_what_presets_and_environment_say_can_be_what_an_option_needs(
    put: Any, mediakit: Any, monkeypatch: Any
) -> None:
    put("a.png")
    faces = ("upscale", "a.png", "-o", "out", "--dry-run", "--detector", "yunet")
    assert mediakit(*faces, status=2).errors == ["useless_option"]
    monkeypatch.setenv("MEDIAKIT_UPSCALE_FIX_FACES", "1")
    mediakit(*faces)
    Path("s.yaml").write_text("transcribe: {sequential: true}\n")
    Path("a.wav").write_bytes(b"RIFF")
    alone = ("transcribe", "a.wav", "-o", "out", "--dry-run", "--no-condition-on-previous-text")
    assert mediakit(*alone, status=2).errors == ["useless_option"]
    mediakit(*alone, "--preset", "./s.yaml")


@pytest.mark.parametrize(
    "line",
    [
        "--scale 0.5",
        "--scale big",
        "--scale nan",
        "--quality 0",
        "--format psd",
        "--background nocolour",
        "--tile 63",
        "--tile huge",
        "--max-pixels 0",
        "--max-pixels 1.2.3",
        "--max-pixels 5x",
        "--limit 0",
        "--threads 0",
        "--dtype int8",
        "--bogus",
        "--scal 2",
    ],
)
def test_wrong_values(put: Any, mediakit: Any, line: str) -> None:
    put("a.png")
    result = mediakit("upscale", "a.png", "-o", "out", *line.split(), status=2)
    assert result.errors == ["usage"]
    assert len(result.stderr.splitlines()) == 1
    assert line.split()[-1].removeprefix("--").removeprefix("no") in result.stderr or (
        line.split()[0] in result.stderr
    )


def test_rows_take_text_for_numbers_as_the_command_line_does(put: Any, mediakit: Any) -> None:
    put("a.png")
    row = json.dumps({"input": "a.png", "scale": "2", "quality": "80", "format": "jpg"})
    command = ("upscale", "-", "-o", "out", "--dry-run", "--json")
    (record,) = mediakit(*command, stdin=row.encode()).records
    assert (record["params"]["scale"], record["params"]["quality"]) == (2, 80)


@pytest.mark.parametrize("columns", ["60", "80", "100"])
def test_help_names_every_option_in_full(mediakit: Any, monkeypatch: Any, columns: str) -> None:
    from mediakit.cli.options import fields, flags
    from mediakit.tasks import registry

    monkeypatch.setenv("COLUMNS", columns)
    for name in registry.names():
        words = mediakit(name, "--help").stdout.decode().split()
        options = {
            flag.split("/")[0]
            for model, field, info in fields(registry.task(name))
            for flag in flags(field, info, model)
        }
        assert options <= {word.rstrip(",") for word in words}


def test_only_what_was_told_is_parsed(monkeypatch: Any) -> None:
    """Defaults are taken as they are; what an environment says is told."""
    parsed: list[str] = []

    def parse(text: str) -> str:
        parsed.append(text)
        return text.upper()

    app = typer.Typer(add_completion=False)
    option = typer.Option(parser=parse, metavar="TEXT", envvar="COLOUR")

    @app.command(cls=Command)
    def show(
        colour: Annotated[str, option] = "red",
        size: int = 3,
        names: Annotated[list[str] | None, typer.Option(parser=parse)] = None,
    ) -> tuple[str, int, list[str] | None]:
        return colour, size, names

    def run(*args: str) -> tuple[tuple[str, int, list[str] | None], list[str]]:
        parsed.clear()
        done = typer.main.get_command(app).main(list(args), standalone_mode=False)
        return done, list(parsed)

    assert run() == (("red", 3, None), [])
    assert run("--colour", "blue", "--size", "4") == (("BLUE", 4, None), ["blue"])
    assert run("--names", "a", "--names", "b") == (("red", 3, ["A", "B"]), ["a", "b"])
    monkeypatch.setenv("COLOUR", "green")
    assert run() == (("GREEN", 3, None), ["green"])
    with pytest.raises(Exception, match="valid int"):
        run("--size", "four")
