"""What detectors give: CenterFace by its real weights, YuNet by a net that gives what it would."""

from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from mediakit.engines.faces.detector import CenterFace, Detector, YuNet, load  # noqa: E402
from mediakit.engines.faces.search import search  # noqa: E402
from mediakit.errors import UserError  # noqa: E402
from mediakit.media.faces import Face, applied  # noqa: E402
from mediakit.models.catalog import find  # noqa: E402
from mediakit.models.store import Store  # noqa: E402

HERE = Path(__file__).parent
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def centerface() -> Detector:
    return load(Store().pull(find("centerface")), 1)


@pytest.fixture(scope="module")
def photo() -> Array:
    path = HERE.parent.parent / "data" / "faces" / "photo.png"
    return np.ascontiguousarray(cv2.imread(str(path))[..., ::-1])


@pytest.fixture
def files(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(HERE))
    return import_module("onnx_file")


def only(faces: list[Face]) -> Face:
    assert len(faces) == 1
    return faces[0]


# of the face in the photo, by eye: eyes, nose, corners of the mouth
POINTS = [(68, 51), (90, 52), (79, 62), (69, 71), (87, 72)]


def apart(face: Face, points: Any) -> float:
    """Of the worst point, in parts of the face's width."""
    return float(np.linalg.norm(face.points - np.array(points), axis=1).max() / face.width)


def test_a_face_and_its_points(centerface: Detector, photo: Array) -> None:
    face = only(search(centerface, photo, 10).faces)
    assert apart(face, POINTS) < 0.08
    assert 0.8 < face.score <= 1
    assert search(centerface, photo, 60).faces == []  # it is smaller


@pytest.mark.parametrize("degrees", [-90, -45, 30, 90])
def test_a_turned_face(degrees: float, centerface: Detector, photo: Array) -> None:
    turn = cv2.getRotationMatrix2D((79.5, 61.5), degrees, 1)
    turned = cv2.warpAffine(photo, turn, (160, 160), borderMode=cv2.BORDER_REFLECT)
    face = only(search(centerface, turned, 20).faces)
    assert apart(face, applied(turn, np.array(POINTS, float))) < 0.12
    assert face.roll == pytest.approx(-degrees, abs=12)


@pytest.mark.parametrize("width", [10, 24, 400])
def test_a_face_of_any_size(width: int, centerface: Detector, photo: Array) -> None:
    """In parts of the photo's own, whose face is 41 pixels wide."""
    factor = width / 41
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    sized = cv2.resize(photo, None, fx=factor, fy=factor, interpolation=how)
    face = only(search(centerface, sized, 9 if width < 20 else width / 3).faces)
    assert apart(face, (np.array(POINTS) + 0.5) * factor - 0.5) < 0.12


def test_a_face_cut_by_the_border(centerface: Detector, photo: Array) -> None:
    face = only(search(centerface, np.ascontiguousarray(photo[:, 72:]), 20).faces)
    assert face.box[0] < 4 and face.points[1] == pytest.approx((18, 52), abs=5)


def test_a_picture_smaller_than_the_net_s_step(centerface: Detector) -> None:
    assert search(centerface, np.full((3, 2, 3), 90, np.uint8), 10).faces == []


def test_yunet_is_told_by_its_outputs(files: ModuleType, tmp_path: Path) -> None:
    detector = load(files.yunet(tmp_path / "y.onnx"), 1)
    assert isinstance(detector, YuNet)
    faces = detector.find(np.zeros((64, 96, 3), np.uint8), 0.5)
    boxes = sorted(tuple(round(v) for v in face.box) for face in faces)
    assert boxes == sorted((x + 4, y, x + 28, y + 32) for x in (0, 32, 64) for y in (0, 32))
    first = min(faces, key=lambda face: face.box)
    wanted = np.array([[9.6, 12.8], [22.4, 12.8], [16, 17.6], [11.2, 22.4], [20.8, 22.4]])
    assert np.allclose(first.points, wanted, atol=0.01) and first.score == pytest.approx(0.9)
    assert detector.find(np.zeros((64, 96, 3), np.uint8), 0.95) == []
    assert isinstance(load(files.centerface(tmp_path / "c.onnx"), 1), CenterFace)


def test_what_is_no_detector(files: ModuleType, tmp_path: Path) -> None:
    other = files.write(tmp_path / "other.onnx", {"mask": (1, [0.5])})
    with pytest.raises(UserError, match="no face detector") as error:
        load(other, 1)
    assert error.value.code == "wrong_model"
    (tmp_path / "broken.onnx").write_bytes(other.read_bytes()[:40])
    with pytest.raises(UserError, match="damaged or no ONNX") as error:
        load(tmp_path / "broken.onnx", 1)
    assert error.value.code == "bad_weights"
