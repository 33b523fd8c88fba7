"""What tasks that restore faces share: their models, and what they say of each face."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from mediakit.batch.item import Decoded, Item
from mediakit.errors import ItemError, UserError, show
from mediakit.models.engines import DEFAULT_ENGINE
from mediakit.models.spec import ModelSpec
from mediakit.tasks.pictures import PictureTask, attempt

if TYPE_CHECKING:
    from mediakit.engines.faces.detector import Detector
    from mediakit.engines.faces.restorer import Restorer
    from mediakit.engines.faces.work import Portrait, Subject, Wanted
    from mediakit.media.pictures import Picture, Pixels, Result, Rows, Unchanged, Written

RESTORER_ENGINE = "mediakit.engines.faces.restorer:load"
DETECTOR_ENGINE = "mediakit.engines.faces.detector:load"
ENGINES = {
    "restorer": RESTORER_ENGINE, "detector": DETECTOR_ENGINE, "upscaler": DEFAULT_ENGINE,
}  # fmt: skip
# What a model of each role may be for; any upscaler can restore faces, in its way
PURPOSES = {
    "restorer": ("fixface", "upscale"), "detector": ("detect-faces",), "upscaler": ("upscale",),
}  # fmt: skip
BATCHED = ("cuda",)
_FINDING = 0.2  # of the time that a face takes
AT_ONCE = 8  # faces on a GPU: GFPGAN takes some 300 MB for each


class FaceNets:
    """The models of a task that restores faces, and how many faces go through at once."""

    def __init__(self, task: PictureTask) -> None:
        self._task = task
        self._most = AT_ONCE
        self.at_once = 1  # as used last
        self.dtype = ""

    @contextmanager
    def loaded(self, item: Item, device: str, threads: int) -> Iterator["Faces"]:
        """The item's models, loaded or found in the cache."""
        from mediakit.engines.faces.restorer import Enlarging
        from mediakit.engines.upscaler import Upscaler

        task = self._task
        batched = device.partition(":")[0] in BATCHED and not task.execution.exact
        self.at_once = self._most if batched else 1
        spec = spec_of(item, "restorer")
        with self._detector(item, threads) as detector, task.net(spec, blend_of(spec)) as net:
            restorer = Enlarging(net) if isinstance(net, Upscaler) else net
            self.dtype = restorer.dtype
            yield Faces(detector, restorer, self.at_once)

    @contextmanager
    def _detector(self, item: Item, threads: int) -> Iterator["Detector | None"]:
        assert item.recipe is not None
        spec = item.recipe.models.get("detector")
        if spec is None:
            yield None
            return

        def arguments() -> tuple[Any, ...]:
            (path,) = self._task.store.files(spec)
            return path, threads

        with self._task.loaded(spec, (spec.sha256, threads), "cpu", arguments) as detector:
            yield detector

    def step_down(self) -> str | None:
        """Fewer faces at once from now on; None where there are no fewer."""
        if self.at_once == 1:
            return None
        self._most = self.at_once // 2
        return f"faces at once: {self._most}"


@dataclass(frozen=True)
class Faces:
    """Loaded models; `detector` is None where no face has to be found."""

    detector: "Detector | None"
    restorer: "Restorer"
    at_once: int

    def portraits(
        self, pictures: "Sequence[Picture]", wanted: "Wanted", emit: Callable[[float], None]
    ) -> "list[Portrait | ItemError]":
        """The faces of each picture, restored where they are to be; or what is wrong with it.

        OutOfMemory, PlaceError; what goes wrong with a face is said in it. UserError
        useless_option for a weight where the model has none.
        """
        from mediakit.engines.faces.work import aligned_face, find, restore
        from mediakit.media.pictures import rgb, to_8_bits

        if wanted.weight is not None and not self.restorer.takes_weight:
            raise UserError("useless_option", "--weight is CodeFormer's; leave it out")
        found: list[Portrait | ItemError] = []
        jobs = []
        for picture in pictures:
            pixels = rgb(picture.pixels)
            if self.detector is None:
                portrait: Portrait | ItemError = aligned_face(pixels)
            else:
                side = self.restorer.side
                portrait = attempt(partial(find, self.detector, to_8_bits(pixels), wanted, side))
            found.append(portrait)
            if not isinstance(portrait, ItemError) and portrait.chosen:
                jobs.append((portrait, pixels))
            emit(_FINDING * len(found) / len(pictures))
        if jobs:
            share = 1 - _FINDING
            restore(
                self.restorer, jobs, wanted.weight, self.at_once,
                lambda part: emit(_FINDING + share * part),
            )  # fmt: skip
        return found


