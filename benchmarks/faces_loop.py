"""GFPGANer in its own loop: loaded once, then each photo of a folder read, enhanced, written.

Its detector has no weights here: the real net of it runs untrained, and what it finds is replaced
by the places that are given. Prints how many seconds detector and net took.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

from benchmarks.reference import stand_in


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--places", type=Path, required=True)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    stand_in()
    import cv2
    import torch

    torch.set_num_threads(args.threads)
    restorer, seconds = loaded(args.weights)
    places = json.loads(args.places.read_text())
    for path in sorted(args.input.iterdir()):
        faces = [face for face in places[path.name] if face["restored"]]
        restorer.face_helper.places = [face["landmarks"] for face in faces]
        restored = restorer.enhance(cv2.imread(str(path), cv2.IMREAD_COLOR))[2]
        if not cv2.imwrite(str(args.output / path.name), restored):
            raise OSError(f"{path.name} was not written")
    print(json.dumps(seconds))


def loaded(weights: str) -> tuple[Any, dict[str, float]]:
    """GFPGANer as its constructor makes it, but for what would be fetched: RetinaFace's weights,
    and the net that parses faces, which is left out."""
    import facexlib.utils.face_restoration_helper as helpers
    import torch
    from facexlib.detection.retinaface import RetinaFace
    from gfpgan import GFPGANer

    seconds = {"finding": 0.0, "net": 0.0}

    def timed(name: str, act: Any) -> Any:
        def run(*args: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            try:
                return act(*args, **options)
            finally:
                seconds[name] += time.perf_counter() - begin

        return run

    detector = RetinaFace(network_name="resnet50", half=False).eval()

    class Given(helpers.FaceRestoreHelper):  # type: ignore[misc]
        places: list[Any] = []  # noqa: RUF012

        def get_face_landmarks_5(self, **options: Any) -> int:
            import numpy as np

            super().get_face_landmarks_5(**options)
            self.det_faces, self.all_landmarks_5 = [], [np.array(one) for one in self.places]
            return len(self.places)

    helpers.init_detection_model = lambda *args, **options: detector
    helpers.init_parsing_model = lambda *args, **options: None
    import gfpgan.utils

    gfpgan.utils.FaceRestoreHelper = Given
    restorer = GFPGANer(weights, upscale=1, device=torch.device("cpu"))
    restorer.face_helper.use_parse = False
    detector.detect_faces = timed("finding", detector.detect_faces)
    restorer.gfpgan.forward = timed("net", restorer.gfpgan.forward)
    return restorer, seconds


if __name__ == "__main__":
    main()
