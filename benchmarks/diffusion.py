"""Prompts in one `mediakit generate`, beside a pipeline of diffusers in its own loop.

As a program of its own (`net FOLDER KIND`, `apart ONE OTHER`) it does what needs torch or Pillow,
so that the measuring process stays small.
"""

import json
import runpy
import sys
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import MEDIAKIT, ROOT, Place, Row, Sample, Side, ratio, run, speedup

STARTER = ROOT / "mediakit" / "models" / "shipped" / "starter-diffusion"
THREADS = psutil.cpu_count(logical=False) or 1
GUIDANCE = 7.5
LEVEL = 1  # of 255
SEEDS = ("1", "2")
COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
SHAPES = ("circle", "square", "star", "triangle")
# no hub is asked for anything, and modules are compiled once, as pip does when it installs them
ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": ""}


@dataclass(frozen=True)
class Case:
    """A row: `prompts` times `seeds` pictures of a net: "starter", or "sd1_shaped" of the tests.

    mediakit computes at `guidance`, the loop beside it always at 7.5: those pictures are others
    anyway. At 7.5 it is told `--exact`, and has to make every pixel of the loop's; at another,
    several at once, which rounds differently: no pixel more than `LEVEL` from the loop's at that.
    """

    name: str
    net: str
    prompts: int
    steps: int
    goal: float
    seeds: tuple[str, ...] = SEEDS
    guidance: float = GUIDANCE
    pairs: int = 2

    @property
    def exact(self) -> bool:
        return self.guidance == GUIDANCE


CASES = (
    Case("diffusion starter", "starter", 32, 25, 1.05),
    Case("diffusion 60M", "sd1_shaped", 32, 4, 1.05),
    Case("diffusion starter unguided", "starter", 32, 25, 1.8, guidance=1),
    Case("diffusion 60M unguided", "sd1_shaped", 32, 4, 1.8, guidance=1),
    Case("diffusion first picture", "starter", 1, 25, 1, seeds=("1",), pairs=5),
)


def rows(place: Place) -> list[Row]:
    return [_Run(case, place).row() for case in CASES]


