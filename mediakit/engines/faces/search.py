"""At which sizes and turns a picture is looked through for faces, so that all are found, once."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from mediakit.engines.faces.detector import Detector
from mediakit.engines.faces.squares import warped
from mediakit.engines.tiling import axis
from mediakit.media.faces import (
    Face,
    Matrix,
    applied,
    distinct,
    inverse,
    joined,
    nonsense,
    scaling,
    turned,
)
from mediakit.media.pixels import Pixels

_TILE = 1024  # pixels of a side that the net sees at once
_MOST_ENLARGED = 2.0  # times; more shows no more
_STEP = 8.0  # between a size and the next; detectors find faces of a range of 20
# A second look: the face upright in the middle of a square, so wide. Of CenterFace's points it
# takes the error from 0.15 of the face's width, where it lies on its side, to 0.03.
_LOOK, _LOOK_WIDTH = 256, 96
_CLEAR = (40, 250)  # pixels, and degrees from upright: a face seen so needs no second look
_UPRIGHT = 15.0
_DOUBT = 0.5  # of the score wanted: worth a second look


@dataclass
class Found:
    """The faces of a picture, and what else the detector took for one: why not -> how often."""

    faces: list[Face] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class _View:
    """A part of the picture as the detector sees it: `place` leads there from the picture."""

    pixels: Pixels
    place: Matrix


def search(
    detector: Detector, pixels: Pixels, smallest: float, threshold: float | None = None
) -> Found:
    """All faces of at least about `smallest` pixels in H x W x 3, uint8, RGB, sRGB.

    The picture is seen at as many sizes as it takes until the smallest are as large, and one
    that fills it is as small, as the detector wants them; on its sides where it finds nothing
    upright and can't do so by itself. What it is half as sure of as it should be counts if a
    second look shows it. Errors of `Detector.find`.
    """
    found = Found()
    sure = detector.threshold if threshold is None else threshold
    seen: list[Face] = []
    for quarters in (0, 1, 3):
        if quarters and (detector.turns or any(face.score >= sure for face in seen)):
            break
        for view in _views(detector, pixels, smallest, quarters):
            raw = detector.find(view.pixels, sure * _DOUBT)
            seen += _sensible(raw, view, found, sure)
    looked = (_looked_at_again(detector, pixels, face, sure) for face in distinct(seen))
    found.faces = [f for f in distinct(f for f in looked if f) if f.width >= smallest]
    return found


def _views(detector: Detector, pixels: Pixels, smallest: float, quarters: int) -> Iterator[_View]:
    height, width = pixels.shape[:2]
    factor = min(_MOST_ENLARGED, detector.smallest / smallest)
    while True:
        seen = _resized(pixels, factor)
        back = scaling(seen.shape[1] / width, seen.shape[0] / height)
        turn = turned(quarters, seen.shape[1], seen.shape[0])
        yield from _tiles(np.rot90(seen, quarters), joined(back, turn), detector.largest)
        if max(width, height) * factor <= detector.largest:
            return
        factor /= _STEP


def _tiles(pixels: Pixels, place: Matrix, overlap: int) -> Iterator[_View]:
    """Cut so that each face is whole in one tile."""
    rows, columns = (axis(side, _TILE, overlap) for side in pixels.shape[:2])
    for top in rows.starts:
        for left in columns.starts:
            part = pixels[top : top + rows.length, left : left + columns.length]
            cut = scaling(1, 1, left, top)
            yield _View(np.ascontiguousarray(part), joined(place, cut))


def _resized(pixels: Pixels, factor: float) -> Pixels:
    height, width = pixels.shape[:2]
    size = max(1, round(width * factor)), max(1, round(height * factor))
    if size == (width, height):
        return pixels
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    made: Pixels = cv2.resize(pixels, size, interpolation=how)
    return made


def _sensible(faces: list[Face], view: _View, found: Found, sure: float) -> Iterator[Face]:
    height, width = view.pixels.shape[:2]
    back = inverse(view.place)
    for face in faces:
        if why := nonsense(face, width, height):
            if not face.score < sure:
                found.refused[why] = found.refused.get(why, 0) + 1
        else:
            yield face.moved(back)


def _looked_at_again(detector: Detector, pixels: Pixels, face: Face, sure: float) -> Face | None:
    """The face with points as the detector sees them best; None for one that it is not sure of."""
    clear = _CLEAR[0] <= face.width <= _CLEAR[1] and abs(face.roll) <= _UPRIGHT
    if clear and face.score >= sure:
        return face
    turns = (0.0,) if face.score >= sure else (0.0, 90.0, -90.0)
    for turn in turns:
        if better := _look(detector, pixels, face, face.roll + turn, sure):
            return better
    return face if face.score >= sure else None


def _look(detector: Detector, pixels: Pixels, face: Face, roll: float, sure: float) -> Face | None:
    """What the detector sees where the face is, turned upright by `roll` degrees."""
    left, top, right, bottom = face.box
    place = _upright((left + right) / 2, (top + bottom) / 2, roll, _LOOK_WIDTH / face.width)
    seen = detector.find(warped(pixels, place, (_LOOK, _LOOK)), sure)
    there = [f for f in seen if not nonsense(f, _LOOK, _LOOK) and _is_there(f)]
    if not there:
        return None
    best = max(there, key=lambda f: f.score)
    points = applied(inverse(place), best.points)
    return replace(face, points=points, score=max(face.score, best.score))


def _upright(x: float, y: float, degrees: float, factor: float) -> Matrix:
    """From the picture to the second look: the place in the middle, turned and so much larger."""
    made: Matrix = cv2.getRotationMatrix2D((x, y), degrees, factor)
    made[:, 2] += _LOOK / 2 - 0.5 - np.array([x, y])
    return made


def _is_there(face: Face) -> bool:
    """Whether it is the face that was to be seen: in the middle, about as wide."""
    middle = (face.box[0] + face.box[2]) / 2, (face.box[1] + face.box[3]) / 2
    near = all(abs(place - _LOOK / 2) < _LOOK_WIDTH / 2 for place in middle)
    return near and _LOOK_WIDTH / 2 < face.width < _LOOK_WIDTH * 2
