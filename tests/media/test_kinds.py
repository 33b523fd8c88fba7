"""Palettes, ink, profiles, density, comments, animations: what each becomes, and what is kept."""

import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pyvips
from PIL import Image, ImageCms, ImageDraw

from mediakit.errors import ItemError
from mediakit.media.pictures import (
    Animation,
    Encoding,
    Net,
    Picture,
    enlarge_frames,
    in_srgb,
    read_frames,
    read_media,
    read_picture,
    write_animation,
)

Saved = Callable[..., tuple[Picture, list[str]]]
CMYK = bytes(pyvips.Operation.call("profile_load", "cmyk"))
P3 = bytes(pyvips.Operation.call("profile_load", "p3"))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def linear_profile() -> bytes:
    """sRGB's, with its curve replaced by gamma 1 (ICC.1:2022, 10.18: function type 0)."""
    start = SRGB.index(b"para")
    changed = bytearray(SRGB)
    changed[start + 8 : start + 16] = struct.pack(">HHi", 0, 0, 1 << 16)
    return bytes(changed)


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def read(data: bytes) -> Picture:
    return read_picture(data, "some.png", 10**7)


def plain(mode: str, *colour: int) -> Image.Image:
    return Image.new(mode, (16, 16), colour)


class TestInk:
    @pytest.mark.parametrize("format", ["JPEG", "TIFF"])
    def test_through_its_profile(self, format: str) -> None:
        found = read(encode(plain("CMYK", 255, 0, 0, 0), format, icc_profile=CMYK))
        assert found.pixels.shape == (16, 16, 3) and found.warnings == []
        assert np.abs(found.pixels[8, 8].astype(int) - (0, 153, 227)).max() <= 2  # by littlecms
        assert found.icc is not None and found.icc[16:20] == b"RGB "

    @pytest.mark.parametrize("format", ["JPEG", "TIFF"])
    def test_without_one(self, format: str) -> None:
        image = plain("CMYK", 55, 155, 205, 20)
        found = read(encode(image, format))
        expected = np.asarray(image.convert("RGB")).astype(int)
        assert np.abs(found.pixels - expected).max() <= 3
        assert found.warnings == ["CMYK without a profile: colours are approximate"]

    def test_of_16_bits(self) -> None:
        ink = np.zeros((8, 8, 4), np.uint16)
        ink[..., 1] = np.arange(8) * 100 + 30_000
        image = pyvips.Image.new_from_array(ink, interpretation="cmyk")
        found = read(image.write_to_buffer(".tif"))
        assert found.pixels.dtype == np.uint16
        assert found.pixels[0, :, 1].tolist() == [65535 - 30_000 - 100 * i for i in range(8)]


class TestOddTiffs:
    def test_lab(self) -> None:
        lab = encode(
            Image.merge("LAB", [Image.new("L", (4, 4), v) for v in (255, 128, 128)]), "TIFF"
        )
        found = read(lab)
        assert found.pixels.min() >= 253 and found.icc is not None

    @pytest.mark.parametrize("options", [{}, {"compression": "jpeg"}])
    def test_ycbcr(self, options: dict[str, Any]) -> None:
        image = plain("RGB", 200, 100, 50)
        image = image if options else image.convert("YCbCr")
        found = read(encode(image, "TIFF", **options))
        assert np.abs(found.pixels.astype(int) - (200, 100, 50)).max() <= 3

    @pytest.mark.parametrize("compression", ["group3", "group4", "packbits", None])
    def test_two_colours(self, compression: str | None) -> None:
        image = Image.new("1", (40, 40))
        ImageDraw.Draw(image).rectangle((5, 5, 20, 30), fill=1)
        found = read(encode(image, "TIFF", compression=compression)).pixels
        assert found.shape == (40, 40, 1)
        assert (found[..., 0] == np.asarray(image) * 255).all()

    def test_damage_says_nothing_on_stderr(self, capfd: pytest.CaptureFixture[str]) -> None:
        rng = np.random.default_rng(2)
        image = Image.fromarray(rng.integers(0, 255, (90, 90, 3), np.uint8))
        for compression in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
            data = bytearray(encode(image, "TIFF", compression=compression))
            for at in range(200, 2000, 3):
                data[at] ^= 0x5A
            with pytest.raises(ItemError):
                read(bytes(data))
        assert capfd.readouterr() == ("", "")


