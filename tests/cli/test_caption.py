"""`mediakit caption` end to end, with a random BLIP through the real loading code."""

import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("transformers")
pytest.importorskip("torchvision")

from PIL import Image  # noqa: E402

sys.path.append(str(Path(__file__).parents[1] / "engines" / "caption"))
DARKTABLE = """<x:xmpmeta xmlns:x="adobe:ns:meta/">
 <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
  <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"
    xmlns:darktable="http://darktable.sf.net/" darktable:params="gz02eJxj"/>
 </rdf:RDF>
</x:xmpmeta>
"""
NAMES = ("a.jpg", "b.png", "c.webp")


@pytest.fixture(scope="session")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny import blip

    with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
        return blip(tmp_path_factory.mktemp("blip"))


@pytest.fixture
def caption(mediakit: Any, net: Path) -> Callable[..., Any]:
    """With few words, for a random net would go on."""
    return lambda *args, words="6", **more: mediakit(
        "caption", "--model", str(net), "--max-words", words, "--threads", "1", *args, **more
    )


@pytest.fixture
def photos(home: Path) -> Path:
    """Three pictures of which a random net says different things."""
    (home / "photos").mkdir()
    random = np.random.default_rng(0)
    for name in NAMES:
        picture = np.full((48, 64, 3), 255, np.uint8)
        picture[8:40, 10:40] = random.integers(0, 256, 3)
        Image.fromarray(picture).save(home / "photos" / name, lossless=True)
    return Path("photos")


def test_lines_on_standard_output_and_text_alone_for_one(photos: Path, caption: Any) -> None:
    done = caption(photos)
    assert [line.split("\t")[0] for line in done.lines] == [f"photos/{name}" for name in NAMES]
    assert len({line.split("\t")[1] for line in done.lines}) > 1
    one = caption("photos/b.png")
    assert one.stdout.decode() == done.lines[1].split("\t")[1] + "\n"


def test_records(photos: Path, caption: Any, check_record: Any) -> None:
    for record in caption(photos, "--json").records:
        check_record(record)
        assert record["outputs"] == []
        assert record["models"][0]["role"] == "captioner"
        assert record["result"]["words"] == len(record["result"]["text"].split()) <= 6
        assert record["execution"]["batch_size"] == 8


def test_a_folder_into_sidecars_and_again(photos: Path, caption: Any) -> None:
    said = {line.split("\t")[0]: line.split("\t")[1] for line in caption(photos).lines}
    done = caption(photos, "-o", "out", "--format", "txt,json,xmp", "--json")
    for record in done.records:
        stem = Path(record["input"]).stem
        assert record["outputs"] == [f"out/{stem}.txt"]
        names = [artifact["path"] for artifact in record["artifacts"]]
        full = f"out/{Path(record['input']).name}.xmp"
        assert names == [f"out/{stem}.txt", f"out/{stem}.json", full]
        text = said[record["input"]]
        assert Path(names[0]).read_text() == f"{text}\n"
        assert json.loads(Path(names[1]).read_text())["caption"] == text
        assert f"{text}</rdf:li>" in Path(full).read_text()
    again = caption(photos, "-o", "out", "--format", "txt,json,xmp", "--json")
    assert {record["status"] for record in again.records} == {"skipped"}
    (record,) = caption("photos/a.jpg", "-o", "o", "--format", "json,txt", "--json").records
    assert record["outputs"] == ["o/a.json"]  # the first that is named


def test_sidecars_beside_pictures_of_any_folder(
    home: Path, photos: Path, caption: Any, monkeypatch: Any
) -> None:
    (home / "more").mkdir()
    shutil.copy("photos/a.jpg", "more/a.jpg")
    before = {name: (home / "photos" / name).read_bytes() for name in NAMES}
    done = caption(photos, "more", "--beside", "--format", "txt,xmp")
    assert sorted(done.lines) == ["more/a.txt", *(f"photos/{n[0]}.txt" for n in NAMES)]
    assert Path("more/a.txt").read_text() == Path("photos/a.txt").read_text()
    assert Path("more/a.jpg.xmp").exists()
    assert not list(home.glob("**/.mediakit"))  # nothing else among the pictures
    assert {name: (home / "photos" / name).read_bytes() for name in NAMES} == before
    monkeypatch.chdir("photos")  # the same however they are named
    again = caption("a.jpg", "b.png", home / "more", "--beside", "--format", "txt,xmp", "--json")
    assert [record["status"] for record in again.records] == ["skipped"] * 3
    assert again.records[0]["outputs"] == ["a.txt"]


