"""Which items a command line means: told by --dry-run, which needs no model library."""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Plan = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def plan(mediakit: Any) -> Plan:
    """The records of a dry run."""

    def run(*args: Any, stdin: bytes = b"", status: int = 0) -> list[dict[str, Any]]:
        options = ("-o", "out", "--dry-run", "--json")
        records = mediakit("upscale", *options, *args, stdin=stdin, status=status).records
        assert not Path("out").exists()
        return records

    return run


def inputs(records: list[dict[str, Any]]) -> list[str]:
    return [r["input"] for r in records if r["status"] == "planned"]


def codes(records: list[dict[str, Any]]) -> dict[str, str]:
    return {r["input"]: r["error"]["code"] for r in records if r["error"]}


def test_a_directory_is_taken_recursively_in_order_and_mirrored(put: Any, plan: Plan) -> None:
    put("p/b.png", "p/a.JPG", "p/sub/deep/c.webp", "p/.hidden.png", "p/.git/x.png", "p/note.txt")
    records = plan("p")
    assert inputs(records) == ["p/a.JPG", "p/b.png", "p/sub/deep/c.webp"]
    assert [r["outputs"] for r in records] == [
        ["out/a.JPG"],
        ["out/b.png"],
        ["out/sub/deep/c.webp"],
    ]


def test_a_file_named_by_hand_is_tried_whatever_its_name(put: Any, plan: Plan) -> None:
    put("odd.name", ".hidden.png")
    assert [r["outputs"] for r in plan("odd.name", ".hidden.png")] == [
        ["out/odd.png"],
        ["out/.hidden.png"],
    ]


def test_the_output_directory_is_left_out(put: Any, mediakit: Any) -> None:
    put("p/a.png", "p/out/other.png")
    records = mediakit("upscale", "p", "-o", "p/out", "--dry-run", "--json").records
    assert inputs(records) == ["p/a.png"]
    glob = mediakit("upscale", "p/*", "-o", "p/out", "--dry-run", "--json").records
    assert inputs(glob) == ["p/a.png"]


@pytest.mark.usefixtures("copy_task")
@pytest.mark.parametrize("what", ["p", "p/*.dat", "p/**/*.dat"])
def test_results_beside_their_inputs_are_no_inputs(put: Any, mediakit: Any, what: str) -> None:
    put("p/a.dat", "p/sub/b.dat", data=b"x")
    command = ("copy", what, "-o", "p", "--name", "{relpath}/{stem}_2{ext}", "--times", "2")
    first = mediakit(*command).lines
    assert first[0] == "p/a_2.dat"
    again = mediakit(*command, "--json").records
    assert [r["status"] for r in again] == ["skipped"] * len(first)


def test_an_existing_path_beats_a_glob(put: Any, plan: Plan) -> None:
    put("[a].png", "a.png", "b.png")
    assert inputs(plan("[a].png")) == ["[a].png"]
    assert inputs(plan("[ab].png")) == ["a.png", "b.png"]


def test_globs(put: Any, plan: Plan) -> None:
    put("a.png", "d/b.png", "d/e/c.png", "folder.png/x.png")
    assert inputs(plan("**/*.png")) == ["a.png", "d/b.png", "d/e/c.png", "folder.png/x.png"]
    assert inputs(plan("*.png")) == ["a.png", "folder.png/x.png"]  # as the shell would


def test_the_same_file_twice_is_one_item(put: Any, plan: Plan) -> None:
    put("p/a.png")
    assert inputs(plan("p", "p/a.png", "./p/a.png")) == ["p/a.png"]
    assert inputs(plan("-", stdin=b"p/a.png\np/a.png\n")) == ["p/a.png"]


def test_an_empty_directory_is_no_error(mediakit: Any) -> None:
    Path("empty").mkdir()
    result = mediakit("upscale", "empty", "-o", "out", "--dry-run")
    assert result.stdout == b""
    assert "no inputs found" in result.stderr
    assert mediakit("upscale", "empty", "-o", "out", "--dry-run", "-q").err == b""


def test_no_argument_and_a_sole_missing_file_are_usage_errors(mediakit: Any) -> None:
    assert mediakit("upscale", "-o", "out", status=2).errors == ["usage"]
    result = mediakit("upscale", "gone.png", "-o", "out", status=2)
    assert result.stderr == "mediakit: gone.png does not exist; check the name [missing_file]\n"
    assert mediakit("upscale", "", "-o", "out", status=2).errors == ["missing_file"]


def test_a_missing_file_among_others_is_a_failed_item(put: Any, plan: Plan) -> None:
    put("a.png")
    records = plan("gone.png", "a.png", status=1)
    assert [r["status"] for r in records] == ["failed", "planned"]
    assert codes(records) == {"gone.png": "missing_file"}


