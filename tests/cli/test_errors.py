"""Every error is one line on stderr with its code, and the exit status tells the truth."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

# Run as `python -c`: the installed command on a machine without the packages of the extra.
BARE = """
import sys
from importlib.machinery import PathFinder
EXTRA = {"torch", "torchvision", "spandrel", "PIL", "numpy", "safetensors"}
class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name in EXTRA else super().find_spec(name, path, target)
sys.meta_path[sys.meta_path.index(PathFinder)] = Without
from mediakit.cli.app import main
main()
"""


def bare(*args: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-c", BARE, *args], capture_output=True, timeout=60)


def test_a_missing_extra_is_named(put: Any, home: Path) -> None:
    put("a.png")
    done = bare("upscale", "a.png", "-o", "out")
    assert done.returncode == 2
    assert done.stderr.endswith(
        b"install them from mediakit's folder: pip install '.[upscale]' [missing_extra]\n"
    ), done.stderr
    assert b"torch, torchvision, spandrel" in done.stderr
    assert os.listdir() == ["a.png"]


@pytest.mark.parametrize(
    "line",
    [
        "--help",
        "upscale --help",
        "upscale --explain --preset starter",
        "upscale a.png -o out --dry-run --background white",
        "presets list",
        "presets show photo",
        "models list",
        "devices",
    ],
)
def test_what_works_without_the_extra(put: Any, home: Path, line: str) -> None:
    put("a.png")
    done = bare(*line.split())
    assert (done.returncode, done.stderr.count(b"[")) == (0, 0), done.stderr
    assert done.stdout


def test_an_error_takes_one_line(mediakit: Any) -> None:
    wrong: list[tuple[tuple[str | bytes, ...], str]] = [
        (("upscale", "gone.png", "-o", "out"), "missing_file"),
        (("upscale", ".", "-o", "out", "--model", "nope"), "unknown_model"),
        (("upscale", ".", "-o", "out", "--model", "a\nb\x1b[31m"), "unknown_model"),
        (("upscale", ".", "-o", "out", "--model", b"\xff"), "unknown_model"),
        (("upscale", ".", "-o", "out", "--name", "\n{nope}"), "usage"),
        (("upscale", ".", "-o", "out", "--preset", "a\nb"), "unknown_preset"),
        (("upscale", ".", "-o", "out", "--shard", "1/\n1"), "usage"),
        (("nope\n",), "usage"),
        (("presets", "check", "no\n.yaml"), "unknown_preset"),
    ]
    for args, code in wrong:
        result = mediakit(*args, status=2)
        assert result.errors == [code], args
        assert result.stderr.startswith("mediakit: ") and result.stderr.count("\n") == 1
        assert "\x1b" not in result.stderr
        assert result.stdout == b""


def test_an_internal_error_is_no_traceback_either(
    copy_task: None, put: Any, mediakit: Any, monkeypatch: Any
) -> None:
    put("a.dat", data=b"x")
    monkeypatch.delenv("MEDIAKIT_TRACEBACK")
    monkeypatch.setattr("toy.Copy.suffix", lambda *_: 1 / 0)
    result = mediakit("copy", "a.dat", "-o", "out", status=1)
    assert result.stderr == (
        "mediakit: internal error: ZeroDivisionError: division by zero; MEDIAKIT_TRACEBACK=1 "
        "shows where [failed]\n"
    )


def test_a_task_that_breaks_fails_its_item(
    copy_task: None, put: Any, mediakit: Any, monkeypatch: Any
) -> None:
    import toy  # type: ignore[import-not-found]

    put("a.dat", data=b"x")
    put("b.dat", data=b"explode")
    real = toy.Copy._made

    def made(self: Any, item: Any, data: bytes) -> bytes:
        if data == b"explode":
            raise ZeroDivisionError("boom\nbang")
        return bytes(real(self, item, data))

    monkeypatch.setattr(toy.Copy, "_made", made)
    result = mediakit("copy", "a.dat", "b.dat", "-o", "out", status=1)
    assert (result.lines, result.errors) == (["out/a.dat"], ["failed"])
    assert "b.dat: ZeroDivisionError: boom" in result.stderr
