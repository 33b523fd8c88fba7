"""How two ways of doing something are compared: whole child processes, in turns, by medians."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import IO, Any

# what is kept of a run's standard error, bytes
LAST_WORDS = 65536
ROOT = Path(__file__).parent.parent
MEDIAKIT = (sys.executable, "-c", "from mediakit.cli.app import main; main()")  # as the script does


class Unavailable(Exception):
    """A row can't be measured here; the message says what is missing."""


@dataclass(frozen=True)
class Sample:
    """What one run took: seconds, bytes of resident memory at the peak; and its last words.

    `cpu` is user and system time of the whole process and of children that it waited for.
    `memory` is None where it can't be told. `said` is standard output, `noted` the end of standard
    error.
    """

    wall: float
    cpu: float
    memory: int | None = None
    said: str = ""
    noted: str = ""

    def __add__(self, other: "Sample") -> "Sample":
        """One run after the other."""
        return Sample(self.wall + other.wall, self.cpu + other.cpu)


@dataclass(frozen=True)
class Side:
    what: str
    run: Callable[[], Sample]


@dataclass
class Row:
    """One line of the table: how `first` compares with `second`, and what was hoped for.

    `value` makes the number that `goal` is about out of all samples; it must be at most the
    goal, or at least, with `at_least`. `notes` are facts found on the way. `check` runs both
    sides, compares what they made and gives more notes; RuntimeError if no ratio would count.
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
    check: Callable[[], list[str]] | None = None


@dataclass(frozen=True)
class Place:
    """Where a benchmark may write, and whether it should only show that it works.

    `prompts`: how many prompts a row of pictures may take; None: its own number.
    """

    folder: Path
    quick: bool
    prompts: int | None = None

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
        said, noted = _last(out, None), _last(err, LAST_WORDS)
    if process.returncode:
        name = " ".join(map(str, command))
        raise RuntimeError(f"{name}: exit {process.returncode}\n{said}\n{noted}")
    cpu = usage.ru_utime + usage.ru_stime
    return Sample(wall, cpu, _memory(usage.ru_maxrss), said, noted)


def _last(file: IO[bytes], most: int | None) -> str:
    """The last `most` bytes of a file, or all of it."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0 if most is None else max(0, size - most))
    return file.read().decode(errors="replace")


def _memory(peak: int) -> int | None:
    """Bytes, from kilobytes on Linux and bytes on macOS.

    On Linux a child's peak begins with that of the process it was forked from: of a child that
    stayed below us nothing is known.
    """
    if sys.platform == "darwin":
        return peak
    # of this process alone: getrusage would also count whoever started us
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    ours = int(status.get("VmHWM", "0 kB").split()[0])
    return peak * 1024 if peak > ours else None


def plain_environment() -> dict[str, str]:
    """The user's, without settings that change what mediakit and make do, but for the cache."""
    kept = {
        k: v for k, v in os.environ.items() if not k.startswith(("MEDIAKIT_", "MAKE", "MFLAGS"))
    }
    kept.pop("PYTHONDONTWRITEBYTECODE", None)  # or our own code is compiled again at each start
    if cache := os.environ.get("MEDIAKIT_CACHE"):
        kept["MEDIAKIT_CACHE"] = cache
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "100", "TERM": "dumb"}


def compare(row: Row, pairs: int | None = None) -> dict[str, Any]:
    """Both sides in turns, A B B A A B ..., and what came of it, ready for JSON."""
    first: list[Sample] = []
    second: list[Sample] = []
    load = os.getloadavg()[0]
    if row.check:
        row.notes += row.check()
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
        "memory": _peak(samples),
        "samples": [{"wall": s.wall, "cpu": s.cpu, "memory": s.memory} for s in samples],
    }


# what a goal can be about


def ratio(first: list[Sample], second: list[Sample]) -> float:
    """Median of the pairs' ratios of wall seconds: what slows both of a pair cancels out."""
    return median(a.wall / b.wall for a, b in zip(first, second, strict=True))


def memory_ratio(first: list[Sample], second: list[Sample]) -> float:
    """Unavailable if one of the peaks could not be told."""
    most, least = _peak(first), _peak(second)
    if most is None or least is None:
        raise Unavailable("the measuring process is larger than the measured one")
    return most / least


def _peak(samples: list[Sample]) -> float | None:
    peaks = [s.memory for s in samples if s.memory is not None]
    return median(peaks) if len(peaks) == len(samples) else None


def speedup(first: list[Sample], second: list[Sample]) -> float:
    """How many times the first is faster."""
    return 1 / ratio(first, second)


def first_wall(first: list[Sample], second: list[Sample]) -> float:
    return median(s.wall for s in first)