def test_pictures_of_one_stem_keep_apart(photos: Path, caption: Any) -> None:
    shutil.copy("photos/a.jpg", "photos/b.jpg")
    for where in (("--beside",), ("-o", "out")):
        caption(photos, *where, "--format", "txt,xmp")
        folder = photos if where == ("--beside",) else Path("out")
        for name in ("b.jpg", "b.png"):
            assert (folder / f"{name}.txt").exists()
            assert (folder / f"{name}.xmp").exists()
        assert (folder / "a.txt").exists()
        assert not (folder / "b.txt").exists()


def test_xmp_names_of_lightroom(photos: Path, caption: Any) -> None:
    caption("photos/a.jpg", "--beside", "--format", "xmp", "--xmp-name", "stem")
    assert Path("photos/a.xmp").exists()


def test_append_keeps_what_is_there_and_is_done_once(photos: Path, caption: Any) -> None:
    Path("photos/a.txt").write_text("sks dog, outdoors\n")
    said = caption("photos/a.jpg").lines[0]
    options = (photos, "--beside", "--append")
    caption(*options)
    held = Path("photos/a.txt").read_text()
    assert held == f"sks dog, outdoors, {said}\n"
    assert caption(*options, "--json").records[0]["status"] == "skipped"
    caption(*options, "--force")
    assert Path("photos/a.txt").read_text() == held
    caption(*options, words="2")  # another caption takes the place of the first
    short = " ".join(said.split()[:2])
    assert Path("photos/a.txt").read_text() == f"sks dog, outdoors, {short}\n"


def test_append_after_an_edit(photos: Path, caption: Any) -> None:
    file, options = Path("photos/a.txt"), ("photos/a.jpg", "--beside", "--append")
    file.write_text("mine")
    said = caption("photos/a.jpg").lines[0]
    caption(*options)
    file.write_text(f"mine, {said}, more of mine\n")  # the caption is still there
    caption(*options, words="1")
    first = said.split()[0]
    assert file.read_text() == f"mine, {first}, more of mine\n"
    file.write_text("all my own\n")  # it is not
    refused = caption(*options, words="2", status=1)
    assert refused.errors == ["would_overwrite"]
    assert file.read_text() == "all my own\n"
    caption(*options, "--overwrite", words="2")
    assert file.read_text() == f"all my own, {' '.join(said.split()[:2])}\n"


def test_what_was_appended_to_is_not_replaced_later(photos: Path, caption: Any) -> None:
    file = Path("photos/a.txt")
    file.write_text("mine\n")
    caption("photos/a.jpg", "--beside", "--append")
    held = file.read_text()
    refused = caption("photos/a.jpg", "--beside", status=1)
    assert refused.errors == ["would_overwrite"]
    assert file.read_text() == held
    caption("photos/a.jpg", "--beside", "--overwrite")
    assert "mine" not in file.read_text()


def test_foreign_sidecars_are_never_lost(photos: Path, caption: Any) -> None:
    Path("photos/a.txt").write_text("mine\n")
    Path("photos/a.jpg.xmp").write_text(DARKTABLE)
    for format in ("txt", "xmp"):
        refused = caption("photos/a.jpg", "--beside", "--format", format, status=1)
        assert refused.errors == ["would_overwrite"]
        assert "--append adds to it" in refused.stderr
    assert Path("photos/a.txt").read_text() == "mine\n"
    assert Path("photos/a.jpg.xmp").read_text() == DARKTABLE
    for more in ("--append", "--overwrite"):
        caption("photos/a.jpg", "--beside", "--format", "xmp", more)
        held = Path("photos/a.jpg.xmp").read_text()
        assert 'xmp:Rating="4"' in held
        assert "gz02eJxj" in held
        assert held.count("x-default") == 1


def test_prefix_suffix_and_separator(photos: Path, caption: Any) -> None:
    said = caption("photos/a.jpg").lines[0]
    both = ("--prefix", "sks dog, ", "--suffix", "; high quality")
    assert caption("photos/a.jpg", *both).lines == [f"sks dog, {said}; high quality"]
    Path("photos/a.txt").write_text("mine")
    caption("photos/a.jpg", "--beside", "--append", "--separator", r"\n")
    assert Path("photos/a.txt").read_text() == f"mine\n{said}\n"


def test_bad_pictures_cost_no_others(photos: Path, caption: Any) -> None:
    (photos / "d.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut off")
    (photos / "e.png").write_bytes(b"")
    (photos / "f.gif").write_bytes(b"no picture at all")
    done = caption(photos, "nowhere.jpg", status=1)
    assert len(done.lines) == 3
    assert sorted(done.errors) == ["corrupt", "empty_file", "missing_file", "unsupported_format"]


def test_a_picture_on_standard_input(photos: Path, caption: Any) -> None:
    said = caption("photos/b.png").lines
    assert caption("-", stdin=(photos / "b.png").read_bytes()).lines == said
    names = b"photos/a.jpg\nphotos/b.png\n"
    assert caption("-", stdin=names).lines[1] == f"photos/b.png\t{said[0]}"


