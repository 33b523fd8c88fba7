"""Pictures: what tasks need to read, change and write them, in one place."""

from mediakit.media.colour import in_srgb
from mediakit.media.enlarge import Net, enlarge, enlarge_frames, rgb
from mediakit.media.frames import Animation, read_frames, read_media
from mediakit.media.moving import write_animation
from mediakit.media.pixels import (
    Picture,
    Pixels,
    background,
    fill_transparent,
    flatten,
    is_opaque,
    to_8_bits,
    to_grey,
)
from mediakit.media.reading import read_picture
from mediakit.media.resizing import resize
from mediakit.media.result import HELD, Result, Unchanged, Written
from mediakit.media.rows import Rows, rows_of
from mediakit.media.sizes import Wanted, target, too_large
from mediakit.media.writing import Encoding, write_picture, write_rows

__all__ = [
    "HELD",
    "Animation",
    "Encoding",
    "Net",
    "Picture",
    "Pixels",
    "Result",
    "Rows",
    "Unchanged",
    "Wanted",
    "Written",
    "background",
    "enlarge",
    "enlarge_frames",
    "fill_transparent",
    "flatten",
    "in_srgb",
    "is_opaque",
    "read_frames",
    "read_media",
    "read_picture",
    "resize",
    "rgb",
    "rows_of",
    "target",
    "to_8_bits",
    "to_grey",
    "too_large",
    "write_animation",
    "write_picture",
    "write_rows",
]
