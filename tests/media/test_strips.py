"""Pictures written as they come: faults on either side, and metadata of files past 4 GB."""

import errno
import io
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mediakit.errors import OutOfMemory
from mediakit.media import tiff, vips
from mediakit.media.metadata import exif_tags
from mediakit.media.pictures import Encoding, Picture, Rows, read_picture, rows_of, write_rows

ABOUT = Picture(np.zeros((1, 1, 3), np.uint8), "png")
STREAMED = ["jpg", "png", "tiff", "bmp"]
HEIGHT, WIDTH, STRIP = 900, 400, 30


def strips(fail_at: int | None = None) -> Iterator[Any]:
    rng = np.random.default_rng(6)
    for top in range(0, HEIGHT, STRIP):
        if fail_at is not None and top >= fail_at:
            raise OutOfMemory("no memory")
        yield rng.integers(0, 255, (STRIP, WIDTH, 3), np.uint8, True)


def rows(fail_at: int | None = None) -> Rows:
    return Rows(HEIGHT, WIDTH, 3, np.dtype(np.uint8), strips(fail_at))


@pytest.mark.parametrize("format", ["png", "tiff", "bmp"])
def test_strips_of_any_height(format: str, tmp_path: Path) -> None:
    assert write_rows(ABOUT, rows(), tmp_path / "x", format) == []
    found = read_picture((tmp_path / "x").read_bytes(), "x", 10**7)
    assert (found.pixels == np.concatenate(list(strips()))).all()


@pytest.mark.parametrize("format", [*STREAMED, "webp"])
@pytest.mark.parametrize("fail_at", [0, 30, 600])
def test_a_fault_of_the_maker_comes_out(format: str, fail_at: int, tmp_path: Path) -> None:
    with pytest.raises(OutOfMemory):
        write_rows(ABOUT, rows(fail_at), tmp_path / "x", format)


@pytest.mark.parametrize("format", STREAMED)
def test_a_full_disk_stops_the_maker(format: str, tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(OSError) as caught:
            write_rows(ABOUT, rows(), tmp_path / "x", format)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.errno == errno.EFBIG


@pytest.mark.parametrize("big", [False, True])
def test_tags_in_both_kinds_of_tiff(big: bool) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769)[0x9003] = "2024:01:02 03:04:05"
    file = io.BytesIO()
    assert (
        vips.encode(rows_of(np.full((9, 9, 3), 7, np.uint8)), file, ".tif", {}, bigtiff=big) == ""
    )
    block = exif.tobytes().removeprefix(b"Exif\0\0")
    tiff.add_tags(file, exif_tags(block), {700: b"<x/>"}, (300.0, 300.0, 2))
    assert file.getvalue()[2] == (43 if big else 42)
    found = read_picture(file.getvalue(), "x", 1000)
    assert (found.pixels == 7).all() and found.dpi == (300, 300) and found.xmp == b"<x/>"
    tags = Image.open(file).getexif()
    assert tags[0x010F] == "Maker"
    assert tags.get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"


def test_the_encoding_of_jpeg_can_halve_the_colours(tmp_path: Path) -> None:
    sizes = []
    for subsampling in ("4:4:4", "4:2:0"):
        write_rows(ABOUT, rows(), tmp_path / "x", "jpg", Encoding(subsampling=subsampling))
        sizes.append((tmp_path / "x").stat().st_size)
    assert sizes[1] < 0.7 * sizes[0]
