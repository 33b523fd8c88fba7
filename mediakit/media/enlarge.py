"""How a picture of any kind of pixels becomes larger by a net that only knows RGB."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from mediakit.media.alpha import enlarge_alpha
from mediakit.media.pixels import Pixels, fill_transparent, flat_alpha, highest, to_grey
from mediakit.media.resizing import resize, resize_rows
from mediakit.media.rows import Cut, Rows
from mediakit.media.sizes import passes, reduced


@dataclass(frozen=True)
class Net:
    """`strips` makes H x W x 3 of 8 or 16 bits `factor` times larger, as strips of full width."""

    factor: int
    strips: Callable[[Pixels], Iterator[Pixels]]


def enlarge(net: Net, pixels: Pixels, size: tuple[int, int], downscale_first: float = 1.0) -> Rows:
    """H x W x C to `size` (width, height); of the same kind and type.

    The net runs until the picture is large enough, only its last pass in strips; Lanczos brings
    it to size. Grey stays grey. Colours under full transparency are first filled from their
    surroundings, or the net would draw them into the visible edge. Alpha never runs through the
    net (see alpha.py), and is left alone where it is flat.
    """
    if downscale_first > 1:
        pixels = resize(pixels, *reduced(pixels.shape[1], pixels.shape[0], downscale_first))
    height, width, channels = pixels.shape
    times = passes((width, height), size, net.factor)
    colour = rgb(pixels)
    for _ in range(times - 1):
        colour = _once(net, colour).whole()
    large = resize_rows(_once(net, colour), *size)
    if channels == 1:
        return large.changed(to_grey, channels=1)
    return _with_alpha(large, pixels) if channels == 4 else large


def _once(net: Net, pixels: Pixels) -> Rows:
    height, width = pixels.shape[0] * net.factor, pixels.shape[1] * net.factor
    return Rows(height, width, 3, pixels.dtype, net.strips(pixels))


def rgb(pixels: Pixels) -> Pixels:
    """H x W x 3 of pixels of any kind: grey three times, transparent ones coloured as those near
    them."""
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    if flat_alpha(pixels) is not None:
        return np.ascontiguousarray(pixels[..., :3])
    return fill_transparent(pixels)


def _with_alpha(colour: Rows, pixels: Pixels) -> Rows:
    """The colours with the resized alpha of the smaller picture."""
    flat = flat_alpha(pixels)
    small = np.ascontiguousarray(pixels[..., 3:])

    def parts() -> Iterator[Pixels]:
        alphas = Cut(enlarge_alpha(small, colour.width, colour.height))
        for part in colour:
            whole: Pixels = np.empty((*part.shape[:2], 4), part.dtype)
            whole[..., :3] = part
            whole[..., 3:] = alphas.take(len(part)) if flat is None else flat
            yield whole

    opaque = flat == highest(pixels)
    return replace(colour, channels=4, parts=parts(), opaque=opaque)


def enlarge_frames(
    net: Net, frames: Iterable[Pixels], count: int, size: tuple[int, int], channels: int
) -> Rows:
    """`count` frames of one kind, each enlarged to `size`, as one picture with all in a column."""
    parts = (part for frame in frames for part in enlarge(net, frame, size))
    return Rows(size[1] * count, size[0], channels, np.dtype(np.uint8), parts)