class TestProfiles:
    def test_kept(self, saved: Saved) -> None:
        for format in ("jpg", "png", "tiff", "webp", "avif"):
            found, lost = saved(Picture(np.full((8, 8, 3), 99, np.uint8), "png", icc=P3), format)
            assert found.icc == P3 and lost == []

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_converted(self, dtype: Any) -> None:
        most = np.iinfo(dtype).max
        pixels = np.zeros((4, 4, 4), dtype)
        pixels[..., :3] = np.array((0.5, 0.4, 0.3)) * most
        pixels[..., 3] = np.arange(4)
        found = in_srgb(Picture(pixels, "png", icc=P3))
        assert found.icc is not None and found.icc != P3
        assert found.pixels.dtype == dtype and (found.pixels[..., 3] == pixels[..., 3]).all()
        share = found.pixels[0, 0, :3] / most  # a more saturated brown than the same numbers in P3
        assert np.abs(share - (0.5147, 0.3965, 0.2877)).max() < 0.012

    def test_srgb_and_none_are_left_as_they_are(self) -> None:
        for icc in (None, SRGB):
            picture = Picture(np.zeros((2, 2, 3), np.uint8), "png", icc=icc)
            assert in_srgb(picture) is picture

    def test_damaged(self) -> None:
        picture = Picture(np.zeros((2, 2, 3), np.uint8), "png", icc=SRGB[:140] + bytes(400))
        found = in_srgb(picture)
        assert found.icc is None and "damaged" in found.warnings[0]
        assert (found.pixels == picture.pixels).all()

    def test_grey_with_a_profile_for_rgb_keeps_its_tones(self) -> None:
        grey = Image.new("L", (8, 8), 120)
        linear = linear_profile()
        found = read(encode(grey, "PNG", icc_profile=linear))
        assert found.pixels.shape == (8, 8, 3) and found.icc == linear
        assert abs(int(in_srgb(found).pixels[0, 0, 0]) - 181) <= 1  # the sRGB curve of 120 / 255
        for same in (SRGB, P3):  # by which grey is what it is without
            found = read(encode(grey, "PNG", icc_profile=same))
            assert found.pixels.shape == (8, 8, 1)
            assert found.icc is None and found.warnings == []


class TestBeside:
    @pytest.mark.parametrize(
        ("data", "dpi", "unit"),
        [
            (encode(plain("RGB", 1, 2, 3), "JPEG", dpi=(300, 150)), (300, 150), "inch"),
            (encode(plain("RGB", 1, 2, 3), "PNG", dpi=(300, 150)), (300, 150), "inch"),
            (
                encode(plain("RGB", 1, 2, 3), "TIFF", resolution_unit="cm", resolution=100),
                (254, 254),
                "cm",
            ),
            (encode(plain("RGB", 1, 2, 3), "JPEG"), None, "inch"),
        ],
    )
    def test_density(self, data: bytes, dpi: Any, unit: str, saved: Saved) -> None:
        picture = read(data)
        assert picture.dpi == (dpi and pytest.approx(dpi, rel=1e-3)) and picture.unit == unit
        for format in ("jpg", "png", "tiff", "bmp"):
            found, _ = saved(picture, format)
            assert found.dpi == (dpi and pytest.approx(dpi, rel=3e-3)), format
            if format in ("jpg", "tiff"):
                assert found.unit == unit

    def test_ratio_without_a_unit(self, saved: Saved) -> None:
        picture = Picture(np.zeros((4, 4, 3), np.uint8), "jpg", dpi=(2, 1), unit="none")
        for format in ("jpg", "png", "tiff"):
            found, _ = saved(picture, format)
            assert (found.dpi, found.unit) == ((2, 1), "none"), format

    def test_comments_and_text(self, saved: Saved) -> None:
        data = encode(plain("RGB", 1, 2, 3), "JPEG", comment="größer".encode())
        assert read(data).comment == "größer"
        for format in ("jpg", "gif"):
            assert saved(read(data), format)[0].comment == "größer"
        entries = (("Title", "ü" * 2000), ("Author", "me"))
        found, lost = saved(Picture(np.zeros((4, 4, 3), np.uint8), "png", text=entries), "png")
        assert found.text == entries and lost == []
        assert saved(found, "jpg")[1] == ["jpg can't hold the text"]

    def test_jxl_without_a_codec_names_it(self, saved: Saved) -> None:
        picture = Picture(np.zeros((4, 4, 3), np.uint8), "png")
        try:
            import pillow_jxl  # type: ignore[import-not-found]  # noqa: F401
        except ImportError:
            for act in (lambda: saved(picture, "jxl"), lambda: read(b"\xff\x0a" + bytes(40))):
                with pytest.raises(ItemError, match="pillow-jxl-plugin") as caught:
                    act()
                assert caught.value.code == "missing_codec"
        else:
            assert (saved(picture, "jxl", lossless=True)[0].pixels == 0).all()


FRAMES = 5
TIMES = (40, 80, 120, 40, 200)


