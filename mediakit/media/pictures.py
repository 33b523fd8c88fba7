"""Pictures: what tasks need to read, change and write them, in one place."""

from mediakit.media.pixels import (
    Picture,
    Pixels,
    background,
    fill_transparent,
    flatten,
    resize,
)
from mediakit.media.reading import read_picture
from mediakit.media.writing import write_picture

__all__ = [
    "Picture",
    "Pixels",
    "background",
    "fill_transparent",
    "flatten",
    "read_picture",
    "resize",
    "write_picture",
]
