"""RealESRGANer in its own loop: loaded once, then each photo of a folder read, enhanced, written.

As in inference_realesrgan.py of https://github.com/xinntao/Real-ESRGAN, with `--input` a folder;
prints how many seconds of it `enhance` took.
"""

import argparse
import json
import time
from pathlib import Path

from benchmarks.reference import stand_in


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--input", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", required=True)
    parser.add_argument("--net", choices=("x4plus", "animevideov3"), required=True)
    parser.add_argument("--tile", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    stand_in()
    import cv2
    import torch
    from basicsr.archs.rrdbnet_arch import RRDBNet
    from realesrgan import RealESRGANer
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact

    torch.set_num_threads(args.threads)
    if args.net == "x4plus":
        model = RRDBNet(
            num_in_ch=3, num_out_ch=3, num_feat=64, num_block=23, num_grow_ch=32, scale=4
        )
    else:
        model = SRVGGNetCompact(
            num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=16, upscale=4, act_type="prelu"
        )
    upsampler = RealESRGANer(
        scale=4, model_path=args.weights, model=model, tile=args.tile, tile_pad=10, pre_pad=0,
        half=False, device=torch.device("cpu"),
    )  # fmt: skip
    computing = 0.0
    for path in sorted(args.input.iterdir()):
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        begin = time.perf_counter()
        output, _ = upsampler.enhance(image, outscale=4)
        computing += time.perf_counter() - begin
        if not cv2.imwrite(str(args.output / path.name), output):
            raise OSError(f"{path.name} was not written")
    print(json.dumps({"computing": computing}))


if __name__ == "__main__":
    main()
