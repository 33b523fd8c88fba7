"""fixface beside GFPGANer in its own loop: the same weights, and landmarks that are the same.

As a program of its own (`apart OURS THEIRS`, `photos FOLDER COUNT`, `weights FILE`) it does what
needs numpy, OpenCV and torch, so that the measuring process stays small.
"""

import json
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from benchmarks.loop import THREADS
from benchmarks.measure import MEDIAKIT, ROOT, Place, Row, Sample, Side, Unavailable, run, speedup

NETS = ROOT / "tests" / "engines" / "faces" / "nets.py"
HEAD = ROOT / "tests" / "data" / "faces" / "photo.png"


@dataclass(frozen=True)
class Case:
    """A row: `count` pictures with a face each, or without one."""

    name: str
    faces: bool
    count: int
    goal: float


CASES = (Case("faces", True, 40, 1.1), Case("no faces", False, 40, 1.5))


def rows(place: Place) -> list[Row]:
    """Unavailable without the reference package."""
    for name in ("gfpgan", "facexlib", "basicsr", "cv2"):
        if find_spec(name) is None:
            raise Unavailable(f"{name} is not installed; `make bench` does it on Python < 3.13")
    return [_Run(case, place).row() for case in CASES]


class _Run:
    """A case in a folder of its own."""

    def __init__(self, case: Case, place: Place) -> None:
        self.case = case
        self.count = place.count(case.count, 1)
        self.pairs = place.count(2, 1)
        folder = place.folder / case.name.replace(" ", "-")
        self.photos, self.weights = folder / "photos", folder / "weights.pth"
        self.ours, self.theirs, self.places = folder / "ours", folder / "theirs", folder / "places"

    def row(self) -> Row:
        return Row(
            name=self.case.name,
            first=Side(f"{self.count} of 160x160, mediakit fixface", self.mediakit),
            second=Side("GFPGANer's own loop", self.reference),
            value=speedup,
            goal=self.case.goal,
            unit="times faster",
            at_least=True,
            pairs=self.pairs,
            warm=False,  # the check does
            check=self.check,
        )

    def mediakit(self) -> Sample:
        """--force: made again each time; --mask square: as the reference pastes."""
        return run(
            (*MEDIAKIT, "fixface", self.photos, "-o", self.ours, "--model", self.weights,
             "--detector", "centerface", "--mask", "square", "--device", "cpu", "--threads",
             str(THREADS), "--force", "--json")
        )  # fmt: skip

    def reference(self) -> Sample:
        return run(
            (sys.executable, "-W", "ignore", "-m", "benchmarks.faces_loop", "--input", self.photos,
             "--output", self.theirs, "--weights", self.weights, "--places", self.places,
             "--threads", str(THREADS))
        )  # fmt: skip

    def check(self) -> list[str]:
        """Run both once and compare; RuntimeError if the pictures are not the same."""
        this = (sys.executable, "-W", "ignore", "-m", "benchmarks.faces")
        kind = "faces" if self.case.faces else "none"
        run((*this, "photos", self.photos, str(self.count), kind))
        run((*this, "weights", self.weights))
        self.theirs.mkdir()
        ours = self.mediakit()
        records = [json.loads(line) for line in ours.said.splitlines()]
        found = sum(len(record["result"]["faces"]) for record in records)
        if found != (self.count if self.case.faces else 0):
            raise RuntimeError(f"{found} faces were found in {self.count} pictures")
        self.places.write_text(json.dumps({Path(r["input"]).name: r["result"]["faces"]
                                           for r in records}))  # fmt: skip
        theirs = self.reference()
        apart = json.loads(run((*this, "apart", self.ours, self.theirs)).said)
        if apart["alike"] < 0.99:
            raise RuntimeError(f"the pictures are not the same: {apart}")
        net = json.loads(theirs.said.splitlines()[-1])
        seconds = sum(r["seconds"]["compute"] for r in records)
        return [
            f"{apart['alike']:.2%} of the pixels are at most 2 of 255 apart; finding and restoring "
            f"took {seconds:.1f} s of {ours.wall:.1f} s here; of the reference's {theirs.wall:.1f} "
            f"s its detector (untrained, told the places that fixface found) took "
            f"{net['finding']:.1f} s, its net {net['net']:.1f} s"
        ]


def _photos(folder: Path, count: int, kind: str) -> None:
    """Small soft pictures, each another: of a face, or without one."""
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True)
    head = Image.open(HEAD)
    for number in range(count):
        if kind == "faces":
            side = 90 + number
            picture = head.resize((side, side)).resize((160, 160), Image.Resampling.BICUBIC)
        else:
            noise = np.random.default_rng(number).integers(0, 256, (20, 20, 3), dtype=np.uint8)
            picture = Image.fromarray(noise).resize((160, 160), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:02}.png")


def net() -> Any:
    """GFPGANv1Clean of the reference package, with the tests' weights."""
    from importlib import util

    import torch
    from gfpgan.archs.gfpganv1_clean_arch import GFPGANv1Clean

    spec = util.spec_from_file_location("nets", NETS)
    assert spec and spec.loader
    nets = util.module_from_spec(spec)
    spec.loader.exec_module(nets)
    made = GFPGANv1Clean(**nets.GFPGAN).eval()
    shapes = {name: tuple(value.shape) for name, value in made.state_dict().items()}
    weights = nets.gfpgan_weights(shapes)
    made.load_state_dict({name: torch.from_numpy(value) for name, value in weights.items()})
    return made


def _weights(file: Path) -> None:
    import torch

    from benchmarks.reference import stand_in

    stand_in()
    torch.save({"params_ema": net().state_dict()}, file)


def apart(ours: Path, theirs: Path) -> dict[str, float]:
    """The share of pixels at most 2 levels apart, of the picture where it is the least."""
    import numpy as np
    from PIL import Image

    found = 1.0
    for path in sorted(theirs.iterdir()):
        one, other = (np.asarray(Image.open(p)).astype(int) for p in (ours / path.name, path))
        found = min(found, float((abs(one - other).max(axis=2) <= 2).mean()))
    return {"alike": found}


if __name__ == "__main__":
    what, first, *rest = sys.argv[1:]
    if what == "photos":
        _photos(Path(first), int(rest[0]), rest[1])
    elif what == "weights":
        _weights(Path(first))
    else:
        print(json.dumps(apart(Path(first), Path(rest[0]))))
