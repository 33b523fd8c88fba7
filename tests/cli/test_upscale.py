"""`mediakit upscale` end to end, with a tiny net of random weights and with a real one."""

import io
import json
import os
import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch")
from PIL import Image, ImageChops  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact  # noqa: E402

from mediakit.models.catalog import known  # noqa: E402
from mediakit.models.store import Store  # noqa: E402


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Compact net, x2, of 8 features."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("net") / "tiny.safetensors"
    save_file(SRVGGNetCompact(num_feat=8, num_conv=1, upscale=2).state_dict(), path)
    return path


@pytest.fixture
def upscale(mediakit: Any, net: Path) -> Callable[..., Any]:
    return lambda *args, **more: mediakit("upscale", "--model", net, *args, **more)


def size(path: str) -> tuple[int, int]:
    with Image.open(path) as picture:
        picture.load()
        return picture.size


def test_a_tree_of_pictures(put: Any, upscale: Any, check_record: Any) -> None:
    put("p/a.png", "p/sub/b.png")
    put("p/broken.png", data=Path("p/a.png").read_bytes()[:60])
    result = upscale("p", "-o", "out", "--json", status=1)
    for record in result.records:
        check_record(record)
    assert [r["status"] for r in result.records] == ["done", "failed", "done"]
    done = result.records[0]
    assert (size("out/a.png"), size("out/sub/b.png")) == ((32, 32), (32, 32))
    assert done["result"] == {"width": 32, "height": 32}
    assert (done["params"]["scale"], done["given"]) == (None, ["model"])  # the net's own, 2
    assert done["models"][0]["revision"] == "local"
    assert done["execution"]["device"] == "cpu"
    again = upscale("p", "-o", "out", "--json", status=1).records
    assert [r["status"] for r in again] == ["skipped", "failed", "skipped"]


def test_options_change_the_result(put: Any, upscale: Any) -> None:
    put("a.png")
    upscale("a.png", "-o", "x.webp", "--scale", "3", "--quality", "50")
    with Image.open("x.webp") as picture:
        assert (picture.size, picture.format) == ((48, 48), "WEBP")
    first = Path("x.webp").read_bytes()
    upscale("a.png", "-o", "x.webp", "--scale", "3", "--quality", "90")
    assert Path("x.webp").read_bytes() != first


def test_transparency_is_refused_by_name_before_the_work(put: Any, upscale: Any) -> None:
    put("p/a.png", "p/soft.png")
    Image.new("RGBA", (16, 16), (255, 0, 0, 128)).save("p/soft.png")
    result = upscale("p", "-o", "out", "--format", "jpg", "--json", status=1)
    done, failed = result.records
    assert (done["status"], failed["error"]["code"]) == ("done", "alpha_unsupported")
    assert "p/soft.png" in failed["error"]["message"]
    flat = upscale("p/soft.png", "-o", "flat", "--format", "jpg", "--background", "white")
    with Image.open(flat.lines[0]) as picture:
        assert picture.getpixel((16, 16))[1] > 20  # white shows through the red


def test_content_of_another_format_than_its_name_is_said(put: Any, upscale: Any) -> None:
    put("a.png")
    os.rename("a.png", "a.jpg")
    (record,) = upscale("a.jpg", "-o", "out", "--json").records
    assert record["warnings"] == ["the content is png: written as jpg"]
    with Image.open("out/a.jpg") as picture:
        assert picture.format == "JPEG"


def test_bytes_in_bytes_out(put: Any, upscale: Any) -> None:
    data = put("a.png").read_bytes()
    result = upscale("-", "-o", "-", stdin=data)
    with Image.open(io.BytesIO(result.stdout)) as picture:
        assert (picture.size, picture.format) == ((32, 32), "PNG")
    assert "1 done" in result.stderr
    jpeg = upscale("-", "-o", "-", "--format", "jpg", "-q", stdin=data)
    assert jpeg.stdout[:3] == b"\xff\xd8\xff"
    assert jpeg.err == b""
    kept = upscale("-", "-o", "out", stdin=jpeg.stdout)
    assert kept.lines == ["out/stdin.jpg"]


