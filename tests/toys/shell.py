"""Runs mediakit as real processes in a folder, and looks at what they leave there."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1]


class Zygote:
    """See toys/zygote.py."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "toys.zygote"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(TESTS), "COLUMNS": "100"},
        )

    def ask(self, request: dict[str, Any]) -> int:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@dataclass
class Run:
    """A mediakit process and what it said."""

    pid: int
    said: list[Path]
    zygote: Zygote

    def wait(self) -> "Done":
        status = self.zygote.ask({"wait": self.pid})
        return Done(status, *(p.read_text() if p.exists() else "" for p in self.said))

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)


@dataclass
class Done:
    status: int
    stdout: str
    stderr: str

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.lines]

    @property
    def codes(self) -> list[str]:
        """The error codes on standard error, in order."""
        ends = [line.rpartition("[")[2] for line in self.stderr.splitlines() if line[-1:] == "]"]
        return [end.removesuffix("]") for end in ends]


class Shell:
    """A folder with inputs in `in/`, whose outputs go to `out/`."""

    def __init__(self, folder: Path, zygote: Zygote) -> None:
        self.folder = folder
        self.zygote = zygote
        self.out = folder / "out"
        self._runs = 0

    def inputs(self, count: int) -> list[str]:
        """Inputs i000.txt ...; the names of their outputs."""
        (self.folder / "in").mkdir(exist_ok=True)
        names = [f"i{number:03}.txt" for number in range(count)]
        for name in names:
            (self.folder / "in" / name).write_text(f"text of {name}\n" * 20)
        return names

    def start(self, *args: object, **environment: str) -> Run:
        """`mediakit toy ARGS` as a process of its own."""
        self._runs += 1
        said = [self.folder / f"run-{self._runs}.{name}" for name in ("stdout", "stderr")]
        own = {
            "XDG_STATE_HOME": str(self.folder / "state"),
            "STDOUT": str(said[0]),
            "STDERR": str(said[1]),
        }
        request = {
            "args": ["toy", *map(str, args)],
            "folder": str(self.folder),
            "environment": {**own, **environment},
        }
        return Run(self.zygote.ask(request), said, self.zygote)

    def run(self, *args: object, **environment: str) -> Done:
        return self.start(*args, **environment).wait()

    def batch(self, *args: object, **environment: str) -> Done:
        """`mediakit toy in -o out ARGS`, to its end."""
        return self.run("in", "-o", "out", *args, **environment)

    def outputs(self) -> dict[str, str]:
        """What is there but the state: a run may be making and removing folders in that."""
        found = {}
        for folder, folders, names in os.walk(self.out):
            folders[:] = [name for name in folders if name != ".mediakit"]
            paths = [Path(folder) / name for name in names]
            found |= {str(p.relative_to(self.out)): p.read_text() for p in paths if p.is_file()}
        return found

    def expected(self) -> dict[str, str]:
        return {p.name: p.read_text().upper() for p in (self.folder / "in").glob("*.txt")}

    def journal(self, folder: Path | None = None) -> list[dict[str, Any]]:
        """All whole lines of all journals."""
        found = []
        for path in ((folder or self.out / ".mediakit") / "journal").glob("*.jsonl"):
            for line in path.read_bytes().splitlines(keepends=True):
                if line.endswith(b"\n"):
                    found.append(json.loads(line))
        return found

    def times_done(self) -> Counter[str]:
        """How often each item was made."""
        return Counter(line["key"] for line in self.journal() if line["t"] == "done")

    def leftovers(self) -> list[Path]:
        """Temporary files."""
        return [*self.out.glob(".mediakit/tmp/*"), *self.folder.rglob("*.part")]

    def wipe(self) -> None:
        """As before the first run."""
        for name in ("out", "state"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def eventually(fact: Callable[[], object], seconds: float = 10) -> None:
    """Wait for it."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "did not happen"
        time.sleep(0.005)
