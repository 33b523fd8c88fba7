"""The child process that renders a model's chat template: its life, and how long it may take."""

import contextlib
import importlib.util
import json
import os
import signal
import struct
import subprocess
import sys
import threading
import weakref
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mediakit.errors import UserError

_SCRIPT = Path(__file__).with_name("template_process.py")
_PACKAGES = ("jinja2", "markupsafe")  # all that the script imports beside Python's own
# An interpreter may need these to start at all; it ignores every other variable.
_VARIABLES = ("LD_LIBRARY_PATH", "SYSTEMROOT")


@dataclass(frozen=True, slots=True)
class Limits:
    """What one rendering may cost; the largest templates in use take some milliseconds of it."""

    cpu_seconds: int = 5
    wall_seconds: float = 60.0  # for a child that does nothing at all; a busy machine is no reason
    memory_bytes: int = 1 << 30
    characters: int = 1 << 26


class RenderError(Exception):
    """No text: `kind` is "syntax" (it can't be compiled, or not in time), "broken" (it fails),
    "refused" (it called raise_exception) or "limit"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message


class Renderer:
    """Renders one template, in a child that lives until close(), or until it was killed: then the
    next rendering gets a new one. For any thread; one rendering at a time."""

    def __init__(self, template: str, limits: Limits) -> None:
        self._template = template
        self._limits = limits
        self._lock = threading.Lock()
        self._child: _Child | None = None

    def start(self) -> None:
        """Returns at once, and the child gets ready meanwhile (0.1 s)."""
        with self._lock:
            self._started()

    def render(self, variables: Mapping[str, Any]) -> str:
        """RenderError, also for a template that can't be compiled."""
        with self._lock:
            child = self._started()
            clock = threading.Timer(self._limits.wall_seconds, child.kill)
            clock.start()
            try:
                return child.ask(variables)
            except RenderError as error:
                if error.kind in ("syntax", "limit"):
                    self._end()
                raise
            except BaseException:  # a signal: its answer would be taken for the next one's
                self._end()
                raise
            finally:
                clock.cancel()

    def close(self) -> None:
        with self._lock:
            self._end()

    def _started(self) -> "_Child":
        if self._child is None or not self._child.alive:
            self._end()
            self._child = _Child({"template": self._template, "limits": asdict(self._limits)})
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.end()
            self._child = None


_spare: list["subprocess.Popen[bytes]"] = []


def prepare() -> None:
    """Have a child that the next renderer takes: it starts while the model is looked for."""
    _spare.append(_process())


def dismiss() -> None:
    """End it, if none has taken it."""
    while _spare:
        _end(_spare.pop())


def _taken() -> "subprocess.Popen[bytes] | None":
    found = _spare.pop() if _spare else None
    if found and found.poll() is not None:
        _end(found)
        return None
    return found


def _process() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        # Isolated and without site: half the start. A session of its own: Ctrl-C is for us.
        [sys.executable, "-I", "-S", str(_SCRIPT), *map(_folder_of, _PACKAGES)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        bufsize=0,
        cwd="/",
        env={name: os.environ[name] for name in _VARIABLES if name in os.environ},
        start_new_session=True,
    )


class _Child:
    """The process and its pipes. It reads the end of its input, and ends, when we do."""

    def __init__(self, first: Mapping[str, Any]) -> None:
        self._process = _taken() or _process()
        self.end = weakref.finalize(self, _end, self._process)
        self._compiled = False
        self._limits = first["limits"]
        self._send(first)

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()

    def ask(self, variables: Mapping[str, Any]) -> str:
        """The text of one rendering; RenderError."""
        if not self._compiled:
            try:
                self._receive()
            except RenderError as error:
                raise RenderError("syntax", error.message) from None
            self._compiled = True
        self._send({"variables": variables})
        return self._receive()

    def _send(self, frame: Mapping[str, Any]) -> None:
        text = json.dumps(frame, ensure_ascii=False).encode("utf-8", "surrogatepass")
        body = memoryview(struct.pack(">Q", len(text)) + text)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # dead: so says the end of what it sends
            while body:
                body = body[self._process.stdin.write(body) :]

    def _receive(self) -> str:
        (length,) = struct.unpack(">Q", self._read(8))
        answer = json.loads(self._read(length).decode("utf-8", "surrogatepass"))
        if "error" in answer:
            raise RenderError(answer["error"], answer["message"])
        text: str = answer["text"]
        return text

    def _read(self, length: int) -> bytes:
        assert self._process.stdout is not None
        out = bytearray()
        while len(out) < length:
            piece = self._process.stdout.read(min(length - len(out), 1 << 20))
            if not piece:
                raise RenderError("limit", self._end_of(self._process.wait()))
            out += piece
        return bytes(out)

    def _end_of(self, status: int) -> str:
        if status == -signal.SIGXCPU:
            return f"it worked for more than {self._limits['cpu_seconds']} s"
        if status == -signal.SIGKILL:
            return f"it took longer than {self._limits['wall_seconds']:g} s, or was killed"
        return f"its process ended with status {status}"


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def _folder_of(package: str) -> str:
    """Where it is imported from; it is not imported for that."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UserError(
            "missing_extra",
            f"chat templates need {package}; install it with: pip install 'mediakit[chat]'",
        )
    return str(Path(found.origin).parent.parent)
