"""Which photos are measured with: `python -m benchmarks.photos KIND FOLDER COUNT SIDE`.

Real ones with free licences, out of scikit-image's wheel (skimage/data/README.txt names them):
from the installed package, which the reference packages bring, else fetched.
"""

import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw

from mediakit.models import pypi
from mediakit.models.sources import Request

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
            sizes = dict.fromkeys(files, 10**8)
            pypi.fetch(Request(PACKAGE, files, sizes, lambda done, total: None))
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


def opaque(folder: Path, count: int, side: int) -> None:
    """The same with an alpha channel that is full everywhere."""
    crops(folder, count, side)
    for path in folder.iterdir():
        Image.open(path).convert("RGBA").save(path)


def cutouts(folder: Path, count: int, side: int) -> None:
    """The same cut out as an ellipse, its edge smooth."""
    crops(folder, count, side)
    alpha = Image.new("L", (4 * side, 4 * side))
    ImageDraw.Draw(alpha).ellipse((side // 5, side // 5, 4 * side - side // 5, 3 * side), fill=255)
    alpha = alpha.resize((side, side), Image.Resampling.BOX)
    for path in folder.iterdir():
        picture = Image.open(path).convert("RGB")
        picture.putalpha(alpha)
        picture.save(path)


def enlarged(folder: Path, count: int, side: int) -> None:
    """`count` photos of side x side pixels, as PNG."""
    for number, picture in enumerate(photos()[:count]):
        resized = picture.resize((side, side), Image.Resampling.BICUBIC)
        resized.save(folder / f"{number:03}.png")


def large(folder: Path, count: int, side: int) -> None:
    """`count` photos of side x side pixels, as JPEG of a camera's quality."""
    pictures = photos()
    for number in range(count):
        picture = pictures[number % len(pictures)].resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"{number:03}.jpg", quality=90)


if __name__ == "__main__":
    kind, where, count, side = sys.argv[1:]
    Path(where).mkdir(parents=True)
    make = {"crops": crops, "opaque": opaque, "cutouts": cutouts, "enlarged": enlarged}
    (make | {"large": large})[kind](Path(where), int(count), int(side))
