"""Which faces of some pictures are restored, all of them through the net together."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Literal

from mediakit.engines.faces.detector import Detector
from mediakit.engines.faces.paste import Mask, Patch
from mediakit.engines.faces.restorer import Restorer
from mediakit.engines.faces.search import Found, search
from mediakit.engines.faces.squares import aligned, is_sharp, square
from mediakit.errors import ItemError
from mediakit.media.faces import (
    SIDE,
    TEMPLATE,
    Face,
    Matrix,
    applied,
    enlarged,
    inverse,
    largest_first,
    scaling,
)
from mediakit.media.pixels import Pixels

# Why a face is left as it is
Left = Literal["", "too_large", "sharp", "not_among_largest", "bad_picture"]
_SMALLEST = 10.0  # pixels; of a large picture its longer side's hundredth
_HUNDREDTH = 100


@dataclass(frozen=True)
class Wanted:
    """Which faces, and how: the `most` largest (None: all), no narrower than `smallest` pixels
    and no wider than `largest`. None: what suits the picture, and all but those that are larger
    and sharper than the net can make them."""

    most: int | None = None
    smallest: float | None = None
    largest: float | None = None
    threshold: float | None = None
    strength: float = 1.0
    weight: float | None = None
    mask: Mask = "face"


@dataclass(eq=False)
class Subject:
    """A face and what became of it: `pixels`, its restored square; or why there is none."""

    face: Face
    matrix: Matrix  # from the picture to the square
    left: Left = ""
    pixels: Pixels | None = None
    said: str = ""  # what is wrong, where the net could not do it

    def patch(
        self, scale: tuple[float, float], size: tuple[int, int], wanted: Wanted
    ) -> Patch | None:
        """For a picture of a size, whose sides are so many times as long as where the face was
        found."""
        if self.pixels is None:
            return None
        place = enlarged(inverse(self.matrix), *scale)
        return Patch(self.pixels, place, size, max(scale), wanted.mask, wanted.strength)


@dataclass
class Portrait:
    """The faces of one picture."""

    subjects: list[Subject] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def chosen(self) -> bool:
        """Whether there is a face to be restored."""
        return any(not subject.left for subject in self.subjects)

    @property
    def restored(self) -> bool:
        return any(subject.pixels is not None for subject in self.subjects)

    def patches(
        self, scale: tuple[float, float], size: tuple[int, int], wanted: Wanted
    ) -> list[Patch]:
        """The smallest first: nearer ones lie over others."""
        made = (subject.patch(scale, size, wanted) for subject in reversed(self.subjects))
        return [patch for patch in made if patch is not None]


def find(detector: Detector, seen: Pixels, wanted: Wanted, side: int) -> Portrait:
    """The faces of H x W x 3, uint8, RGB, and which of them are left as they are; `side` is that
    of the squares that the net will be shown. Errors of `search`."""
    smallest = wanted.smallest or max(_SMALLEST, max(seen.shape[:2]) / _HUNDREDTH)
    found = search(detector, seen, smallest, wanted.threshold)
    portrait = Portrait(warnings=list(_refused(found)))
    for face in largest_first(found.faces):
        matrix = aligned(face)
        if matrix is None:
            portrait.warnings.append("a face whose eyes, nose and mouth make no sense is left out")
            continue
        left = _left(face, len(portrait.subjects), wanted)
        if not left and wanted.largest is None and is_sharp(seen, matrix, side):
            left = "sharp"
        portrait.subjects.append(Subject(face, matrix, left))
    return portrait


def aligned_face(pixels: Pixels) -> Portrait:
    """The one face of a square picture that is a face cut out already."""
    side = len(pixels)
    back = scaling(side / SIDE, side / SIDE)
    face = Face((0.0, 0.0, float(side), float(side)), applied(back, TEMPLATE), 1.0)
    return Portrait([Subject(face, scaling(SIDE / side, SIDE / side))])


def _left(face: Face, number: int, wanted: Wanted) -> Left:
    if wanted.most is not None and number >= wanted.most:
        return "not_among_largest"
    if wanted.largest is not None and face.width > wanted.largest:
        return "too_large"
    return ""


def _refused(found: Found) -> list[str]:
    return [
        f"the face detector took {count} place{'s' * (count > 1)} for a face that can't be: {why}"
        for why, count in found.refused.items()
    ]


def restore(
    restorer: Restorer,
    jobs: Sequence[tuple[Portrait, Pixels]],
    weight: float | None,
    most: int,
    emit: Callable[[float], None],
) -> None:
    """Restore all faces of some portraits that are not left, out of their pictures' own pixels
    (H x W x 3, RGB, 8 or 16 bits)."""
    waiting = [
        (subject, pixels)
        for portrait, pixels in jobs
        for subject in portrait.subjects
        if not subject.left
    ]
    # a batch is of one type
    waiting.sort(key=lambda job: job[1].dtype.itemsize)
    done = 0
    for _, same in groupby(waiting, key=lambda job: job[1].dtype):
        works = list(same)
        for first in range(0, len(works), most):
            some = works[first : first + most]
            squares = [square(pixels, s.matrix, restorer.side) for s, pixels in some]
            made = restorer.restore(squares, weight, most)
            for (subject, _), face in zip(some, made, strict=True):
                _take(subject, face)
            done += len(some)
            emit(done / len(waiting))


def _take(subject: Subject, made: Pixels | ItemError) -> None:
    if isinstance(made, ItemError):
        subject.left, subject.said = "bad_picture", made.message
    else:
        assert made.shape == (SIDE, SIDE, 3)
        subject.pixels = made