def drawn(transparent: bool) -> list[Image.Image]:
    frames = []
    for i in range(FRAMES):
        frame = Image.new("RGBA", (60, 40), (0, 0, 0, 0) if transparent else (30, 60, 90, 255))
        ImageDraw.Draw(frame).rectangle((5 + 8 * i, 5, 25 + 8 * i, 30), fill=(250, 40 * i, 20))
        frames.append(frame if transparent else frame.convert("RGB"))
    return frames


def moving(format: str, transparent: bool, **options: Any) -> bytes:
    first, *others = drawn(transparent)
    given: dict[str, Any] = {"WEBP": {"lossless": True}, "GIF": {"disposal": 2}}.get(format, {})
    return encode(
        first, format, save_all=True, append_images=others, duration=list(TIMES), **given, **options
    )


def doubled(pixels: Any) -> Any:
    yield np.repeat(np.repeat(pixels, 2, 0), 2, 1)


@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize("source", ["GIF", "WEBP", "PNG"])
@pytest.mark.parametrize("out", ["gif", "webp", "png"])
def test_animation(source: str, out: str, transparent: bool, tmp_path: Path) -> None:
    found = read_media(moving(source, transparent, loop=3), "x", 10**6)
    assert isinstance(found, Animation)
    assert found.durations == TIMES
    assert found.plays == (4 if source == "GIF" else 3)  # a GIF counts repetitions
    rows = enlarge_frames(Net(2, doubled), found.frames(), FRAMES, (120, 80), found.channels)
    assert write_animation(found, rows, tmp_path / "x", out, Encoding(lossless=True)) == []
    again = read_frames((tmp_path / "x").read_bytes(), "x", 10**6)
    assert (again.durations, again.plays) == (found.durations, found.plays)
    for frame, wanted in zip(again.frames(), drawn(transparent), strict=True):
        truth = np.asarray(wanted.convert("RGBA").resize((120, 80), Image.Resampling.NEAREST))
        shown = np.asarray(Image.fromarray(frame).convert("RGBA"))
        assert (np.abs(shown[..., 3].astype(int) - truth[..., 3]) > 128).mean() < 0.005
        both = (shown[..., 3] > 250) & (truth[..., 3] > 250)
        assert np.abs(shown[both].astype(int) - truth[both]).max() <= 2


class TestAnimations:
    def test_endless_and_once(self) -> None:
        assert read_frames(moving("GIF", False, loop=0), "x", 10**6).plays == 0
        assert read_frames(moving("GIF", False), "x", 10**6).plays == 1

    def test_all_frames_count_as_pixels(self) -> None:
        data = moving("WEBP", False)
        assert read_frames(data, "x", 60 * 40 * FRAMES).count == FRAMES
        with pytest.raises(ItemError) as caught:
            read_frames(data, "x", 60 * 40 * FRAMES - 1)
        assert caught.value.code == "too_many_pixels"

    def test_a_still_picture_is_none(self) -> None:
        data = encode(plain("RGB", 1, 2, 3), "PNG")
        assert isinstance(read_media(data, "x", 10**6), Picture)
        with pytest.raises(ItemError) as caught:
            read_frames(data, "x", 10**6)
        assert caught.value.code == "unsupported_format"

    def test_formats_that_hold_one_frame(self, tmp_path: Path) -> None:
        found = read_frames(moving("GIF", False), "x", 10**6)
        rows = enlarge_frames(Net(2, doubled), found.frames(), FRAMES, (120, 80), 3)
        with pytest.raises(ItemError) as caught:
            write_animation(found, rows, tmp_path / "x", "jpg")
        assert caught.value.code == "animated" and not (tmp_path / "x").exists()

    @pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG"])
    def test_damage(self, format: str) -> None:
        data, rng = moving(format, True), np.random.default_rng(4)
        codes = set()
        for _ in range(60):
            bad = bytearray(data[: rng.integers(20, len(data))])
            bad[rng.integers(0, len(bad))] ^= 1 << rng.integers(0, 8)
            try:
                read_media(bytes(bad), "x", 10**6)
            except ItemError as error:
                codes.add(error.code)
        assert "corrupt" in codes


def test_damaged_deep_pixels_give_a_picture_or_an_item_error(saved: Saved, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 65535, (24, 30, 3), np.uint16, True)
    for format in ("png", "tiff", "avif"):
        saved(Picture(pixels, "png"), format)
        whole, failed = (tmp_path / "saved").read_bytes(), 0
        for _ in range(80):
            data = bytearray(whole[: rng.integers(20, len(whole) + 1)])
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(0, rng.choice((len(data), min(len(data), 200))))] ^= 255
            try:
                assert read_picture(bytes(data), "x", 10**6).pixels.ndim == 3
            except ItemError as error:
                assert "\n" not in error.message
                failed += 1
        assert failed > 40
