"""Where a face is, what is none, and how places move."""

import numpy as np
import pytest

from mediakit.media.faces import (
    SIDE,
    TEMPLATE,
    Face,
    applied,
    distinct,
    enlarged,
    inverse,
    joined,
    largest_first,
    nonsense,
    oval,
    scaling,
    stretch,
    turned,
)

POINTS = np.array([[30.0, 35], [60, 35], [45, 50], [33, 65], [57, 65]])
FACE = Face((20.0, 15.0, 70.0, 80.0), POINTS, 0.9)


def face(box: tuple[float, float, float, float], score: float = 0.9) -> Face:
    left, top, right, bottom = box
    points = applied(
        np.array([[(right - left) / 90, 0, left], [0, (bottom - top) / 95, top]]), POINTS
    )
    return Face(box, points, score)


def rolled(degrees: float) -> Face:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return FACE.moved(np.array([[c, -s, 50.0], [s, c, 50.0]]))


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_turned_picture(quarters: int) -> None:
    """Every pixel is where numpy puts it."""
    picture = np.arange(12).reshape(3, 4)
    made = np.rot90(picture, quarters)
    for y, x in np.ndindex(3, 4):
        ((left, top),) = applied(turned(quarters, 4, 3), np.array([[float(x), float(y)]]))
        assert made[round(top), round(left)] == picture[y, x]


def test_a_scaled_picture_shows_the_same_at_the_same_place() -> None:
    """Pixel 0 of a picture made 4 times larger becomes pixels 0 to 3, whose middle is at 1.5."""
    assert applied(scaling(4, 4), np.array([[0.0, 1.0]])).tolist() == [[1.5, 5.5]]
    assert applied(scaling(1, 1, 7, 3), np.array([[7.0, 3.0]])).tolist() == [[0.0, 0.0]]
    there = joined(scaling(2, 3, 5, 1), turned(1, 40, 30))
    assert np.allclose(applied(inverse(there), applied(there, POINTS)), POINTS)
    square = inverse(np.array([[4.0, 0, -8], [0, 4, 0]]))
    assert stretch(square) == 0.25
    assert np.allclose(applied(enlarged(square, 2, 2), np.array([[8.0, 0]])), [[8.5, 0.5]])


@pytest.mark.parametrize("degrees", [-170, -90, -30, 0, 45, 90, 120])
def test_the_roll_of_a_face(degrees: float) -> None:
    assert rolled(degrees).roll == pytest.approx(degrees, abs=0.01)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({}, ""),
        ({"box": (20, 15, float("nan"), 80)}, "no numbers"),
        ({"points": POINTS * float("inf")}, "no numbers"),
        ({"box": (70, 15, 20, 80)}, "no box"),
        ({"box": (20, 15, 20, 80)}, "no box"),
        ({"box": (0, 40, 90, 60)}, "no box"),  # four times as wide as high
        ({"box": (120, 15, 170, 80)}, "outside of the picture"),
        ({"box": (-400, -400, 500, 500)}, "larger than the picture"),
        ({"points": POINTS + 200}, "eyes, nose and mouth elsewhere"),
        ({"points": np.full((5, 2), 45.0)}, "eyes and mouth at one place"),
    ],
)
def test_what_can_not_be_a_face(change: dict[str, object], said: str) -> None:
    told = {"box": FACE.box, "points": POINTS, "score": 0.9} | change
    assert nonsense(Face(**told), 100, 100) == said  # type: ignore[arg-type]


def test_a_face_cut_by_the_border_can_be_one() -> None:
    assert nonsense(face((-20, 15, 30, 80)), 100, 100) == ""


def test_each_face_is_kept_once() -> None:
    surest = face((10, 10, 60, 60), 0.95)
    again = face((14, 8, 66, 62), 0.9)  # of another pass
    part = face((12, 12, 40, 40), 0.7)  # a piece of it
    beside = face((55, 10, 105, 60), 0.8)
    assert distinct([part, beside, again, surest]) == [surest, beside]
    assert largest_first([part, beside, surest]) == largest_first([surest, part, beside])


def test_the_oval_holds_the_face_and_fades_before_the_border() -> None:
    mask = oval()
    assert mask.shape == (SIDE, SIDE) and mask.dtype == np.float32
    for x, y in TEMPLATE:
        assert mask[round(y), round(x)] == 1
    border = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
    assert border.max() == 0
    assert abs(np.diff(mask, axis=0)).max() < 0.03 and abs(np.diff(mask, axis=1)).max() < 0.03
