"""Sizes, Lanczos in strips, and transparency: numbers against drawn truth."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from mediakit.media.alpha import enlarge_alpha
from mediakit.media.pictures import Net, Rows, Wanted, enlarge, resize, target, too_large
from mediakit.media.resizing import resize_rows
from mediakit.media.sizes import passes, reduced

Array = NDArray[Any]


def noise(height: int, width: int, channels: int, dtype: Any) -> Array:
    most = np.iinfo(dtype).max
    return np.random.default_rng(5).integers(0, most, (height, width, channels), dtype, True)


def uneven(pixels: Array) -> Iterator[Array]:
    top, height = 0, 1
    while top < len(pixels):
        yield pixels[top : top + height]
        top, height = top + height, height % 37 + 5


def in_strips(pixels: Array) -> Rows:
    height, width, channels = pixels.shape
    return Rows(height, width, channels, pixels.dtype, uneven(pixels))


class TestSizes:
    @pytest.mark.parametrize(
        ("wanted", "size"),
        [
            (Wanted(), (400, 200)),
            (Wanted(scale=1.5), (150, 75)),
            (Wanted(width=301), (301, 150)),
            (Wanted(height=90), (180, 90)),
            (Wanted(width=30, height=90), (30, 90)),
            (Wanted(longest=250), (250, 125)),
        ],
    )
    def test_target(self, wanted: Wanted, size: tuple[int, int]) -> None:
        assert target(100, 50, wanted, 4) == size

    def test_no_side_vanishes(self) -> None:
        assert target(1000, 1, Wanted(width=10), 4) == (10, 1)
        assert reduced(1, 9, 2.0) == (1, 4)

    def test_passes(self) -> None:
        found = [passes((100, 50), (n * 100, n * 50), 4) for n in (1, 4, 5, 16)]
        assert found == [1, 1, 2, 2]
        assert passes((100, 50), (401, 200), 4) == 1  # a pixel more is Lanczos's work
        assert [passes((10, 10), (n * 10, 10), 2) for n in (2, 3, 16)] == [1, 2, 4]
        assert passes((10, 10), (90, 90), 1) == 1

    def test_too_large(self) -> None:
        assert not too_large((10, 10), (160, 160))
        assert too_large((10, 10), (161, 10))


class TestLanczos:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("size", [(399, 701), (71, 55), (200, 100), (9, 900)])
    def test_strips_are_the_whole_to_the_bit(
        self, dtype: Any, channels: int, size: tuple[int, int]
    ) -> None:
        pixels = noise(333, 200, channels, dtype)
        whole = resize(pixels, *size)
        assert whole.shape == (size[1], size[0], channels) and whole.dtype == dtype
        assert (resize_rows(in_strips(pixels), *size).whole() == whole).all()

    def test_it_is_pillows(self) -> None:
        pixels = noise(333, 200, 3, np.uint8)
        for size in ((399, 1201), (71, 55)):
            pillow = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS)
            assert np.abs(resize(pixels, *size).astype(int) - np.asarray(pillow)).max() <= 1

    def test_no_8_bit_bottleneck(self) -> None:
        ramp = np.linspace(20_000, 24_000, 500).astype(np.uint16)[np.newaxis, :, np.newaxis]
        made = resize(np.repeat(ramp, 9, 0), 1200, 20)
        assert len(np.unique(made)) > 1100
        assert (np.diff(made[10, :, 0].astype(int)) >= 0).all()


def drawn(blur: float) -> tuple[Array, Array]:
    """Shapes at 96 and 384 pixels, both from 16 times the smaller one's size."""
    large = Image.new("L", (96 * 16, 96 * 16))
    draw = ImageDraw.Draw(large)
    draw.ellipse((160, 160, 960, 880), fill=255)
    draw.polygon([(800, 800), (1440, 960), (1040, 1472)], fill=255)
    draw.line([(1120, 80), (1440, 720)], fill=255, width=48)
    draw.rectangle((240, 1120, 480, 1360), fill=128)
    large = large.filter(ImageFilter.GaussianBlur(blur)) if blur else large
    small, truth = (
        np.asarray(large.resize((side, side), Image.Resampling.BOX)) for side in (96, 384)
    )
    return small[..., np.newaxis], truth[..., np.newaxis]


