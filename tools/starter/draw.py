"""What the starter model's world is: twelve colours, nine shapes, three sizes, five places."""

import itertools
import math
import random
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

SIDE = 64  # pixels
_FINER = 4  # drawn this many times larger, then made smaller, for smooth edges

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 160, 60),
    "blue": (45, 80, 220),
    "yellow": (250, 220, 50),
    "purple": (140, 50, 170),
    "orange": (240, 125, 20),
    "white": (245, 245, 245),
    "black": (20, 20, 20),
    "pink": (250, 140, 180),
    "cyan": (40, 200, 220),
    "gray": (130, 130, 130),
    "brown": (125, 75, 40),
}
SHAPES = ("circle", "square", "triangle", "star", "heart", "ring", "cross", "diamond", "moon")
SIZES = {"small": 0.17, "": 0.26, "large": 0.37}  # radius in sides; "" is neither word
PLACES = {
    "": (0, 0),
    "on the left": (-1, 0),
    "on the right": (1, 0),
    "at the top": (0, -1),
    "at the bottom": (0, 1),
}
_HELD_OUT = 10  # one scene in so many is never trained on

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Scene:
    """One shape on a plain background; `size` and `place` are keys of SIZES and PLACES."""

    colour: str
    shape: str
    background: str
    size: str = ""
    place: str = ""

    @property
    def caption(self) -> str:
        """As "a large red star on the left on a blue background"."""
        words = ["a", self.size, self.colour, self.shape, self.place, "on a", self.background]
        return " ".join(word for word in [*words, "background"] if word)

    @property
    def held_out(self) -> bool:
        """Whether training never sees it; the same everywhere and always."""
        return zlib.crc32(self.caption.encode()) % _HELD_OUT == 0

    @property
    def circle(self) -> tuple[float, float, float]:
        """Centre (x, y) and radius of the shape, in pixels, before any jitter."""
        radius = SIZES[self.size] * SIDE
        reach = (SIDE / 2 - radius - 2) * 0.85  # how far from the middle a side place lies
        across, down = PLACES[self.place]
        return SIDE / 2 + across * reach, SIDE / 2 + down * reach, radius


def scenes() -> list[Scene]:
    """Every scene there is (17,820), in one order."""
    parts = itertools.product(COLOURS, SHAPES, COLOURS, SIZES, PLACES)
    return [Scene(c, s, b, size, place) for c, s, b, size, place in parts if c != b]


def picture(scene: Scene, rng: random.Random | None = None) -> Image.Image:
    """SIDE x SIDE, RGB; with `rng`, place, size and colours differ a little from the named ones."""
    x, y, radius = scene.circle
    if rng:
        x, y = x + rng.uniform(-2, 2), y + rng.uniform(-2, 2)
        radius *= rng.uniform(0.93, 1.07)
    image = Image.new("RGB", (SIDE, SIDE), _paint(scene.background, rng))
    image.paste(_paint(scene.colour, rng), mask=stencil(scene.shape, x, y, radius))
    return image


def plain(background: str, rng: random.Random | None = None) -> Image.Image:
    """A background with nothing on it."""
    return Image.new("RGB", (SIDE, SIDE), _paint(background, rng))


def stencil(shape: str, x: float, y: float, radius: float) -> Image.Image:
    """SIDE x SIDE, 8-bit gray: 255 in the shape, 0 outside, smooth edges; lengths in pixels."""
    large = Image.new("L", (SIDE * _FINER, SIDE * _FINER))
    draw = ImageDraw.Draw(large)
    x, y, radius = (v * _FINER for v in (x, y, radius))
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        draw.ellipse(box, fill=255)
    elif shape == "ring":
        draw.ellipse(box, outline=255, width=round(radius * 0.38))
    elif shape == "moon":
        draw.ellipse(box, fill=255)
        bite = (x - radius * 0.35, y - radius * 0.85, x + radius * 1.35, y + radius * 0.85)
        draw.ellipse(bite, fill=0)
    else:
        draw.polygon([(x + radius * px, y + radius * py) for px, py in _outline(shape)], fill=255)
    return large.resize((SIDE, SIDE), Image.Resampling.BOX)


def _outline(shape: str) -> Points:
    """The corners of a shape of radius 1 about (0, 0); y points down."""
    match shape:
        case "square":
            return [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)]
        case "triangle":
            return [_around(i / 3) for i in range(3)]
        case "diamond":
            return [(0, -1), (0.7, 0), (0, 1), (-0.7, 0)]
        case "star":
            return [_around(i / 10, 0.42 if i % 2 else 1) for i in range(10)]
        case "heart":
            return [_heart(2 * math.pi * i / 60) for i in range(60)]
        case "cross":
            arm = [(-0.33, -1), (0.33, -1), (0.33, -0.33)]
            turns = ((1, 0), (0, 1), (-1, 0), (0, -1))
            return [(x * c - y * s, x * s + y * c) for c, s in turns for x, y in arm]
    raise ValueError(shape)


def _around(turn: float, radius: float = 1) -> tuple[float, float]:
    angle = 2 * math.pi * turn
    return radius * math.sin(angle), -radius * math.cos(angle)


def _heart(t: float) -> tuple[float, float]:
    # https://mathworld.wolfram.com/HeartCurve.html, the sixth
    y = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
    return 16 / 17 * math.sin(t) ** 3, -y / 17


def _paint(name: str, rng: random.Random | None) -> tuple[int, int, int]:
    r, g, b = (
        v if rng is None else round(min(255, max(0, v + rng.gauss(0, 5)))) for v in COLOURS[name]
    )
    return r, g, b


def training_set(count: int, seed: int, exact: bool = False) -> tuple[np.ndarray, list[str]]:
    """Pictures (count x SIDE x SIDE x 3, uint8) and captions; no held-out scene among them.

    One in 25 is a plain background; one caption in ten leaves the background's colour unsaid.
    `exact`: all drawn as named, nothing differs from picture to picture of a scene.
    """
    rng = random.Random(seed)
    hand = None if exact else rng
    allowed = [scene for scene in scenes() if not scene.held_out]
    pictures = np.empty((count, SIDE, SIDE, 3), np.uint8)
    captions = []
    for index in range(count):
        scene = rng.choice(allowed)
        caption = scene.caption
        if rng.random() < 0.04:
            pictures[index] = plain(scene.background, hand)
            caption = f"a {scene.background} background"
        else:
            pictures[index] = picture(scene, hand)
            if rng.random() < 0.1:
                caption = caption.removesuffix(f" on a {scene.background} background")
        captions.append(caption)
    return pictures, captions
