"""A folder of photos in one `mediakit caption` beside a plain transformers loop, with a random net
of BLIP base's size: speed does not depend on what the weights are. Their texts must be equal."""

import json
import os
import sys
from functools import partial
from pathlib import Path

import psutil

from benchmarks.measure import MEDIAKIT, Place, Row, Sample, Side, run, speedup
from benchmarks.photos import crops

THREADS = str(psutil.cpu_count(logical=False) or 1)
GOAL = 1.3


def rows(place: Place) -> list[Row]:
    net, photos = place.folder / "blip", place.folder / "photos"
    plain = (sys.executable, "-m", "benchmarks.plain_caption")
    run((*plain, "make", net, *(("--small",) if place.quick else ())))
    photos.mkdir()
    count = place.count(16, 3)
    crops(photos, count, place.count(400, 64))
    ours = (
        *MEDIAKIT, "caption", photos, "--model", net, "--device", "cpu", "--threads", THREADS,
        "--json", "--no-progress",
    )  # fmt: skip
    theirs = (*plain, "run", net, "--input", photos, "--threads", THREADS)
    # so that neither reads its weights' digests or its models anew
    settings = {"XDG_CACHE_HOME": os.fspath(place.folder / "cache")}
    settings |= {"MEDIAKIT_CACHE": os.fspath(place.folder / "models")}
    begin, finish = partial(run, ours, **settings), partial(run, theirs)
    return [
        Row(
            name="caption",
            first=Side(f"{count} photos, mediakit caption", begin),
            second=Side("a transformers loop, one at a time", finish),
            value=speedup,
            goal=GOAL,
            unit="times faster",
            at_least=True,
            pairs=place.count(3, 1),
            warm=False,  # the check does
            check=partial(_same_text, begin, finish),
        )
    ]


def _same_text(ours: partial[Sample], theirs: partial[Sample]) -> list[str]:
    """Run both once; RuntimeError if they say different things."""
    records = [json.loads(line) for line in ours().said.splitlines()]
    said = {record["input"]: record["result"]["text"] for record in records}
    wanted = json.loads(theirs().said)
    if {Path(k).name: v for k, v in said.items()} != {Path(k).name: v for k, v in wanted.items()}:
        raise RuntimeError(f"other texts: {said}, theirs {wanted}")
    words = sum(len(text.split()) for text in said.values()) / len(said)
    return [f"the same texts, {len(set(said.values()))} different ones, {words:.0f} words each"]
