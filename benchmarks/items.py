"""Runs of the batch engine over items that take no time, for `benchmarks.batch`.

python -m benchmarks.items inputs FOLDER COUNT      small files to work on
python -m benchmarks.items work FOLDER OUT fsync    a batch that copies them; or no-fsync
python -m benchmarks.items upscaled FOLDER OUT      as if `mediakit upscale` had made OUT
"""

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.stub import Stub, work
from mediakit.batch.files import read_file
from mediakit.batch.item import Decoded, Item, Made
from mediakit.batch.task import Emit
from mediakit.models.cache import ModelCache
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Progress, Store
from mediakit.params import Params
from mediakit.tasks.upscale import Upscale, UpscaleParams

SUFFIX = ".png"


@dataclass
class Bytes:
    data: bytes

    @property
    def nbytes(self) -> int:
        return len(self.data)


class Steps:
    """The steps of a task that copies its input."""

    def begin(self) -> None:
        pass

    def decode(self, item: Item) -> Decoded:
        data, state = read_file(item.source.path)
        return Decoded(Bytes(data), (state,))

    def compute(self, batch: list[tuple[Item, Decoded]], emit: Emit) -> list[Any]:
        return [decoded.media for _, decoded in batch]

    def encode(self, item: Item, media: Any, file: Path) -> Made:
        file.write_bytes(media.data)
        return Made("image/png")


class Copy(Steps, Stub):
    """All that the engine does, and nothing else."""

    name = "copy"
    suffixes = output_suffixes = frozenset({SUFFIX})


class NoModels(Store):
    """Has whatever it is asked for: no model is loaded here."""

    def pull(self, spec: ModelSpec, progress: Progress | None = None) -> Path:
        return Path()


class Upscaled(Steps, Upscale):
    """Has upscale's recipes, so that the journal says what a real run would have said."""

    def __init__(self, execution: Any, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, NoModels(), cache)


def leave_out_fsync() -> None:
    """What it costs is the disk's affair."""
    os.fsync = lambda fd: None


def main(what: str, folder: Path, *rest: str) -> int:
    if what == "inputs":
        folder.mkdir(parents=True)
        for number in range(int(rest[0])):
            (folder / f"{number:05}{SUFFIX}").write_bytes(b"%d\n" % number)
        return 0
    if what == "work":
        if rest[1] == "no-fsync":
            leave_out_fsync()
        return work(Copy, Params(), folder, Path(rest[0]))
    leave_out_fsync()
    return work(Upscaled, UpscaleParams(model="realesr-animevideov3"), folder, Path(rest[0]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:]))
