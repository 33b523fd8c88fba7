"""How much of a picture an upscaling net sees at once: as told, as fits, or as stepped down to."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mediakit import device
from mediakit.params import SMALLEST_TILE, Tile

if TYPE_CHECKING:
    from mediakit.engines.together import Together
    from mediakit.engines.upscaler import Upscaler


class Tiles:
    """The tiles of a batch's pictures; `tile` and `at_once` are what was used last."""

    def __init__(self, told: Tile) -> None:
        self.tile = 0  # pixels of a side
        self.at_once = 1
        self.side = 0  # the longest of the picture that is worked on
        self._told = None if told == "auto" else int(told)  # or as stepped down to
        self._most: int | None = None  # at once, as stepped down to
        self._smallest = SMALLEST_TILE  # of the net that worked last

    @contextmanager
    def together(self, net: "Upscaler") -> Iterator["Together"]:
        """The net with as much at once as suits its device."""
        free = device.free_memory(net.device)
        told = max(self._told, net.smallest_tile) if self._told else None
        self.tile = told or net.auto_tile(free)
        self._smallest = net.smallest_tile
        together = net.together(self.tile, net.auto_room(free, self._most))
        try:
            yield together
        finally:
            self.at_once = together.flow.largest

    def step_down(self) -> str | None:
        """Less at once from now on; None where there is no less."""
        if self.at_once > 1:
            self._most = self.at_once // 2
            return f"tiles at once: {self._most}"
        largest = min(self.tile, self.side)
        tile = max(largest // 2, self._smallest)
        if tile >= largest:
            return None
        self._told = tile
        return f"tile {tile}"