def test_what_is_no_file_is_a_failed_item_with_its_reason(put: Any, plan: Plan) -> None:
    put("p/a.png")
    Path("p/dir.png").mkdir()
    Path("p/dangling.png").symlink_to("nowhere")
    Path("p/loop.png").symlink_to("loop.png")
    Path("p/up").symlink_to("..")  # a circle of directories
    os.mkfifo("p/fifo.png")
    records = plan("p", status=1)
    assert inputs(records) == ["p/a.png"]
    assert codes(records) == {
        "p/dangling.png": "broken_link",
        "p/loop.png": "broken_link",
        "p/fifo.png": "not_a_file",
    }
    assert codes(plan("--from", "-", stdin=b"p/dir.png\n", status=1)) == {"p/dir.png": "not_a_file"}


@pytest.mark.usefixtures("copy_task")
def test_a_fifo_in_a_directory_does_not_hang(put: Any, mediakit: Any) -> None:
    put("p/a.dat", data=b"x")
    os.mkfifo("p/b.dat")
    result = mediakit("copy", "p", "-o", "out", status=1)
    assert (result.lines, result.errors) == (["out/a.dat"], ["not_a_file"])


def test_unreadable_directories_and_files(put: Any, mediakit: Any, home: Path) -> None:
    put("p/a.png", "p/locked/b.png", "p/listed/c.png")
    Path("p/locked").chmod(0o000)
    Path("p/listed").chmod(0o444)  # names can be seen, files can't
    command = ("upscale", "p", "-o", "out", "--dry-run", "--json")
    root = os.geteuid() == 0  # who may read everything
    if root:
        mediakit(*command)  # now all modules are loaded, which nobody else may be able to read
        for folder in (home, *home.parents):
            if not folder.stat().st_mode & 0o005:  # closed to others, as pytest makes them
                folder.chmod(0o755)
        os.seteuid(65534)
    try:
        result = mediakit(*command, status=1)
    finally:
        if root:
            os.seteuid(0)
        Path("p/locked").chmod(0o755)
        Path("p/listed").chmod(0o755)
    assert inputs(result.records) == ["p/a.png"]
    assert codes(result.records) == {"p/locked": "unreadable", "p/listed/c.png": "unreadable"}


NAMES = [
    "new\nline.png",
    "-o.png",
    "🙂 père.png",
    "a" * 251 + ".png",
    b"\xff\xfe.png",
    "tab\tand\\back.png",
]


@pytest.mark.usefixtures("copy_task")
@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_odd_names_come_through_every_door(put: Any, mediakit: Any, name: str | bytes) -> None:
    raw = os.fsencode(name)
    put(raw, data=b"x")
    b64 = json.dumps({"input_b64": base64.b64encode(raw).decode()}).encode()
    doors: list[tuple[tuple[Any, ...], bytes]] = [
        (("--", raw), b""),
        (("./" + os.fsdecode(raw),), b""),
        (("-0", "-"), raw + b"\0"),
        (("-",), b64),
    ]
    if b"\n" not in raw:
        Path("list.txt").write_bytes(raw + b"\r\n")
        doors += [(("-",), raw), (("--from", "list.txt"), b"")]
    for number, (args, stdin) in enumerate(doors):
        out = f"out{number}"
        result = mediakit("copy", "-o", out, "--json", *args, stdin=stdin)
        assert os.listdir(os.fsencode(out)).count(raw) == 1
        (record,) = result.records
        twin = record.get("outputs_b64")
        assert bool(twin) == (b"\xff" in raw)
        if twin:
            assert base64.b64decode(twin[0]) == os.fsencode(out) + b"/" + raw
            assert base64.b64decode(record["input_b64"]).endswith(raw)
        (piped,) = mediakit("copy", "-", "-o", out + "b", "--json", stdin=result.stdout).records
        assert piped["source"] == [record["id"]]
        assert os.listdir(os.fsencode(out + "b")).count(raw) == 1


def test_an_odd_name_takes_one_line_of_an_error(mediakit: Any) -> None:
    result = mediakit("upscale", b"no\n\xff.png", "-o", "out", status=2)
    assert (
        result.stderr == "mediakit: no\\n\\xff.png does not exist; check the name [missing_file]\n"
    )


