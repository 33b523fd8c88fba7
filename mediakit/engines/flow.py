"""Which tiles go through a net together: equal ones, of one picture or of several."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from mediakit.engines.tiling import Pixels
from mediakit.errors import ItemError

Kind = tuple[int, int, Any]  # height, width and type of a tile
# What becomes of each tile of a batch: pixels, or why there are none
Made = list[Pixels | ItemError]
# Begins with a batch of equal tiles; the function it gives waits for what is made of them
Launch = Callable[[list[Pixels]], Callable[[], Made]]


@dataclass(frozen=True)
class Room:
    """How much goes through the net at once: at most `tiles` of them, and no more than have
    `pixels` (of the input) together; one always."""

    tiles: int = 1
    pixels: int = 0

    def count(self, kind: Kind) -> int:
        return max(1, min(self.tiles, self.pixels // (kind[0] * kind[1])))


@dataclass(eq=False)
class _Job:
    """A picture: its tiles that are `left` to begin with, and what was made of earlier ones."""

    tiles: Iterator[Pixels]
    left: int
    kind: Kind
    ready: deque[Pixels | ItemError] = field(default_factory=deque)


class Flow:
    """The tiles of some pictures on their way through a net, each picture asked for by itself.

    A batch begins with tiles of the picture that is asked for; what room is left takes equal
    tiles of others, whose results wait here: never more than a batch and `ahead` others.
    `ahead` is how many batches are begun before the one that is waited for is taken in.
    """

    def __init__(self, launch: Launch, room: Room, ahead: int) -> None:
        self.largest = 0  # tiles of the largest batch so far
        self._launch = launch
        self._room = room
        self._ahead = ahead
        self._jobs: list[_Job] = []
        self._flights: deque[tuple[list[_Job], Callable[[], Made]]] = deque()

    def made(self, tiles: Iterator[Pixels], count: int, kind: Kind) -> Iterator[Pixels]:
        """What is made of each of a picture's `count` tiles, all of one kind, in order.

        Others may take these tiles along from now on. Raises the ItemError of a tile in its
        place, and what `launch` and its function raise.
        """
        job = _Job(tiles, count, kind)
        self._jobs.append(job)
        return self._of(job, count)

    def _of(self, job: _Job, count: int) -> Iterator[Pixels]:
        try:
            for _ in range(count):
                while not job.ready:
                    self._advance(job)
                made = job.ready.popleft()
                if isinstance(made, ItemError):
                    raise made
                yield made
        finally:  # done, or given up
            job.left = 0
            self._jobs.remove(job)

    def _advance(self, wanted: _Job) -> None:
        """Begin as many batches as may be under way, and take in the oldest."""
        while len(self._flights) <= self._ahead and (owners := self._next(wanted)):
            parts = [next(job.tiles) for job in owners]
            self._flights.append((owners, self._launch(parts)))
        owners, land = self._flights.popleft()
        for job, made in zip(owners, land(), strict=True):
            job.ready.append(made)

    def _next(self, wanted: _Job) -> list[_Job]:
        """Whose tiles the next batch takes, one for each; none where all are begun.

        Of sizes other than powers of two there would be too many: cuDNN tries out its algorithms
        for each (torch.backends.cudnn.benchmark).
        """
        order = [wanted, *(job for job in self._jobs if job is not wanted)]
        kind = next((job.kind for job in order if job.left), None)
        if kind is None:
            return []
        owners: list[_Job] = []
        most = self._room.count(kind)
        for job in order:
            if job.kind == kind:
                owners += [job] * min(job.left, most - len(owners))
        owners = owners[: 1 << (len(owners).bit_length() - 1)]
        for job in owners:
            job.left -= 1
        self.largest = max(self.largest, len(owners))
        return owners
