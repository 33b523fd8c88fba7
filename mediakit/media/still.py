"""What a model that describes pictures is shown: one still picture of 8-bit sRGB, upright, what is
transparent on white."""

from dataclasses import replace

from mediakit.media.colour import in_srgb
from mediakit.media.pixels import Picture, flatten
from mediakit.media.reading import read_picture
from mediakit.media.rgb import shown


def read_still(data: bytes, name: str, max_pixels: int) -> Picture:
    """The picture in a file, H x W x 3; of an animation or of several pages the first, with a
    warning. Only notes on what is seen are kept. ItemErrors of `read_picture`."""
    picture = read_picture(data, name, max_pixels, first=True)
    flat = flatten(in_srgb(picture), "white")
    return replace(shown(flat), exif=None, xmp=None, text=())
