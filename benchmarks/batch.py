"""The batch engine: what it adds to an item, what many items do to memory, what a rerun costs."""

import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.measure import (
    MEDIAKIT,
    Place,
    Row,
    Sample,
    Side,
    Unavailable,
    first_wall,
    memory_ratio,
    run,
)

MODEL = "realesr-animevideov3"
MILLISECONDS, MEMORY, SECONDS = 3, 1.1, 2  # goals


def rows(place: Place) -> list[Row]:
    many, few = place.count(5000, 200), place.count(50, 20)
    folders = {count: place.folder / f"in-{count}" for count in (many, few)}
    for count, folder in folders.items():
        run((sys.executable, "-m", "benchmarks.items", "inputs", folder, str(count)))
    out = place.folder / "out"
    work = {
        (count, fsync): partial(_work, folder, out, count, fsync)
        for count, folder in folders.items()
        for fsync in ("fsync", "no-fsync")
    }
    return [
        Row(
            name="overhead",
            first=Side(f"{many} do-nothing items, no fsync", work[many, "no-fsync"]),
            second=Side("with fsync", work[many, "fsync"]),
            value=lambda first, second: median(s.wall for s in first) / many * 1000,
            goal=MILLISECONDS,
            unit="ms an item",
            pairs=place.count(3, 1),
            warm=False,
            notes=["whole process, start-up included"],
        ),
        Row(
            name="memory",
            first=Side(f"{many} do-nothing items", work[many, "no-fsync"]),
            second=Side(f"{few} items", work[few, "no-fsync"]),
            value=memory_ratio,
            goal=MEMORY,
            unit="times the memory",
            pairs=place.count(3, 1),
            warm=False,
        ),
        _up_to_date(place),
    ]


def _work(folder: Path, out: Path, count: int, fsync: str) -> Sample:
    shutil.rmtree(out, ignore_errors=True)
    sample = run((sys.executable, "-m", "benchmarks.items", "work", folder, out, fsync))
    _check(out, count)
    return sample


def _check(out: Path, count: int) -> None:
    made = sum(1 for _ in out.glob("*.png"))
    if made != count:
        raise RuntimeError(f"{made} of {count} items were made")


def _up_to_date(place: Place) -> Row:
    """The whole command over items that need nothing, beside make over as many."""
    if shutil.which("make") is None:
        raise Unavailable("no make to compare with")
    count = place.count(10_000, 200)
    folder, out = place.folder / "done-in", place.folder / "done-out"
    run((sys.executable, "-m", "benchmarks.items", "inputs", folder, str(count)))
    run((sys.executable, "-m", "benchmarks.items", "upscaled", folder, out))
    _check(out, count)
    command = (*MEDIAKIT, "upscale", folder, "-o", out, "--model", MODEL)
    noted = run(command).noted
    if f"{count} up to date" not in noted:
        raise RuntimeError(f"not all {count} items are up to date: {noted}")
    makefile = place.folder / "Makefile"
    makefile.write_text(
        f"all: $(patsubst {folder}/%,{out}/%,$(wildcard {folder}/*.png))\n"
        f"{out}/%: {folder}/%\n\tfalse\n"
    )
    mediakit: Callable[[], Sample] = partial(run, command)
    return Row(
        name="up to date",
        first=Side(f"mediakit upscale over {count} up-to-date items", mediakit),
        second=Side("make over as many", partial(run, ("make", "-s", "-f", makefile))),
        value=first_wall,
        goal=SECONDS,
        unit="s",
        pairs=place.count(5, 1),
    )
