"""How restored faces get into a picture: where, how much of each, and nothing else changed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np

from mediakit.engines.faces.squares import warped
from mediakit.media.faces import SIDE, Matrix, Plane, applied, oval
from mediakit.media.pixels import Pixels, to_grey
from mediakit.media.rows import Rows

# face: an oval along it. square: all that GFPGANer pastes where it has no net that parses faces,
# to within 2 levels: its mask, its plain bilinear sampling, and its half pixel.
Mask = Literal["face", "square"]
_EDGE = 2  # pixels taken off at the square's edge, for each time that the picture was enlarged
_FADE = 20  # of the square's side in the picture: so much is taken off, and blurred
_HALF = 0.5  # pixel by which it shifts faces in enlarged pictures


@dataclass(frozen=True, eq=False)
class Patch:
    """A restored square (SIDE x SIDE x 3) and the map from it to the picture it goes into, which
    has `size` (width, height) and is `scale` times as large as the one it was taken from.
    `strength`: 0 to 1, how much of it."""

    pixels: Pixels
    matrix: Matrix
    size: tuple[int, int]
    scale: float = 1.0
    mask: Mask = "face"
    strength: float = 1.0

    @cached_property
    def box(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom around all of the picture that it may change."""
        corners = np.array([[0, 0], [SIDE, 0], [SIDE, SIDE], [0, SIDE]]) - 0.5
        places = applied(self.matrix, corners)
        low = np.clip(np.floor(places.min(0)) - 1, 0, self.size)
        high = np.clip(np.ceil(places.max(0)) + 2, 0, self.size)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])

    def seen(self, top: int, bottom: int) -> tuple[Pixels, Plane]:
        """The face and its mask (0 to 1) in some rows of `box`."""
        left, first, right, _ = self.box
        matrix, size = self._at(left, top), (right - left, bottom - top)
        if self.mask == "face":
            return warped(self.pixels, matrix, size), warped(oval(), matrix, size)
        return cv2.warpAffine(self.pixels, matrix, size), self._square[top - first : bottom - first]

    def _at(self, left: int, top: int) -> Matrix:
        """The map to a part of the picture that begins there."""
        matrix = self.matrix.copy()
        matrix[:, 2] -= left, top
        if self.mask == "square" and self.scale > 1:
            matrix[:, 2] += _HALF
        return matrix

    @cached_property
    def _square(self) -> Plane:
        """The mask of that name, in all of `box`. It does not fade at the picture's border."""
        left, top, right, bottom = self.box
        whole = np.ones((SIDE, SIDE), np.float32)
        plane = cv2.warpAffine(whole, self._at(left, top), (right - left, bottom - top))
        plane = _eroded(plane, int(_EDGE * self.scale))
        fade = 2 * (int(float(plane.sum()) ** 0.5) // _FADE)
        plane = _eroded(plane, fade)
        made: Plane = cv2.GaussianBlur(plane, (fade + 1, fade + 1), 0)
        return made


def _eroded(plane: Plane, by: int) -> Plane:
    made: Plane = cv2.erode(plane, np.ones((by, by), np.uint8)) if by else plane
    return made


def pasted(rows: Rows, patches: Sequence[Patch]) -> Rows:
    """The rows with the patches in them, one over the other in their order. Where none has any
    weight pixels stay to the bit, and so does alpha; grey stays grey."""

    def parts() -> Iterator[Pixels]:
        top = 0
        for part in rows:
            bottom = top + len(part)
            here = [p for p in patches if p.box[1] < bottom and p.box[3] > top]
            if here:
                part = part.copy()
                for patch in here:
                    _blend(part, top, patch)
            yield part
            top = bottom

    return Rows(rows.height, rows.width, rows.channels, rows.dtype, parts(), rows.opaque)


def _blend(part: Pixels, top: int, patch: Patch) -> None:
    """One patch into rows of a picture that begin at `top`, in place."""
    left, first, right, last = patch.box
    above, below = max(top, first), min(top + len(part), last)
    if left >= right or above >= below:
        return
    face, mask = patch.seen(above, below)
    if part.shape[2] == 1:
        face = to_grey(face)
    colours = part[above - top : below - top, left:right, :3]
    weight = (mask * patch.strength)[..., np.newaxis]
    mixed = colours + weight * (face.astype(np.float32) - colours)
    # float32 holds 16 bits exactly: what weighs nothing stays as it is
    colours[...] = np.rint(mixed).astype(part.dtype)
