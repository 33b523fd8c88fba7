"""How two ways of doing something are compared: whole child processes, in turns, by medians."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
MEDIAKIT = (sys.executable, "-c", "from mediakit.cli.app import main; main()")  # as the script does


class Unavailable(Exception):
    """A row can't be measured here; the message says what is missing."""


@dataclass(frozen=True)
class Sample:
    """What one run took: seconds, bytes of resident memory at the peak, and what it said.

    `cpu` is user and system time of the whole process and of children that it waited for.
    """

    wall: float
    cpu: float
    memory: int = 0
    said: str = ""

    def __add__(self, other: "Sample") -> "Sample":
        """One run after the other."""
        return Sample(self.wall + other.wall, self.cpu + other.cpu, max(self.memory, other.memory))


@dataclass(frozen=True)
class Side:
    what: str
    run: Callable[[], Sample]


@dataclass
class Row:
    """One line of the table: how `first` compares with `second`, and what was hoped for.

    `value` makes the number that `goal` is about out of all samples; it must be at most the
    goal, or at least, with `at_least`. `notes` are facts found on the way.
    """

    name: str
    first: Side
    second: Side
    value: Callable[[list[Sample], list[Sample]], float]
    goal: float
    unit: str
    at_least: bool = False
    pairs: int = 5
    warm: bool = True  # run each once before it counts
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Where a benchmark may write, and whether it should only show that it works."""

    folder: Path
    quick: bool

    def count(self, full: int, quick: int) -> int:
        return quick if self.quick else full


def run(command: Sequence[str | Path], **environment: str) -> Sample:
    """Run a command to its end, alone; RuntimeError with its last words unless it exits with 0."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        begin = time.perf_counter()
        process = subprocess.Popen(
            [os.fspath(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=plain_environment() | environment,
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        if process.returncode:
            err.seek(0)
            last = err.read()[-2000:].decode(errors="replace")
            raise RuntimeError(f"{' '.join(map(str, command))}: exit {process.returncode}\n{last}")
        said = out.read().decode(errors="replace")
    # Linux counts kilobytes, macOS bytes; never less than this process held when it forked
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Sample(wall, usage.ru_utime + usage.ru_stime, memory, said)


def plain_environment() -> dict[str, str]:
    """The user's, without settings that change what mediakit does, but for the model cache."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("MEDIAKIT_")}
    if cache := os.environ.get("MEDIAKIT_CACHE"):
        kept["MEDIAKIT_CACHE"] = cache
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "TERM": "dumb"}


def compare(row: Row, pairs: int | None = None) -> dict[str, Any]:
    """Both sides in turns, A B B A A B ..., and what came of it, ready for JSON."""
    first: list[Sample] = []
    second: list[Sample] = []
    load = os.getloadavg()[0]
    if row.warm:
        row.first.run()
        row.second.run()
    for turn in range(pairs or row.pairs):
        order = [(first, row.first), (second, row.second)]
        for samples, side in order if turn % 2 == 0 else reversed(order):
            samples.append(side.run())
    value = row.value(first, second)
    return {
        "name": row.name,
        "first": _side(row.first, first),
        "second": _side(row.second, second),
        "ratio": {
            "wall": ratio(first, second),
            "cpu": median(a.cpu / b.cpu for a, b in zip(first, second, strict=True)),
        },
        "value": value,
        "unit": row.unit,
        "goal": {"at_least" if row.at_least else "at_most": row.goal},
        "met": value >= row.goal if row.at_least else value <= row.goal,
        "load": [load, os.getloadavg()[0]],
        "notes": row.notes,
    }


def _side(side: Side, samples: list[Sample]) -> dict[str, Any]:
    return {
        "what": side.what,
        "wall": median(s.wall for s in samples),
        "cpu": median(s.cpu for s in samples),
        "memory": int(median(s.memory for s in samples)),
        "samples": [{k: v for k, v in asdict(s).items() if k != "said"} for s in samples],
    }


# what a goal can be about


def ratio(first: list[Sample], second: list[Sample]) -> float:
    """Median of the pairs' ratios of wall seconds: what slows both of a pair cancels out."""
    return median(a.wall / b.wall for a, b in zip(first, second, strict=True))


def speedup(first: list[Sample], second: list[Sample]) -> float:
    """How many times the first is faster."""
    return 1 / ratio(first, second)


def first_wall(first: list[Sample], second: list[Sample]) -> float:
    return median(s.wall for s in first)
