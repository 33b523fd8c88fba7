"""What one would use instead: inference_realesrgan.py of the Real-ESRGAN repository, for one file.

The same steps (https://github.com/xinntao/Real-ESRGAN, inference_realesrgan.py): arguments, the
net of realesr-animevideov3, RealESRGANer, cv2.imread, enhance, cv2.imwrite.
"""

import argparse
import sys
import types


def stand_in() -> None:
    """basicsr 1.4.2 imports a module that torchvision has not had since 0.17."""
    from torchvision.transforms import functional

    module = types.ModuleType("torchvision.transforms.functional_tensor")
    module.rgb_to_grayscale = functional.rgb_to_grayscale  # type: ignore[attr-defined]
    sys.modules[module.__name__] = module


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("-i", "--input", required=True)
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--model_path", required=True)
    parser.add_argument("--tile", type=int, default=0)
    parser.add_argument("--tile_pad", type=int, default=10)
    parser.add_argument("--pre_pad", type=int, default=0)
    parser.add_argument("--fp32", action="store_true")
    args = parser.parse_args()

    stand_in()
    import cv2
    from basicsr.archs.rrdbnet_arch import RRDBNet  # noqa: F401  (the script imports it)
    from realesrgan import RealESRGANer
    from realesrgan.archs.srvgg_arch import SRVGGNetCompact

    model = SRVGGNetCompact(
        num_in_ch=3, num_out_ch=3, num_feat=64, num_conv=16, upscale=4, act_type="prelu"
    )
    upsampler = RealESRGANer(
        scale=4,
        model_path=args.model_path,
        model=model,
        tile=args.tile,
        tile_pad=args.tile_pad,
        pre_pad=args.pre_pad,
        half=not args.fp32,
    )
    image = cv2.imread(args.input, cv2.IMREAD_UNCHANGED)
    output, _ = upsampler.enhance(image, outscale=4)
    if not cv2.imwrite(args.output, output):
        raise OSError(f"{args.output} was not written")


if __name__ == "__main__":
    main()
