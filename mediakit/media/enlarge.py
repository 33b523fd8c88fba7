"""How a picture of any kind of pixels becomes larger by a net that only knows RGB."""

from collections.abc import Callable

import numpy as np

from mediakit.media.pixels import Pixels, fill_transparent, from_image, resize, to_image


def enlarge(net: Callable[[Pixels], Pixels], factor: int, pixels: Pixels, scale: float) -> Pixels:
    """H x W x C to about scale*H x scale*W x C, by a net that makes RGB `factor` times larger.

    The net runs until the picture is large enough; Lanczos brings it to size. Grey stays grey;
    alpha is resized by Lanczos, and colours under full transparency are first filled from their
    surroundings, or the net would draw them into the visible edge.
    """
    height, width, channels = pixels.shape
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    reached = net(_rgb(pixels))
    while reached.shape[1] < size[0] and factor > 1:
        reached = net(reached)
    reached = resize(reached, *size)
    if channels == 1:
        return from_image(to_image(reached).convert("L"))
    if channels == 4:
        return np.dstack([reached, resize(np.ascontiguousarray(pixels[:, :, 3:]), *size)])
    return reached


def _rgb(pixels: Pixels) -> Pixels:
    if pixels.shape[2] == 1:
        return np.repeat(pixels, 3, axis=2)
    return fill_transparent(pixels) if pixels.shape[2] == 4 else pixels
