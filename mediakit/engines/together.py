"""How several pictures share a net: each comes in strips, and their equal tiles go in batches."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from mediakit.engines.faults import meaning
from mediakit.engines.flow import Flow, Room
from mediakit.engines.tiling import Axis, Pixels, run_strips, tiles

if TYPE_CHECKING:
    from mediakit.engines.upscaler import Upscaler

Emit = Callable[[float], None]


def silent(fraction: float) -> None:
    return


class Together:
    """Pictures that go through a net at one time; asked for one after the other, by one thread.

    What a picture raises leaves the others alone, but for OutOfMemory and PlaceError, after which
    all is over.
    """

    def __init__(self, net: "Upscaler", tile: int, room: Room) -> None:
        self.scale = net.scale
        self._net = net
        self._tile = tile
        # one batch is computed while the one before it is copied and used
        self.flow = Flow(net.launch, room, ahead=int(net.batches))

    def strips(self, pixels: Pixels, emit: Emit = silent) -> Iterator[Pixels]:
        """As `Upscaler.strips`; from now on others' batches may take tiles of this picture."""
        return self._explained(run_strips(*self.begin(pixels, emit)))

    def begin(self, pixels: Pixels, emit: Emit) -> tuple[Axis, Axis, int, Iterator[Pixels]]:
        """How the picture is cut, and what is made of its tiles."""
        height, width = pixels.shape[:2]
        rows, columns = self._net.cut(height, width, self._tile)
        count = len(rows.starts) * len(columns.starts)
        kind = (rows.length, columns.length, pixels.dtype)
        made = self.flow.made(tiles(pixels, rows, columns), count, kind)
        return rows, columns, self._net.scale, _counted(made, count, emit)

    def _explained(self, strips: Iterator[Pixels]) -> Iterator[Pixels]:
        """What goes wrong in the net, as the batch understands it."""
        fault = None
        try:
            yield from strips
            return
        except Exception as error:
            fault = meaning(error)
            if fault is None:
                raise
        raise fault


def _counted(made: Iterator[Pixels], count: int, emit: Emit) -> Iterator[Pixels]:
    for number, one in enumerate(made, 1):
        emit(number / count)
        yield one
