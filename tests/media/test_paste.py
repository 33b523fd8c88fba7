"""Repainting a part of a picture: what is outside stays to the bit, what is inside is the net's."""

import struct
from typing import Any

import numpy as np
import pytest
import pyvips  # type: ignore[import-untyped]
from numpy.typing import NDArray

from mediakit.errors import ItemError
from mediakit.media.extend import Margins
from mediakit.media.fills import Fill, filled
from mediakit.media.masks import alpha_mask, weights_of
from mediakit.media.native import Native
from mediakit.media.outpaint import extended
from mediakit.media.paste import Prepared, Repaint, around, prepare
from mediakit.media.pictures import Picture, in_srgb
from mediakit.media.rgb import mixed

Array = NDArray[Any]
NATIVE = Native(side=64, multiple=8, largest=96)
P3, SRGB = (bytes(pyvips.Operation.call("profile_load", name)) for name in ("p3", "srgb"))


def noise(width: int, height: int, channels: int = 3, dtype: Any = np.uint8) -> Array:
    most = np.iinfo(dtype).max
    return np.random.default_rng(3).integers(0, most, (height, width, channels), dtype, True)


def profile(kind: bytes, space: bytes, between: bytes, **tags: bytes) -> bytes:
    """The least ICC profile (ICC.1:2001, 6.1) with these tags."""
    white = struct.pack(">4s4x3i", b"XYZ ", 63190, 65536, 54061)
    tags = {"wtpt": white, **tags}
    table, body, at = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, content in tags.items():
        table += struct.pack(">4sII", name.encode(), at + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    head = struct.pack(
        ">I4xI4s4s4s12x4s", at + len(body), 0x02400000, kind, space, between, b"acsp"
    )
    head += bytes(28) + white[8:] + bytes(48)
    return head + table + body


def weights(width: int, height: int, feather: int = 6) -> Array:
    """A rectangle in the upper left quarter, feathered."""
    mask = np.zeros((height, width), np.uint8)
    mask[height // 8 : height // 3, width // 8 : width // 3] = 255
    return weights_of(mask, "m", feather=feather)


def painted(prepared: Prepared, colour: tuple[int, int, int] = (250, 20, 130)) -> Array:
    """What a net that paints one colour everywhere makes of it."""
    return prepared.paste.apply(np.full_like(prepared.pixels, colour)).pixels


class TestOutside:
    @pytest.mark.parametrize("padding", [None, 0, 16])
    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    @pytest.mark.parametrize("channels", [1, 3, 4])
    @pytest.mark.parametrize("size", [(64, 64), (75, 61), (31, 40), (301, 207)])
    def test_stays_to_the_bit(
        self, size: tuple[int, int], channels: int, dtype: Any, padding: int | None
    ) -> None:
        pixels = noise(*size, channels, dtype)
        before = pixels.copy()
        share = weights(*size)
        prepared = prepare(Picture(pixels, "png"), Repaint(share, padding), NATIVE)
        made = painted(prepared)
        assert made.dtype == dtype and made.shape == pixels.shape
        assert (made[share == 0] == before[share == 0]).all()
        assert (pixels == before).all()  # and the picture itself is not changed

    def test_inside_is_the_nets(self) -> None:
        share = weights(200, 160)
        made = painted(prepare(Picture(noise(200, 160), "png"), Repaint(share), NATIVE))
        assert (made[share == 255] == (250, 20, 130)).all()

    def test_16_bits_get_the_nets_8_widened(self) -> None:
        pixels, share = noise(64, 64, 3, np.uint16), weights(64, 64)
        made = painted(prepare(Picture(pixels, "png"), Repaint(share), NATIVE))
        assert (made[share == 255] == (250 * 257, 20 * 257, 130 * 257)).all()

    def test_grey_stays_grey(self) -> None:
        share = weights(64, 64)
        made = painted(prepare(Picture(noise(64, 64, 1), "png"), Repaint(share), NATIVE))
        luma = round(0.299 * 250 + 0.587 * 20 + 0.114 * 130)
        assert (made[share == 255] == luma).all()

    @pytest.mark.parametrize("padding", [None, 8])
    def test_a_net_that_changes_nothing_changes_nothing(self, padding: int | None) -> None:
        """At a size the net works at, nothing is resampled."""
        pixels = noise(90, 77)
        share = weights_of(np.full((77, 90), 255, np.uint8), "m")
        prepared = prepare(Picture(pixels, "png"), Repaint(share, padding), NATIVE)
        assert prepared.pixels.shape == (80, 96, 3) and prepared.warnings == []
        assert (prepared.paste.apply(prepared.pixels).pixels == pixels).all()

    def test_the_result_lands_where_it_was_seen(self) -> None:
        """A net that draws a cross through the middle of a spot it sees, in an enlarged part."""
        pixels = np.zeros((200, 300, 3), np.uint8)
        pixels[40:60, 220:240] = 255
        mask = np.zeros((200, 300), np.uint8)
        mask[30:70, 210:250] = 255
        prepared = prepare(Picture(pixels, "png"), Repaint(weights_of(mask, "m"), 10), NATIVE)
        seen = prepared.pixels > 128
        result = np.where(seen, (255, 0, 0), (0, 0, 255)).astype(np.uint8)
        made = prepared.paste.apply(result).pixels
        assert (made[42:58, 222:238] == (255, 0, 0)).all()
        assert (made[30:35, 210:250] == (0, 0, 255)).all()
        assert not made[mask == 0][:, 2].any()
        assert prepared.warnings == [
            "a part of 60x60 is small for this model: enlarged to 64x64 for it"
        ]


class TestTransparency:
    def test_paint_is_opaque_and_fades_by_its_weight(self) -> None:
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[..., 1] = 200  # invisible green
        share = weights(64, 64)
        made = painted(prepare(Picture(pixels, "png"), Repaint(share), NATIVE))
        assert (made[..., 3] == share).all()
        assert (made[share > 0][:, :3] == (250, 20, 130)).all()  # no green shines through
        assert (made[share == 0] == (0, 200, 0, 0)).all()

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_by_its_own_alpha_the_old_lies_over_the_new(self, dtype: Any) -> None:
        most = int(np.iinfo(dtype).max)
        pixels = noise(64, 64, 4, dtype)
        pixels[..., 3] = np.linspace(0, most, 64).round()
        picture = Picture(pixels, "png")
        share = weights_of(alpha_mask(picture, "a"), "a")
        prepared = prepare(picture, Repaint(share), NATIVE)
        made = painted(prepared)
        alpha = pixels[..., 3:] / most
        truth = pixels[..., :3] * alpha + np.array((250, 20, 130)) * (most / 255) * (1 - alpha)
        assert prepared.paste.opaque and (made[..., 3] == most).all()
        assert np.abs(made[..., :3] - truth).max() <= (1 if most == 255 else 257)
        assert (made[:, 63] == pixels[:, 63]).all()

    def test_what_is_invisible_is_not_shown(self) -> None:
        pixels = np.zeros((64, 64, 4), np.uint8)
        pixels[:, 30:] = (90, 160, 30, 255)
        picture = Picture(pixels, "png")
        prepared = prepare(picture, Repaint(alpha_mask(picture, "a")), NATIVE)
        assert (prepared.pixels == (90, 160, 30)).all()

    def test_an_opaque_alpha_stays(self) -> None:
        pixels = noise(64, 64, 4)
        pixels[..., 3] = 255
        prepared = prepare(Picture(pixels, "png"), Repaint(weights(64, 64)), NATIVE)
        made = painted(prepared)
        assert prepared.paste.opaque and made.shape == (64, 64, 4) and (made[..., 3] == 255).all()


class TestProfiles:
    def test_there_and_back(self) -> None:
        pixels = np.full((64, 64, 3), (180, 90, 60), np.uint8)  # within sRGB
        share = weights(64, 64)
        picture = Picture(pixels, "png", icc=P3)
        prepared = prepare(picture, Repaint(share), NATIVE)
        assert (prepared.pixels == in_srgb(picture).pixels).all()
        assert np.abs(prepared.pixels.astype(int) - pixels).max() > 8
        back = prepared.paste.apply(prepared.pixels)
        assert back.icc == P3
        assert np.abs(back.pixels.astype(int) - pixels).max() <= 2
        assert (back.pixels[share == 0] == pixels[share == 0]).all()

    @pytest.mark.parametrize("icc", [None, SRGB, SRGB[:140] + bytes(400)])
    def test_nothing_to_convert(self, icc: bytes | None) -> None:
        pixels = noise(64, 64)
        prepared = prepare(Picture(pixels, "png", icc=icc), Repaint(weights(64, 64)), NATIVE)
        assert (prepared.pixels == pixels).all()
        assert (prepared.paste.apply(prepared.pixels).pixels == pixels).all()

    def test_grey_comes_back_through_its_own(self) -> None:
        pixels = np.full((64, 64, 1), 128, np.uint8)
        linear = profile(b"mntr", b"GRAY", b"XYZ ", kTRC=b"curv" + bytes(8))
        share = weights(64, 64)
        prepared = prepare(Picture(pixels, "png", icc=linear), Repaint(share), NATIVE)
        assert (prepared.pixels == 188).all()  # sRGB's curve for half the light
        back = prepared.paste.apply(prepared.pixels)
        assert (back.pixels == 128).all() and back.icc == linear

    def test_a_profile_that_leads_one_way(self) -> None:
        """As scanners have it: what the net paints could not be brought back through it."""
        numbers = struct.pack(">9i", *(65536, 0, 0, 0, 65536, 0, 0, 0, 65536))
        straight = bytes(range(256)) * 3
        corners = bytes(c for r in (0, 200) for g in (0, 200) for b in (0, 200) for c in (r, g, b))
        table = b"mft1" + bytes(4) + bytes((3, 3, 2, 0)) + numbers + straight + corners + straight
        picture = Picture(noise(64, 64), "png", icc=profile(b"scnr", b"RGB ", b"Lab ", A2B0=table))
        assert np.abs(in_srgb(picture).pixels.astype(int) - picture.pixels).max() > 50
        prepared = prepare(picture, Repaint(weights(64, 64)), NATIVE)
        assert len(prepared.warnings) == 1 and "can't be converted back" in prepared.warnings[0]
        back = prepared.paste.apply(prepared.pixels)
        assert (back.pixels == picture.pixels).all() and back.icc == picture.icc


class TestPart:
    @pytest.mark.parametrize(
        ("box", "padding", "shown"),
        [
            ((100, 100, 120, 120), 10, (90, 90, 130, 130)),
            ((100, 100, 160, 110), 10, (90, 65, 170, 145)),  # square
            ((0, 0, 20, 40), 10, (0, 0, 50, 50)),  # moved, not cut
            ((280, 180, 300, 200), 5, (275, 175, 300, 200)),
            ((10, 0, 290, 200), 50, (0, 0, 300, 200)),
            ((100, 50, 101, 51), 0, (100, 50, 101, 51)),
        ],
    )
    def test_around(self, box: tuple[int, ...], padding: int, shown: tuple[int, ...]) -> None:
        left, top, right, bottom = box
        assert around((left, top, right, bottom), padding, (300, 200)) == shown

    def test_of_a_large_picture_only_the_part_is_seen(self) -> None:
        pixels = noise(640, 480)
        mask = np.zeros((480, 640), np.uint8)
        mask[200:220, 300:330] = 255
        whole = prepare(Picture(pixels, "png"), Repaint(mask), NATIVE)
        text = "a picture of 640x480 is large for this model: reduced to 111x83 for it"
        assert whole.warnings == [f"{text}; --only-masked repaints at full resolution"]
        part = prepare(Picture(pixels, "png"), Repaint(mask, padding=20), NATIVE)
        assert part.warnings == []  # 70 x 70 is what the net is good at
        assert (part.pixels[:70, :70] == pixels[175:245, 280:350]).all()
        assert (part.mask[25:45, 20:50] == 255).all() and (part.mask == 255).sum() == 600

    def test_the_mask_is_mirrored_as_the_picture_is(self) -> None:
        mask = np.zeros((64, 70), np.uint8)
        mask[:, 69] = 255
        prepared = prepare(Picture(noise(70, 64), "png"), Repaint(mask), NATIVE)
        assert prepared.mask.shape == (64, 72)
        assert prepared.mask[0, 67:].tolist() == [0, 0, 255, 255, 0]

    def test_nothing_to_repaint(self) -> None:
        with pytest.raises(ItemError) as error:
            prepare(Picture(noise(64, 64), "png"), Repaint(np.zeros((64, 64), np.uint8)), NATIVE)
        assert error.value.code == "empty_mask"


class TestFills:
    def mask(self) -> Array:
        mask = np.zeros((40, 60), np.uint8)
        mask[10:30, 20:50] = 255
        return mask

    @pytest.mark.parametrize("fill", ["original", "blur", "noise"])
    def test_the_rest_stays(self, fill: Fill) -> None:
        pixels, mask = noise(60, 40), self.mask()
        made = filled(pixels, mask, fill, 5)
        assert (made[mask == 0] == pixels[mask == 0]).all()
        changed = (made[mask > 0] != pixels[mask > 0]).any(axis=1).mean()
        assert changed == 0 if fill == "original" else changed > 0.99

    def test_blur_flows_from_one_side_to_the_other(self) -> None:
        pixels = np.zeros((40, 60, 3), np.uint8)
        pixels[:, 35:] = 200
        column = filled(pixels, self.mask(), "blur")[20, 20:50, 0].astype(int)
        assert column[0] < 40 and column[-1] > 160 and 60 < column[15] < 140
        assert np.abs(np.diff(column)).max() < 40

    def test_blur_goes_on_beyond_the_edge(self) -> None:
        """What is extended begins with the colours that are beside it."""
        pixels = np.zeros((64, 64, 3), np.uint8)
        pixels[:32], pixels[32:] = (10, 20, 200), (200, 100, 0)
        mask = np.zeros((64, 64), np.uint8)
        mask[:, 40:] = 255
        made = filled(pixels, mask, "blur").astype(int)
        assert np.abs(made[5, 60] - (10, 20, 200)).max() < 60
        assert np.abs(made[58, 60] - (200, 100, 0)).max() < 60

    def test_noise_has_the_pictures_colours_and_its_seed(self) -> None:
        pixels = np.full((40, 60, 3), (1, 2, 3), np.uint8)
        pixels[::2] = (200, 100, 50)
        mask = self.mask()
        made = filled(pixels, mask, "noise", 5)
        first = (made[mask > 0] == (1, 2, 3)).all(axis=1)
        assert (first | (made[mask > 0] == (200, 100, 50)).all(axis=1)).all()
        assert 0.4 < first.mean() < 0.6
        assert (filled(pixels, mask, "noise", 5) == made).all()
        assert (filled(pixels, mask, "noise", 6) != made).any()

    def test_all_masked(self) -> None:
        pixels = noise(8, 8)
        assert (filled(pixels, np.full((8, 8), 255, np.uint8), "blur") == pixels).all()


def test_mixed_in_the_middle() -> None:
    old, new = np.full((1, 3, 3), 100, np.uint8), np.full((1, 3, 3), 200, np.uint8)
    share = np.array([[0, 51, 255]], np.uint8)
    assert mixed(old, new, share)[0, :, 0].tolist() == [100, 120, 200]
    wide = mixed(old.astype(np.uint16) * 257, new.astype(np.uint16) * 257, share)
    assert wide[0, :, 0].tolist() == [25700, 30840, 51400]


def test_extending_keeps_the_picture_and_paints_around_it() -> None:
    pixels = noise(64, 64)
    canvas, share = extended(Picture(pixels, "png"), Margins(left=16, right=16), feather=8)
    prepared = prepare(canvas, Repaint(share, fill="blur"), NATIVE)
    assert prepared.pixels.shape == (64, 96, 3)
    made = painted(prepared)
    assert made.shape == (64, 96, 3)
    assert (made[:, 24:72] == pixels[:, 8:56]).all()
    assert (made[:, :16] == (250, 20, 130)).all() and (made[:, 80:] == (250, 20, 130)).all()
