"""The real command line, called in this process or in one of its own, in a home of its own."""

import importlib
import json
import os
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

# a shell's background job ignores control C, one behind nohup the end of its terminal, and so would
# all that they start: not here
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

COMMAND = str(Path(sys.executable).parent / "mediakit")


@dataclass(frozen=True)
class Result:
    """What a command left: its exit status and the bytes of both streams."""

    status: int
    stdout: bytes
    err: bytes

    @property
    def lines(self) -> list[str]:
        return os.fsdecode(self.stdout).splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def stderr(self) -> str:
        return self.err.decode()

    @property
    def errors(self) -> list[str]:
        """The codes at the ends of lines on standard error."""
        return [s.rpartition("[")[2][:-1] for s in self.stderr.splitlines() if s.endswith("]")]


class Shell:
    """Calls mediakit; a status other than the expected one fails the test."""

    def __call__(self, *args: str | bytes | Path, stdin: bytes = b"", status: int = 0) -> Result:
        """In this process, with real file descriptors."""
        from mediakit.cli.app import run

        with tempfile.TemporaryFile() as into, _redirected(into, stdin) as streams:
            into_status = run([os.fsdecode(a) for a in args])
            sys.stdout.flush()
            sys.stderr.flush()
            result = Result(into_status, *(_content(fd) for fd in streams))
        return _expected(result, status)

    def process(
        self,
        *args: str | bytes | Path,
        stdin: bytes = b"",
        status: int = 0,
        env: dict[str, str] | None = None,
        **popen: Any,
    ) -> Result:
        """The installed command, with pipes."""
        done = subprocess.run(
            [COMMAND, *args], input=stdin, capture_output=True, timeout=120,
            env={**os.environ, **(env or {})}, **popen,
        )  # fmt: skip
        return _expected(Result(done.returncode, done.stdout, done.stderr), status)


def _expected(result: Result, status: int) -> Result:
    assert result.status == status, f"{result.status}, not {status}: {result.stderr}"
    assert b"Traceback" not in result.err
    return result


class _redirected:  # noqa: N801
    """Descriptors 0, 1 and 2, and sys.stdout and sys.stderr, in files of our own."""

    def __init__(self, file: Any, stdin: bytes) -> None:
        file.write(stdin)
        file.seek(0)
        self.stdin = file

    def __enter__(self) -> list[int]:
        sys.stdout.flush()
        sys.stderr.flush()
        self.saved = [os.dup(fd) for fd in (0, 1, 2)]
        self.python = sys.stdout, sys.stderr
        self.files = [tempfile.TemporaryFile(), tempfile.TemporaryFile()]
        for fd, file in enumerate((self.stdin, *self.files)):
            os.dup2(file.fileno(), fd)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", errors="backslashreplace", encoding="utf-8", closefd=False)
        return [file.fileno() for file in self.files]

    def __exit__(self, *_: object) -> None:
        sys.stdout, sys.stderr = self.python
        for fd, old in enumerate(self.saved):
            os.dup2(old, fd)
            os.close(old)
        for file in self.files:
            file.close()


def _content(fd: int) -> bytes:
    return os.pread(fd, os.fstat(fd).st_size, 0)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """An empty working directory, and a user without settings but with this checkout's models."""
    for name in list(os.environ):
        if name.startswith("MEDIAKIT_") and name != "MEDIAKIT_CACHE":
            monkeypatch.delenv(name)
    for name in ("CONFIG", "STATE", "DATA", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / "home" / name.lower()))
    if "MEDIAKIT_CACHE" not in os.environ:
        models = request.config.rootpath / ".pytest_cache" / "d" / "models"
        monkeypatch.setenv("MEDIAKIT_CACHE", str(models))
    monkeypatch.setenv("MEDIAKIT_TRACEBACK", "1")  # an internal error shall fail the test
    monkeypatch.setenv("COLUMNS", "200")
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def mediakit(home: Path) -> Shell:
    return Shell()


@pytest.fixture
def copy_task(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """`mediakit copy`, a task that needs no model; see toy.py."""
    from mediakit.cli import app
    from mediakit.tasks import registry

    monkeypatch.syspath_prepend(str(Path(__file__).parent / "cli"))
    monkeypatch.setitem(registry._TASKS, "copy", "toy:Copy")
    monkeypatch.setitem(app.TASKS, "copy", ("mediakit.cli.tasks", "Copy files."))
    monkeypatch.setitem(app.COMMANDS, "copy", app.TASKS["copy"])
    yield


@pytest.fixture
def check_record(monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, Any]], None]:
    """Fails for what is no JSON record as documented; see record.py."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "cli"))
    check: Callable[[dict[str, Any]], None] = importlib.import_module("record").check
    return check


def png(width: int = 16, height: int = 16, colour: bytes = b"\x20\x80\xc0") -> bytes:
    """An RGB or RGBA picture of one colour."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    head = struct.pack(">IIBBBBB", width, height, 8, 2 if len(colour) == 3 else 6, 0, 0, 0)
    rows = (b"\0" + colour * width) * height
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


Put = Callable[..., Path]


@pytest.fixture
def put(home: Path) -> Put:
    """Writes files into the working directory: a small picture, or other bytes."""

    def write(*names: str | bytes, data: bytes | None = None) -> Path:
        for name in names:
            path = Path(os.fsdecode(name))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png() if data is None else data)
        return Path(os.fsdecode(names[0]))

    return write
