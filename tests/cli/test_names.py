"""Where results are written to: default names, --name, -o, and which items are left."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Outputs = Callable[..., dict[str, str]]


@pytest.fixture
def outputs(mediakit: Any) -> Outputs:
    """input -> output, of a dry run into `out`."""

    def run(*args: Any, stdin: bytes = b"") -> dict[str, str]:
        command = ("upscale", "-o", "out", "--dry-run", "--json", *args)
        records = mediakit(*command, stdin=stdin).records
        return {r["input"]: r["outputs"][0].removeprefix("out/") for r in records}

    return run


def test_two_inputs_that_would_meet_take_their_full_names(put: Any, outputs: Outputs) -> None:
    put("p/a.jpg", "p/a.png", "p/b.jpg")
    names = outputs("p", "--format", "webp")
    assert list(names.values()) == ["a.jpg.webp", "a.png.webp", "b.webp"]
    assert list(outputs("p").values()) == ["a.jpg", "a.png", "b.jpg"]


def test_names_that_one_file_system_takes_for_equal_meet(put: Any, outputs: Outputs) -> None:
    put("p/A.png", "p/a.png", "p/e\u0301.png", "p/\xe9.png", "p/STRASSE.png", "p/straße.png")
    names = [name.lower() for name in outputs("p").values()]
    assert len(set(names)) == 6
    assert "a.png" not in names


def test_equal_names_from_several_places(put: Any, outputs: Outputs) -> None:
    put("x/a.png", "y/a.png", "y/b.png")
    assert outputs("x", "y") == {"x/a.png": "x/a.png", "y/a.png": "y/a.png", "y/b.png": "b.png"}


def test_rows_of_one_input_take_a_hash(put: Any, mediakit: Any) -> None:
    put("a.png")
    rows = [f'{{"input": "a.png", "scale": {n}}}' for n in (1, 2, 3)]
    Path("l.jsonl").write_text("\n".join(rows))
    command = ("upscale", "-o", "out", "--dry-run", "--from")
    names = mediakit(*command, "l.jsonl").lines
    assert len(set(names)) == 3
    assert all(name.startswith("out/a_") for name in names)
    Path("l.jsonl").write_text("\n".join(reversed(rows)))
    assert sorted(mediakit(*command, "l.jsonl").lines) == sorted(names)  # not by position


def test_in_a_stream_a_name_that_was_taken_is_a_failed_item(put: Any, mediakit: Any) -> None:
    put("x/a.png", "x/a.jpg", "z/b.png")
    stdin = b"x/a.png\nx/a.jpg\nz/b.png\n"
    command = ("upscale", "-", "-o", "out", "--dry-run", "--format", "png")
    result = mediakit(*command, stdin=stdin, status=1)
    assert (result.lines, result.errors) == (["out/x/a.png", "out/z/b.png"], ["name_collision"])
    hashed = mediakit(*command, "--name", "{stem}_{hash}{ext}", stdin=stdin)
    assert len(set(hashed.lines)) == 3


def test_a_stream_of_names_keeps_its_folders(put: Any, mediakit: Any) -> None:
    outside = put("../elsewhere/c.png")
    put("x/a.png", "y/a.png")
    stdin = f"./x/a.png\n{Path('y/a.png').absolute()}\n../elsewhere/c.png\n".encode()
    result = mediakit("upscale", "-", "-o", "out", "--dry-run", stdin=stdin)
    assert result.lines == ["out/x/a.png", "out/y/a.png", "out/c.png"], outside


def test_a_deep_glob_keeps_its_folders(put: Any, outputs: Outputs) -> None:
    put("p/x/a.png", "p/y/b.png")
    named = outputs("p/**/*.png", "--name", "{relpath}/{stem}_{scale}x{ext}")
    assert sorted(named.values()) == ["x/a_4x.png", "y/b_4x.png"]
    assert sorted(outputs("p/**/*.png").values()) == ["x/a.png", "y/b.png"]


# --name


def test_the_fields_of_a_template(put: Any, outputs: Outputs) -> None:
    put("p/sub/a.b.png", "p/c.jpg")
    names = outputs("p", "--name", "{relpath}/{stem}_{scale}x_{format}_{index:03}{ext}")
    assert list(names.values()) == ["c_4x_keep_000.jpg", "sub/a.b_4x_keep_001.png"]
    assert list(outputs("p", "--name", "flat/{name}{ext}").values()) == [
        "flat/c.jpg.jpg",
        "flat/a.b.png.png",
    ]


def test_a_collision_made_by_a_template_names_both(put: Any, mediakit: Any) -> None:
    put("p/x/a.png", "p/y/a.png", "p/b.png")
    result = mediakit("upscale", "p", "-o", "out", "--name", "{stem}{ext}", "--dry-run", status=2)
    assert result.errors == ["name_collision"]
    assert "p/x/a.png and p/y/a.png to a.png" in result.stderr


@pytest.mark.parametrize(
    ("template", "code"),
    [
        ("{nope}{ext}", "usage"),
        ("{stem", "usage"),
        ("{}", "usage"),
        ("{0}{ext}", "usage"),
        ("{stem.__class__}{ext}", "usage"),
        ("{stem[0]}{ext}", "usage"),
        ("{stem!r}{ext}", "usage"),
        ("{stem:{index.__class__}}{ext}", "usage"),
        ("{index:999999999999}{ext}", "usage"),
        ("{stem:d}{ext}", "usage"),
        ("{quality:03}{ext}", "usage"),  # which is not set
        ("{stem}.txt", "usage"),
        ("", "usage"),
        ("/tmp/{stem}{ext}", "outside_out"),
        ("../{stem}{ext}", "outside_out"),
        ("x/../../{stem}{ext}", "outside_out"),
        (".mediakit/{stem}{ext}", "outside_out"),
        ("./.MediaKit/{stem}{ext}", "outside_out"),
        ("{stem}/", "outside_out"),
        ("..", "outside_out"),
    ],
)
def test_templates_that_are_refused(put: Any, mediakit: Any, template: str, code: str) -> None:
    put("a.png")
    result = mediakit("upscale", "a.png", "-o", "out", "--name", template, status=2)
    assert result.errors == [code]
    assert len(result.stderr.splitlines()) == 1
    assert os.listdir() == ["a.png"]


def test_a_row_can_not_lead_outside(put: Any, mediakit: Any) -> None:
    put("a.png", "b.png")
    rows = b'{"input": "x/.."}\n{"input": ".mediakit"}\n{"input": "b.png"}\n'
    name = ("--name", "{name}/{index}{ext}")
    result = mediakit("upscale", "-", "-o", "out", "--dry-run", *name, stdin=rows, status=1)
    assert result.lines == ["out/b.png/2.png"]
    assert result.errors == ["outside_out", "outside_out"]
    assert "../0.png would lie outside" in result.stderr
    up = mediakit("upscale", "..", "-o", "out", "--dry-run", "--name", "{relpath}/{stem}{ext}")
    assert all(line.startswith("out/work/") for line in up.lines)


def test_rows_in_error_do_not_meet_under_a_template(put: Any, mediakit: Any) -> None:
    put("a.png")
    rows = ["no json", '{"input": "a.png", "scale": 0}', '{"input": "a.png"}', "nor this"]
    Path("l.jsonl").write_text("\n".join(rows))
    command = ("upscale", "--from", "l.jsonl", "-o", "out", "--dry-run", "--name", "{name}")
    result = mediakit(*command, status=1)
    assert (result.lines, result.errors) == (["out/a.png"], ["bad_row"] * 3)


def test_in_a_stream_a_name_that_can_not_be_is_the_items_own(put: Any, mediakit: Any) -> None:
    put("a.png", "c.psd", "b.jpg")
    names = b"a.png\nc.psd\nb.jpg\n"
    command = ("upscale", "-", "-o", "out", "--dry-run", "--name", "{name}")
    result = mediakit(*command, stdin=names, status=1)
    assert (result.lines, result.errors) == (["out/a.png", "out/b.jpg"], ["usage"])
    assert "c.psd: " in result.stderr
    rows = b'{"input": "a.png", "quality": 7}\n{"input": "b.jpg"}\n'
    Path("l.jsonl").write_bytes(rows)
    name = ("--name", "{quality:03}{ext}")
    for given in (("-",), ("--from", "l.jsonl")):
        result = mediakit(*command[:1], *given, *command[2:5], *name, stdin=rows, status=1)
        assert (result.lines, result.errors) == (["out/007.png"], ["usage"])


def test_items_in_error_have_keys_of_their_own(put: Any, mediakit: Any, home: Path) -> None:
    put("x/a.png", "x/a.jpg")
    command = ("upscale", "-", "-o", "out", "--dry-run", "--json", "--format", "png")
    good, late = mediakit(*command, stdin=b"x/a.png\nx/a.jpg\n", status=1).records
    assert (good["key"], late["status"]) == ("x/a.png", "failed")
    rows = [b'{"input": "x/a.png", "scale": %d}' % n for n in (0, 99)]
    bad = mediakit(*command, stdin=b"\n".join(rows), status=1).records
    keys = {r["key"] for r in (good, late, *bad)}
    assert len(keys) == len({r["id"] for r in (good, late, *bad)}) == 4
    put("?/a.png")  # no name of a file is one of those keys
    (lone,) = mediakit("upscale", ".", "-o", "out", "--dry-run", "--json", "--limit", "1").records
    assert lone["key"] == "?/a.png"
    nameless = mediakit(*command, stdin=b'{"input": "a.png", "scale": 0}', status=1).records[0]
    assert os.path.normpath(nameless["key"]) != nameless["key"]


def test_a_name_that_grows_too_long_fails_its_item(put: Any, mediakit: Any) -> None:
    put("a" * 251 + ".png", "b.png")
    result = mediakit("upscale", ".", "-o", "out", "--format", "webp", "--dry-run", status=1)
    assert (result.lines, result.errors) == (["out/b.webp"], ["name_too_long"])


# -o


def test_what_out_may_be(put: Any, mediakit: Any) -> None:
    put("a.png", "b.png", "p/c.png")
    dry = ("--dry-run",)
    assert mediakit("upscale", "a.png", "-o", "x.png", *dry).lines == ["x.png"]
    assert mediakit("upscale", "a.png", "-o", "x.v2", *dry).lines == ["x.v2/a.png"]
    assert mediakit("upscale", "a.png", "-o", "new/dir", *dry).lines == ["new/dir/a.png"]
    assert mediakit("upscale", "a.png", "-o", "./x/", *dry).lines == ["x/a.png"]
    wrong = [
        ("a.png",),
        ("a.png", "-o", ""),
        ("a.png", "b.png", "-o", "x.png"),
        ("p", "-o", "x.png"),
        ("*.png", "-o", "x.png"),
        ("a.png", "b.png", "-o", "-"),
        ("p", "-o", "-"),
        ("a.png", "-o", "x.jpg", "--format", "png"),
    ]
    for args in wrong:
        assert mediakit("upscale", *args, status=2).errors == ["usage"], args
    assert sorted(os.listdir()) == ["a.png", "b.png", "p"]


@pytest.mark.usefixtures("copy_task")
def test_one_output_takes_one_input_of_a_stream(put: Any, mediakit: Any) -> None:
    put("a.dat", data=b"A")
    put("b.dat", data=b"B")
    for out in ("x.dat", "-"):
        result = mediakit("copy", "-", "-o", out, stdin=b"a.dat\nb.dat\n", status=1)
        assert result.errors == ["name_collision"]
        assert result.stdout == (b"A" if out == "-" else b"x.dat\n")
    assert Path("x.dat").read_bytes() == b"A"


@pytest.mark.usefixtures("copy_task")
def test_a_single_file_in_a_folder_that_is_not_there_yet(put: Any, mediakit: Any) -> None:
    put("a.dat", data=b"A")
    assert mediakit("copy", "a.dat", "-o", "new/dir/b.dat").lines == ["new/dir/b.dat"]
    assert os.listdir("new/dir") == ["b.dat"]


# which items


def test_shards_are_disjoint_complete_and_stable(put: Any, outputs: Outputs) -> None:
    put(*(f"p/{n}.png" for n in range(40)))
    whole = outputs("p")
    shards = [outputs("p", "--shard", f"{i}/3") for i in range(3)]
    assert sorted(k for shard in shards for k in shard) == sorted(whole)
    assert all(5 < len(shard) < 25 for shard in shards)
    assert outputs("./p/../p", "--shard", "1/3").keys() != shards[0].keys()
    os.rename("p", "q")
    moved = outputs("q", "--shard", "1/3")
    assert list(moved.values()) == list(shards[1].values())


def test_shards_are_0_based(mediakit: Any) -> None:
    for shard in ("3/3", "-1/3", "0/0", "1", "a/b", "1/2/3"):
        assert mediakit("upscale", ".", "-o", "o", "--shard", shard, status=2).errors == ["usage"]
    assert mediakit("upscale", ".", "-o", "o", "--shard", "2/3", "--dry-run").lines == []


def test_limit_truncates_after_shard(put: Any, outputs: Outputs) -> None:
    put(*(f"p/{n}.png" for n in range(9)))
    assert list(outputs("p", "--limit", "2")) == ["p/0.png", "p/1.png"]
    shard = list(outputs("p", "--shard", "0/2"))
    assert list(outputs("p", "--shard", "0/2", "--limit", "2")) == shard[:2]
    stream = b"".join(b"p/%d.png\n" % n for n in range(9))
    assert list(outputs("-", "--limit", "2", stdin=stream)) == ["p/0.png", "p/1.png"]


@pytest.mark.usefixtures("copy_task")
def test_retry_failed_does_only_those(put: Any, mediakit: Any) -> None:
    put("p/a.dat", "p/b.dat", data=b"x")
    put("p/c.dat", data=b"bad")
    assert mediakit("copy", "p", "-o", "out", status=1).lines == ["out/a.dat", "out/b.dat"]
    put("p/new.dat", data=b"x")
    put("p/c.dat", data=b"good")
    assert mediakit("copy", "p", "-o", "out", "--retry-failed").lines == ["out/c.dat"]
    assert mediakit("copy", "p", "-o", "out", "--retry-failed").lines == []
    assert mediakit("copy", "p", "-o", "out").lines == ["out/new.dat"]


@pytest.mark.usefixtures("copy_task")
def test_fail_fast_stops_at_the_first_failure(put: Any, mediakit: Any) -> None:
    put("p/a.dat", data=b"bad")
    put(*(f"p/b{n}.dat" for n in range(60)), data=b"x")
    result = mediakit("copy", "p", "-o", "out", "--fail-fast", status=1)
    assert result.errors == ["corrupt"]
    assert len(result.lines) < 40
    assert len(mediakit("copy", "p", "-o", "out", status=1).lines) == 60 - len(result.lines)
    dry = mediakit("copy", "gone", "p", "-o", "new", "--fail-fast", "--dry-run", status=1)
    assert dry.lines == []


@pytest.mark.usefixtures("copy_task")
def test_a_dry_run_writes_nothing(put: Any, mediakit: Any, home: Path) -> None:
    put("p/a.dat", "p/b.dat", data=b"x")
    mediakit("copy", "p/a.dat", "-o", "out")
    mediakit("copy", "p/a.dat", "-o", "x.dat")

    def everything() -> dict[str, tuple[int, int]]:
        paths = home.parent.rglob("*")
        return {str(p): (p.stat().st_mtime_ns, p.stat().st_size) for p in paths}

    before = everything()
    assert mediakit("copy", "p", "-o", "out", "--dry-run").lines == ["out/b.dat"]
    assert mediakit("copy", "p", "-o", "new", "--dry-run").lines == ["new/a.dat", "new/b.dat"]
    assert mediakit("copy", "p/a.dat", "-o", "x.dat", "--dry-run").lines == []
    assert mediakit("copy", "p/a.dat", "-o", "x.dat", "--force", "--dry-run").lines == ["x.dat"]
    assert mediakit("copy", "p/a.dat", "-o", "-", "--dry-run").stdout == b""
    assert everything() == before
