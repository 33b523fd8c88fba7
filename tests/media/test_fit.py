"""img2img's sizes: what the net is shown, and what comes back, against drawn truth."""

from typing import Any

import numpy as np
import pytest
import pyvips  # type: ignore[import-untyped]
from numpy.typing import NDArray

from mediakit.errors import ItemError
from mediakit.media.fit import How, fit
from mediakit.media.native import Native
from mediakit.media.pictures import Picture, in_srgb

SRGB, P3 = (bytes(pyvips.Operation.call("profile_load", name)) for name in ("srgb", "p3"))
NATIVE = Native(side=64, multiple=8, largest=96)


def noise(width: int, height: int, channels: int = 3, dtype: Any = np.uint8) -> NDArray[Any]:
    most = np.iinfo(dtype).max
    return np.random.default_rng(3).integers(0, most, (height, width, channels), dtype, True)


def halves(width: int, height: int) -> Picture:
    """Left red, right blue, and a green band above and below, a fifth of the height each."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    pixels[: height // 5] = pixels[-(height // 5) :] = (0, 255, 0)
    return Picture(pixels, "png")


class TestNative:
    @pytest.mark.parametrize(
        ("size", "working"),
        [
            ((64, 64), (64, 64)),
            ((62, 62), (62, 62)),  # nearly enough
            ((32, 32), (64, 64)),
            ((96, 24), (128, 32)),  # the area counts, not the shorter side
            ((70, 90), (70, 90)),
            ((200, 50), (192, 48)),  # 96 x 96 pixels at most
        ],
    )
    def test_working(self, size: tuple[int, int], working: tuple[int, int]) -> None:
        assert NATIVE.working(size) == working

    def test_canvas_is_the_next_multiple(self) -> None:
        assert Native(64, 16).canvas((65, 64)) == (80, 64)

    def test_a_line_is_refused(self) -> None:
        with pytest.raises(ItemError, match=r"^1100x100 pixels are too long") as error:
            NATIVE.working((1100, 100))
        assert error.value.code == "too_narrow"


class TestBack:
    """A net that changes nothing gives the picture back."""

    @pytest.mark.parametrize("size", [(64, 64), (70, 61), (77, 83)])
    def test_own_size_is_never_resampled(self, size: tuple[int, int]) -> None:
        picture = Picture(noise(*size), "png")
        fitted = fit(picture, "keep", NATIVE)
        assert [side % 8 for side in fitted.pixels.shape[:2]] == [0, 0]
        assert (fitted.back(fitted.pixels).pixels == picture.pixels).all()
        assert fitted.warnings == ()

    def test_the_pixels_beyond_are_mirrored(self) -> None:
        pixels = noise(70, 64)
        assert (fit(Picture(pixels, "png"), "keep", NATIVE).pixels[:, 70] == pixels[:, 69]).all()

    @pytest.mark.parametrize("how", ["crop", "pad", "stretch"])
    def test_the_size_asked_for(self, how: How) -> None:
        fitted = fit(Picture(noise(90, 50), "png"), how, NATIVE, 75, 67)
        assert fitted.pixels.shape == (72, 80, 3)
        assert fitted.back(fitted.pixels).pixels.shape == (67, 75, 3)

    def test_keep_fits_into_the_box(self) -> None:
        fitted = fit(Picture(noise(90, 45), "png"), "keep", NATIVE, 120, 120)
        assert fitted.back(fitted.pixels).pixels.shape == (60, 120, 3)

    def test_one_side_keeps_the_proportions(self) -> None:
        fitted = fit(Picture(noise(90, 45), "png"), "crop", NATIVE, width=180)
        assert fitted.size == (180, 90)

    def test_a_small_result_is_made_large_and_reduced(self) -> None:
        fitted = fit(Picture(noise(20, 10), "png"), "keep", NATIVE, 20, 10)
        assert fitted.working == (91, 45) and fitted.pixels.shape == (48, 96, 3)
        assert fitted.back(fitted.pixels).pixels.shape == (10, 20, 3)
        text = "a picture of 20x10 is small for this model: enlarged to 91x45 for it"
        assert fitted.warnings == (text,)

    def test_a_small_result_of_a_large_picture(self) -> None:
        fitted = fit(Picture(noise(200, 100), "png"), "stretch", NATIVE, 20, 20)
        assert fitted.pixels.shape == (64, 64, 3) and fitted.size == (20, 20)
        text = "a result of 20x20 is small for this model: enlarged to 64x64 for it"
        assert fitted.warnings == (text,)

    def test_a_small_picture_for_a_large_result(self) -> None:
        fitted = fit(Picture(noise(20, 10), "png"), "keep", NATIVE, 128, 128)
        assert fitted.size == fitted.working == (128, 64)
        text = "a picture of 20x10 is small for this model: enlarged to 128x64 for it"
        assert fitted.warnings == (text,)

    def test_a_small_picture_is_enlarged(self) -> None:
        fitted = fit(Picture(noise(40, 20), "png"), "keep", NATIVE)
        assert fitted.back(fitted.pixels).pixels.shape == (45, 91, 3)
        text = "a picture of 40x20 is small for this model: enlarged to 91x45 for it"
        assert fitted.warnings == (text,)

    def test_a_large_picture_is_reduced_unless_told(self) -> None:
        picture = Picture(noise(192, 192), "png")
        fitted = fit(picture, "keep", NATIVE)
        assert fitted.size == (96, 96)
        text = "a picture of 192x192 is large for this model: reduced to 96x96 for it"
        assert fitted.warnings == (text,)
        assert fit(picture, "keep", NATIVE, 192, 192).pixels.shape == (192, 192, 3)


class TestHow:
    def test_crop_fills_and_cuts_both_sides_alike(self) -> None:
        fitted = fit(halves(200, 100), "crop", NATIVE, 80, 80)
        assert (fitted.pixels[40, :38] == (255, 0, 0)).all()
        assert (fitted.pixels[40, 42:] == (0, 0, 255)).all()
        assert (fitted.pixels[5] == (0, 255, 0)).all()

    def test_pad_shows_all_of_it_and_blurs_the_edge(self) -> None:
        fitted = fit(halves(160, 80), "pad", NATIVE, 80, 80)
        assert fitted.inner == (0, 20, 80, 60)
        assert (fitted.pixels[40, :36] == (255, 0, 0)).all()
        assert (fitted.pixels[40, 44:] == (0, 0, 255)).all()
        assert (fitted.pixels[22] == (0, 255, 0)).all()
        border = fitted.pixels[:20].astype(int)
        assert border[..., 1].min() > 150 and border[..., 1].mean() > 200  # mostly the band's green

    def test_stretch_changes_the_proportions(self) -> None:
        fitted = fit(halves(160, 80), "stretch", NATIVE, 80, 80)
        green = (fitted.pixels[:, 20] == (0, 255, 0)).all(axis=1)
        assert 15 * 2 - 4 <= green.sum() <= 16 * 2


class TestKinds:
    def test_grey_is_shown_as_rgb_and_may_become_coloured(self) -> None:
        pixels = noise(64, 64, 1)
        fitted = fit(Picture(pixels, "png"), "keep", NATIVE)
        assert (fitted.pixels == pixels).all() and fitted.pixels.shape == (64, 64, 3)
        coloured = fitted.pixels.copy()
        coloured[..., 0] = 7
        assert (fitted.back(coloured).pixels == coloured).all()

    def test_16_bits_become_8_and_the_record_says_so(self) -> None:
        pixels = noise(64, 64)
        fitted = fit(Picture(pixels.astype(np.uint16) * 257, "png"), "keep", NATIVE)
        back = fitted.back(fitted.pixels).pixels
        assert back.dtype == np.uint8 and (back == pixels).all()
        text = "the picture has 16 bits a channel: the model, and so the result, has 8"
        assert fitted.warnings == (text,)

    def test_alpha_goes_past_the_net(self) -> None:
        pixels = noise(64, 72, 4)
        fitted = fit(Picture(pixels, "png"), "keep", NATIVE)
        back = fitted.back(np.zeros_like(fitted.pixels)).pixels
        assert (back[..., 3] == pixels[..., 3]).all() and not back[..., :3].any()

    def test_alpha_is_cut_as_the_picture_is(self) -> None:
        pixels = noise(160, 80, 4)
        pixels[..., 3] = 0
        pixels[:, 40:120, 3] = 255  # the part that the crop leaves
        cropped = fit(Picture(pixels, "png"), "crop", NATIVE, 80, 80)
        assert (cropped.back(cropped.pixels).pixels[..., 3] == 255).all()

    def test_what_is_invisible_is_not_shown(self) -> None:
        pixels = np.zeros((64, 64, 4), np.uint8)  # transparent black
        pixels[20:40, 20:40] = (200, 100, 50, 255)
        assert (fit(Picture(pixels, "png"), "keep", NATIVE).pixels == (200, 100, 50)).all()

    def test_an_alpha_that_is_full_is_left_out(self) -> None:
        pixels = noise(64, 64, 4)
        pixels[..., 3] = 255
        fitted = fit(Picture(pixels, "png"), "keep", NATIVE)
        assert (fitted.back(fitted.pixels).pixels == pixels[..., :3]).all()

    def test_the_net_sees_srgb_and_the_result_has_its_profile(self) -> None:
        pixels = np.full((64, 64, 3), (200, 40, 90), np.uint8)
        picture = Picture(pixels, "png", icc=P3, dpi=(300, 300))
        fitted = fit(picture, "keep", NATIVE)
        back = fitted.back(fitted.pixels)
        truth = in_srgb(picture)
        assert np.abs(truth.pixels.astype(int) - pixels).max() > 15
        assert (fitted.pixels == truth.pixels).all()
        assert back.icc == truth.icc == SRGB and back.dpi == (300, 300)

    def test_srgb_is_not_converted(self) -> None:
        picture = Picture(noise(64, 64), "png", icc=SRGB)
        fitted = fit(picture, "keep", NATIVE)
        assert (fitted.pixels == picture.pixels).all()
        assert fitted.back(fitted.pixels).icc == SRGB
