"""Which photos are measured with: `python -m benchmarks.photos crops|large FOLDER COUNT SIDE`.

Real ones with free licences, out of scikit-image's wheel (skimage/data/README.txt names them):
from the installed package, which the reference packages bring, else fetched.
"""

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image

from mediakit.models import pypi

PACKAGE = "scikit-image==0.26.0"
PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")


def photos() -> list[Image.Image]:
    with tempfile.TemporaryDirectory() as temporary:
        files = {f"skimage/data/{name}": Path(temporary) / name for name in PHOTOS}
        found = importlib.util.find_spec("skimage")
        if found and found.origin:
            for path in files.values():
                shutil.copy(Path(found.origin).parent / "data" / path.name, path)
        else:
            pypi.fetch(PACKAGE, files, dict.fromkeys(files, 10**8), lambda done: None)
        return [Image.open(path).convert("RGB") for path in files.values()]


def crops(folder: Path, count: int, side: int) -> None:
    """`count` different pieces of side x side pixels, spread over the photos, as PNG."""
    pictures = photos()
    for number in range(count):
        picture = pictures[number % len(pictures)]
        turn = number // len(pictures)
        left = (picture.width - side) * (1 + turn % 4) // 5
        top = (picture.height - side) * (1 + turn // 4 % 4) // 5
        piece = picture.crop((left, top, left + side, top + side))
        piece.save(folder / f"{number:03}.png")


def large(folder: Path, count: int, side: int) -> None:
    """`count` photos of side x side pixels, as JPEG of a camera's quality."""
    pictures = photos()
    for number in range(count):
        picture = pictures[number % len(pictures)].resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:03}.jpg", quality=90)


if __name__ == "__main__":
    kind, where, count, side = sys.argv[1:]
    Path(where).mkdir(parents=True)
    {"crops": crops, "large": large}[kind](Path(where), int(count), int(side))
