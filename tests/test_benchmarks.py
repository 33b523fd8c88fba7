import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

ROOT = Path(__file__).parent.parent


def test_a_quick_run_gives_a_table_and_json(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "--quick", "--pairs", "2", "--out", tmp_path]
    only = ["--only", "startup", "--only", "engine"]
    done = subprocess.run([*command, *only], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr

    (file,) = tmp_path.glob("*.json")
    report = json.loads(file.read_text())
    rows = {row["name"]: row for row in report["rows"]}
    assert list(rows) == ["startup", "overhead", "memory", "up to date"]
    for name, row in rows.items():
        assert name in done.stdout
        assert row["met"] is None  # sizes this small say nothing
        for side in (row["first"], row["second"]):
            assert len(side["samples"]) == 2
            assert all(sample["cpu"] > 0 < sample["wall"] for sample in side["samples"])
    ratios = [
        a["wall"] / b["wall"]
        for a, b in zip(*(rows["startup"][s]["samples"] for s in ("first", "second")), strict=True)
    ]
    assert rows["startup"]["value"] == sum(ratios) / 2  # the median of two


def test_a_subject_that_can_not_be_measured_costs_no_other(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", _WITHOUT_MAKE, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    (row,) = json.loads(found.stdout)
    assert row == {"name": "bad", "left_out": "no make to compare with"}


_WITHOUT_MAKE = """
import json, sys, types
from pathlib import Path
from benchmarks import __main__ as bench
from benchmarks.measure import Place, Unavailable

def rows(place):
    raise Unavailable("no make to compare with")

sys.modules["bad"] = types.ModuleType("bad")
sys.modules["bad"].rows = rows
bench.SUBJECTS["bad"] = "bad"
json.dump(bench.measure("bad", Place(Path(sys.argv[1]), True), None), sys.stdout)
"""


def test_a_row_whose_outputs_differ_has_no_ratio(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", _DIFFERENT, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    bad, good = json.loads(found.stdout)
    assert bad == {"name": "bad", "failed": "the pictures are not the same"}
    assert good["name"] == "good" and good["notes"] == ["alike"] and good["value"] == 1


_DIFFERENT = """
import json, sys, types
from pathlib import Path
from benchmarks import __main__ as bench
from benchmarks.measure import Place, Row, Sample, Side, speedup

def differ():
    raise RuntimeError("the pictures are not the same")

side = Side("nothing", lambda: Sample(1.0, 1.0))
one = dict(first=side, second=side, value=speedup, goal=1, unit="times", at_least=True)
rows = [Row("bad", check=differ, **one), Row("good", check=lambda: ["alike"], **one)]
sys.modules["both"] = types.ModuleType("both")
sys.modules["both"].rows = lambda place: rows
bench.SUBJECTS["both"] = "both"
json.dump(bench.measure("both", Place(Path(sys.argv[1]), True), None), sys.stdout)
"""


@pytest.mark.parametrize(
    ("change", "most", "alpha", "alike"),
    [("nothing", 0, 0, 1.0), ("one level", 1, 0, 1.0), ("a square", 9, 0, 0.99),
     ("unseen colours", 0, 0, 1.0), ("alpha", 0, 30, 0.99)],
)  # fmt: skip
def test_how_far_pictures_are_apart(
    change: str, most: int, alpha: int, alike: float, tmp_path: Path
) -> None:
    """Colours count where the input is opaque all around; what a viewer sees counts everywhere."""
    source = np.full((100, 100, 4), 200, np.uint8)
    source[..., 3] = 0
    source[:, :80, 3] = 255
    first = source.repeat(4, axis=0).repeat(4, axis=1)
    second = first.copy()
    if change == "one level":
        second[..., :3] += 1
    elif change == "a square":
        second[160:200, 160:200, 1] += 9
    elif change == "unseen colours":
        second[:, 330:, :3] = 7
    elif change == "alpha":
        second[:40, :40, 3] -= 30
    for name, pixels in (("in", source), ("ours", first), ("theirs", second)):
        (tmp_path / name).mkdir()
        Image.fromarray(pixels).save(tmp_path / name / "a.png")
    folders = [tmp_path / name for name in ("ours", "theirs", "in")]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.loop", "apart", *folders],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["files"], found["most"], found["alpha"]) == (1, most, alpha)
    assert found["alike"] == pytest.approx(alike, abs=0.007)
    assert (found["psnr"] > 100) == (change in ("nothing", "unseen colours"))


@pytest.mark.parametrize(
    ("change", "apart", "count"),
    [("names and text", 0, 2), ("one value", 1, 2), ("one twice", 10, 2), ("one more", 255, 3),
     ("none", 255, 0)],
)  # fmt: skip
def test_generated_pictures_are_told_apart_by_their_pixels_alone(
    change: str, apart: int, count: int, tmp_path: Path
) -> None:
    pictures = [np.full((8, 8, 3), value, np.uint8) for value in (10, 20)]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for folder in (ours, theirs):
        folder.mkdir()
    for number, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(theirs / f"{number}-1.png")
    if change == "one value":
        pictures[1][7, 7, 2] += 1
    elif change == "one more":
        pictures.append(pictures[0])
    elif change == "one twice":
        pictures[1] = pictures[0]
    elif change == "none":
        pictures.clear()
    text = PngInfo()
    text.add_text("mediakit", "{}")
    for number, pixels in enumerate(reversed(pictures)):
        Image.fromarray(pixels).save(ours / f"a-red-star_{number}.png", pnginfo=text)
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.diffusion", "apart", ours, theirs],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"count": count, "size": "8x8", "apart": apart}


def test_generating_is_compared_over_enough_pictures(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", _DIFFUSION, str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    assert said["torch"] is False  # the measuring process stays small
    assert said["prompts"] == 32
    assert said["bounded"] == ["6", "6", "6", "6", "1"]
    assert said["rows"] == {
        "diffusion starter": [1.05, True, "64 of 25 steps, mediakit generate"],
        "diffusion 60M": [1.05, True, "64 of 4 steps, mediakit generate"],
        "diffusion starter unguided": [1.8, True, "64 of 25 steps, mediakit generate, guidance 1"],
        "diffusion 60M unguided": [1.8, True, "64 of 4 steps, mediakit generate, guidance 1"],
        "diffusion first picture": [1, False, "1 of 25 steps, mediakit generate"],
    }


_DIFFUSION = """
import json, sys
from pathlib import Path
from benchmarks.diffusion import prompts, rows
from benchmarks.measure import Place

found = {r.name: [r.goal, r.at_least, r.first.what] for r in rows(Place(Path(sys.argv[1]), False))}
bounded = [r.first.what.split()[0] for r in rows(Place(Path(sys.argv[1]), False, prompts=3))]
said = {"rows": found, "bounded": bounded, "prompts": len(set(prompts()))}
said["torch"] = "torch" in sys.modules
json.dump(said, sys.stdout)
"""


def test_without_a_gpu_its_rows_are_left_out_with_a_line(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", _GPU, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert found.returncode == 0, found.stderr
    said = json.loads(found.stdout)
    assert said["torch"] is False  # the measuring process stays small
    assert said["mpix"] == 12.5
    assert said["rows"] == {
        "gpu x4plus to memory": [40, "Mpix/s"],
        "gpu x4plus to files": [1, "times faster"],
        "gpu animevideov3 to memory": [250, "Mpix/s"],
        "gpu animevideov3 to files": [1, "times faster"],
    }
    if said["device"] == "cpu":
        assert said["measured"] == [
            {
                "name": "gpu",
                "left_out": "no GPU that torch can use; Mpix/s on a GPU are not measured",
            }
        ]


_GPU = """
import json, sys
from pathlib import Path
from benchmarks import __main__ as bench
from benchmarks.gpu import CASES, _Run, found, mpix
from benchmarks.measure import Place, Sample

place, name = Place(Path(sys.argv[1]), True), found()
rows = [row for case in CASES for row in _Run(case, place, "cuda:0").rows()]
said = {"rows": {r.name: [r.goal, r.unit] for r in rows}, "torch": "torch" in sys.modules}
said |= {"device": name, "mpix": mpix(Sample(1.0, 1.0, said='{"mpix": 12.5}'))}
said["measured"] = bench.measure("gpu", place, None) if name == "cpu" else []
json.dump(said, sys.stdout)
"""
