"""stdout is the machine's, stderr the person's."""

import os
import pty
import select
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from mediakit.cli.app import run
from mediakit.tasks import registry

TOY = textwrap.dedent("""
    import sys
    sys.path.insert(0, {folder!r})
    from mediakit.cli import app
    from mediakit.tasks import registry
    registry._TASKS["copy"] = "toy:Copy"
    app.COMMANDS["copy"] = app.TASKS["copy"] = ("mediakit.cli.tasks", "Copy files.")
    app.main()
""").format(folder=str(Path(__file__).parent))
COPY = [sys.executable, "-c", TOY, "copy"]


@pytest.fixture(autouse=True)
def photos(copy_task: None, put: Any) -> None:
    put("p/a.dat", "p/b.dat", data=b"abc")
    put("p/c.dat", data=b"bad")
    put("p/d.dat", data=b"")


def test_stdout_has_the_written_paths_and_nothing_else(mediakit: Any) -> None:
    result = mediakit("copy", "p", "-o", "out", status=1)
    assert result.stdout == b"out/a.dat\nout/b.dat\n"
    assert result.stderr.splitlines()[:2] == [
        "mediakit copy: p/c.dat is bad [corrupt]",
        "mediakit copy: p/d.dat is empty (0 bytes); copy it again [empty_file]",
    ]
    assert len(result.stderr.splitlines()) == 3
    assert mediakit("copy", "p", "-o", "./out/../out", status=1).stdout == b""


def test_quiet_is_silent_on_success(mediakit: Any) -> None:
    result = mediakit("copy", "p/a.dat", "p/b.dat", "-o", "out", "-q")
    assert (result.lines, result.err) == (["out/a.dat", "out/b.dat"], b"")
    assert mediakit("copy", "p", "-o", "out", "-q", status=1).errors == ["corrupt", "empty_file"]


def test_verbose_says_more(mediakit: Any) -> None:
    result = mediakit("copy", "p/a.dat", "-o", "out", "-v")
    assert "mediakit copy: computed with: device none" in result.stderr
    assert "mediakit copy: models: 0 loaded, 0 found, 0 evicted" in result.stderr


def test_every_record_is_as_documented(mediakit: Any, check_record: Any) -> None:
    seen = []
    for args, status in (
        (("p", "gone", "-o", "out", "--dry-run"), 1),
        (("p", "gone", "-o", "out", "--times", "2"), 1),
        (("p", "gone", "-o", "out", "--times", "2"), 1),
        (("p", "gone", "-o", "out", "--times", "2", "--dry-run"), 1),
        (("p/a.dat", "-o", "deep/one.dat"), 0),
        (("p/a.dat", "-o", "./deep/one.dat"), 0),
    ):
        Path("deep").mkdir(exist_ok=True)
        result = mediakit("copy", *args, "--json", status=status)
        for record in result.records:
            check_record(record)
            seen.append(record["status"])
    assert seen == [
        *("planned", "planned", "planned", "planned", "failed"),
        *("done", "done", "failed", "failed", "failed"),
        *("skipped", "skipped", "failed", "failed", "failed"),
        *("skipped", "skipped", "planned", "planned", "failed"),
        "done",
        "skipped",
    ]


def test_a_skipped_record_has_what_was_made(mediakit: Any) -> None:
    command = ("copy", "p/a.dat", "-o", "out", "--json", "--mode", "loud")
    (done,) = mediakit(*command).records
    (skipped,) = mediakit(*command).records
    assert skipped == {**done, "status": "skipped"}
    assert done["result"] == {"bytes": 3}
    assert done["artifacts"][0]["path"] == "out/a.dat"
    assert done["given"] == ["mode"]


def test_outputs_are_as_the_user_would_write_them(mediakit: Any, home: Path) -> None:
    (record,) = mediakit("copy", "p/a.dat", "-o", "./x/", "--json").records
    assert record["outputs"] == ["x/a.dat"]
    (record,) = mediakit("copy", "p/a.dat", "-o", home / "y", "--json").records
    assert record["outputs"] == [str(home / "y" / "a.dat")]
    (record,) = mediakit("copy", "p/a.dat", "-o", "../z.dat", "--json").records
    assert record["outputs"] == ["../z.dat"]


# terminals and pipes


def test_no_progress_in_a_pipe(home: Path) -> None:
    done = subprocess.run([*COPY, "p", "-o", "out"], capture_output=True)
    assert done.returncode == 1
    assert b"\x1b" not in done.stderr + done.stdout and b"\r" not in done.stderr