def test_rows_ask_for_different_things(photos: Path, caption: Any) -> None:
    rows = [{"input": "photos/a.jpg", "max_words": n} for n in (1, 3)]
    Path("list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = caption("--from", "list.jsonl", "--json")
    assert [record["result"]["words"] for record in done.records] == [1, 3]


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (("--mode", "tags"), "useless_option"),
        (("--top-p", "0.5"), "useless_option"),
        (("--seed", "3"), "useless_option"),
        (("--temperature", "1", "--beam-size", "4"), "useless_option"),
        (("--append",), "useless_option"),
        (("--separator", "; ", "--beside"), "useless_option"),
        (("--xmp-name", "stem", "-o", "out"), "useless_option"),
        (("--projector", "x.gguf"), "unknown_model"),
        (("--gpu-layers", "3"), "useless_option"),
        (("--min-words", "9"), "usage"),
        (("--beside", "-o", "out"), "usage"),
        (("--beside", "--append", "--format", "txt,json"), "usage"),
        (("--format", "txt,txt", "-o", "out"), "usage"),
        (("-o", "out/a.pdf"), "usage"),
        (("--exact", "--batch-size", "4"), "useless_option"),
    ],
)
def test_options_that_do_nothing_or_contradict(
    photos: Path, caption: Any, options: tuple[str, ...], code: str
) -> None:
    if options == ("-o", "out/a.pdf"):
        Path("out").mkdir()
        Path("out/a.pdf").touch()
    refused = caption("photos/a.jpg", *options, status=2)
    assert refused.errors == [code]


def test_models_that_are_no_captioners(photos: Path, mediakit: Any, net: Path) -> None:
    for model, code in (
        ("realesrgan-x4plus", "wrong_model"),
        (str(net / "model.safetensors"), "wrong_model"),
        ("photos", "unknown_model"),
        ("blip", "unknown_model"),
    ):
        refused = mediakit("caption", "photos", "--model", model, status=2)
        assert refused.errors == [code]
    shutil.copytree(net, "half")
    os.unlink("half/preprocessor_config.json")
    refused = mediakit("caption", "photos", "--model", "half", status=2)
    assert refused.errors == ["missing_component"]
    refused = mediakit("upscale", "photos", "--model", str(net), "-o", "out", status=2)
    assert refused.errors == ["wrong_model"]


def test_a_name_with_a_dash_is_told_from_an_option(photos: Path) -> None:
    (photos / "a.jpg").rename("-dash.jpg")
    done = subprocess.run(
        [sys.executable, "-c", "from mediakit.cli.app import main; main()", "caption", "-dash.jpg"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert "(for the file: ./-dash.jpg)" in done.stderr


def test_rows_of_earlier_runs_that_are_left_out_are_told(photos: Path, caption: Any) -> None:
    told = "left out 1 row of earlier runs"
    two = (photos / "a.jpg", photos / "b.png", "-o", "all.json")
    assert told not in caption(photos, "-o", "all.json").stderr
    fewer = caption(*two)
    assert told in fewer.stderr
    assert len(json.loads(Path("all.json").read_text())) == 2
    assert told not in caption(*two).stderr
    again = caption(photos, "-o", "all.json")
    assert "3 up to date" in again.stderr and told not in again.stderr
    assert len(json.loads(Path("all.json").read_text())) == 3


def test_rows_may_hold_what_an_option_needs(photos: Path, caption: Any) -> None:
    """A seed does nothing where no words are drawn; unless a row draws some."""
    name = next(str(path) for path in sorted(photos.iterdir()))
    Path("l.jsonl").write_text(json.dumps({"input": name, "temperature": 0.7}) + "\n")
    (record,) = caption("--from", "l.jsonl", "--seed", "3", "--json").records
    assert (record["params"]["temperature"], record["params"]["seed"]) == (0.7, 3)


def test_one_file_for_all(photos: Path, caption: Any) -> None:
    said = {line.split("\t")[0]: line.split("\t")[1] for line in caption(photos).lines}
    assert caption(photos, "-o", "all.json").stdout == b"all.json\n"
    held = json.loads(Path("all.json").read_text())
    assert held == {name: {"caption": text} for name, text in said.items()}
    caption(photos, "-o", "all.csv")
    assert Path("all.csv").read_text().splitlines()[0] == "input,caption"
    again = caption(photos, "-o", "all.json")
    assert "3 up to date" in again.stderr
    refused = caption(photos, "-o", "all.csv", "--format", "txt", status=2)
    assert refused.errors == ["useless_option"]
    refused = caption(photos, "-o", "all.csv", "--append", status=2)
    assert refused.errors == ["useless_option"]