# lists


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"\n", b"\r\n"])
def test_lists_of_every_kind(put: Any, plan: Plan, bom: bytes, end: bytes) -> None:
    put("a.png", "b c.png")
    lines = {
        "l.txt": [b"a.png", b"", b"b c.png"],
        "l.csv": [b"scale,input", b"2,a.png", b",b c.png"],
        "l.jsonl": [b'{"input": "a.png", "scale": 2}', b"", b'{"input": "b c.png"}'],
    }
    for name, content in lines.items():
        Path(name).write_bytes(bom + end.join(content) + end)
        records = plan("--from", name)
        assert inputs(records) == ["a.png", "b c.png"], name
        if name != "l.txt":
            assert [r["params"]["scale"] for r in records] == [2, 4]
            assert [r["given"] for r in records] == [["scale"], []]
            assert plan("--from", "-" if ".csv" not in name else name,
                        stdin=Path(name).read_bytes()) == records  # fmt: skip


def test_bad_rows_cost_only_themselves(put: Any, mediakit: Any) -> None:
    put("a.png")
    rows = [
        b'{"input": "a.png"}',
        b'{"input": "a.png", "scal": 2}',
        b'{"input": "a.png", "scale": "big"}',
        b'{"input": "a.png", "scale": 99}',
        b'{"input": "a.png", "inputs": ["b.png"]}',
        b'{"input": "a.png", "out": "/etc"}',
        b'{"input": "a.png", "device": "cpu"}',
        b'{"input": "a.png", "model": "nope"}',
        b'{"input": "a.png", "background": "no colour"}',
        b'{"input": ""}',
        b'{"input": 5}',
        b'{"input": "a\\u0000.png"}',
        b'{"input": "\\ud800.png"}',
        b'{"input_b64": "%%%"}',
        b'{"scale": 2}',
        b'["a.png"]',
        b'{"input": ',
        b"[" * 20000,
        b'{"schema": "mediakit/9", "outputs": ["a.png"]}',
        b'{"schema": "mediakit/1", "status": "done", "outputs": 5}',
        b'\xff{"input": "a.png"}',
        b'{"input": "a.png", "scale": 3}',
    ]
    command = ("upscale", "-", "-o", "out", "--dry-run", "--json", "--name", "{scale}_{index}{ext}")
    result = mediakit(*command, stdin=b"\n".join(rows), status=1)
    status = [r["status"] for r in result.records]
    assert status == ["planned"] + ["failed"] * (len(rows) - 2) + ["planned"]
    codes = [r["error"]["code"] for r in result.records if r["error"]]
    expected = ["bad_row"] * len(codes)
    expected[6], expected[7] = "unknown_model", "usage"
    assert codes == expected
    said = "standard input line 2: a.png: scal: there is no such option [bad_row]"
    assert said in result.stderr
    assert "standard input line 17: not JSON" in result.stderr


def test_a_list_that_can_not_be_read_is_a_usage_error(put: Any, mediakit: Any) -> None:
    put("a.png")
    Path("l.csv").write_text("name,scale\na.png,2\n")
    Path("u.txt").write_bytes("a.png".encode("utf-16"))
    expected = {"l.csv": "usage", "u.txt": "usage", "no.txt": "missing_file", "a.png": "usage"}
    for name, code in expected.items():
        assert mediakit("upscale", "--from", name, "-o", "o", status=2).errors == [code], name
    Path("d.txt").mkdir()
    assert mediakit("upscale", "--from", "d.txt", "-o", "o", status=2).errors == ["not_a_file"]


def test_an_error_of_a_row_names_its_list_and_line(put: Any, mediakit: Any) -> None:
    put("a.png", "b.png")
    Path("photos.csv").write_text(
        "input,scale,model,background\na.png,2,,\nb.png,99,,\nb.png,,nope,\na.png,,,mud\n"
    )
    Path("photos.jsonl").write_text('\n\n{"input": "a.png", "scale": "big"}\n')
    command = ("upscale", "-o", "out", "--dry-run", "--from")
    stderr = mediakit(*command, "photos.csv", status=1).stderr
    assert "photos.csv line 3: b.png: scale: " in stderr
    assert "photos.csv line 4: b.png: " in stderr
    assert "photos.csv line 5: a.png: " in stderr
    assert "line 2" not in stderr
    stderr = mediakit(*command, "photos.jsonl", status=1).stderr
    assert "photos.jsonl line 3: a.png: scale: " in stderr


def test_bad_csv_lines(put: Any, plan: Plan) -> None:
    put("a.png", "b.png")
    Path("l.csv").write_text('input,scale\na.png,2,3\nb.png,2\n"b.png\n')
    records = plan("--from", "l.csv", status=1)
    assert codes(records) == {"l.csv:2": "bad_row", "l.csv:4": "bad_row"}
    assert inputs(records) == ["b.png"]


