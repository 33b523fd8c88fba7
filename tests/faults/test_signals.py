"""Ctrl-C and its kin: the right status, promptly, nothing lost, and the same command goes on."""

import fcntl
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toys.shell import TESTS, Run, Shell, eventually


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_stopped_in_mid_run(shell: Shell, number: signal.Signals, status: int) -> None:
    names = shell.inputs(30)
    run = shell.start("in", "-o", "out", "--seconds", 0.05)
    eventually(lambda: len(shell.outputs()) > 3)
    run.signal(number)
    begin = time.monotonic()
    stopped = run.wait()
    assert time.monotonic() - begin < 3
    assert stopped.status == status
    assert "Traceback" not in stopped.stderr
    assert "the same command goes on from here" in stopped.stderr
    made = shell.outputs()
    assert 3 < len(made) < 30
    assert [f"out/{name}" for name in sorted(made)] == stopped.lines
    assert shell.leftovers() == []
    done = shell.batch()
    assert done.status == 0
    assert shell.outputs() == shell.expected()
    assert shell.times_done() == dict.fromkeys(names, 1)
    assert not any(line["t"] == "start" and line["key"] in made for line in last(shell)), "again"


def last(shell: Shell) -> list[dict[str, object]]:
    """The lines of the newest journal."""
    journal = max(shell.out.glob(".mediakit/journal/*"), key=lambda p: p.stat().st_mtime_ns)
    return [line for line in shell.journal() if line["key"] in journal.read_text()]


def test_a_step_that_takes_long_is_left_at_once(shell: Shell) -> None:
    shell.inputs(3)
    log = shell.folder / "log"
    run = shell.start("in", "-o", "out", "--seconds", 60, "--silent", "--log", log)
    eventually(lambda: log.exists() and "compute" in log.read_text())
    begin = time.monotonic()
    run.signal(signal.SIGINT)
    stopped = run.wait()
    assert time.monotonic() - begin < 3
    assert stopped.status == 130
    assert shell.leftovers() == []
    assert shell.batch().status == 0
    assert shell.outputs() == shell.expected()


def test_a_full_disk_under_the_log_costs_nothing(shell: Shell) -> None:
    shell.inputs(3)
    (shell.folder / "in" / "bad.txt").write_bytes(b"")
    run = process(shell, "in", "-o", "out", after=" 2>/dev/full")
    assert len(run.communicate()[0].splitlines()) == 3
    assert run.returncode == 1


def test_results_that_were_computed_are_written(shell: Shell) -> None:
    shell.inputs(6)
    log = shell.folder / "log"
    run = shell.start("in", "-o", "out", "--encode-seconds", 0.3, "--log", log)
    eventually(lambda: log.exists() and log.read_text().count("compute") >= 4)
    assert shell.outputs() == {}
    run.signal(signal.SIGINT)
    assert run.wait().status == 130
    computed = [line.split()[1] for line in log.read_text().splitlines() if "compute" in line]
    assert {f"{name}.txt" for name in computed} == set(shell.outputs())


def test_second_signal_ends_at_once(shell: Shell) -> None:
    shell.inputs(3)
    run = shell.start("in", "-o", "out", "--encode-seconds", 30)
    eventually(lambda: list(shell.out.glob(".mediakit/journal/*")))
    time.sleep(0.2)
    run.signal(signal.SIGINT)
    time.sleep(0.2)
    begin = time.monotonic()
    run.signal(signal.SIGTERM)
    assert run.wait().status == 143
    assert time.monotonic() - begin < 3
    assert shell.batch().status == 0
    assert shell.outputs() == shell.expected()
    assert shell.leftovers() == []


def test_hang_up_that_is_ignored_stays_ignored(shell: Shell) -> None:
    shell.inputs(5)
    run = process(shell, "in", "-o", "out", "--seconds", "0.1", before="trap '' HUP; ")
    eventually(lambda: shell.outputs())
    os.killpg(run.pid, signal.SIGHUP)
    assert run.communicate()[0].count("\n") == 5
    assert run.returncode == 0