@dataclass
class Fixed:
    """A result on its way to its files: the picture, its faces as the record has them, their
    restored squares, and before and after side by side."""

    made: "Result | Written | Unchanged"
    faces: list[dict[str, Any]]
    crops: "list[Pixels]" = field(default_factory=list)
    compared: "Pixels | None" = None

    @property
    def nbytes(self) -> int:
        more = sum(crop.nbytes for crop in self.crops)
        return self.made.nbytes + more + (0 if self.compared is None else self.compared.nbytes)


def spec_of(item: Item, role: str) -> ModelSpec:
    assert item.recipe is not None
    return item.recipe.models[role]


def blend_of(spec: ModelSpec) -> float | None:
    """How the weights of a model that is two are mixed, where nobody is asked."""
    return spec.defaults.get("upscale", {}).get(spec.blend) if spec.blend else None


def told(portrait: "Portrait") -> list[dict[str, Any]]:
    """`result.faces`, the largest first, in pixels of the input as it is shown."""
    return [
        {
            "box": [round(value, 1) for value in subject.face.box],
            "landmarks": [[round(float(v), 2) for v in point] for point in subject.face.points],
            "score": round(subject.face.score, 3),
            "restored": not subject.left,
            "left": subject.left or None,
        }
        for subject in portrait.subjects
    ]


def check(portrait: "Portrait | ItemError", item: Item, decoded: Decoded) -> "Portrait":
    """The portrait, with what there is to say of it among the item's warnings. ItemError
    `portrait` itself, if it is one, and bad_picture where no face could be restored."""
    if isinstance(portrait, ItemError):
        raise portrait
    for said in _notes(portrait, item):
        if said not in decoded.warnings:  # a second try, with less memory
            decoded.warnings.append(said)
    return portrait


def _notes(portrait: "Portrait", item: Item) -> list[str]:
    bad = [subject for subject in portrait.subjects if subject.left == "bad_picture"]
    if bad and not portrait.restored:
        raise ItemError(
            "bad_picture",
            f"{show(item.source.path)}: none of {_count(bad)} could be restored: {bad[0].said}; "
            "try another model",
        )
    said = list(portrait.warnings)
    for subject in bad:
        x, y = (round(float(v)) for v in subject.face.points.mean(0))
        said.append(
            f"the face at {x},{y} could not be restored: {subject.said}; it is left as it was"
        )
    sharp = [subject for subject in portrait.subjects if subject.left == "sharp"]
    if sharp:
        model = show(spec_of(item, "restorer").name)
        said.append(
            f"{_count(sharp)} left as {'they are' if len(sharp) > 1 else 'it is'}: sharper than "
            f"{model} could make {'them' if len(sharp) > 1 else 'it'}; fixface --max-face NUMBER "
            "restores such faces too"
        )
    return said


def _count(subjects: "Sequence[Subject]") -> str:
    return f"{len(subjects)} face{'s' * (len(subjects) > 1)}"


def crops(portrait: "Portrait") -> "list[Pixels]":
    """The restored squares, the largest face's first."""
    return [subject.pixels for subject in portrait.subjects if subject.pixels is not None]


def usual() -> "Wanted":
    """What is wanted where nobody said."""
    from mediakit.engines.faces.work import Wanted

    return Wanted()


def put_in(rows: "Rows", portrait: "Portrait", picture: "Picture", wanted: "Wanted") -> "Rows":
    """The restored faces of a picture in rows that are the picture at any size."""
    from mediakit.engines.faces.paste import pasted

    scale = rows.width / picture.width, rows.height / picture.height
    return pasted(rows, portrait.patches(scale, (rows.width, rows.height), wanted))


def with_faces(
    made: "Result | Written | ItemError", portrait: "Portrait | ItemError | None"
) -> "Result | Written | Fixed | ItemError":
    """What was made of a picture, with what there is to say of its faces."""
    if isinstance(made, ItemError) or portrait is None or isinstance(portrait, ItemError):
        return made
    return Fixed(made, told(portrait))
