"""`python -m benchmarks.large`: memory of `mediakit upscale` for a photo of 24 megapixels at x4."""

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import MEDIAKIT, run

GOAL = 3 << 30  # bytes
MODEL = "realesr-animevideov3"


def main() -> int:
    """0 if every picture stayed under the goal."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--size", action="append", help="WxH; 6000x4000 if not given")
    parser.add_argument("--kind", default="RGB", help="RGB, RGBA or RGB16")
    parser.add_argument("--format", default="png", help="of the output: png, jpg, tiff, bmp")
    parser.add_argument("--scale", type=float, default=4)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sizes = options.size or ["6000x4000"]
    if options.child:
        width, height = (int(side) for side in sizes[0].split("x"))
        photo(options.child, (width, height), options.kind)
        return 0
    met = True
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="mediakit-large-") as folder:
            source = Path(folder) / ("photo.jpg" if options.kind == "RGB" else "photo.png")
            arguments = ["--size", size, "--kind", options.kind, "--child", source]
            run([sys.executable, "-m", "benchmarks.large", *arguments])  # or its memory were ours
            sample = run(
                [*MEDIAKIT, "upscale", source, "-o", Path(folder) / "out", "--max-pixels", "1G",
                 "--model", MODEL, "--scale", str(options.scale), "--format", options.format]
            )  # fmt: skip
        peak = sample.memory or 0
        met = met and 0 < peak < GOAL
        print(
            f"{size} {options.kind} x{options.scale:g} to {options.format}: "
            f"{peak / 2**20:,.0f} MiB resident at the peak, {sample.wall:.0f} s "
            f"({'met' if 0 < peak < GOAL else 'MISSED'}: {GOAL / 2**20:,.0f} MiB)",
            flush=True,
        )
    return 0 if met else 1


def photo(path: Path, size: tuple[int, int], kind: str) -> None:
    """Noise on gradients, which packs badly, as photos do."""
    import numpy as np

    from mediakit.media.pictures import Encoding, Picture, Rows, write_rows

    width, height = size
    wide = kind == "RGB16"
    channels = 4 if kind == "RGBA" else 3
    rng = np.random.default_rng(1)

    def parts():  # type: ignore[no-untyped-def]
        for top in range(0, height, 100):
            y, x = np.mgrid[top : min(height, top + 100), 0:width]
            base = np.stack([x * 255 / width, y * 255 / height, (x + y) / 9 % 255], -1)
            base += rng.normal(0, 5, base.shape)
            if channels == 4:
                base = np.dstack([base, 255 * ((x // 200 + y // 200) % 2)])
            rows = np.clip(base, 0, 255) * (257 if wide else 1)
            yield rows.astype(np.uint16 if wide else np.uint8)

    dtype = np.dtype(np.uint16 if wide else np.uint8)
    rows = Rows(height, width, channels, dtype, parts())
    empty = Picture(np.empty((1, 1, channels), dtype), "png")
    write_rows(empty, rows, path, "png" if kind != "RGB" else "jpg", Encoding(compression=1))


if __name__ == "__main__":
    sys.exit(main())
