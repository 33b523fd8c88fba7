"""`python -m benchmarks`: what is measured, the table, and the JSON beside it."""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, Place, Unavailable, compare

# name -> module with `rows(place)`; imported when measured
SUBJECTS = {
    "startup": "benchmarks.startup",
    "engine": "benchmarks.batch",
    "pipeline": "benchmarks.pipeline",
    "upscale": "benchmarks.upscale",
    "loop": "benchmarks.loop",
    "gpu": "benchmarks.gpu",
    "faces": "benchmarks.faces",
    "diffusion": "benchmarks.diffusion",
    "transcribe": "benchmarks.transcribe",
    "chat": "benchmarks.chat",
    "caption": "benchmarks.caption",
}
# a quick run has none
VERDICTS = {True: "met", False: "MISSED", None: ""}
PACKAGES = ("typer", "pydantic", "pillow", "torch", "spandrel", "realesrgan", "diffusers",
            "transformers", "ctranslate2", "faster-whisper", "whisper-ctranslate2",
            "llama-cpp-python", "opencv-python-headless", "gfpgan")  # fmt: skip


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=SUBJECTS, help="measure only this")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows only that it runs")
    parser.add_argument("--pairs", type=int, help="pairs of runs a row, instead of its own number")
    parser.add_argument("--prompts", type=int, help="prompts a row of diffusion takes at most")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-results")
    options = parser.parse_args(arguments)
    report: dict[str, Any] = {"machine": machine(), "quick": options.quick, "rows": []}
    for subject in options.only or SUBJECTS:
        with tempfile.TemporaryDirectory(prefix="mediakit-bench-") as folder:
            place = Place(Path(folder), options.quick, options.prompts)
            report["rows"] += measure(subject, place, options.pairs)
    report["machine"]["load after"] = os.getloadavg()
    print(table(report["rows"]))
    options.out.mkdir(parents=True, exist_ok=True)
    file = options.out / f"{report['machine']['at'].replace(':', '')}.json"
    file.write_text(json.dumps(report, indent=2) + "\n")
    print(f"\nwritten: {file}")
    return int(any("failed" in row for row in report["rows"]))


def measure(subject: str, place: Place, pairs: int | None) -> list[dict[str, Any]]:
    """The rows of a subject; one that can't be measured here says why, and costs no other."""
    found: list[dict[str, Any]] = []

    def attempt(name: str, act: Callable[[], Any]) -> Any:
        try:
            return act()
        except (Unavailable, RuntimeError) as e:
            why = "left_out" if isinstance(e, Unavailable) else "failed"
            found.append({"name": name, why: str(e)})

    for row in attempt(subject, lambda: import_module(SUBJECTS[subject]).rows(place)) or ():
        print(f"measuring {row.name} ...", file=sys.stderr, flush=True)
        if result := attempt(row.name, partial(compare, row, pairs)):
            found.append(result | ({"met": None} if place.quick else {}))
            print(f"  {result['value']:.2f} {result['unit']}", file=sys.stderr, flush=True)
    return found


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "at": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": _said("git", "-C", str(ROOT), "describe", "--always", "--dirty"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load before": os.getloadavg(),
        "versions": versions,
    }


def _said(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor()


def table(rows: list[dict[str, Any]]) -> str:
    """Wall and CPU seconds are medians; the ratio is A by B, the goal is about the value."""
    lines = [("row", "A", "B", "A wall", "A cpu", "B wall", "B cpu", "A/B wall", "cpu", "value",
              "goal", "")]  # fmt: skip
    notes = []
    for row in rows:
        if why := row.keys() & {"left_out", "failed"}:
            notes += [f"{row['name']} {w.replace('_', ' ')}: {row[w]}" for w in why]
            continue
        a, b = row["first"], row["second"]
        ((bound, goal),) = row["goal"].items()
        sign = ">=" if bound == "at_least" else "<="
        lines.append(
            (
                row["name"], a["what"], b["what"],
                f"{a['wall']:.2f}", f"{a['cpu']:.2f}", f"{b['wall']:.2f}", f"{b['cpu']:.2f}",
                f"{row['ratio']['wall']:.2f}", f"{row['ratio']['cpu']:.2f}",
                f"{row['value']:.2f} {row['unit']}", f"{sign} {goal:g}",
                VERDICTS[row["met"]],
            )
        )  # fmt: skip
        notes += [f"{row['name']}: {note}" for note in row["notes"]]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [
        "  ".join(
            cell.ljust(width) if i < 3 or i > 8 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    return "\n".join([*text, "", *notes]).rstrip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
