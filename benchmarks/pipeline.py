"""Overlap: decoding, computing and encoding at once, beside the same runner one after the other."""

import shutil
import sys
from functools import partial
from pathlib import Path

from benchmarks.measure import Place, Row, Sample, Side, run, speedup

GOAL = 1.7
SIDE = 1536  # pixels: decoding and encoding take 10 to 20 ms each


def rows(place: Place) -> list[Row]:
    photos, out = place.folder / "large", place.folder / "out"
    count, side = place.count(100, 4), place.count(SIDE, 256)
    run((sys.executable, "-m", "benchmarks.photos", "large", photos, str(count), str(side)))
    said = run((sys.executable, "-m", "benchmarks.stages", "time", photos)).said
    decoding, encoding = map(float, said.split())
    seconds = (decoding + encoding) / 2
    return [
        Row(
            name="pipeline",
            first=Side("overlapped", partial(_work, "overlapped", photos, out, seconds)),
            second=Side("one stage at a time", partial(_work, "sequential", photos, out, seconds)),
            value=speedup,
            goal=GOAL,
            unit="times faster",
            at_least=True,
            pairs=place.count(5, 1),
            notes=[f"{count} photos of {side}x{side}: decoding {decoding * 1000:.0f} ms, sleeping "
                   f"{seconds * 1000:.0f} ms in place of a GPU, encoding {encoding * 1000:.0f} ms"],
        )
    ]  # fmt: skip


def _work(how: str, photos: Path, out: Path, seconds: float) -> Sample:
    shutil.rmtree(out, ignore_errors=True)
    command = (sys.executable, "-m", "benchmarks.stages", how, photos, out, str(seconds))
    sample = run(command)
    made = sum(1 for _ in out.glob("*.jpg"))
    if made != sum(1 for _ in photos.iterdir()):
        raise RuntimeError(f"only {made} pictures were made ({how})")
    return sample