@pytest.mark.parametrize("between", [",", ";", "\t"])
def test_csv_as_spreadsheets_save_it(put: Any, plan: Plan, between: str) -> None:
    put("a.png", "b, or c; d.png")
    rows = (("input", "scale"), ("a.png", "2"), ('"b, or c; d.png"', "3"))
    Path("l.csv").write_text("\ufeff" + "".join(f"{between.join(row)}\r\n" for row in rows))
    records = plan("--from", "l.csv")
    assert {r["input"]: r["params"]["scale"] for r in records} == {"a.png": 2, "b, or c; d.png": 3}


# standard input


def test_nul_separated_names(put: Any, plan: Plan, mediakit: Any) -> None:
    put("a.png", "{b}.png")
    assert inputs(plan("-0", "-", stdin=b"a.png\0{b}.png\0")) == ["a.png", "{b}.png"]
    result = mediakit("upscale", "-", "-o", "out", stdin=b"./a.png\0./b.png\0", status=2)
    assert "-0" in result.stderr and result.errors == ["unsupported_format"]
    assert mediakit("upscale", "-0", "a.png", "-o", "out", status=2).errors == ["useless_option"]


def test_names_that_begin_like_pictures_are_names(put: Any, plan: Plan) -> None:
    put("BMW.png", "GIF89a.png", "RIFF.png")
    names = b"BMW.png\nGIF89a.png\nRIFF.png\n"
    assert inputs(plan("-", stdin=names)) == ["BMW.png", "GIF89a.png", "RIFF.png"]


@pytest.mark.usefixtures("copy_task")
def test_the_bytes_of_one_file(mediakit: Any) -> None:
    data = b"DATA\0" + bytes(range(256)) * 1000
    assert mediakit("copy", "-", "-o", "-", stdin=data).stdout == data
    assert mediakit("copy", "-", "-o", "x.dat", stdin=data).lines == ["x.dat"]
    assert Path("x.dat").read_bytes() == data
    assert mediakit("copy", "-", "-o", "d", stdin=data).lines == ["d/stdin.dat"]
    (record,) = mediakit("copy", "-", "-o", "d", "--json", stdin=data).records
    assert (record["status"], record["input"]) == ("skipped", "-")


def shell(command: str) -> subprocess.CompletedProcess[bytes]:
    """A line of sh, where `mediakit` is the installed command."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = {**os.environ, "PATH": path}
    return subprocess.run(["sh", "-c", command], capture_output=True, env=env, timeout=60)


def test_a_writer_of_single_bytes(put: Any) -> None:
    put("a.png", "b.png")
    bytewise = r"for c in a . p n g '\n' b . p n g; do printf $c; sleep 0.01; done"
    result = shell(f"({bytewise}) | mediakit upscale - -o out --dry-run")
    assert result.stdout == b"out/a.png\nout/b.png\n"


def test_closed_standard_streams(put: Any) -> None:
    put("a.png")
    closed = shell("mediakit upscale a.png -o out --dry-run --json <&- >&- 2>&-")
    assert closed.returncode == 0


def test_dash_stands_alone(mediakit: Any) -> None:
    for args in (("-", "a.png"), ("--from", "-", "a.png"), ("-", "--from", "l.txt")):
        assert mediakit("upscale", *args, "-o", "out", status=2).errors == ["usage"]


# records


@pytest.mark.usefixtures("copy_task")
def test_records_are_rows_whose_outputs_become_inputs(put: Any, mediakit: Any) -> None:
    put("p/a.dat", "p/x/a.dat", data=b"x")
    put("p/c.dat", data=b"bad")
    first = mediakit("copy", "p", "-o", "one", "--json", status=1)
    second = mediakit("copy", "-", "-o", "two", "--json", stdin=first.stdout)
    assert "passed over 1 records that have no outputs" in second.stderr
    assert [r["input"] for r in second.records] == ["one/a.dat", "one/x/a.dat"]
    assert [r["outputs"] for r in second.records] == [["two/a.dat"], ["two/x/a.dat"]]
    ids = [r["id"] for r in first.records if r["status"] == "done"]
    assert [r["source"] for r in second.records] == [[i] for i in ids]
    Path("first.jsonl").write_bytes(first.stdout)
    third = mediakit("copy", "--from", "first.jsonl", "-o", "three", "--json")
    assert [r["outputs"] for r in third.records] == [["three/a.dat"], ["three/x/a.dat"]]
    again = mediakit("copy", "p", "-o", "one", "--json", status=1)  # skipped ones count, too
    assert len(mediakit("copy", "-", "-o", "two", "--json", stdin=again.stdout).records) == 2


def test_the_name_of_a_record_can_not_lead_outside(put: Any, plan: Plan) -> None:
    put("a.png")
    row = {"schema": "mediakit/1", "status": "done", "outputs": ["a.png"], "key": "../../a.png"}
    (record,) = plan("-", stdin=json.dumps(row).encode())
    assert record["outputs"] == ["out/a.png"]
