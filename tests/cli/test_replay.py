"""`mediakit replay`: the same picture again from its record, or from the picture itself."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
from PIL import Image  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact  # noqa: E402

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def made(put: Any, mediakit: Any, home: Path) -> Make:
    """Makes out/a.png of p/a.png with a tiny net, x2, and gives its record; in r.jsonl too."""
    torch.manual_seed(0)
    save_file(SRVGGNetCompact(num_feat=8, num_conv=1, upscale=2).state_dict(), "net.safetensors")
    put("p/a.png")

    def make(*options: str) -> dict[str, Any]:
        given = ("--model", "./net.safetensors", "--json", "--exact", *options)
        result = mediakit("upscale", "p/a.png", "-o", "out", *given)
        Path("r.jsonl").write_bytes(result.stdout)
        record: dict[str, Any] = result.records[0]
        return record

    return make


def width(path: str) -> int:
    with Image.open(path) as picture:
        return picture.size[0]


@pytest.mark.parametrize("source", ["r.jsonl", "out/a.png", "out"])
def test_a_result_is_made_again_byte_for_byte(made: Make, mediakit: Any, source: str) -> None:
    first = made("--scale", "3")
    (again,) = mediakit("replay", source, "-o", "again", "--json", "--exact").records
    for name in ("input", "params", "given", "models"):
        assert again[name] == first[name]
    assert again["outputs"] == ["again/a.png"]
    assert Path("again/a.png").read_bytes() == Path("out/a.png").read_bytes()
    assert width("again/a.png") == 48


def test_options_and_presets_of_the_command_line_win(made: Make, mediakit: Any) -> None:
    made("--scale", "3")
    (record,) = mediakit("replay", "r.jsonl", "-o", "x", "--scale", "4", "--json").records
    assert (record["params"]["scale"], width("x/a.png")) == (4, 64)
    assert record["given"] == ["model", "scale"]
    Path("five.yaml").write_text("upscale: {scale: 5}\n")
    mediakit("replay", "r.jsonl", "-o", "y", "--preset", "./five.yaml")
    assert width("y/a.png") == 80


@pytest.mark.parametrize("recorded", [("--scale", "3"), ()])
def test_the_environment_does_not(
    made: Make, mediakit: Any, monkeypatch: Any, recorded: tuple[str, ...]
) -> None:
    first = made(*recorded)
    Path("five.yaml").write_text("upscale: {quality: 5}\n")
    monkeypatch.setenv("MEDIAKIT_UPSCALE_SCALE", "4")
    monkeypatch.setenv("MEDIAKIT_UPSCALE_PRESET", "./five.yaml")
    (again,) = mediakit("replay", "r.jsonl", "-o", "again", "--json").records
    assert (again["params"], again["given"]) == (first["params"], first["given"])
    monkeypatch.delenv("MEDIAKIT_UPSCALE_PRESET")
    preset = ("--preset", "./five.yaml")
    (mixed,) = mediakit("replay", "r.jsonl", "-o", "m", "--json", *preset).records
    assert mixed["params"] == {**first["params"], "quality": 5}


@pytest.mark.parametrize("more", [("p/b.png",), ("--from", "l.txt")])
def test_inputs_beside_the_records_are_refused(
    made: Make, mediakit: Any, more: tuple[str, ...]
) -> None:
    made()
    result = mediakit("replay", "r.jsonl", "-o", "again", *more, status=2)
    assert result.errors == ["usage"]
    assert not Path("again").exists()


def with_text(text: bytes, *, packed: bool) -> bytes:
    """A PNG whose only chunk is mediakit's; `text` is what follows the keyword's flags."""
    body = b"mediakit\0" + bytes([packed, 0]) + text
    chunk = struct.pack(">I", len(body)) + b"iTXt" + body
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", zlib.crc32(b"iTXt" + body))


def record(**fields: object) -> bytes:
    return json.dumps(
        {"schema": "mediakit/1", "task": "upscale", "input": "a.png", **fields}
    ).encode()


DAMAGED = {
    "none.jsonl": b"",
    "text.jsonl": b"no record",
    "deep.jsonl": b"[" * 200_000,
    "given.jsonl": record(given=None, params={}),
    "number.jsonl": record(given=5, params={}),
    "names.jsonl": record(given=[["scale"]], params={"scale": 2}),
    "params.jsonl": record(given=["scale"], params=5),
    "bytes.jsonl": b"\xff\xfe\xff\n",
    "cut.png": with_text(b"no NULs", packed=False),
    "zlib.png": with_text(b"\0\0not zlib", packed=True),
    "short.png": with_text(b"\0\0" + zlib.compress(record())[:-9], packed=True),
    "bomb.png": with_text(b"\0\0" + zlib.compress(b" " * (64 << 20)), packed=True),
    "json.png": with_text(b"\0\0{", packed=False),
}

# a picture whose text can't be read is one that says nothing, like most pictures
NO_RECORD = ("none.jsonl", "cut.png", "zlib.png", "short.png", "bomb.png")


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_records_are_named(mediakit: Any, name: str, home: Path) -> None:
    Path(name).write_bytes(DAMAGED[name])
    result = mediakit("replay", name, "-o", "again", status=2)
    assert result.errors == ["bad_record"]
    assert name in result.stderr and "internal" not in result.stderr


def test_below_a_directory_they_are_passed_over(made: Make, mediakit: Any) -> None:
    made()
    for name, data in DAMAGED.items():
        Path("out", name).write_bytes(data)
    result = mediakit("replay", "out", "-o", "again", "-q")
    assert result.lines == ["again/a.png"]
    for name in DAMAGED:
        silent = name in NO_RECORD
        assert (f"passed over: out/{name}" in result.stderr) != silent


def test_records_of_tasks_that_are_not_known(mediakit: Any, home: Path) -> None:
    Path("r.jsonl").write_bytes(record(task="paint"))
    result = mediakit("replay", "r.jsonl", "-o", "again", status=2)
    assert result.errors == ["bad_record"]
    assert "paint" in result.stderr