def process(shell: Shell, *args: str, before: str = "", after: str = "") -> "subprocess.Popen[str]":
    """The command in a real shell, in a process group of its own."""
    command = f'{before}exec "$@"' if not after else f'"$@" {after}'
    return subprocess.Popen(
        ["bash", "-c", command, "bash", sys.executable, "-m", "toys.zygote", "toy", *args],
        cwd=shell.folder,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_closed_pipe(shell: Shell) -> None:
    shell.inputs(30)
    after = "| head -1; exit ${PIPESTATUS[0]}"
    run = process(shell, "in", "-o", "out", "--seconds", "0.01", after=after)
    said, complaints = run.communicate()
    assert (run.returncode, said) == (141, "out/i000.txt\n"), complaints
    assert "Traceback" not in complaints
    assert shell.outputs().items() < shell.expected().items()
    assert shell.leftovers() == []
    made = shell.times_done()
    assert set(made) == set(shell.outputs())
    assert shell.batch().status == 0
    assert shell.outputs() == shell.expected()
    assert set(shell.times_done().values()) == {1}


@pytest.mark.parametrize("moment", [0.05 * n for n in range(1, 14)])
def test_interrupted_at_any_moment_says_nothing_odd(shell: Shell, moment: float) -> None:
    """From start-up and planning to the end: no traceback, and 130 or all is done."""
    shell.inputs(40)
    run = process(shell, "in", "-o", "out")
    time.sleep(moment)
    os.killpg(run.pid, signal.SIGINT)
    complaints = run.communicate()[1]
    made = shell.outputs()
    if "Traceback" in complaints:  # Python was starting: not one line of ours has run
        assert "KeyboardInterrupt" in complaints
        assert "in run\n" not in complaints
        assert run.returncode in (130, 1, -signal.SIGINT), complaints
        assert made == {}
    else:  # by the signal itself before Python began, or when it was through
        assert run.returncode in (130, 0, -signal.SIGINT), complaints
        if run.returncode == 0:
            assert made == shell.expected()
        assert made.items() <= shell.expected().items()


@pytest.mark.parametrize("size", [100, 200_000])
def test_reader_that_does_not_read(shell: Shell, size: int) -> None:
    """More than a pipe holds, and nobody takes it: Ctrl-C ends the command all the same."""
    shell.inputs(1)
    (shell.folder / "in" / "i000.txt").write_text("x" * size)
    reader, writer = os.pipe()
    full = b"-" * fcntl.fcntl(writer, fcntl.F_GETPIPE_SZ)
    os.write(writer, full)
    status = -signal.SIGINT
    for patience in (1, 5, 20):
        with command(shell, "in/i000.txt", "-o", "-", stdout=writer) as run:
            time.sleep(patience)
            assert run.poll() is None
            run.send_signal(signal.SIGINT)
            status = run.wait(10)
        if status != -signal.SIGINT:  # Python had begun: on a busy machine that takes a while
            break
    assert status == 130
    os.close(writer)
    os.close(reader)


def test_standard_output_that_does_not_wait(shell: Shell) -> None:
    """A pipe that another program has made non-blocking is not a full disk."""
    shell.inputs(1)
    (shell.folder / "in" / "i000.txt").write_text("x" * 500_000)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with command(shell, "in/i000.txt", "-o", "-", stdout=writer) as run:
        os.close(writer)
        time.sleep(0.7)
        with os.fdopen(reader, "rb") as file:
            assert file.read() == b"X" * 500_000
        assert run.wait(10) == 0


def test_standard_output_that_can_not_be_written(shell: Shell) -> None:
    shell.inputs(1)
    for path, flags, code in (("/dev/full", os.O_WRONLY, "disk_full"),
                              (os.devnull, os.O_RDONLY, "unwritable")):  # fmt: skip
        stdout = os.open(path, flags)
        run = command(shell, "in/i000.txt", "-o", "-", stdout=stdout)
        os.close(stdout)
        assert f"[{code}]" in run.communicate()[1]
        assert run.returncode == 1


def command(shell: Shell, *args: str, stdout: int) -> "subprocess.Popen[str]":
    """The command with a standard output of one's own."""
    return subprocess.Popen(
        [sys.executable, "-m", "toys.zygote", "toy", *args],
        cwd=shell.folder,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_planning_can_be_interrupted(shell: Shell) -> None:
    folder = shell.folder / "in"
    folder.mkdir()
    for number in range(5_000):
        (folder / f"{number}.txt").touch()
    run: Run = shell.start("in", "-o", "out", "--dry-run")
    time.sleep(0.15)
    run.signal(signal.SIGINT)
    begin = time.monotonic()
    done = run.wait()
    assert done.status == 130, done.stderr
    assert time.monotonic() - begin < 5
    assert "Traceback" not in done.stderr


def test_interrupted_while_reading_names_from_a_pipe(shell: Shell) -> None:
    shell.inputs(1)
    pipe = shell.folder / "pipe"
    os.mkfifo(pipe)
    writer = os.open(pipe, os.O_RDWR)
    os.write(writer, b"in/i000.txt\n")
    run = shell.start("-", "-o", "out", STDIN=str(pipe))
    eventually(lambda: Path(shell.out, "in/i000.txt").exists())  # not held back by the open pipe
    run.signal(signal.SIGINT)
    done = run.wait()
    os.close(writer)
    assert (done.status, done.lines) == (130, ["out/in/i000.txt"])
    assert "Traceback" not in done.stderr
