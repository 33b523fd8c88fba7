"""How a face is brought into the square that nets know, and how much detail that costs it."""

import cv2
import numpy as np

from mediakit.media.faces import (
    SIDE,
    TEMPLATE,
    Face,
    Matrix,
    inverse,
    joined,
    oval,
    scaling,
    stretch,
)
from mediakit.media.pixels import Pixels, highest, to_grey

# What lies beyond the picture's border, as GFPGAN's face helper has it (RGB)
_BEYOND = (132, 133, 135)
_LOOKED_AT = 1024  # pixels of a side at which detail is measured at most
# Levels of 255 that reducing a face to the net's square and back changes it by, root mean square
# within the face, from which on it has detail that the net would take away.
SHARP = 3.0


def aligned(face: Face) -> Matrix | None:
    """From the picture to the square: the turn and size that brings most of the five points to
    their places. None where they are at no places of a face's.

    OpenCV's least median of squares, as GFPGAN's face helper has it.
    """
    matrix, _ = cv2.estimateAffinePartial2D(face.points, TEMPLATE, method=cv2.LMEDS)
    if matrix is None or not np.isfinite(matrix).all() or stretch(matrix) < 1e-6:
        return None
    made: Matrix = matrix
    return made


def square(pixels: Pixels, matrix: Matrix, side: int = SIDE) -> Pixels:
    """H x W x 3 (RGB) as the square of so many pixels a side shows it."""
    level = highest(pixels) // 255
    border = tuple(value * level for value in _BEYOND)
    if side != SIDE:
        matrix = joined(matrix, scaling(side / SIDE, side / SIDE))
    return warped(pixels, matrix, (side, side), border)


def is_sharp(pixels: Pixels, matrix: Matrix, side: int) -> bool:
    """Whether the face has detail that a square of so many pixels a side can't hold."""
    own = min(_LOOKED_AT, round(SIDE / stretch(matrix)))
    if own <= side:
        return False
    seen = square(pixels, matrix, own).astype(np.float32) @ np.full(3, 1 / 3, np.float32)
    small = cv2.resize(seen, (side, side), interpolation=cv2.INTER_AREA)
    back = cv2.resize(small, (own, own), interpolation=cv2.INTER_CUBIC)
    weight = cv2.resize(oval(), (own, own))
    lost = float(np.sqrt((weight * (seen - back) ** 2).sum() / weight.sum()))
    return lost * 255 / highest(pixels) > SHARP


def warped(
    pixels: Pixels, matrix: Matrix, size: tuple[int, int], border: tuple[float, ...] = (0, 0, 0)
) -> Pixels:
    """The part of a picture that an affine map brings to `size` (width, height).

    Bilinear, as GFPGAN's face helper has it; what becomes less than half as large is reduced to
    that first, for else pixels would be left out.
    """
    small = 2 * stretch(matrix)
    if small < 1:
        height, width = pixels.shape[:2]
        reduced = max(1, round(width * small)), max(1, round(height * small))
        pixels = cv2.resize(pixels, reduced, interpolation=cv2.INTER_AREA)
        matrix = joined(inverse(scaling(reduced[0] / width, reduced[1] / height)), matrix)
    made: Pixels = cv2.warpAffine(
        pixels, matrix, size, borderMode=cv2.BORDER_CONSTANT, borderValue=border
    )
    return made


def mixed(pixels: Pixels, face: Pixels, strength: float) -> Pixels:
    """A square of any kind of pixels with so much (0 to 1) of a restored face of its size (RGB)
    in its colours."""
    made = pixels.copy()
    if pixels.shape[2] == 1:
        face = to_grey(face)
    colours = made[..., :3].astype(np.float32)
    made[..., :3] = np.rint(colours + strength * (face - colours)).astype(made.dtype)
    return made
