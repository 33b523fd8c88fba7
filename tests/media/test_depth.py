"""More than 8 bits a channel: in and out without a level lost, or said to be lost."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import pyvips
from numpy.typing import NDArray
from PIL import Image

from mediakit.media.pictures import Encoding, Picture, flatten, read_picture, write_picture
from mediakit.media.pixels import fill_transparent, to_8_bits, to_grey

Saved = Callable[..., tuple[Picture, list[str]]]


def ramp(width: int = 1500, height: int = 40) -> NDArray[np.uint16]:
    """RGB of 16 bits with as many levels as columns."""
    line = np.linspace(0, 65535, width).astype(np.uint16)
    return np.tile(np.stack([line, line[::-1], line // 2], -1)[np.newaxis], (height, 1, 1))


KINDS = {
    "grey": ramp()[..., :1],
    "RGB": ramp(),
    "RGBA": np.dstack([ramp(), ramp()[..., 0]]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("format", ["png", "tiff"])
@pytest.mark.parametrize("compression", [None, 0, 9])
def test_all_levels_are_kept(kind: str, format: str, compression: int | None, saved: Saved) -> None:
    found, lost = saved(Picture(KINDS[kind], "png"), format, compression=compression)
    assert found.pixels.dtype == np.uint16
    assert (found.pixels == KINDS[kind]).all()
    assert lost == [] and found.warnings == []


@pytest.mark.parametrize("format", ["jpg", "webp", "bmp"])
def test_what_becomes_8_bits_is_said(format: str, saved: Saved) -> None:
    found, lost = saved(Picture(ramp(), "png"), format)
    assert found.pixels.dtype == np.uint8
    assert lost == [f"{format} holds 8 bits a channel: reduced from 16"]
    assert abs(found.pixels[..., 0].astype(int) - ramp()[..., 0] / 257).mean() < 3


@pytest.mark.parametrize(("lossless", "bits"), [(False, 10), (True, 12)])
def test_avif_has_10_or_12_bits(lossless: bool, bits: int, saved: Saved) -> None:
    found, lost = saved(Picture(ramp(), "png"), "avif", lossless=lossless)
    assert found.pixels.dtype == np.uint16 and found.warnings == []
    assert lost == [f"avif holds {bits} bits a channel: reduced from 16"]
    assert len(np.unique(found.pixels[..., 0])) > 600
    apart = np.abs(found.pixels.astype(int) - ramp())
    assert apart.max() <= 16 if lossless else apart.mean() < 300
    assert found.pixels.max() == 65535  # not 65472, where 10 bits are only shifted up


@pytest.mark.parametrize("compression", ["none", "lzw", "deflate", "packbits"])
def test_tiff_of_other_programs(compression: str) -> None:
    image = pyvips.Image.new_from_array(ramp(), interpretation="rgb16")
    data = image.write_to_buffer(".tif", compression=compression, predictor="horizontal")
    assert (read_picture(data, "x", 10**6).pixels == ramp()).all()


def test_interlaced_png() -> None:
    image = pyvips.Image.new_from_array(ramp(), interpretation="rgb16")
    data = image.write_to_buffer(".png", interlace=True)
    assert (read_picture(data, "x", 10**6).pixels == ramp()).all()


def test_grey_of_16_bits_as_pillow_writes_it() -> None:
    grey = ramp()[..., 0]
    for format in ("PNG", "TIFF"):
        file = io.BytesIO()
        Image.fromarray(grey).save(file, format)
        found = read_picture(file.getvalue(), "x", 10**6)
        assert found.pixels.shape == (40, 1500, 1) and (found.pixels[..., 0] == grey).all()


def test_orientation(tmp_path: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Picture(ramp(50, 20), "png", exif=exif.tobytes().removeprefix(b"Exif\0\0"))
    write_picture(picture, tmp_path / "x", "png", Encoding())
    found = read_picture((tmp_path / "x").read_bytes(), "x", 10**6)
    assert (found.pixels == np.rot90(ramp(50, 20), -1)).all()


def test_operations_keep_the_depth() -> None:
    assert to_8_bits(np.array([[[0, 127, 128, 65535]]], np.uint16)).tolist() == [[[0, 0, 0, 255]]]
    assert to_8_bits(np.array([[[129, 65406, 65407]]], np.uint16)).tolist() == [[[1, 254, 255]]]
    greys = np.repeat(ramp()[..., :1], 3, 2)
    assert (to_grey(greys) == ramp()[..., :1]).all()
    half = np.array([[[60000, 0, 100, 0], [60000, 0, 100, 65535]]], np.uint16)
    flat = flatten(Picture(half, "png"), "white").pixels
    assert flat.tolist() == [[[65535, 65535, 65535], [60000, 0, 100]]]
    assert fill_transparent(half).tolist() == [[[60000, 0, 100], [60000, 0, 100]]]
