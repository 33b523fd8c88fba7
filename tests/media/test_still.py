import io
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("pyvips")

from PIL import Image  # noqa: E402

from mediakit.errors import ItemError  # noqa: E402
from mediakit.media.still import read_still  # noqa: E402


def encoded(image: Any, format: str, **more: Any) -> bytes:
    into = io.BytesIO()
    image.save(into, format, **more)
    return into.getvalue()


def colour(data: bytes, at: tuple[int, int] = (0, 0)) -> list[int]:
    picture = read_still(data, "x", 10**6)
    assert picture.pixels.dtype == np.uint8
    assert picture.pixels.shape[2] == 3
    return [int(v) for v in picture.pixels[at]]


def test_what_is_transparent_is_white() -> None:
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    data = encoded(image, "PNG")
    assert colour(data) == [255, 0, 0]
    assert colour(data, (3, 3)) == [255, 255, 255]


def test_other_kinds_of_pixels() -> None:
    assert colour(encoded(Image.new("L", (4, 4), 128), "PNG")) == [128, 128, 128]
    wide = Image.fromarray(np.full((4, 4), 32896, np.uint16))
    assert colour(encoded(wide, "PNG")) == [128, 128, 128]
    red, green, blue = colour(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG"))
    assert red > 200 > 60 > max(green, blue)


def test_upright() -> None:
    image = Image.new("RGB", (8, 4), "white")
    image.paste("blue", (0, 0, 4, 4))
    exif = Image.Exif()
    exif[274] = 6  # the top is at the right
    picture = read_still(encoded(image, "PNG", exif=exif), "x", 10**6)
    assert (picture.width, picture.height) == (4, 8)
    assert list(picture.pixels[0, 0]) == [0, 0, 255]
    assert list(picture.pixels[7, 0]) == [255, 255, 255]


@pytest.mark.parametrize("format", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_of_several_frames(format: str) -> None:
    frames = [Image.new("RGB", (8, 8), name) for name in ("red", "lime", "blue")]
    more = {"lossless": True} if format == "WEBP" else {}
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **more)
    assert colour(data) == [255, 0, 0]
    assert read_still(data, "x", 64).warnings == ["the first of 3 frames or pages was taken"]


def test_what_is_no_picture() -> None:
    for data, code in ((b"hello", "unsupported_format"), (b"\xff\xd8\xff\xe0", "corrupt")):
        with pytest.raises(ItemError) as raised:
            read_still(data, "x.jpg", 10**6)
        assert raised.value.code == code
