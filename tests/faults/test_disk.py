"""A full disk and a directory that becomes read-only: named once, nothing torn, then it goes on."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from toys.shell import Done, Shell, eventually

NOBODY = "65534"


@pytest.fixture
def disk(shell: Shell) -> Iterator[Path]:
    """`out` as a file system of 120 kB."""
    shell.out.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=120k", "tmpfs", str(shell.out)]
    mounted = subprocess.run(command, capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no tmpfs here, only the other kind of fault is tried: {mounted.stderr}")
    yield shell.out
    subprocess.run(["umount", "-l", str(shell.out)], check=True)


def remount(disk: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(disk)], check=True)


def is_stopped(shell: Shell, done: Done, code: str) -> None:
    assert (done.status, done.codes) == (1, [code]), done.stderr
    made = shell.outputs()
    assert made.items() < shell.expected().items(), "a torn file"
    assert shell.leftovers() == []
    for path in shell.out.glob(".mediakit/journal/*"):
        assert path.read_bytes()[-1:] in (b"", b"\n"), "a torn line"


def goes_on(shell: Shell) -> None:
    made = set(shell.outputs())
    done = shell.batch("--json")
    assert done.status == 0, done.stderr
    assert shell.outputs() == shell.expected()
    assert {r["outputs"][0] for r in done.records if r["status"] == "skipped"} == {
        f"out/{name}" for name in made
    }
    # once each; the last line of the one that the fault hit may be missing
    times = shell.times_done()
    assert set(times.values()) == {1} and len(times) >= len(shell.outputs()) - 4


def test_disk_full(shell: Shell, disk: Path) -> None:
    shell.inputs(40)
    is_stopped(shell, shell.batch(), "disk_full")
    assert len(shell.outputs()) > 3
    again = shell.batch()
    assert (again.status, again.codes) == (1, ["disk_full"])
    remount(disk, "size=2m")
    goes_on(shell)


@pytest.mark.parametrize("limit", [300, 1500, 4000, 9000])
def test_file_size_limit(shell: Shell, limit: int) -> None:
    """The same without a disk of our own: outputs (320 bytes) or the journal can't grow."""
    shell.inputs(20)
    is_stopped(shell, shell.batch(FILE_LIMIT=str(limit)), "disk_full")
    goes_on(shell)


def test_read_only_file_system(shell: Shell, disk: Path) -> None:
    shell.inputs(3)
    assert shell.batch().status == 0
    shell.inputs(12)
    remount(disk, "ro")
    is_stopped(shell, shell.batch(), "read_only")
    assert len(shell.outputs()) == 3
    remount(disk, "rw,size=2m")
    goes_on(shell)


def test_a_file_that_cannot_be_written_is_told_before_the_work(shell: Shell, disk: Path) -> None:
    shell.inputs(1)
    remount(disk, "ro")
    done = shell.run("in/i000.txt", "-o", "out/a.txt", "--log", "log")
    assert (done.status, done.codes) == (1, ["read_only"]), done.stderr
    log = shell.folder / "log"
    assert not log.exists() or "compute" not in log.read_text()


def test_up_to_date_directory_may_be_read_only(shell: Shell, disk: Path) -> None:
    shell.inputs(3)
    assert shell.batch().status == 0
    remount(disk, "ro")
    done = shell.batch("--json")
    assert done.status == 0, done.stderr
    assert [r["status"] for r in done.records] == ["skipped"] * 3


def test_loses_permission_in_mid_run(shell: Shell) -> None:
    """By permission bits; as root, the run is another user's."""
    shell.inputs(12)
    for folder in (shell.folder, *list(shell.folder.parents)[:2]):
        folder.chmod(0o755)
    shell.folder.chmod(0o777)
    shell.out.mkdir()
    shell.out.chmod(0o777)
    run = shell.start("in", "-o", "out", "--seconds", 0.05, USER=NOBODY)
    eventually(lambda: len(shell.outputs()) >= 3)
    shell.out.chmod(0o555)
    if os.geteuid() == 0:
        os.chown(shell.out, 0, 0)
    done = run.wait()
    is_stopped(shell, done, "read_only")
    shell.out.chmod(0o777)
    goes_on(shell)


@pytest.mark.parametrize("name", [".mediakit", "out"])
def test_a_file_where_the_directory_should_be(shell: Shell, name: str) -> None:
    shell.inputs(12)
    if name == ".mediakit":
        shell.out.mkdir()
        (shell.out / name).write_text("mine")
        done = shell.batch()
    else:
        shell.out.write_text("mine")
        done = shell.run("in", "-o", "out/below")
    assert (done.status, len(done.codes)) == (1, 1), done.stderr
    assert "Traceback" not in done.stderr
