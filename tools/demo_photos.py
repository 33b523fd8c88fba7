"""Put a few real photographs with free licences into a folder, for `make demo`.

They come out of scikit-image's wheel (https://scikit-image.org, skimage/data/README.txt names
their licences), cut and reduced to the size of thumbnails, as old web pictures have it.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image

from mediakit.models import pypi
from mediakit.models.sources import Request

PACKAGE = "scikit-image==0.26.0"
SIZE = 160  # pixels a side
# name -> (file in the wheel, left, top, side of the part that is shown)
PHOTOS = {
    "portraits/astronaut.jpg": ("astronaut.png", 130, 0, 250),
    "animals/cat.jpg": ("chelsea.png", 60, 0, 280),
    "still/coffee.png": ("coffee.png", 130, 40, 320),
    "still/rocket.jpg": ("rocket.jpg", 200, 50, 300),
}


def main(folder: Path) -> None:
    if all((folder / name).exists() for name in PHOTOS):
        return
    with tempfile.TemporaryDirectory() as temporary:
        originals = {f"skimage/data/{file}": Path(temporary) / file for file, *_ in PHOTOS.values()}
        sizes = dict.fromkeys(originals, 10**8)
        pypi.fetch(Request(PACKAGE, originals, sizes, lambda done, total: None))
        for name, (file, left, top, side) in PHOTOS.items():
            photo = Image.open(Path(temporary) / file).convert("RGB")
            photo = photo.crop((left, top, left + side, top + side))
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            photo.resize((SIZE, SIZE), Image.Resampling.LANCZOS).save(target, quality=90)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