class TestAlpha:
    def test_hard_edges_are_nearer_to_the_truth_than_lanczos_has_them(self) -> None:
        small, truth = drawn(0)
        mine = np.abs(enlarge_alpha(small, 384, 384).whole().astype(int) - truth).mean()
        lanczos = np.abs(resize(small, 384, 384).astype(int) - truth).mean()
        assert mine < 1.4 and lanczos > 3

    def test_soft_shadows_stay_soft(self) -> None:
        small, truth = drawn(48)
        assert np.abs(enlarge_alpha(small, 384, 384).whole().astype(int) - truth).mean() < 0.4

    def test_nothing_outside_the_range_around(self) -> None:
        """Lanczos alone rings: faint ghosts beside every edge."""
        small, truth = drawn(0)
        made = enlarge_alpha(small, 384, 384).whole()
        far = np.asarray(Image.fromarray(truth[..., 0]).filter(ImageFilter.MaxFilter(25))) == 0
        assert far.sum() > 10_000 and made[far].max() == 0

    @pytest.mark.parametrize("size", [(384, 384), (200, 130), (50, 60)])
    def test_of_16_bits_and_any_size(self, size: tuple[int, int]) -> None:
        small, _ = drawn(0)
        made = enlarge_alpha(small.astype(np.uint16) * 257, *size).whole()
        assert made.shape == (size[1], size[0], 1) and made.dtype == np.uint16
        eight = enlarge_alpha(small, *size).whole()
        assert np.abs(made / 257 - eight).max() <= 1.01


def repeated(pixels: Array) -> Iterator[Array]:
    """A net of factor 2 that repeats pixels."""
    yield from uneven(np.repeat(np.repeat(pixels, 2, 0), 2, 1))


class TestEnlarge:
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("size", [(60, 40), (75, 50), (30, 20), (240, 160), (7, 99)])
    def test_kinds_and_sizes(self, dtype: Any, channels: int, size: tuple[int, int]) -> None:
        pixels = np.full((20, 30, channels), np.iinfo(dtype).max, dtype)
        made = enlarge(Net(2, repeated), pixels, size)
        assert (made.channels, made.opaque) == (channels, channels == 4)
        whole = made.whole()
        assert whole.shape == (size[1], size[0], channels) and whole.dtype == dtype
        assert whole.min() == np.iinfo(dtype).max

    def test_flat_alpha_is_left_alone_and_the_colours_under_it_too(self) -> None:
        pixels = noise(20, 30, 4, np.uint8)
        pixels[..., 3] = 0
        whole = enlarge(Net(2, repeated), pixels, (60, 40)).whole()
        assert (whole == np.repeat(np.repeat(pixels, 2, 0), 2, 1)).all()

    def test_no_halo_from_what_lies_under_transparency(self) -> None:
        pixels = np.zeros((40, 40, 4), np.uint8)  # hidden black
        y, x = np.mgrid[0:40, 0:40]
        pixels[(x - 20) ** 2 + (y - 20) ** 2 < 200] = (240, 200, 100, 255)
        whole = enlarge(Net(2, repeated), pixels, (100, 100)).whole()
        seen = whole[whole[..., 3] > 0][:, :3].astype(int)
        assert np.abs(seen - (240, 200, 100)).max() <= 1

    def test_the_net_runs_as_often_as_needed(self) -> None:
        seen: list[tuple[int, ...]] = []

        def net(pixels: Array) -> Iterator[Array]:
            seen.append(pixels.shape)
            yield from repeated(pixels)

        enlarge(Net(2, net), noise(10, 10, 4, np.uint8), (60, 60)).whole()
        assert seen == [(10, 10, 3), (20, 20, 3), (40, 40, 3)]

    def test_downscale_first(self) -> None:
        seen: list[tuple[int, ...]] = []

        def net(pixels: Array) -> Iterator[Array]:
            seen.append(pixels.shape)
            yield from repeated(pixels)

        made = enlarge(Net(2, net), noise(40, 60, 3, np.uint8), (120, 80), downscale_first=2)
        assert made.whole().shape == (80, 120, 3)
        assert seen[0] == (20, 30, 3)
