"""One run of the batch engine over photos, overlapped or with its three stages one by one.

Decoding and encoding are mediakit's own, with Pillow; computing is a sleep, which leaves the CPU
free as a GPU does (a net on the CPU would compete with the other two stages for the same cores,
and the measure would be of the cores, not of the pipeline). `time` prints how long the two take.

    python -m benchmarks.stages time PHOTOS
    python -m benchmarks.stages overlapped|sequential PHOTOS OUT SECONDS
"""

import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.stub import Stub, work
from mediakit.batch import runner
from mediakit.batch.files import read_file
from mediakit.batch.item import Decoded, Item, Made
from mediakit.batch.task import Emit
from mediakit.media.pictures import Encoding, read_picture, write_picture
from mediakit.params import PictureOutput

SUFFIX, QUALITY = ".jpg", 90
MAX_PIXELS = 10**8


class Stages(Stub):
    """Reads a picture, waits, and writes it."""

    name = "stages"
    suffixes = output_suffixes = frozenset({SUFFIX})
    seconds = 0.0  # that computing takes

    def decode(self, item: Item) -> Decoded:
        data, state = read_file(item.source.path)
        return Decoded(read_picture(data, item.source.path, MAX_PIXELS), (state,))

    def compute(self, batch: list[tuple[Item, Decoded]], emit: Emit) -> list[Any]:
        time.sleep(self.seconds * len(batch))
        return [decoded.media for _, decoded in batch]

    def encode(self, item: Item, media: Any, file: Path) -> Made:
        return Made("image/jpeg", {}, write_picture(media, file, "jpg", Encoding(quality=QUALITY)))


class Inline:
    """An executor without threads: work is done when it is handed in."""

    def __init__(self, *arguments: object) -> None:
        pass

    def submit(self, work: Callable[..., Any], *arguments: Any, **named: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        try:
            future.set_result(work(*arguments, **named))
        except BaseException as e:
            future.set_exception(e)
        return future

    def shutdown(self) -> None:
        pass


def make_sequential() -> None:
    """The same runner, but one item at a time, and one stage of it at a time."""
    for name, value in (("ThreadPoolExecutor", Inline), ("ITEMS_AHEAD", 1)):
        if not hasattr(runner, name):  # else both sides would be the same, without a word
            raise RuntimeError(f"the runner has no {name} any more; see make_sequential")
        setattr(runner, name, value)


def stage_seconds(photos: Path) -> tuple[float, float]:
    """Median seconds of decoding and of encoding a photo, nothing else running."""
    decoding, encoding = [], []
    with tempfile.TemporaryDirectory() as folder:
        for path in sorted(photos.iterdir()):
            begin = time.perf_counter()
            picture = read_picture(path.read_bytes(), str(path), MAX_PIXELS)
            middle = time.perf_counter()
            write_picture(picture, Path(folder) / "out", "jpg", Encoding(quality=QUALITY))
            decoding.append(middle - begin)
            encoding.append(time.perf_counter() - middle)
    return median(decoding), median(encoding)


def main(how: str, photos: str, *rest: str) -> int:
    if how == "time":
        print(*stage_seconds(Path(photos)))
        return 0
    if how == "sequential":
        make_sequential()
    out, seconds = rest
    Stages.seconds = float(seconds)
    return work(Stages, PictureOutput(), Path(photos), Path(out))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
