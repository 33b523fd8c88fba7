"""The same as GFPGANer of the package gfpgan: squares, restored faces, pasted pictures.

tools/face_reference.py wrote what it makes of tests/data/faces/photo.png.
"""

from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
cv2 = pytest.importorskip("cv2")
from safetensors.torch import save_file  # noqa: E402
from spandrel.architectures.GFPGAN import GFPGAN  # noqa: E402

from mediakit.engines.faces.paste import Mask, Patch, pasted  # noqa: E402
from mediakit.engines.faces.restorer import FaceNet, load  # noqa: E402
from mediakit.engines.faces.squares import aligned, square  # noqa: E402
from mediakit.media.faces import Face, Matrix, enlarged, inverse  # noqa: E402
from mediakit.media.rows import rows_of  # noqa: E402

HERE = Path(__file__).parent
DATA = HERE.parent.parent / "data" / "faces"
FACES = ("upright", "turned", "cut")
STEP = 8  # as in tools/face_reference.py
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def reference() -> dict[str, Array]:
    with np.load(DATA / "reference.npz") as file:
        return dict(file)


@pytest.fixture(scope="module")
def photo() -> Array:
    return np.ascontiguousarray(cv2.imread(str(DATA / "photo.png"))[..., ::-1])


def nets() -> ModuleType:
    spec = util.spec_from_file_location("nets", HERE / "nets.py")
    assert spec and spec.loader
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def gfpgan(tmp_path_factory: pytest.TempPathFactory) -> FaceNet:
    """GFPGANv1Clean as released, 86 million weights, through the real loading code."""
    made = nets()
    with torch.device("meta"):
        shapes = {k: tuple(v.shape) for k, v in GFPGAN(**made.GFPGAN).state_dict().items()}
    weights = made.gfpgan_weights(shapes)
    path = tmp_path_factory.mktemp("net") / "gfpgan.safetensors"
    save_file({name: torch.from_numpy(value) for name, value in weights.items()}, path)
    net = load(path, "cpu", "float32", 2, False)
    path.unlink()
    assert isinstance(net, FaceNet) and net.architecture == "GFPGAN"
    return net


def place(reference: dict[str, Array], name: str) -> Matrix:
    matrix = aligned(Face((0.0, 0.0, 1.0, 1.0), reference[f"{name} points"], 1.0))
    assert matrix is not None
    return matrix


def put(picture: Array, pixels: Array, matrix: Matrix, scale: int, mask: Mask = "square") -> Array:
    """Of the photo's place, in a picture so many times as large."""
    height, width = picture.shape[:2]
    patch = Patch(pixels, enlarged(inverse(matrix), scale, scale), (width, height), scale, mask)
    return pasted(rows_of(picture), [patch]).whole().astype(int)


@pytest.mark.parametrize("name", FACES)
def test_squares_are_the_reference_s(name: str, photo: Array, reference: dict[str, Array]) -> None:
    made = square(photo, place(reference, name))[::STEP, ::STEP].astype(int)
    assert abs(made - reference[f"{name} crop"]).max() <= 1


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("name", FACES)
def test_pasted_pictures_are_the_reference_s(
    name: str, scale: int, photo: Array, reference: dict[str, Array]
) -> None:
    """Of the negative of the square, which differs wherever it is pasted."""
    matrix = place(reference, name)
    height, width = photo.shape[:2]
    size = width * scale, height * scale
    picture = cv2.resize(photo, size, interpolation=cv2.INTER_LANCZOS4) if scale > 1 else photo
    made = put(picture, 255 - square(photo, matrix), matrix, scale)
    wanted = reference[f"{name} pasted {scale}"].astype(int)
    apart = abs(made[:: 2 * scale, :: 2 * scale] - wanted).max(axis=2)
    assert (apart <= 2).mean() >= 0.99
    assert abs(made - picture).max() > 100


def test_a_restored_face_is_the_reference_s(
    photo: Array, reference: dict[str, Array], gfpgan: FaceNet
) -> None:
    """By the same weights; and the picture it is pasted into."""
    matrix = place(reference, "upright")
    (made,) = gfpgan.restore([square(photo, matrix)], None, 1)
    assert isinstance(made, np.ndarray)
    apart = abs(made[::STEP, ::STEP].astype(int) - reference["restored"])
    assert apart.max() <= 1
    pasted_apart = abs(put(photo, made, matrix, 1) - reference["restored pasted"]).max(axis=2)
    assert (pasted_apart <= 2).mean() >= 0.99


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("name", FACES)
def test_what_was_not_changed_comes_back_where_it_was(
    name: str, scale: int, photo: Array, reference: dict[str, Array]
) -> None:
    """The reference's pictures of twice the size are half a pixel off; by default ours are not."""
    matrix = place(reference, name)
    height, width = photo.shape[:2]
    picture = cv2.resize(photo, (width * scale, height * scale), interpolation=cv2.INTER_LANCZOS4)
    made = put(picture, square(photo, matrix), matrix, scale, "face")
    there = abs(made - picture).max(axis=2) > 0
    assert 0.02 < there.mean() < 0.4
    assert abs(made - picture)[there].mean() < 3
