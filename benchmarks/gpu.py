"""What a GPU gives: megapixels a second to memory and to files, beside a plain float16 loop."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.measure import MEDIAKIT, Place, Row, Sample, Side, Unavailable, run, speedup

LEAST = 45  # dB between the pictures of both: half types round, and not both alike


@dataclass(frozen=True)
class Case:
    """`count` photos of `side` x `side` pixels; `goal` is Mpix/s to memory, for an H100."""

    name: str
    model: str
    count: int
    side: int
    goal: float


CASES = (
    Case("x4plus", "realesrgan-x4plus", 32, 512, 40),
    Case("animevideov3", "realesr-animevideov3", 128, 512, 250),
)


def rows(place: Place) -> list[Row]:
    """Unavailable without a GPU."""
    name = found()
    if name == "cpu":
        raise Unavailable("no GPU that torch can use; Mpix/s on a GPU are not measured")
    return [row for case in CASES for row in _Run(case, place, name).rows()]


def found() -> str:
    """The device that `--device auto` means; asked in a process of its own, for torch is large."""
    return str(json.loads(_loop("device").said)["device"])


class _Run:
    """A case in a folder of its own."""

    def __init__(self, case: Case, place: Place, device: str) -> None:
        self.case, self.device = case, device
        self.folder = place.folder / case.name
        self.count, self.side = place.count(case.count, 2), place.count(case.side, 64)
        self.pairs = place.count(3, 1)
        self.photos, self.weights = self.folder / "photos", self.folder / "weights.pth"
        self.made, self.looped = self.folder / "made", self.folder / "looped"

    def rows(self) -> list[Row]:
        """To memory: once loaded. To files: whole processes."""
        photos = f"{self.count} of {self.side}x{self.side}"
        plain = "a plain float16 loop, a picture at a time"
        return [
            Row(
                name=f"gpu {self.case.name} to memory",
                first=Side(f"{photos}, mediakit's engine", self.to_memory),
                second=Side(plain, self.plain),
                value=lambda first, second: median(mpix(sample) for sample in first),
                goal=self.case.goal,
                unit="Mpix/s",
                at_least=True,
                pairs=self.pairs,
                warm=False,  # the check does
                check=self.check,
            ),
            Row(
                name=f"gpu {self.case.name} to files",
                first=Side(f"{photos}, mediakit upscale to PNG", self.to_files),
                second=Side(f"{plain}, which writes PNG", self.plain_to_files),
                value=speedup,
                goal=1,
                unit="times faster",
                at_least=True,
                pairs=self.pairs,
                check=self.rate_to_files,
            ),
        ]

    def to_memory(self) -> Sample:
        return self.loop("ours")

    def plain(self) -> Sample:
        return self.loop("plain")

    def to_files(self) -> Sample:
        """--force: made again each time."""
        return run(
            (*MEDIAKIT, "upscale", self.photos, "-o", self.made, "--model", self.case.model,
             "--device", self.device, "--force")
        )  # fmt: skip

    def plain_to_files(self) -> Sample:
        self.looped.mkdir(exist_ok=True)
        return self.loop("plain", "--out", self.looped)

    def loop(self, how: str, *more: str | Path) -> Sample:
        given = ("--input", self.photos, "--weights", self.weights, "--device", self.device)
        return _loop(how, *given, *more)

    def check(self) -> list[str]:
        """Compare what both make; RuntimeError if the pictures are not the same."""
        size = (str(self.count), str(self.side))
        run((sys.executable, "-m", "benchmarks.photos", "crops", self.photos, *size))
        weights = (sys.executable, "-m", "benchmarks.upscale", "weights", self.weights)
        run((*weights, self.case.model))
        psnr = json.loads(self.loop("apart").said)["psnr"]
        if psnr < LEAST:
            raise RuntimeError(f"the pictures are not the same: PSNR {psnr:.1f} dB")
        return [
            f"outputs have a PSNR of {psnr:.1f} dB at least; the plain loop gives "
            f"{mpix(self.plain()):.1f} Mpix/s ({self.device})"
        ]

    def rate_to_files(self) -> list[str]:
        sample = self.to_files()
        rate = self.count * (4 * self.side) ** 2 / sample.wall / 1e6
        return [f"{rate:.1f} Mpix/s to files, imports and loading included"]


def _loop(*arguments: str | Path) -> Sample:
    return run((sys.executable, "-m", "benchmarks.gpu_loop", *arguments))


def mpix(sample: Sample) -> float:
    """Megapixels of output a second, as the program says."""
    return float(json.loads(sample.said)["mpix"])
