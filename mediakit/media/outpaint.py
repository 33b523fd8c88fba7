"""How a picture gets room for what is to be painted around it."""

from dataclasses import replace

import numpy as np

from mediakit.media.extend import Margins
from mediakit.media.fills import Plane
from mediakit.media.masks import feathered
from mediakit.media.pixels import Picture, Pixels


def extended(picture: Picture, margins: Margins, feather: int) -> tuple[Picture, Plane]:
    """The picture on its larger canvas, and the weights with which it is repainted.

    All that is new weighs 255; `feather` pixels of the old picture beside it fade to 0, and what
    lies farther in stays to the bit. The new pixels repeat the edge; the net is shown
    something better (see fills). Margins of 0 give the picture and weights of 0.
    """
    width, height = margins.around(picture.width, picture.height)
    columns = slice(margins.left, margins.left + picture.width)
    rows = slice(margins.top, margins.top + picture.height)
    sides = ((margins.top, margins.bottom), (margins.left, margins.right), (0, 0))
    pixels: Pixels = np.pad(picture.pixels, sides, mode="edge")
    weights: Plane = np.full((height, width), 255, np.uint8)
    weights[rows, columns] = 0
    if margins:
        weights = feathered(weights, feather)
    return replace(picture, pixels=pixels), weights
