"""Tiling and depth with weights that people use, fetched once through the model store."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from mediakit.engines.tiling import axis
from mediakit.engines.upscaler import Upscaler, load
from mediakit.errors import UserError
from mediakit.models import pypi
from mediakit.models.catalog import find
from mediakit.models.sources import Request, Unfetched
from mediakit.models.store import Store

Array = NDArray[Any]


def opened(name: str) -> Upscaler:
    try:
        path: Path = Store().pull(find(name))
    except UserError as error:
        if error.code not in ("model_unavailable", "offline"):
            raise
        pytest.skip(error.message)
    return load(path, "cpu", "float32", 2, False)


@pytest.fixture(scope="module")
def anime() -> Upscaler:
    return opened("realesr-animevideov3")


@pytest.fixture(scope="module")
def photo(request: pytest.FixtureRequest) -> Array:
    """A portrait of 512x512 pixels in the public domain (NASA), fetched once a checkout."""
    assert request.config.cache
    folder = request.config.cache.mkdir("photos")
    path = folder / "astronaut.png"
    if not path.exists():
        part = folder / f"part-{os.getpid()}"
        targets = {"skimage/data/astronaut.png": part}
        sizes = dict.fromkeys(targets, 10**7)
        try:
            place = "pypi:scikit-image==0.26.0"
            pypi.fetch(Request(place, targets, sizes, lambda done, total: None))
        except Unfetched as error:
            pytest.skip(error.cause)
        part.replace(path)
    return np.asarray(Image.open(path).convert("RGB"))


def scene(height: int, width: int) -> Array:
    """Lines, patches and grain, everywhere: what a net changes its mind about at borders."""
    rng = np.random.default_rng(8)
    image = Image.new("RGB", (width, height), (90, 110, 140))
    draw = ImageDraw.Draw(image)
    for _ in range(width * height // 150):
        x, y = rng.integers(0, width), rng.integers(0, height)
        colour = tuple(int(c) for c in rng.integers(0, 255, 3))
        size = rng.integers(3, 30, 2)
        if rng.random() < 0.5:
            draw.line((x, y, x + size[0], y + size[1]), fill=colour, width=2)
        else:
            draw.ellipse((x, y, x + size[0], y + size[1]), fill=colour)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(0.8))).astype(float)
    return np.clip(soft + rng.normal(0, 3, soft.shape), 0, 255).astype(np.uint8)


def steepness(made: Array, across: bool) -> Array:
    """Mean step between neighbours, for each column or row."""
    values = made.astype(float)
    steps = np.abs(np.diff(values, axis=1 if across else 0))
    return steps.mean(axis=(0, 2) if across else (1, 2))


def at_seams(size: int, tile: int, overlap: int, scale: int) -> Array:
    found = axis(size, tile, overlap)
    mask = np.zeros(size * scale - 1, bool)
    for index in range(1, len(found.starts)):
        low, high = found.seam(index)
        mask[low * scale : high * scale] = True
    return mask


def test_animevideov3_tiled_is_untiled(anime: Upscaler) -> None:
    pixels = scene(150, 220)
    whole = anime.upscale(pixels, 1024)
    tiled = anime.upscale(pixels, 96)
    apart = np.abs(tiled.astype(int) - whole)
    assert (apart <= 1).mean() >= 0.999
    check_seams(tiled, whole, 96, 32)


def test_x4plus_anime_tiled_is_nearly_untiled() -> None:
    net = opened("realesrgan-x4plus-anime")
    pixels = scene(64, 190)
    whole = net.upscale(pixels, 1024)
    tiled = net.upscale(pixels, 128)
    error = ((tiled.astype(float) - whole) ** 2).mean()
    assert 10 * np.log10(255**2 / error) >= 50
    check_seams(tiled, whole, 128, 64)


def check_seams(tiled: Array, whole: Array, tile: int, overlap: int) -> None:
    """Steps between neighbours across seams are within 2 % of what they are without any."""
    seams = {across: at_seams(whole.shape[across] // 4, tile, overlap, 4) for across in (0, 1)}
    assert any(mask.any() for mask in seams.values())
    for across, mask in seams.items():
        if not mask.any():
            continue
        assert not mask.all()
        found, truth = (steepness(made, bool(across))[mask] for made in (tiled, whole))
        assert found.mean() == pytest.approx(truth.mean(), rel=0.02)


def test_a_photo_in_tiles_is_the_photo_by_animevideov3(anime: Upscaler, photo: Array) -> None:
    """Face, hair and cloth, in tiles as small as may be and as large as are chosen on a CPU."""
    pixels = np.ascontiguousarray(photo[20:240, 100:400])
    whole = anime.upscale(pixels, 1024)
    for tile in (64, 192):
        tiled = anime.upscale(pixels, tile)
        assert (np.abs(tiled.astype(int) - whole) <= 1).mean() >= 0.999
        check_seams(tiled, whole, tile, 32)


@pytest.mark.parametrize("name", ["realesrgan-x4plus", "dat-light-x4"])
def test_a_photo_in_tiles_is_nearly_the_photo(name: str, photo: Array) -> None:
    """One seam through an eye, in the smallest tiles that these nets are given."""
    net = opened(name)
    pixels = np.ascontiguousarray(photo[90:130, 150:310])
    whole = net.upscale(pixels, 1024)
    tiled = net.upscale(pixels, 128)
    error = ((tiled.astype(float) - whole) ** 2).mean()
    assert 10 * np.log10(255**2 / error) >= 50
    check_seams(tiled, whole, 128, 64)


def test_strips_are_the_whole(anime: Upscaler) -> None:
    pixels = scene(150, 120)
    strips = list(anime.strips(pixels, 64))
    assert len(strips) > 4 and all(strip.shape[1] == 480 for strip in strips)
    assert (np.concatenate(strips) == anime.upscale(pixels, 64)).all()


def test_16_bits_are_seen_and_given(anime: Upscaler) -> None:
    """A ramp over 16 levels of 255: 8 bits anywhere on the way would leave about 20."""
    ramp = np.linspace(20_000, 24_000, 256).astype(np.uint16)
    pixels = np.repeat(np.tile(ramp, (48, 1))[..., np.newaxis], 3, axis=2)
    made = anime.upscale(pixels, 96)
    assert made.dtype == np.uint16
    assert len(np.unique(made[96, :, 1])) > 700
    eight = anime.upscale((pixels // 257).astype(np.uint8), 96)
    assert len(np.unique(eight[96, :, 1])) < 40


def test_16_bits_of_8_bit_levels_are_the_same_picture(anime: Upscaler) -> None:
    pixels = scene(40, 60)
    wide = anime.upscale(pixels.astype(np.uint16) * 257, 64)
    assert np.abs(wide / 257 - anime.upscale(pixels, 64)).max() <= 1.5
