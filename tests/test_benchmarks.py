import json
import subprocess
import sys
from pathlib import Path

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
