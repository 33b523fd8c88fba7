"""Masks of all kinds of files, found by name, grown and feathered."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mediakit.errors import ItemError
from mediakit.media import masks
from mediakit.media.maskfolder import MaskFolder, is_mask
from mediakit.media.pictures import Picture

Array = NDArray[Any]
LEFT = np.zeros((40, 60), np.uint8)
LEFT[:, :25] = 255


def saved(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def palette() -> Image.Image:
    image = Image.fromarray((LEFT // 255).astype(np.uint8), "L").convert("P")
    image.putpalette([0, 0, 0, 255, 255, 255])
    return image


def white_paint_on_nothing() -> Image.Image:
    return Image.fromarray(np.dstack([np.full((40, 60, 3), 255, np.uint8), LEFT]))


KINDS: dict[str, Callable[[], bytes]] = {
    "grey": lambda: saved(Image.fromarray(LEFT)),
    "bits": lambda: saved(Image.fromarray(LEFT).convert("1")),
    "rgb": lambda: saved(Image.fromarray(LEFT).convert("RGB")),
    "rgba": lambda: saved(Image.fromarray(LEFT).convert("RGBA")),
    "painted": lambda: saved(white_paint_on_nothing()),
    "palette": lambda: saved(palette()),
    "16 bits": lambda: saved(Image.fromarray(LEFT.astype(np.uint16) * 257)),
    "jpeg": lambda: saved(Image.fromarray(LEFT), "JPEG", quality=90),
    "bmp": lambda: saved(Image.fromarray(LEFT).convert("RGB"), "BMP"),
    "tiff": lambda: saved(Image.fromarray(LEFT), "TIFF"),
    "webp": lambda: saved(Image.fromarray(LEFT).convert("RGB"), "WEBP", lossless=True),
}


def disc(size: int, radius: float) -> tuple[Array, Array]:
    """A mask with a disc in the middle, and each pixel's distance from there."""
    y, x = np.indices((size, size))
    distance = np.hypot(y - size // 2, x - size // 2)
    return (distance <= radius).astype(np.uint8) * 255, distance


class TestReading:
    @pytest.mark.parametrize("kind", KINDS)
    def test_of_any_kind(self, kind: str) -> None:
        assert (masks.read_mask(KINDS[kind](), "m", 10**6) == LEFT).all()

    def test_lies_as_it_is_shown(self) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6  # turned a quarter clockwise to be seen
        data = saved(Image.fromarray(np.rot90(LEFT)), "PNG", exif=exif)
        assert (masks.read_mask(data, "m", 10**6) == LEFT).all()

    def test_levels_of_a_lossless_file_are_kept(self) -> None:
        ramp = np.tile(np.arange(256, dtype=np.uint8), (4, 1))
        assert (masks.read_mask(saved(Image.fromarray(ramp)), "m", 10**6) == ramp).all()

    def test_damaged(self) -> None:
        with pytest.raises(ItemError, match=r"^m\.png") as error:
            masks.read_mask(KINDS["grey"]()[:-20], "m.png", 10**6)
        assert error.value.code == "corrupt"


class TestAlpha:
    def test_transparency_is_the_mask(self) -> None:
        pixels = np.zeros((2, 256, 4), np.uint8)
        pixels[..., 3] = np.arange(256)
        mask = masks.alpha_mask(Picture(pixels, "png"), "a")
        assert (mask == 255 - np.arange(256)).all()

    def test_of_16_bits_the_least_trace_counts(self) -> None:
        pixels = np.zeros((1, 4, 4), np.uint16)
        pixels[..., 3] = (65535, 65534, 257, 0)
        assert masks.alpha_mask(Picture(pixels, "png"), "a").tolist() == [[0, 1, 254, 255]]

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_an_opaque_picture_has_none(self, channels: int) -> None:
        picture = Picture(np.full((4, 4, channels), 255, np.uint8), "png")
        with pytest.raises(ItemError, match=r"^a\.png has no transparent pixels") as error:
            masks.alpha_mask(picture, "a.png")
        assert error.value.code == "empty_mask"


class TestSize:
    def picture(self, width: int, height: int) -> Picture:
        return Picture(np.zeros((height, width, 3), np.uint8), "png")

    def test_its_own(self) -> None:
        mask, notes = masks.sized(LEFT, self.picture(60, 40), "m", "a")
        assert mask is LEFT and notes == []

    @pytest.mark.parametrize("size", [(120, 80), (30, 20), (600, 403), (20, 13)])
    def test_other_sizes_of_the_same_proportions(self, size: tuple[int, int]) -> None:
        mask, notes = masks.sized(LEFT, self.picture(*size), "m.png", "a.png")
        assert mask.shape == size[::-1]
        edge = size[0] * 25 / 60
        reach = max(1.0, size[0] / 60)
        assert (mask[:, : int(edge - reach)] == 255).all()
        assert (mask[:, int(edge + reach) + 1 :] == 0).all()
        sizes = f"mask m.png has 60x40 pixels, a.png {size[0]}x{size[1]}"
        assert notes == [f"{sizes}: the mask was scaled"]

    @pytest.mark.parametrize(
        ("size", "cure"), [((60, 60), "make it of the same size"), ((40, 60), "turn it")]
    )
    def test_other_proportions(self, size: tuple[int, int], cure: str) -> None:
        with pytest.raises(ItemError, match=cure) as error:
            masks.sized(LEFT, self.picture(*size), "m.png", "a.png")
        assert error.value.code == "mask_mismatch"
        assert "m.png has 60x40" in error.value.message
        assert f"a.png {size[0]}x{size[1]}" in error.value.message


class TestWeights:
    @pytest.mark.parametrize("by", [1, 2, 3, 5, 8, 16, 33, 64])
    def test_grown_by_a_disc(self, by: int) -> None:
        """All within the distance, and nothing farther than a twelfth more."""
        mask, distance = disc(2 * by + 31, 4)
        made = masks.weights_of(mask, "m", grow=by)
        assert (made[distance <= 4 + by - 1] == 255).all()
        assert (made[distance > 4 + by * 1.09 + 0.5] == 0).all()
        assert (made == made.T).all() and (made == made[::-1, ::-1]).all()

    def test_grown_exactly_by_one(self) -> None:
        mask = np.zeros((5, 5), np.uint8)
        mask[2, 2] = 255
        made = masks.weights_of(mask, "m", grow=1) // 255
        assert made.tolist() == [
            [0] * 5,
            [0, 0, 1, 0, 0],
            [0, 1, 1, 1, 0],
            [0, 0, 1, 0, 0],
            [0] * 5,
        ]

    def test_grey_grows_as_grey(self) -> None:
        mask = np.zeros((1, 9), np.uint8)
        mask[0, 3:6] = (50, 200, 100)
        made = masks.weights_of(mask, "m", grow=2)
        assert made.tolist() == [[0, 50, 200, 200, 200, 200, 200, 100, 0]]

    def test_shrinking_leaves_the_pictures_edge(self) -> None:
        made = masks.weights_of(LEFT, "m", grow=-5)
        assert (made[:, :20] == 255).all() and not made[:, 20:].any()

    def test_inverted(self) -> None:
        assert (masks.weights_of(LEFT, "m", invert=True) == 255 - LEFT).all()

    @pytest.mark.parametrize("by", [1, 2, 3, 4, 7, 16, 41, 100])
    def test_feathered_outwards(self, by: int) -> None:
        mask = np.zeros((31, 300), np.uint8)
        mask[:, :100] = 255
        row = masks.weights_of(mask, "m", feather=by)[15]
        assert (row[:100] == 255).all()
        assert (row[100 + by :] == 0).all()
        fade = row[100 : 100 + by].astype(int)
        assert (np.diff(fade) <= 0).all() and fade[0] < 256
        assert abs(fade.sum() - 255 * by / 2) <= 255 * 0.6  # half of it, on the whole

    def test_feathered_round(self) -> None:
        mask, distance = disc(201, 30)
        made = masks.weights_of(mask, "m", feather=32)
        assert (made[mask == 255] == 255).all()
        assert (made[distance > 63] == 0).all()
        assert 100 < made[(distance > 45) & (distance < 47)].mean() < 150

    def test_an_edge_of_the_picture_is_no_edge_of_the_mask(self) -> None:
        made = masks.weights_of(LEFT, "m", feather=8)
        assert (made == made[:1]).all() and (made[:, :25] == 255).all()

    def test_full(self) -> None:
        full = np.full((9, 9), 255, np.uint8)
        assert (masks.weights_of(full, "m", 3, 3) == 255).all()
        assert (masks.weights_of(full, "m", -3, 3) == 255).all()

    @pytest.mark.parametrize(
        ("level", "options", "said"),
        [
            (0, {}, r"^mask m\.png is all black: nothing to repaint; white is repainted"),
            (255, {"invert": True}, r"^mask m\.png is all white, and inverted"),
        ],
    )
    def test_empty(self, level: int, options: dict[str, bool], said: str) -> None:
        with pytest.raises(ItemError, match=said) as error:
            masks.weights_of(np.full((9, 9), level, np.uint8), "m.png", **options)
        assert error.value.code == "empty_mask"

    def test_shrunk_to_nothing(self) -> None:
        mask, _ = disc(31, 3)
        with pytest.raises(ItemError, match="shrunk by 5 pixels is empty") as error:
            masks.weights_of(mask, "m.png", grow=-5)
        assert error.value.code == "empty_mask"


class TestNetMask:
    def test_thin_lines_are_not_lost(self) -> None:
        weights = np.zeros((4000, 3000), np.uint8)
        weights[:, 1501] = 255
        made = masks.net_mask(weights, (64, 80))
        assert made.shape == (80, 64) and (made[:, 1501 * 64 // 3000] == 255).all()
        assert np.count_nonzero(made) == 80

    def test_half_of_the_fade(self) -> None:
        weights = np.array([[0, 60, 127, 128, 255]], np.uint8)
        assert masks.net_mask(weights, (5, 1)).tolist() == [[0, 0, 0, 255, 255]]

    def test_a_faint_mask_is_a_mask(self) -> None:
        weights = np.array([[0, 1, 20, 40]], np.uint8)
        assert masks.net_mask(weights, (4, 1)).tolist() == [[0, 0, 255, 255]]

    def test_enlarged(self) -> None:
        weights = np.array([[0, 255]], np.uint8)
        assert masks.net_mask(weights, (4, 2)).tolist() == [[0, 0, 255, 255]] * 2


class TestFolder:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Callable[..., MaskFolder]:
        def make(*names: str) -> MaskFolder:
            for name in names:
                path = tmp_path / "masks" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
            return MaskFolder(str(tmp_path / "masks"))

        return make

    @pytest.mark.parametrize(
        "name",
        ["a.jpg", "a.png", "a.webp", "a_mask.png", "a.mask.png", "a-mask.PNG", "a.jpg.png",
         "A.png", "a.jpg_mask.tif"],
    )  # fmt: skip
    def test_names(self, folder: Callable[..., MaskFolder], name: str) -> None:
        found = folder(name, "b.png", "aa.png", "a.txt", ".a.png").find("a.jpg", "in/a.jpg")
        assert Path(found).name == name

    def test_the_tree_is_the_pictures(self, folder: Callable[..., MaskFolder]) -> None:
        found = folder("a.png", "x/a.png", "y/a.png").find("x/a.jpg", "in/x/a.jpg")
        assert Path(found).parts[-2:] == ("x", "a.png")

    def test_accents_however_written(self, folder: Callable[..., MaskFolder]) -> None:
        found = folder("cafe\u0301.png").find("caf\u00e9.jpg", "caf\u00e9.jpg")
        assert Path(found).name == "cafe\u0301.png"

    def test_the_full_name_is_nearer(self, folder: Callable[..., MaskFolder]) -> None:
        masks_of = folder("a.png", "a.jpg", "b.png.png", "b.jpg.png")
        assert Path(masks_of.find("a.jpg", "a.jpg")).name == "a.jpg"
        assert Path(masks_of.find("a.png", "a.png")).name == "a.png"
        assert Path(masks_of.find("b.jpg", "b.jpg")).name == "b.jpg.png"

    def test_two_that_are_as_near(self, folder: Callable[..., MaskFolder]) -> None:
        with pytest.raises(ItemError) as error:
            folder("a.png", "a_mask.png").find("a.jpg", "in/a.jpg")
        assert error.value.code == "ambiguous_mask"
        assert "/a.png and " in error.value.message and "/a_mask.png;" in error.value.message

    def test_none(self, folder: Callable[..., MaskFolder]) -> None:
        with pytest.raises(ItemError, match=r"^in/a\.jpg has no mask in .*a_mask\.png$") as error:
            folder("ab.png").find("a.jpg", "in/a.jpg")
        assert error.value.code == "missing_mask"

    def test_no_such_directory(self, tmp_path: Path) -> None:
        with pytest.raises(ItemError) as error:
            MaskFolder(str(tmp_path / "none")).find("a.jpg", "a.jpg")
        assert error.value.code == "missing_mask"

    def test_beside_the_pictures(self, folder: Callable[..., MaskFolder], tmp_path: Path) -> None:
        beside = folder("a.png", "a.jpg", "a_mask.png", "b.png", "b.jpg")
        found = beside.find("a.png", str(tmp_path / "masks" / "a.png"))
        assert Path(found).name == "a_mask.png"
        with pytest.raises(ItemError) as error:
            beside.find("b.png", str(tmp_path / "masks" / "b.png"))
        assert error.value.code == "missing_mask"  # b.jpg is a picture too

    def test_names_that_say_so(self) -> None:
        assert [is_mask(name) for name in ("a_mask.png", "a.mask.jpg", "a.png", "mask.png")] == [
            True, True, False, False,
        ]  # fmt: skip
