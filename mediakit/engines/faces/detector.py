"""Which nets find faces, and how their outputs are read: YuNet and CenterFace, through OpenCV."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mediakit.errors import ItemError, OutOfMemory, UserError, show
from mediakit.media.faces import Face, Points
from mediakit.media.pixels import Pixels

# Errors are raised as well as printed
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
# Outputs of the two nets: of YuNet class, object, box and points at three strides
_CENTERFACE, _YUNET = 4, 12
_MULTIPLE = 32  # pixels; both halve their input five times
_STRIDE = 4  # input pixels to a cell of CenterFace's outputs
_MOST = 5000  # faces that a pass may give; more are noise


class Detector:
    """A loaded net; one thread at a time may use it.

    `smallest` and `largest`: widths in pixels of the faces that it finds well. `threshold`: the
    score from which on its authors take a find for a face. `turns`: whether it finds faces that
    lie on their side.
    """

    smallest: int
    largest: int
    threshold: float
    turns: bool

    def __init__(self, path: Path, threads: int) -> None:
        self.threads = threads
        self.nbytes = path.stat().st_size * 2  # weights, and as much again for buffers

    def find(self, pixels: Pixels, threshold: float) -> list[Face]:
        """Faces in H x W x 3, uint8, RGB, as the net gives them: not all make sense.

        ItemError bad_faces where its scores are none, or it fails. OutOfMemory.
        """
        if cv2.getNumThreads() != self.threads:
            cv2.setNumThreads(self.threads)
        try:
            return self._find(pixels, threshold)
        except cv2.error as error:
            fault = _meaning(error)
        raise fault

    def _find(self, pixels: Pixels, threshold: float) -> list[Face]:
        raise NotImplementedError

    def close(self) -> None:
        """Give the memory back; the net is of no use after."""


class CenterFace(Detector):
    """Xu et al. 2019 (arXiv:1911.03599): at each cell a score, the box's size and middle, and
    five points within the box."""

    smallest, largest, threshold, turns = 20, 400, 0.5, True

    def __init__(self, path: Path, net: Any, threads: int) -> None:
        super().__init__(path, threads)
        self._net = net
        self._names = list(net.getUnconnectedOutLayersNames())

    def _find(self, pixels: Pixels, threshold: float) -> list[Face]:
        height, width = pixels.shape[:2]
        below, right = -height % _MULTIPLE, -width % _MULTIPLE
        whole = cv2.copyMakeBorder(pixels, 0, below, 0, right, cv2.BORDER_CONSTANT)
        self._net.setInput(cv2.dnn.blobFromImage(whole))
        outputs = [out[0] for out in self._net.forward(self._names)]
        if [len(out) for out in outputs] != [1, 2, 2, 10]:
            raise UserError("wrong_model", "the detector's outputs are not CenterFace's")
        _check_scores(outputs[0])
        rows, columns = np.nonzero(outputs[0][0] > threshold)
        return _decoded(outputs, rows, columns)

    def close(self) -> None:
        del self._net


def _decoded(outputs: list[NDArray[np.float32]], rows: Any, columns: Any) -> list[Face]:
    scores, sizes, shifts, places = (out[:, rows, columns].astype(float) for out in outputs)
    with np.errstate(over="ignore"):  # nonsense is refused by whoever asked
        down, across = np.exp(sizes) * _STRIDE
    left = (columns + shifts[1] + 0.5) * _STRIDE - across / 2
    top = (rows + shifts[0] + 0.5) * _STRIDE - down / 2
    xs, ys = left + places[1::2] * across, top + places[::2] * down
    order = np.argsort(-scores[0], kind="stable")[:_MOST]
    return [
        Face(
            (float(left[i]), float(top[i]), float(left[i] + across[i]), float(top[i] + down[i])),
            np.column_stack([xs[:, i], ys[:, i]]),
            float(scores[0, i]),
        )
        for i in order
    ]


class YuNet(Detector):
    """Wu et al. 2023, decoded by OpenCV's FaceDetectorYN."""

    smallest, largest, threshold, turns = 12, 300, 0.6, False

    def __init__(self, path: Path, net: Any, threads: int) -> None:
        super().__init__(path, threads)
        self._net = net

    def _find(self, pixels: Pixels, threshold: float) -> list[Face]:
        self._net.setInputSize(pixels.shape[1::-1])
        self._net.setScoreThreshold(threshold)
        _, found = self._net.detect(np.ascontiguousarray(pixels[..., ::-1]))  # it wants BGR
        if found is None:
            return []
        _check_scores(found[:, 14])
        return [_of_row(row.astype(float)) for row in found]

    def close(self) -> None:
        del self._net


def _of_row(row: NDArray[np.float64]) -> Face:
    """x, y, width, height, five points, score."""
    left, top, across, down = (float(value) for value in row[:4])
    points: Points = row[4:14].reshape(5, 2)
    return Face((left, top, left + across, top + down), points, float(row[14]))


def load(path: Path, threads: int) -> Detector:
    """Open an .onnx of YuNet or CenterFace. UserError: bad_weights, wrong_model."""
    name = show(path)
    try:
        net = cv2.dnn.readNetFromONNX(str(path))
        outputs = len(net.getUnconnectedOutLayersNames())
    except (cv2.error, UnicodeError) as error:
        reason = str(getattr(error, "err", error)).strip().splitlines() or [""]
        raise UserError(
            "bad_weights",
            f"{name} is damaged or no ONNX file ({show(reason[0])[:80]}); get it again",
        ) from None
    if outputs == _CENTERFACE:
        return CenterFace(path, net, threads)
    if outputs == _YUNET:
        return YuNet(path, cv2.FaceDetectorYN.create(str(path), "", (320, 320)), threads)
    raise UserError(
        "wrong_model", f"{name} is no face detector that is known: use yunet or centerface"
    )


def _check_scores(scores: NDArray[Any]) -> None:
    """OpenCV makes the largest number of what is none."""
    if not ((scores >= -0.01) & (scores <= 1.01)).all():
        raise ItemError(
            "bad_faces", "the face detector gave no sensible scores; its weights may be damaged"
        )


def _meaning(error: cv2.error) -> Exception:
    text = str(getattr(error, "err", "") or error)
    if error.code == cv2.Error.StsNoMem:
        return OutOfMemory(text)
    return ItemError("bad_faces", f"the face detector failed: {show(text.splitlines()[0])[:120]}")