class _Run:
    """A case in a folder of its own."""

    def __init__(self, case: Case, place: Place) -> None:
        self.case = case
        self.folder = place.folder / case.name.replace(" ", "-")
        self.ours, self.theirs = self.folder / "ours", self.folder / "theirs"
        self.prompts, self.net = self.folder / "prompts.txt", self.folder / "net"
        self.lines = min(place.count(case.prompts, 1), place.prompts or case.prompts)
        self.seeds = case.seeds[: place.count(2, 1)]
        self.steps, self.pairs = place.count(case.steps, 2), place.count(case.pairs, 1)
        # of tiny sizes the tests have one, and the starter model is not always there
        self.kind = "sd1" if place.quick or case.net == "starter" else case.net
        if case.net == "starter" and (STARTER / "model_index.json").exists():
            self.net, self.kind = STARTER, ""

    def row(self) -> Row:
        case = self.case
        pictures = self.lines * len(self.seeds)
        unguided = f", guidance {case.guidance:g}" if case.guidance != GUIDANCE else ""
        first = case.goal == 1
        return Row(
            name=case.name,
            first=Side(f"{pictures} of {self.steps} steps, mediakit generate{unguided}",
                       self.mediakit),
            second=Side(f"diffusers' pipeline in a loop, guidance {GUIDANCE:g}", self.plain),
            value=ratio if first else speedup,
            goal=case.goal,
            unit="times the wall time" if first else "times faster",
            at_least=not first,
            pairs=self.pairs,
            warm=False,  # the check does
            check=self.check,
        )  # fmt: skip

    def mediakit(self) -> Sample:
        """--force: made again each time."""
        model = "starter-diffusion" if self.net == STARTER else self.net
        return run(
            (*MEDIAKIT, "generate", "--from", self.prompts, "-o", self.ours, "--model", model,
             "--seed", ",".join(self.seeds), "--steps", str(self.steps),
             "--guidance-scale", f"{self.case.guidance:g}", *["--exact"] * self.case.exact,
             "--device", "cpu", "--dtype", "float32", "--threads", str(THREADS),
             "--format", "png", "--force"),
            **ENVIRONMENT,
        )  # fmt: skip

    def plain(self, guidance: float = GUIDANCE) -> Sample:
        return run(
            (sys.executable, "-m", "benchmarks.plain_diffusers", "--model", self.net,
             "--prompts", self.prompts, "--seeds", *self.seeds, "--steps", str(self.steps),
             "--guidance", f"{guidance:g}", "--threads", str(THREADS), "--output", self.theirs),
            **ENVIRONMENT,
        )  # fmt: skip

    def check(self) -> list[str]:
        """Run both once, at one guidance; RuntimeError if the pictures are not the same."""
        case = self.case
        self.theirs.mkdir(parents=True)
        self.prompts.write_text("".join(line + "\n" for line in prompts()[: self.lines]))
        notes = []
        if self.kind:
            run((sys.executable, "-m", "benchmarks.diffusion", "net", self.net, self.kind))
            notes.append(f"random weights ({self.kind} of tests/engines/diffusion/nets.py)")
        self.mediakit()
        self.plain(case.guidance)
        said = run((sys.executable, "-m", "benchmarks.diffusion", "apart", self.ours, self.theirs))
        found = json.loads(said.said)
        most = 0 if case.exact else LEVEL
        if found["apart"] > most or found["count"] != self.lines * len(self.seeds):
            raise RuntimeError(f"the pictures are not the same: {found}")
        notes.append(self.likeness(found))
        return notes

    def likeness(self, found: dict[str, Any]) -> str:
        threads = f"{THREADS} thread{'s' if THREADS > 1 else ''} each"
        text = f"{found['count']} pictures of {found['size']}, {threads}: "
        if self.case.exact:
            return text + "every pixel of every picture is the same"
        return (
            text + f"no pixel is more than {found['apart']} of 255 from that of the same loop at "
            f"guidance {self.case.guidance:g}; what is compared is the loop at {GUIDANCE:g}, which "
            "computes each step twice and draws other pictures: what a model that needs no "
            "guidance gains where the loop leaves it on"
        )


def prompts() -> list[str]:
    return [f"a large {c} {s} on a white background" for c, s in product(COLOURS, SHAPES)]


def make(folder: Path, kind: str) -> None:
    """A net of random weights as a folder of diffusers, as the tests make it."""
    nets = runpy.run_path(str(ROOT / "tests" / "engines" / "diffusion" / "nets.py"))
    nets[kind](folder)


def apart(one: Path, other: Path) -> dict[str, Any]:
    """How far the pixels of two folders are apart, 0 to 255, whatever the files' names: of each
    picture from the most alike that is left in the other folder, 255 where there is none."""
    import numpy as np
    from PIL import Image

    def read(folder: Path) -> list[Any]:
        found = []
        for path in sorted(folder.glob("*.png")):
            with Image.open(path) as image:
                found.append(np.asarray(image.convert("RGB")).astype(np.int16))
        return found

    first, left = read(one), read(other)
    most = 0 if len(first) == len(left) else 255
    sizes = sorted({f"{found.shape[1]}x{found.shape[0]}" for found in first + left})
    for picture in first:
        distances = [
            int(abs(found - picture).max()) if found.shape == picture.shape else 255
            for found in left
        ] or [255]
        nearest = distances.index(min(distances))
        most = max(most, distances[nearest])
        del left[nearest : nearest + 1]
    return {"count": len(first), "size": ", ".join(sizes), "apart": most}


if __name__ == "__main__":
    what, first, second = sys.argv[1:]
    if what == "net":
        make(Path(first), second)
    else:
        print(json.dumps(apart(Path(first), Path(second))))
