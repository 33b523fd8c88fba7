"""A folder of photos in one `mediakit upscale`, beside RealESRGANer in its own loop over it.

As a program of its own (`apart OURS THEIRS INPUTS`) it does what needs numpy and Pillow, so that
the measuring process stays small.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import MEDIAKIT, Place, Row, Sample, Side, run, speedup
from benchmarks.upscale import check_reference

MODELS = {"x4plus": "realesrgan-x4plus", "animevideov3": "realesr-animevideov3"}
THREADS = psutil.cpu_count(logical=False) or 1
SIGHT = 20  # input pixels that an animevideov3 sees to each side (18), and a few


@dataclass(frozen=True)
class Case:
    """A row: `count` pictures of `side` x `side` pixels, `kind` as benchmarks.photos names them.

    The outputs must be at most `most` levels of 255 apart wherever neither tiles nor transparent
    surroundings make a difference, and have a PSNR of at least `psnr` dB over grey.
    """

    name: str
    net: str
    kind: str
    count: int
    side: int
    goal: float
    tile: int = 0  # of the reference; 0: the picture as a whole
    most: int | None = 1
    psnr: float = 50


CASES = (
    Case("loop x4plus", "x4plus", "crops", 2, 128, 1.05),
    Case("loop animevideov3", "animevideov3", "crops", 8, 256, 1.2),
    Case("loop tiled", "animevideov3", "enlarged", 1, 1024, 1.2, tile=256, most=None),
    Case("loop flat alpha", "animevideov3", "opaque", 4, 256, 1.8),
    Case("loop alpha", "animevideov3", "cutouts", 4, 256, 1.8, psnr=30),
)


def rows(place: Place) -> list[Row]:
    """Unavailable without the reference packages."""
    check_reference()
    return [_Run(case, place).row() for case in CASES]


class _Run:
    """A case in a folder of its own."""

    def __init__(self, case: Case, place: Place) -> None:
        self.case = case
        self.folder = place.folder / case.name.replace(" ", "-")
        self.count, self.side = place.count(case.count, 1), place.count(case.side, 64)
        self.pairs = place.count(2, 1)
        self.photos, self.weights = self.folder / "photos", self.folder / "weights.pth"
        self.ours, self.theirs = self.folder / "ours", self.folder / "theirs"

    def row(self) -> Row:
        case = self.case
        how = f"its tile {case.tile}" if case.tile else "untiled"
        return Row(
            name=case.name,
            first=Side(f"{self.count} of {self.side}x{self.side}, mediakit upscale", self.mediakit),
            second=Side(f"RealESRGANer's own loop, {how}", self.reference),
            value=speedup,
            goal=case.goal,
            unit="times faster",
            at_least=True,
            pairs=self.pairs,
            warm=False,  # the check does
            check=self.check,
        )

    def mediakit(self) -> Sample:
        """--force: made again each time."""
        return run(
            (*MEDIAKIT, "upscale", self.photos, "-o", self.ours, "--model", MODELS[self.case.net],
             "--dtype", "float32", "--device", "cpu", "--threads", str(THREADS), "--force",
             "--json")
        )  # fmt: skip

    def reference(self) -> Sample:
        return run(
            (sys.executable, "-m", "benchmarks.reference_loop", "--input", self.photos,
             "--output", self.theirs, "--weights", self.weights, "--net", self.case.net,
             "--tile", str(self.case.tile), "--threads", str(THREADS))
        )  # fmt: skip

    def check(self) -> list[str]:
        """Run both once and compare; RuntimeError if the pictures are not the same."""
        case = self.case
        size = (str(self.count), str(self.side))
        run((sys.executable, "-m", "benchmarks.photos", case.kind, self.photos, *size))
        weights = (sys.executable, "-m", "benchmarks.upscale", "weights", self.weights)
        run((*weights, MODELS[case.net]))
        self.theirs.mkdir()
        peak = json.loads(
            run((sys.executable, "-m", "benchmarks.peak", self.weights, str(THREADS))).said
        )
        ours, theirs = self.mediakit(), self.reference()
        apart = (sys.executable, "-m", "benchmarks.loop", "apart", self.ours, self.theirs)
        found = json.loads(run((*apart, self.photos)).said)
        if found["files"] != self.count or found["psnr"] < case.psnr or (
            case.most is not None and found["most"] > case.most
        ):  # fmt: skip
            raise RuntimeError(f"the pictures are not the same: {found}")
        return [_likeness(case, found), self.rate(peak, ours, theirs)]

    def rate(self, peak: dict[str, float], ours: Sample, theirs: Sample) -> str:
        records = [json.loads(line) for line in ours.said.splitlines()]
        seconds = sum(record["seconds"]["compute"] for record in records)
        loading = sum(record["seconds"]["load"] for record in records)
        rate = self.count * self.side**2 * peak["per pixel"] / seconds
        enhance = json.loads(theirs.said.splitlines()[-1])["computing"]
        return (
            f"{rate:.0f} GFLOP/s within the command, {rate / peak['peak']:.0%} of the "
            f"{peak['peak']:.0f} that a 3x3 convolution reaches here at best ({THREADS} threads, "
            f"float32); from pixels to pixels {seconds:.2f} s, RealESRGANer.enhance "
            f"{enhance:.2f} s ({enhance / seconds:.2f} times); import and load {loading:.2f} s of "
            f"{ours.wall:.2f} s"
        )


def _likeness(case: Case, found: dict[str, Any]) -> str:
    text = f"outputs have a PSNR of {found['psnr']:.1f} dB, and {found['alike']:.2%} of the values"
    text += " are at most 1 of 255 apart"
    if case.tile:
        return text + " (the reference joins its tiles with hard seams)"
    where = " where it is opaque all around" if case.kind == "cutouts" else ""
    text += f"; colours at most {found['most']} apart{where}"
    if "alpha" in found:
        text += f", alpha {found['alpha']} (the net of the reference draws it)"
    return text


def apart(ours: Path, theirs: Path, inputs: Path) -> dict[str, Any]:
    """How far the pictures in two folders are apart: files, most, PSNR over grey, share alike."""
    import numpy as np
    from PIL import Image, ImageFilter

    found: dict[str, Any] = {"files": 0, "most": 0, "psnr": float("inf"), "alike": 1.0}
    for path in sorted(theirs.iterdir()):
        one, other = (
            np.asarray(Image.open(p).convert("RGBA")).astype(float)
            for p in (ours / path.name, path)
        )
        with Image.open(inputs / path.name) as source:
            alpha = source.convert("RGBA").getchannel("A")
            if source.mode == "RGBA":
                difference = int(abs(one[..., 3] - other[..., 3]).max())
                found["alpha"] = max(found.get("alpha", 0), difference)
        clear = alpha.filter(ImageFilter.MinFilter(2 * SIGHT + 1)).resize(one.shape[1::-1], 0)
        mask = np.asarray(clear) == 255
        found["files"] += 1
        found["most"] = max(found["most"], int(abs(one - other)[mask][:, :3].max(initial=0)))
        first, second = (p[..., :3] * p[..., 3:] / 255 + 127 - 127 * p[..., 3:] / 255
                         for p in (one, other))  # fmt: skip
        error = max(1e-6, float(((first - second) ** 2).mean()))
        found["psnr"] = min(found["psnr"], 10 * float(np.log10(255**2 / error)))
        found["alike"] = min(found["alike"], float((abs(first - second) <= 1).mean()))
    return found


if __name__ == "__main__":
    print(json.dumps(apart(*map(Path, sys.argv[2:]))))
