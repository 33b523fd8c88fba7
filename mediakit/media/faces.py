"""What a face is in a picture, and which place it takes in the square that nets were trained on."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]  # N x 2: x, y
Matrix = NDArray[np.float64]  # 2 x 3, as OpenCV has it: from pixel centres to pixel centres
Plane = NDArray[np.float32]  # H x W, 0 to 1

SIDE = 512  # pixels of the square
# Where eyes, nose and corners of the mouth lie in FFHQ's faces (facexlib's face_restoration_helper)
TEMPLATE: Points = np.array(
    [[192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935],
     [201.26117, 371.41043], [313.08905, 371.15118]]
)  # fmt: skip
# The face in it: from above the brows to below the chin, both cheeks, half the ears
_OVAL_CENTRE = (256.0, 286.0)
_OVAL_RADII = (158.0, 192.0)
_FEATHER = 64.0  # pixels of the square over which the oval fades, to the inside
_LONGEST_BOX = 3.0  # times that one side of a face's box is the other
_OUTSIDE = 0.5  # of the box's side that a landmark may lie outside of it
_SAME = 0.4  # of two boxes' union that they share if they are one face's
_INSIDE = 0.7  # of the smaller box


@dataclass(frozen=True, eq=False)
class Face:
    """`box`: left, top, right, bottom; `points`: 5 x 2, the eye at the left of an upright face,
    the other, nose, corners of the mouth. All in pixels of the picture; the first pixel's centre
    is at 0, as OpenCV has it."""

    box: tuple[float, float, float, float]
    points: Points
    score: float

    @property
    def width(self) -> float:
        """Of the face itself, however it is turned: of its box where it is upright."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def roll(self) -> float:
        """Degrees, clockwise, by which the face is turned."""
        eyes, mouth = self.points[:2].mean(0), self.points[3:].mean(0)
        down, across = mouth - eyes, self.points[1] - self.points[0]
        # both say it: faces seen from the side have their eyes close together
        up = across + np.array([down[1], -down[0]])
        return float(np.degrees(np.arctan2(up[1], up[0])))

    def moved(self, turn: Matrix) -> "Face":
        """Where it is after an affine map of such coordinates."""
        left, top, right, bottom = self.box
        edges = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
        corners = applied(turn, edges)
        low, high = corners.min(0), corners.max(0)
        return replace(
            self,
            box=(float(low[0]), float(low[1]), float(high[0]), float(high[1])),
            points=applied(turn, self.points),
        )


def applied(matrix: Matrix, points: Points) -> Points:
    moved: Points = points @ matrix[:, :2].T + matrix[:, 2]
    return moved


def inverse(matrix: Matrix) -> Matrix:
    back = np.linalg.inv(matrix[:, :2])
    return np.column_stack([back, -back @ matrix[:, 2]])


def scaling(across: float, down: float, left: float = 0, top: float = 0) -> Matrix:
    """From a picture to a part of it, which begins at `left` and `top`, made larger by these
    factors; what is shown at a place stays there, pixels have their centres elsewhere."""
    return np.array(
        [[across, 0, (across - 1) / 2 - left * across], [0, down, (down - 1) / 2 - top * down]]
    )


def joined(first: Matrix, then: Matrix) -> Matrix:
    """One map in place of two."""
    return np.column_stack([then[:, :2] @ first[:, :2], then[:, :2] @ first[:, 2] + then[:, 2]])


def turned(quarters: int, width: int, height: int) -> Matrix:
    """What `numpy.rot90` by so many quarters does to the places of a picture of that size."""
    return {
        0: np.array([[1.0, 0, 0], [0, 1, 0]]),
        1: np.array([[0.0, 1, 0], [-1, 0, width - 1]]),
        2: np.array([[-1.0, 0, width - 1], [0, -1, height - 1]]),
        3: np.array([[0.0, -1, height - 1], [1, 0, 0]]),
    }[quarters]


def stretch(matrix: Matrix) -> float:
    """How many times longer a line becomes."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))


def nonsense(face: Face, width: int, height: int) -> str:
    """Why that can't be a face in a picture of this size; "" if it can."""
    left, top, right, bottom = face.box
    if not (np.isfinite(face.box).all() and np.isfinite(face.points).all()):
        return "no numbers"
    across, down = right - left, bottom - top
    if across <= 0 or down <= 0 or max(across, down) > _LONGEST_BOX * min(across, down):
        return "no box"
    middle = (left + right) / 2, (top + bottom) / 2
    if not (0 <= middle[0] <= width and 0 <= middle[1] <= height):
        return "outside of the picture"
    if across > 2 * width or down > 2 * height:
        return "larger than the picture"
    reach = np.array([across, down]) * _OUTSIDE
    if (face.points < np.array([left, top]) - reach).any() or (
        face.points > np.array([right, bottom]) + reach
    ).any():
        return "eyes, nose and mouth elsewhere"
    eyes, mouth = face.points[:2].mean(0), face.points[3:].mean(0)
    if np.linalg.norm(mouth - eyes) < 0.1 * face.width:
        return "eyes and mouth at one place"
    return ""


def distinct(faces: Iterable[Face]) -> list[Face]:
    """Each face once, as the detector was surest of it; the surest first."""
    kept: list[Face] = []
    for face in sorted(faces, key=lambda f: (-f.score, f.box)):
        if not any(_is_same(face, other) for other in kept):
            kept.append(face)
    return kept


def _is_same(one: Face, other: Face) -> bool:
    a, b = one.box, other.box
    across, down = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if across <= 0 or down <= 0:
        return False
    shared = across * down
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (a, b)]
    return shared > _SAME * (sum(areas) - shared) or shared > _INSIDE * min(areas)


def oval() -> Plane:
    """SIDE x SIDE: how much of a face's square is taken, where the mask follows the face.

    1 within the face, 0 outside, fading along its edge; 0 at the square's border.
    """
    y, x = np.mgrid[0:SIDE, 0:SIDE].astype(np.float32)
    (cx, cy), (rx, ry) = _OVAL_CENTRE, _OVAL_RADII
    away = np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)
    inside = (1 - away) * min(rx, ry) / _FEATHER  # 0 at the edge, 1 a feather inside
    return smooth(inside)


def smooth(values: NDArray[Any]) -> Plane:
    """From 0 to 1 without a corner at either end."""
    part = np.clip(values, 0, 1).astype(np.float32)
    made: Plane = part * part * (3 - 2 * part)
    return made


def largest_first(faces: Sequence[Face]) -> list[Face]:
    """In an order that does not depend on the detector's."""
    return sorted(faces, key=lambda face: (-face.width, face.box))


def enlarged(matrix: Matrix, across: float, down: float) -> Matrix:
    """A map to a picture, for that picture so many times larger."""
    return joined(matrix, scaling(across, down))