def test_exact_gives_the_same_bytes_alone_and_in_a_batch(put: Any, upscale: Any) -> None:
    put("p/a.png", "p/b.png", "p/c.png")
    upscale("p", "-o", "all", "--exact")
    upscale("p/b.png", "-o", "one.png", "--exact")
    assert Path("all/b.png").read_bytes() == Path("one.png").read_bytes()


def test_an_up_to_date_file_is_touched_for_make(put: Any, upscale: Any) -> None:
    put("a.png")
    upscale("a.png", "-o", "x.png")
    os.utime("x.png", (1, 1))
    assert upscale("a.png", "-o", "x.png").stdout == b""
    assert os.stat("x.png").st_mtime > os.stat("a.png").st_mtime - 1


def test_what_is_no_model(put: Any, mediakit: Any, home: Path) -> None:
    put("a.png", "not.safetensors")
    result = mediakit("upscale", "a.png", "-o", "out", "--model", "./not.safetensors", status=2)
    assert result.errors == ["bad_weights"]
    assert not Path("out/a.png").exists()


def test_a_model_that_is_not_here_and_offline(put: Any, mediakit: Any, monkeypatch: Any) -> None:
    put("a.png")
    monkeypatch.setenv("MEDIAKIT_CACHE", str(Path("empty").absolute()))
    result = mediakit("upscale", "a.png", "-o", "out", "--offline", status=2)
    assert result.errors == ["offline"]
    assert "mediakit models pull realesrgan-x4plus" in result.stderr


def test_a_device_that_is_not_here(put: Any, upscale: Any) -> None:
    put("a.png")
    assert upscale("a.png", "-o", "out", "--device", "cuda:99", status=2).errors == ["bad_device"]


def test_the_real_thing_in_a_process_of_its_own(put: Any, mediakit: Any) -> None:
    Store().pull(known()["realesr-animevideov3"])
    put("p/a.png")
    first = mediakit.process("upscale", "p", "-o", "out", "--preset", "starter", "--json", "-v")
    (record,) = first.records
    assert record["models"][0]["name"] == "realesr-animevideov3"
    assert record["given"] == ["model", "face_model", "detector"]
    assert "models: 1 loaded" in first.stderr and "device cpu" in first.stderr
    with Image.open("out/a.png") as picture:
        colour = picture.resize((1, 1)).getpixel((0, 0))
        assert picture.size == (64, 64)
    assert isinstance(colour, tuple)
    assert all(abs(a - b) < 12 for a, b in zip(colour, (0x20, 0x80, 0xC0), strict=True))
    section = {name: record["params"][name] for name in record["given"]}
    Path("again.yaml").write_text(yaml.safe_dump({"upscale": section}))
    second = mediakit("upscale", "p", "-o", "out", "--preset", "./again.yaml", "--json")
    assert second.records[0]["status"] == "skipped"
    assert json.loads(first.stdout)["artifacts"] == second.records[0]["artifacts"]


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU takes batches of tiles and of pictures, as a GPU does."""
    monkeypatch.setattr("mediakit.engines.upscaler.BATCHED", ("cpu",))
    monkeypatch.setattr("mediakit.tasks.upscale.BATCHED", ("cpu",))


def near(first: str, second: str) -> bool:
    """The same to one level."""
    with Image.open(first) as a, Image.open(second) as b:
        difference = ImageChops.difference(a.convert("RGB"), b.convert("RGB"))
        return a.size == b.size and max(high for _, high in difference.getextrema()) <= 1


def test_pictures_computed_together_are_those_computed_alone(
    upscale: Any, request: pytest.FixtureRequest
) -> None:
    photos("p/a.png", "p/b.png", "p/c.png", "p/d.png")
    Image.new("RGBA", (90, 70), (255, 0, 0, 128)).save("p/e.png")  # through the net as RGB
    options = ("--tile", "64", "--scale", "3", "--json")
    alone = upscale("p", "-o", "alone", *options).records
    assert [r["execution"]["batch"] for r in alone] == [1] * 5
    request.getfixturevalue("batched")
    together = upscale("p", "-o", "together", *options).records
    assert max(r["execution"]["batch"] for r in together) > 6  # tiles; a picture has 6
    for a, b in zip(alone, together, strict=True):
        assert near(a["outputs"][0], b["outputs"][0])
    request.getfixturevalue("nothing_held")
    for record in upscale("p", "-o", "written", *options).records:
        name = record["outputs"][0]
        assert pixels(name) == pixels(name.replace("written", "together"))


def test_one_picture_of_a_batch_that_can_not_be_costs_no_other(upscale: Any, batched: None) -> None:
    photos("p/a.png", "p/b.png", "p/c.png")
    Image.new("RGB", (1, 3), (9, 9, 9)).save("p/b.png")
    result = upscale("p", "-o", "out", "--width", "600", "--json", status=1)
    assert [r["status"] for r in result.records] == ["done", "failed", "done"]
    assert result.records[1]["error"]["code"] == "too_large"
    assert not Path("out/b.png").exists()


def test_too_little_memory_halves_the_pictures_then_the_tiles(
    upscale: Any, batched: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real allocation that no machine grants, beside each batch of more than one tile."""
    from mediakit.engines.copies import Copies

    up = Copies.up

    def starved(self: Copies, parts: list[Any]) -> Any:
        torch.empty(2**50 if len(parts) > 1 else 1, dtype=torch.uint8)
        return up(self, parts)

    monkeypatch.setattr(Copies, "up", starved)
    photos("p/a.png", "p/b.png", "p/c.png", "p/d.png")
    records = upscale("p", "-o", "out", "--tile", "64", "--json").records
    thens = [[attempt["then"] for attempt in r["attempts"]] for r in records]
    assert thens[0][-2:] == ["tiles at once: 2", "tiles at once: 1"]
    assert "batch of 2" in thens[0] or "batch of 1" in thens[0]
    assert {r["execution"]["batch"] for r in records} == {1}
    assert {r["execution"]["tile"] for r in records} == {64}


