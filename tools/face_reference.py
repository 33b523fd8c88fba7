"""Write what the reference package `gfpgan` makes of faces, small, for the parity tests.

    python -m tools.face_reference PHOTO tests/data/faces

PHOTO is scikit-image's astronaut.png. Needs the extra `reference`. The net is GFPGANv1Clean with
the weights of tests/engines/faces/nets.py, so that the tests can build the same. Of squares every
eighth pixel of each row and column is kept, of most pictures every second of the photo's.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.faces import net
from benchmarks.reference import stand_in

STEP = 8
# Eyes, nose and corners of the mouth in the photo as it is kept, one row a face
FACES = {
    "upright": [[68.6, 50.9], [90.5, 52.3], [78.6, 62.6], [68.7, 71.2], [87.6, 72.2]],
    # turned by 70 degrees around the face's middle, one point astray
    "turned": [[89.0, 50.2], [95.1, 71.3], [79.8, 64.6], [68.1, 56.2], [76.5, 73.6]],
    # cut by the left border
    "cut": [[-4.0, 60.0], [21.0, 58.0], [7.0, 72.0], [-1.0, 85.0], [20.0, 84.0]],
}


def photo(path: Path) -> Any:
    """The head of the astronaut, half as large: H x W x 3, BGR."""
    import cv2

    return cv2.resize(cv2.imread(str(path))[0:320, 66:386], (160, 160), interpolation=3)


def helper(landmarks: list[list[list[float]]], scale: int) -> Any:
    """facexlib's FaceRestoreHelper with faces found already, and without the net that parses."""
    from facexlib.utils.face_restoration_helper import FaceRestoreHelper

    class Given(FaceRestoreHelper):  # type: ignore[misc]
        def __init__(self) -> None:  # its own fetches the detector
            self.upscale_factor, self.face_size, self.use_parse = scale, (512, 512), False
            self.face_template = np.array(TEMPLATE)
            self.pad_blur = self.template_3points = False
            self.clean_all()

        def get_face_landmarks_5(self, **_: Any) -> int:
            self.all_landmarks_5 = [np.array(one) for one in landmarks]
            return len(landmarks)

    return Given()


# as in FaceRestoreHelper.__init__
TEMPLATE = [[192.98138, 239.94708], [318.90277, 240.1936], [256.63416, 314.01935],
            [201.26117, 371.41043], [313.08905, 371.15118]]  # fmt: skip


def gfpganer(net: Any, landmarks: list[list[list[float]]], scale: int) -> Any:
    import torch
    from gfpgan import GFPGANer

    made = GFPGANer.__new__(GFPGANer)
    made.upscale, made.bg_upsampler, made.device = scale, None, torch.device("cpu")
    made.gfpgan, made.face_helper = net, helper(landmarks, scale)
    return made


def negative(image: Any, **_: Any) -> list[Any]:
    """In a net's place: what is to be pasted then differs wherever it is pasted."""
    return [-image]


def main(source: Path, folder: Path) -> None:
    stand_in()
    import cv2

    folder.mkdir(parents=True, exist_ok=True)
    image = photo(source)
    cv2.imwrite(str(folder / "photo.png"), image)
    kept: dict[str, Any] = {}
    for name, points in FACES.items():
        kept[f"{name} points"] = np.array(points)
        for scale in (1, 2):
            crops, _, pasted = gfpganer(negative, [points], scale).enhance(image)
            kept[f"{name} pasted {scale}"] = pasted[:: 2 * scale, :: 2 * scale, ::-1]
        kept[f"{name} crop"] = crops[0][::STEP, ::STEP, ::-1]
    restorer = gfpganer(net(), [FACES["upright"]], 1)
    _, restored, pasted = restorer.enhance(image)
    kept |= {"restored": restored[0][::STEP, ::STEP, ::-1], "restored pasted": pasted[..., ::-1]}
    np.savez_compressed(folder / "reference.npz", **kept)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
