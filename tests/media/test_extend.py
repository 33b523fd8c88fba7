"""By how much a picture is extended, and the canvas and weights that come of it."""

import numpy as np
import pytest

from mediakit.errors import ItemError
from mediakit.media.extend import Extend, ExtendTo, Margins
from mediakit.media.outpaint import extended
from mediakit.media.pictures import Picture


class TestSides:
    @pytest.mark.parametrize(
        ("text", "margins"),
        [
            ("left=128,right=128", Margins(128, 0, 128, 0)),
            ("top=25%", Margins(top=25)),
            (" left = 10% , bottom=7px ", Margins(left=20, bottom=7)),
            ("64", Margins(64, 64, 64, 64)),
            ("50%", Margins(100, 50, 100, 50)),
            ("left=0,top=0.5%", Margins(top=0)),
            ("right=0,top=1.5%", Margins(top=2)),
        ],
    )
    def test_understood(self, text: str, margins: Margins) -> None:
        assert Extend.parse(text).margins(200, 100, "a") == margins

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("", "expected sides"),
            ("left", "expected sides"),
            ("left=", "expected sides"),
            ("left=-5", "expected sides"),
            ("left=1.5", "expected sides"),
            ("middle=5", "expected sides"),
            ("left=5;right=5", "expected sides"),
            ("left=5,left=6", "left is given twice"),
            ("left=0,top=0%", "extends no side"),
        ],
    )
    def test_not_understood(self, text: str, said: str) -> None:
        with pytest.raises(ValueError, match=said):
            Extend.parse(text)

    def test_too_much(self) -> None:
        with pytest.raises(ItemError, match=r"^a\.png would become 3600x100 pixels") as error:
            Extend.parse("left=1700%").margins(200, 100, "a.png")
        assert error.value.code == "too_large"


class TestTo:
    @pytest.mark.parametrize(
        ("text", "size", "margins"),
        [
            ("16:9", (90, 90), Margins(35, 0, 35, 0)),
            ("9:16", (90, 90), Margins(0, 35, 0, 35)),
            ("1:1", (101, 50), Margins(0, 25, 0, 26)),
            ("1.85:1", (100, 100), Margins(42, 0, 43, 0)),
            ("200x150", (101, 50), Margins(49, 50, 50, 50)),
            ("200x50", (200, 50), Margins()),
            ("16:9", (1366, 768), Margins()),
            ("16:9", (1920, 1080), Margins()),
            ("3:2", (1003, 669), Margins()),  # a pixel is not worth the work
        ],
    )
    def test_understood(self, text: str, size: tuple[int, int], margins: Margins) -> None:
        found = ExtendTo.parse(text).margins(*size, "a")
        assert found == margins and bool(found) == any(vars(margins).values())

    @pytest.mark.parametrize("text", ["", "16", "16:0", "16/", "axb", "1.5x2", "16:9:4"])
    def test_not_understood(self, text: str) -> None:
        with pytest.raises(ValueError, match="expected"):
            ExtendTo.parse(text)

    def test_larger_than_that(self) -> None:
        with pytest.raises(ItemError, match=r"^a\.png has 300x100 pixels") as error:
            ExtendTo.parse("200x150").margins(300, 100, "a.png")
        assert error.value.code == "cannot_extend"


class TestCanvas:
    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_the_old_lies_in_the_new(self, channels: int, dtype: type) -> None:
        rng = np.random.default_rng(1)
        pixels = rng.integers(0, np.iinfo(dtype).max, (30, 40, channels), dtype)
        margins = Margins(left=5, top=7, right=0, bottom=11)
        picture, weights = extended(Picture(pixels, "png", dpi=(72, 72)), margins, feather=0)
        assert picture.pixels.shape == (48, 45, channels) and picture.dpi == (72, 72)
        assert (picture.pixels[7:37, 5:] == pixels).all()
        assert (picture.pixels[:7, 5] == pixels[0, 0]).all()
        assert not weights[7:37, 5:].any() and (weights == 255).sum() == 48 * 45 - 30 * 40

    def test_the_fade_reaches_into_the_old_where_there_is_something_new(self) -> None:
        picture = Picture(np.zeros((60, 80, 3), np.uint8), "png")
        _, weights = extended(picture, Margins(left=20), feather=8)
        assert (weights[:, :20] == 255).all() and not weights[:, 28:].any()
        assert (weights == weights[:1]).all() and 100 < weights[0, 23] < 200

    def test_nothing_to_extend(self) -> None:
        picture = Picture(np.zeros((6, 8, 3), np.uint8), "png")
        same, weights = extended(picture, Margins(), feather=8)
        assert same.pixels.shape == (6, 8, 3) and not weights.any()
