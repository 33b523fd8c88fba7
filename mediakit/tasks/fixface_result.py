"""What becomes of a picture whose faces were restored: its pixels, and the files beside it."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mediakit.batch.item import Extra, Item, extra_file
from mediakit.batch.naming import others
from mediakit.media.formats import MEDIA_TYPES
from mediakit.params import PictureOutput
from mediakit.tasks.faces import Fixed
from mediakit.tasks.pictures import format_of

if TYPE_CHECKING:
    from mediakit.engines.faces.work import Portrait
    from mediakit.media.pictures import Picture, Pixels, Rows

# Params that change a file even where there is no face
_ENCODING = ("quality", "compression", "subsampling")
_COMPARED = 2048  # pixels of a side of each half, at most
COMPARE = "_compare.png"


def may_copy(item: Item, picture: "Picture") -> bool:
    """Whether the input's bytes are the result, where no pixel of it changes."""
    from mediakit.media.pictures import is_opaque

    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, PictureOutput)
    plain = not params.lossless and params.icc == "keep"
    plain = plain and all(getattr(params, name) is None for name in _ENCODING)
    plain = plain and not (params.background and not is_opaque(picture.pixels))
    return plain and format_of(item) == picture.format


def squared(picture: "Picture", portrait: "Portrait", strength: float) -> "Rows":
    """An aligned face in its restored square, of the picture's own kind of pixels."""
    from mediakit.engines.faces.squares import mixed
    from mediakit.media.pictures import resize, rows_of

    (subject,) = portrait.subjects
    assert subject.pixels is not None
    side = len(subject.pixels)
    pixels = mixed(resize(picture.pixels, side, side), subject.pixels, strength)
    return rows_of(pixels)


def compared(picture: "Picture", after: "Pixels") -> "Pixels":
    """Before and after, side by side, in 8 bits; each at most _COMPARED pixels a side."""
    import numpy as np

    from mediakit.media.pictures import resize, to_8_bits

    height, width = after.shape[:2]
    factor = min(1.0, _COMPARED / max(height, width))
    size = max(1, round(width * factor)), max(1, round(height * factor))
    halves = (resize(to_8_bits(pixels), *size) for pixels in (picture.pixels, after))
    both: Pixels = np.concatenate([*halves], axis=1)
    return both


def extras(item: Item, media: Fixed, file: Path) -> Iterator[Extra]:
    """Write what comes with the picture. OSError."""
    from mediakit.media.pictures import Picture, write_picture

    output = item.output or item.key
    planned: list[tuple[str, str, Pixels]] = []
    if media.compared is not None:
        planned += ((path, "compare", media.compared) for path in others(output, [COMPARE]))
    for number, crop in enumerate(media.crops, 1):
        planned += ((path, "crop", crop) for path in others(output, [f"_faces/{number}.png"]))
    for number, (path, role, pixels) in enumerate(planned):
        part = extra_file(file, number)
        write_picture(Picture(pixels, "png"), part, "png")
        yield Extra(part, path, role, MEDIA_TYPES["png"])
