"""Small photos in one `mediakit upscale`, beside the reference script as a process a file.

As a program of its own (`weights`, `difference`) it does what needs torch or Pillow, so that the
measuring process stays small.
"""

import importlib.util
import json
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.measure import MEDIAKIT, ROOT, Place, Row, Sample, Side, Unavailable, run, speedup

MODEL = "realesr-animevideov3"
REFERENCE = ("realesrgan", "basicsr", "cv2")
SIDE = 96  # pixels
GOAL = 8
MOST_DIFFERENT = 1  # level of 255, anywhere


def rows(place: Place) -> list[Row]:
    """Unavailable without the reference packages; RuntimeError if the pictures differ."""
    check_reference()
    photos, weights = place.folder / "photos", place.folder / "weights.pth"
    count = place.count(16, 2)
    run((sys.executable, "-m", "benchmarks.photos", "crops", photos, str(count), str(SIDE)))
    run((sys.executable, "-m", "benchmarks.upscale", "weights", weights))
    ours, theirs = place.folder / "ours", place.folder / "theirs"
    theirs.mkdir()
    first = partial(_mediakit, photos, ours)
    second = partial(_reference, sorted(photos.iterdir()), weights, theirs)
    first()
    second()
    difference = run((sys.executable, "-m", "benchmarks.upscale", "difference", ours, theirs))
    found = json.loads(difference.said)
    if found["files"] != count or found["most"] > MOST_DIFFERENT:
        raise RuntimeError(f"the pictures are not the same: {found}")
    return [
        Row(
            name="upscale",
            first=Side(f"{count} photos, one mediakit upscale", first),
            second=Side("reference script, a process a file", second),
            value=speedup,
            goal=GOAL,
            unit="times faster",
            at_least=True,
            pairs=place.count(3, 1),
            warm=False,  # just done
            notes=[f"outputs differ by at most {found['most']} of 255, in {found['share']:.2%} "
                   f"of the values ({count} photos of {SIDE}x{SIDE} pixels, {MODEL}, float32)"],
        )
    ]  # fmt: skip


def check_reference() -> None:
    """Unavailable without the packages that are compared with."""
    if missing := [name for name in REFERENCE if importlib.util.find_spec(name) is None]:
        raise Unavailable(f"no {', '.join(missing)}; pip install '.[reference]' (Python < 3.13)")


def _mediakit(photos: Path, out: Path) -> Sample:
    """--force: made again each time; the journal of the runs before is read as a user's would."""
    return run(
        (*MEDIAKIT, "upscale", photos, "-o", out, "--model", MODEL, "--dtype", "float32",
         "--format", "png", "--force")
    )  # fmt: skip


def _reference(photos: Sequence[Path], weights: Path, out: Path) -> Sample:
    samples = [
        run(
            (sys.executable, ROOT / "benchmarks" / "reference.py", "-i", photo,
             "-o", out / photo.name, "--model_path", weights, "--fp32")
        )
        for photo in photos
    ]  # fmt: skip
    return sum(samples[1:], start=samples[0])


def write_weights(path: Path, model: str = MODEL) -> None:
    """mediakit's own weights of the model, in the form that the reference loads."""
    import safetensors.torch
    import torch

    from mediakit.models.catalog import find
    from mediakit.models.store import Store

    state = safetensors.torch.load_file(Store().pull(find(model)))
    torch.save({"params": state}, path)


def difference(ours: Path, theirs: Path) -> dict[str, float]:
    """How many pictures there are in both folders, and how far their values are apart."""
    import numpy as np
    from PIL import Image

    most = files = different = values = 0
    for path in sorted(theirs.iterdir()):
        one, other = (
            np.asarray(Image.open(p).convert("RGB")).astype(int) for p in (path, ours / path.name)
        )
        apart = abs(one - other)
        most, files = max(most, int(apart.max())), files + 1
        different, values = different + int((apart > 0).sum()), values + apart.size
    return {"files": files, "most": most, "share": different / values}


if __name__ == "__main__":
    if sys.argv[1] == "weights":
        write_weights(Path(sys.argv[2]), *sys.argv[3:])
    else:
        print(json.dumps(difference(Path(sys.argv[2]), Path(sys.argv[3]))))