def on_terminal(args: list[str], stdout: int | None = None) -> tuple[int, bytes]:
    """Exit status and what a terminal shows of stderr (and of stdout, unless it goes elsewhere)."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(
        [*COPY, *args], stdin=theirs, stdout=stdout or theirs, stderr=theirs, env=env
    ) as child:
        os.close(theirs)
        shown = b""
        while select.select([ours], [], [], 60)[0]:
            try:
                piece = os.read(ours, 65536)
            except OSError:  # Linux: the other end is closed
                break
            if not piece:
                break
            shown += piece
    os.close(ours)
    return child.returncode, shown


def test_progress_on_a_terminal(home: Path) -> None:
    with open("stdout", "wb") as file:
        status, shown = on_terminal(["p", "-o", "out"], file.fileno())
    assert status == 1
    assert b"\x1b[" in shown and b"4/4" in shown
    assert b"mediakit copy: p/c.dat is bad [corrupt]" in shown
    assert Path("stdout").read_bytes() == b"out/a.dat\nout/b.dat\n"


def test_paths_and_progress_share_a_terminal(home: Path) -> None:
    status, shown = on_terminal(["p", "-o", "out"])
    assert status == 1
    assert b"out/a.dat\r\n" in shown


@pytest.mark.parametrize("option", ["-q", "--no-progress"])
def test_no_progress_on_a_terminal_when_told(home: Path, option: str) -> None:
    _, shown = on_terminal(["p", "-o", "out", option])
    assert b"\x1b" not in shown


def test_a_reader_that_goes_away(put: Any, home: Path) -> None:
    put(*(f"many/{n:03}.dat" for n in range(200)), data=b"x")
    with subprocess.Popen(
        [*COPY, "many", "-o", "out"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stdout and child.stderr
        child.stdout.readline()
        child.stdout.close()
        errors = child.stderr.read()
    assert child.returncode == 141
    assert b"Traceback" not in errors and b"Exception" not in errors


def test_a_full_stdout(home: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COPY, "p/a.dat", "-o", "out"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert b"standard output can't be written: No space left on device [disk_full]" in done.stderr
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*COPY[:3], "presets", "list"], stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert done.stderr == (
        b"mediakit: standard output can't be written: No space left on device [disk_full]\n"
    )


# the tools beside the tasks


def test_models_list(mediakit: Any) -> None:
    listed = {r["name"]: r for r in mediakit("models", "list", "--json").records}
    assert {"realesrgan-x4plus", "realesr-animevideov3", "dat-light-x4"} <= listed.keys()
    assert listed["dat-light-x4"]["bytes"] == 45819662
    assert len(mediakit("models", "list").lines) == len(listed)
    assert mediakit("models", "path", "nope", status=2).errors == ["unknown_model"]


def test_models_path_of_one_that_is_not_here(mediakit: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("MEDIAKIT_CACHE", str(Path("empty").absolute()))
    result = mediakit("models", "path", "dat-light-x2", status=2)
    assert (result.errors, result.stdout) == (["offline"], b"")


def test_devices(mediakit: Any) -> None:
    devices = mediakit("devices", "--json").records
    assert devices[-1]["name"] == "cpu"
    assert sum(d["auto"] for d in devices) == 1
    assert mediakit("devices").lines[-1].startswith("cpu")


def test_help_and_version(mediakit: Any) -> None:
    import mediakit as package

    assert mediakit("--version").lines == [package.__version__]
    for command in ((), ("upscale",), ("models",), ("presets",), ("devices",), ("replay",)):
        text = mediakit(*command, "--help").stdout.decode()
        assert "Usage: mediakit" in text
        assert mediakit(*command, "-h").stdout.decode() == text
    result = mediakit("upscal", "a.png", status=2)
    assert "Did you mean 'upscale'?" in result.stderr
    assert mediakit(status=2).errors == []  # help, not an error message
    assert result.errors == ["usage"]


def test_two_commands_in_a_pipe(home: Path) -> None:
    first = subprocess.Popen([*COPY, "p", "-o", "one", "--json"], stdout=subprocess.PIPE)
    second = subprocess.run(
        [*COPY, "-", "-o", "two", "--times", "2"], stdin=first.stdout, capture_output=True
    )
    assert first.stdout
    first.stdout.close()
    assert (first.wait(), second.returncode) == (1, 0)
    assert second.stdout == b"two/a.dat\ntwo/b.dat\n"
    assert b"passed over 2 records that have no outputs" in second.stderr
    assert Path("two/a.dat").read_bytes() == b"abcabc"


@pytest.mark.usefixtures("copy_task")
def test_the_bar_is_taken_away_whatever_happens(
    put: Any, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import toy

    class Broken(toy.Copy):
        def begin(self) -> None:
            raise RuntimeError("a bug")

    monkeypatch.setattr(toy, "Broken", Broken, raising=False)
    monkeypatch.setitem(registry._TASKS, "copy", "toy:Broken")
    monkeypatch.setenv("TERM", "xterm")
    put("a.dat", data=b"A")
    ours, theirs = os.openpty()
    with os.fdopen(theirs, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with pytest.raises(RuntimeError, match="a bug"):
            run(["copy", "a.dat", "-o", "out"])
        terminal.flush()
        written = b""
        while select.select([ours], [], [], 0.2)[0]:
            written += os.read(ours, 1 << 16)
    os.close(ours)
    # the cursor is hidden while there is a bar
    assert written.count(b"\x1b[?25l") == 1
    assert written.count(b"\x1b[?25h") == 1


def test_the_time_it_took_is_the_users(home: Path) -> None:
    """From the process's start; never more than its caller waited."""
    begin = time.monotonic()
    done = subprocess.run([*COPY, "p", "-o", "out"], capture_output=True)
    waited = time.monotonic() - begin
    said = float(done.stderr.split()[-2])
    assert 0.1 < said <= waited + 0.1
