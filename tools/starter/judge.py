"""What is to be seen on a picture: the background's colour, the shape's colour, which shape."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from .draw import COLOURS, SHAPES, SIDE, Scene, stencil

_DIFFERENT = 40  # of 441, the length of (255, 255, 255): less is taken for background
_LEAST = 40  # pixels; fewer are no shape
_OVERLAP = 0.7  # intersection over union below which a shape counts as none of the nine
_RADII = np.arange(6, 28)

Pixels = np.ndarray  # SIDE x SIDE x 3, uint8


@dataclass(frozen=True)
class Seen:
    """The names read off a picture; None where there is no shape, or none that fits."""

    background: str
    colour: str | None
    shape: str | None
    overlap: float  # of the best shape, 0..1


def look(pixels: Pixels) -> Seen:
    """Read a picture without knowing what was asked."""
    values = pixels.astype(np.float32)
    frame = np.ones((SIDE, SIDE), bool)
    frame[4:-4, 4:-4] = False
    ground = np.median(values[frame], axis=0)
    distance = np.linalg.norm(values - ground, axis=2)
    apart = distance > max(_DIFFERENT, distance.max() / 2)
    if apart.sum() < _LEAST:
        return Seen(_nearest(ground), None, None, 0.0)
    colour = np.median(values[apart], axis=0)
    shape, overlap = best_shape(np.linalg.norm(values - colour, axis=2) < distance)
    return Seen(_nearest(ground), _nearest(colour), shape if overlap > _OVERLAP else None, overlap)


def best_shape(mask: np.ndarray) -> tuple[str, float]:
    """The shape, over all sizes and small shifts, of the largest overlap with a boolean mask."""
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return SHAPES[0], 0.0
    middle = rows.mean(), columns.mean()
    found = {shape: _overlap(mask, middle, shape) for shape in SHAPES}
    best = max(found, key=found.__getitem__)
    return best, found[best]


def agrees(seen: Seen, asked: Scene) -> tuple[bool, bool]:
    """Whether both colours are right, and whether the shape is."""
    colours = seen.background == asked.background and seen.colour == asked.colour
    return colours, seen.shape == asked.shape


def _overlap(mask: np.ndarray, middle: tuple[float, float], shape: str) -> float:
    best = 0.0
    size = mask.sum()
    for radius in _RADII:
        template, (row, column) = _template(shape, int(radius))
        area = template.sum()
        if not 0.6 < area / size < 1.7:
            continue
        down, across = round(middle[0] - row), round(middle[1] - column)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                moved = np.roll(template, (down + dy, across + dx), (0, 1))
                common = np.count_nonzero(moved & mask)
                best = max(best, common / (area + size - common))
    return float(best)


@cache
def _template(shape: str, radius: int) -> tuple[np.ndarray, tuple[float, float]]:
    mask = np.asarray(stencil(shape, SIDE / 2, SIDE / 2, radius)) > 127
    rows, columns = np.nonzero(mask)
    return mask, (rows.mean(), columns.mean())


def _nearest(colour: np.ndarray) -> str:
    return min(COLOURS, key=lambda name: float(np.linalg.norm(colour - COLOURS[name])))