FORMATS = ["png", "jpg", "tiff", "bmp", "webp", "avif", "gif"]


@pytest.fixture
def nothing_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every result is too large to wait in memory."""
    monkeypatch.setattr("mediakit.media.pictures.HELD", 0)


@pytest.mark.parametrize("format", FORMATS)
def test_large_results_are_written_as_they_are_made(
    upscale: Any, request: pytest.FixtureRequest, format: str
) -> None:
    photos("p/a.png", "p/b.png")
    options = ("--format", format, "--tile", "64", "--scale", "3", "--json")
    held = upscale("p", "-o", "held", *options).records
    request.getfixturevalue("nothing_held")
    written = upscale("p", "-o", "written", *options).records
    for a, b in zip(held, written, strict=True):
        assert a["outputs"][0].removeprefix("held") == b["outputs"][0].removeprefix("written")
        assert (a["result"], a["warnings"]) == (b["result"], b["warnings"])
        assert pixels(a["outputs"][0]) == pixels(b["outputs"][0])
    assert not list(Path("written/.mediakit").rglob("tmp/*"))
    upscale("p/a.png", "-o", "-", "--format", format)


def photos(*names: str) -> None:
    """Noise of 90x70 pixels."""
    for seed, name in enumerate(names):
        Path(name).parent.mkdir(exist_ok=True)
        Image.frombytes("RGB", (90, 70), random.Random(seed).randbytes(18900)).save(name)


def pixels(path: str) -> bytes:
    with Image.open(path) as picture:
        return picture.convert("RGBA").tobytes()


def test_a_full_disk_while_a_large_result_is_made(upscale: Any, nothing_held: None) -> None:
    photos("p/a.png", "p/b.png")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        result = upscale("p", "-o", "out", "--format", "bmp", "--tile", "64", status=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert result.errors == ["disk_full"]
    left = [path for path in Path("out").rglob("*") if path.is_file() and path.stat().st_size > 999]
    assert left == []
    upscale("p", "-o", "out", "--format", "bmp", "--tile", "64")
    assert size("out/a.bmp") == (180, 140)
