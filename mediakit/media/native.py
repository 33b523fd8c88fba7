"""What sizes a diffusion model works at, and how large a picture is made for it.

The area counts, not a side: Stable Diffusion draws well at any proportions of about the area it
was trained at (SDXL was trained so: arXiv 2307.01952, section 2.2), draws things twice where
there is much more, and draws badly where there is less. By its shorter side a panorama of 3:1
would become three times as large as the model knows.
"""

import math
from dataclasses import dataclass, replace

from mediakit.errors import ItemError

Size = tuple[int, int]  # width, height in pixels

ENOUGH = 0.9  # of the native area; below it, a picture is enlarged first
LONGEST = 10  # times a side may be as long as the other


@dataclass(frozen=True)
class Native:
    """A model's sizes: it was trained at `side` x `side` pixels, or other proportions of that
    area; its sides are multiples of `multiple`; more than `largest` x `largest` pixels it is
    given only where the user asked for them (None: any picture as it is)."""

    side: int
    multiple: int = 8
    largest: int | None = None

    @property
    def boundless(self) -> "Native":
        return replace(self, largest=None)

    def canvas(self, size: Size) -> Size:
        """The smallest size that the model can do and that holds `size`."""
        width, height = (-(-side // self.multiple) * self.multiple for side in size)
        return width, height

    def is_small(self, size: Size) -> bool:
        return size[0] * size[1] < ENOUGH * self.side**2

    def working(self, size: Size) -> Size:
        """The size, of the same proportions, to which a picture is brought for the model.

        Up to `side` squared where it has less than ENOUGH of that; down to `largest` squared.
        ItemError(too_narrow) for proportions that no model can do.
        """
        width, height = size
        if max(size) > LONGEST * min(size):
            raise ItemError(
                "too_narrow",
                f"{width}x{height} pixels are too long and thin for the model: a side may be "
                f"{LONGEST} times as long as the other; cut it into parts",
            )
        area, factor = width * height, 1.0
        if self.is_small(size):
            factor = self.side / math.sqrt(area)
        elif self.largest and area > self.largest**2:
            factor = self.largest / math.sqrt(area)
        return max(1, round(width * factor)), max(1, round(height * factor))


def change(what: str, size: Size, working: Size) -> list[str]:
    """What the record says where a picture is scaled for the model: nothing or one line."""
    if size == working:
        return []
    larger = working[0] * working[1] > size[0] * size[1]
    said = "small for this model: enlarged" if larger else "large for this model: reduced"
    return [f"{what} of {size[0]}x{size[1]} is {said} to {working[0]}x{working[1]} for it"]
