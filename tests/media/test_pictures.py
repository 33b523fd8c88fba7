"""Reading and writing pictures: what is kept, what is refused, and that nothing else comes out."""

import errno
import io
import random
import resource
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageDraw

from mediakit.errors import CODES, ItemError, UserError
from mediakit.media.pictures import (
    Encoding,
    Picture,
    Pixels,
    fill_transparent,
    flatten,
    read_picture,
    resize,
    write_picture,
)

MANY = 10**8
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><d tiff:Orientation="6"/></x:xmpmeta>'


def scene(width: int = 96, height: int = 64) -> Image.Image:
    """A photo-like picture with no symmetry: every turn of it is another picture."""
    rng = np.random.default_rng(7)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x * 255 / width, y * 255 / height, (x + y) % 97 * 2.0], axis=-1)
    noisy = np.clip(base + rng.normal(0, 4, base.shape), 0, 255).astype(np.uint8)
    image = Image.fromarray(noisy)
    ImageDraw.Draw(image).rectangle((2, 3, 20, 9), fill=(250, 20, 30))
    return image


def encode(image: Image.Image, format: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def opened(path: Path) -> Image.Image:
    return Image.open(io.BytesIO(path.read_bytes()))


def read(data: bytes) -> Picture:
    return read_picture(data, "some.png", MANY)


def refused(data: bytes, max_pixels: int = MANY, name: str = "some.png") -> ItemError:
    with pytest.raises(ItemError) as caught:
        read_picture(data, name, max_pixels)
    assert "\n" not in caught.value.message
    assert name.isprintable() is False or name in caught.value.message
    return caught.value


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, depth: int = 8, kind: int = 2, body: bytes = b"") -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(body)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def exif_with(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    exif.get_ifd(0x8769).update({0xA002: 96, 0xA003: 64, 0x9003: "2024:01:02 03:04:05"})
    return exif


class TestKinds:
    """What each kind of pixels becomes."""

    @pytest.mark.parametrize(
        ("image", "channels"),
        [
            (scene(), 3),
            (scene().convert("L"), 1),
            (scene().convert("1"), 1),
            (scene().convert("LA"), 4),
            (scene().convert("RGBA"), 4),
            (scene().quantize(16), 3),
        ],
        ids=["RGB", "L", "1", "LA", "RGBA", "P"],
    )
    def test_modes_of_png(self, image: Image.Image, channels: int) -> None:
        pixels = read(encode(image, "PNG")).pixels
        assert pixels.dtype == np.uint8
        assert pixels.shape == (64, 96, channels)
        expected = np.asarray(image.convert({1: "L", 3: "RGB", 4: "RGBA"}[channels]))
        assert (pixels.squeeze() == expected).all()

    def test_transparent_palette_entry_stays_transparent(self) -> None:
        image = Image.new("P", (4, 2), 0)
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.putpixel((3, 1), 1)
        pixels = read(encode(image, "PNG", transparency=1)).pixels
        assert pixels[0, 0].tolist() == [10, 20, 30, 255]
        assert pixels[1, 3].tolist()[3] == 0

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
    def test_format_is_told_by_the_content(self, format: str) -> None:
        image = scene().quantize(8) if format == "GIF" else scene()
        found = read_picture(encode(image, format), "wrong.xyz", MANY)
        assert found.format == {"JPEG": "jpg"}.get(format, format.lower())
        assert found.pixels.shape == (64, 96, 3)

    def test_phone_photos_with_a_second_picture_inside_are_photos(self) -> None:
        data = encode(scene(), "MPO", save_all=True, append_images=[scene(48, 32)])
        found = read(data)
        assert (found.format, found.pixels.shape) == ("jpg", (64, 96, 3))

    def test_a_preview_page_in_a_tiff_is_no_second_picture(self) -> None:
        small = scene(24, 16)
        small.encoderinfo = {"tiffinfo": {254: 1}}  # reduced resolution
        data = encode(scene(), "TIFF", save_all=True, append_images=[small])
        assert Image.open(io.BytesIO(data)).n_frames == 2
        assert read(data).pixels.shape == (64, 96, 3)


class TestRefused:
    """Each fault has its code, and one line with the name."""

    def test_empty(self) -> None:
        assert refused(b"").code == "empty_file"

    @pytest.mark.parametrize("data", [b"hello, world\n" * 9, b"%PDF-1.7\n", b"%!PS-Adobe-3.0\n"])
    def test_not_a_picture(self, data: bytes) -> None:
        assert refused(data, name="text.jpg").code == "unsupported_format"

    @pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF"])
    @pytest.mark.parametrize("part", [0.2, 0.6])
    def test_truncated(self, format: str, part: float) -> None:
        image = scene().quantize(200) if format == "GIF" else scene()
        data = encode(image, format)
        assert refused(data[: int(len(data) * part)]).code == "corrupt"

    def test_flipped_bits_in_png_data(self) -> None:
        data = bytearray(encode(scene(), "PNG", compress_level=0))
        data[len(data) // 2] ^= 8  # stays valid zlib: only the checksum knows
        assert refused(bytes(data)).code == "corrupt"

    def test_more_pixels_than_allowed_are_not_decoded(self) -> None:
        bomb = png(60_000, 60_000)
        assert len(bomb) < 100
        error = refused(bomb)
        assert error.code == "too_many_pixels"
        assert "3,600,000,000" in error.message or "too many" in error.message
        assert "--max-pixels" in error.message

    def test_the_limit_is_exact(self) -> None:
        data = encode(scene(10, 10), "PNG")
        assert read_picture(data, "a", 100).pixels.size == 300
        assert refused(data, 99).code == "too_many_pixels"
        assert refused(data, 10).code == "too_many_pixels"

    @pytest.mark.parametrize(
        "data",
        [
            png(0, 5),
            png(5, 0),
            b"GIF89a" + struct.pack("<HHBBB", 0, 4, 0, 0, 0) + b";",
            b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 11, 8, 0, 7, 1) + b"\1\x11\0",
            b"BM" + bytes(12) + struct.pack("<IiiHH", 40, 0, 3, 1, 24) + bytes(24),
        ],
    )
    def test_zero_size(self, data: bytes) -> None:
        assert refused(data).code == "zero_size"

    @pytest.mark.parametrize("mode", ["F", "I"])
    def test_pixels_that_would_lose_something(self, mode: str) -> None:
        assert refused(encode(scene().convert(mode), "TIFF")).code == "unsupported_pixels"

    @pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
    def test_several_frames(self, format: str) -> None:
        frames = [scene(8, 8), scene(8, 8).rotate(90), scene(8, 8).rotate(180)]
        data = encode(frames[0], format, save_all=True, append_images=frames[1:])
        assert refused(data).code == "animated"

    def test_text_that_unpacks_to_gigabytes(self) -> None:
        body = b"Comment\0\0" + zlib.compress(bytes(64 * 1024**2))
        data = png(1, 1, body=bytes(4))
        data = data[:33] + chunk(b"zTXt", body) + data[33:]
        assert refused(data).code == "corrupt"

    def test_damaged_profile_and_exif_do_not_cost_the_picture(self) -> None:
        data = encode(scene(), "JPEG", icc_profile=b"nonsense" * 40, exif=b"Exif\0\0II*\0\xff\xff")
        found = read(data)
        assert found.pixels.shape == (64, 96, 3)
        assert found.icc is None and found.exif is None
        assert len(found.warnings) == 2

    def test_strange_names_stay_on_one_line(self) -> None:
        assert refused(b"", name="a\nb.png").message.startswith(r"a\nb.png ")

    def test_from_many_threads_without_touching_warnings(self) -> None:
        good, bad, codes = encode(scene(), "PNG"), png(60_000, 60_000), []

        def work() -> None:
            for _ in range(20):
                read(good)
                codes.append(refused(bad).code)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert codes == ["too_many_pixels"] * 80
        assert sum(f[2] is Image.DecompressionBombWarning for f in warnings.filters) == 1


SAMPLES = [
    ("JPEG", {"exif": exif_with(6), "icc_profile": SRGB}),
    ("PNG", {"exif": exif_with(3)}),
    ("WEBP", {"exif": exif_with(8), "icc_profile": SRGB}),
    ("TIFF", {"exif": exif_with(5)}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("BMP", {}),
    ("GIF", {}),
]


@pytest.mark.parametrize(("format", "options"), SAMPLES)
def test_damaged_bytes_give_a_picture_or_an_item_error(
    format: str, options: dict[str, Any]
) -> None:
    image = scene(40, 24).quantize(20) if format == "GIF" else scene(40, 24)
    whole, chance = encode(image, format, **options), random.Random(format)
    codes = set()
    for _ in range(150):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 2, 8))):
            data[chance.randrange(chance.choice((len(data), min(200, len(data)))))] = (
                chance.randrange(256)
            )
        if chance.random() < 0.3:
            del data[chance.randrange(1, len(data)) :]
        try:
            assert read_picture(bytes(data), "x", 10**6).pixels.dtype == np.uint8
        except ItemError as error:
            codes.add(error.code)
    assert "corrupt" in codes and codes <= CODES.keys()


class TestOrientation:
    @pytest.mark.parametrize("turn", range(1, 9))
    @pytest.mark.parametrize("format", ["PNG", "TIFF", "WEBP"])
    def test_applied_and_reset(self, format: str, turn: int, tmp_path: Path) -> None:
        options = {"lossless": True} if format == "WEBP" else {}
        data = encode(scene(), format, exif=exif_with(turn).tobytes(), **options)
        found = read(data)
        upright = {
            2: Image.Transpose.FLIP_LEFT_RIGHT,
            3: Image.Transpose.ROTATE_180,
            4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE,
            6: Image.Transpose.ROTATE_270,
            7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_90,
        }
        expected = scene().transpose(upright[turn]) if turn > 1 else scene()
        assert (found.pixels == np.asarray(expected)).all()
        write_picture(found, tmp_path / "out", "png")
        again = opened(tmp_path / "out")
        assert again.getexif().get(0x0112, 1) == 1
        assert again.getexif()[0x010F] == "Maker"
        assert again.getexif().get_ifd(0x8769)[0x9003] == "2024:01:02 03:04:05"

    def test_from_xmp_alone_and_no_longer_there_after(self) -> None:
        found = read(encode(scene(), "JPEG", xmp=XMP))
        assert found.pixels.shape == (96, 64, 3)
        assert found.xmp == XMP.replace(b'"6"', b'"1"')

    def test_the_block_is_changed_in_place(self) -> None:
        """A maker's note points into the block by absolute offsets: its bytes must not move."""
        exif = exif_with(6)
        exif.get_ifd(0x8769)[0x927C] = b"NOTE" * 50
        before = exif.tobytes().removeprefix(b"Exif\0\0")
        after = read(encode(scene(), "JPEG", exif=exif)).exif
        assert after is not None
        assert len(after) == len(before)
        assert after.index(b"NOTE" * 50) == before.index(b"NOTE" * 50)
        assert sum(a != b for a, b in zip(before, after, strict=True)) <= 5


FORMATS = ["jpg", "png", "webp", "tiff", "bmp"]


class TestWriting:
    def test_lossless_formats_keep_every_pixel(self, tmp_path: Path) -> None:
        for channels, mode in ((1, "L"), (3, "RGB"), (4, "RGBA")):
            pixels = read(encode(scene().convert(mode), "PNG")).pixels
            assert pixels.shape[2] == channels
            for format in ("png", "tiff", "bmp") if channels < 4 else ("png", "tiff"):
                write_picture(Picture(pixels, "png"), tmp_path / "x.tmp", format)
                again = read((tmp_path / "x.tmp").read_bytes())
                assert again.format == format
                assert (again.pixels == pixels).all()

    @pytest.mark.parametrize("format", ["jpg", "webp"])
    def test_quality(self, format: str, tmp_path: Path) -> None:
        picture = read(encode(scene(), "PNG"))
        sizes = []
        for quality in (30, 75, None, 100):
            write_picture(picture, tmp_path / "x", format, Encoding(quality=quality))
            sizes.append((tmp_path / "x").stat().st_size)
        assert sizes == sorted(sizes) and sizes[0] * 2 < sizes[3]
        write_picture(picture, tmp_path / "x", format)
        made = read((tmp_path / "x").read_bytes()).pixels
        error = np.abs(made.astype(int) - picture.pixels)
        assert error.mean() < (3 if format == "jpg" else 8)  # webp halves the colours' size

    def test_jpeg_keeps_the_full_resolution_of_colours(self, tmp_path: Path) -> None:
        write_picture(read(encode(scene(), "PNG")), tmp_path / "x", "jpg")
        layers = opened(tmp_path / "x").layer
        assert [layer[1:3] for layer in layers] == [(1, 1)] * 3

    @pytest.mark.parametrize("format", ["jpg", "png", "webp", "tiff"])
    def test_metadata_is_kept(self, format: str, tmp_path: Path) -> None:
        source = read(
            encode(scene(), "JPEG", exif=exif_with(6), icc_profile=SRGB, dpi=(300, 300), xmp=XMP)
        )
        larger = Picture(
            np.repeat(np.repeat(source.pixels, 2, 0), 2, 1), source.format, source.icc,
            source.exif, source.xmp, source.dpi,
        )  # fmt: skip
        assert write_picture(larger, tmp_path / "x", format) == []
        found = read((tmp_path / "x").read_bytes())
        assert found.pixels.shape == (192, 128, 3)
        assert found.icc == SRGB
        assert found.xmp == XMP.replace(b'"6"', b'"1"')
        assert found.exif is not None
        tags = Image.Exif()
        tags.load(found.exif)
        assert tags[0x010F] == "Maker" and tags.get(0x0112, 1) == 1
        inner = tags.get_ifd(0x8769)
        assert inner[0x9003] == "2024:01:02 03:04:05"
        assert (inner[0xA002], inner[0xA003]) == (128, 192)
        if format != "webp":
            assert found.dpi == pytest.approx((300, 300), rel=1e-3)

    def test_what_a_format_cannot_hold_is_said(self, tmp_path: Path) -> None:
        source = read(encode(scene(), "JPEG", exif=exif_with(1), icc_profile=SRGB))
        assert write_picture(source, tmp_path / "x", "bmp") == [
            "bmp can't hold the colour profile",
            "bmp can't hold the EXIF data",
        ]

    def test_exif_too_long_for_jpeg_is_left_out_and_said(self, tmp_path: Path) -> None:
        exif = exif_with(1)
        exif[0x010E] = "long " * 20_000
        source = read(encode(scene(), "PNG", exif=exif))
        assert write_picture(source, tmp_path / "x", "jpg") == [
            "the EXIF data is too long for jpg and was left out"
        ]
        assert read((tmp_path / "x").read_bytes()).exif is None

    def test_note_is_readable_text(self, tmp_path: Path) -> None:
        picture = read(encode(scene(), "PNG"))
        note = {"mediakit": '{"größe": "é"}'}
        write_picture(picture, tmp_path / "x", "png", Encoding(note=note))
        assert opened(tmp_path / "x").info["mediakit"] == '{"größe": "é"}'

    @pytest.mark.parametrize("format", ["jpg", "bmp"])
    def test_alpha(self, format: str, tmp_path: Path) -> None:
        image = scene().convert("RGBA")
        write_picture(read(encode(image, "PNG")), tmp_path / "x", format)
        assert read((tmp_path / "x").read_bytes()).pixels.shape[2] == 3
        image.putpixel((5, 5), (1, 2, 3, 254))
        with pytest.raises(ItemError, match="--background") as caught:
            write_picture(read(encode(image, "PNG")), tmp_path / "y", format)
        assert caught.value.code == "alpha_unsupported"
        assert not (tmp_path / "y").exists()

    @pytest.mark.parametrize(("format", "most"), [("jpg", 65500), ("webp", 16383)])
    def test_longest_side(self, format: str, most: int, tmp_path: Path) -> None:
        write_picture(Picture(np.zeros((1, most, 3), np.uint8), "png"), tmp_path / "x", format)
        assert opened(tmp_path / "x").width == most
        with pytest.raises(ItemError) as caught:
            long = np.zeros((1, most + 1, 3), np.uint8)
            write_picture(Picture(long, "png"), tmp_path / "x", format)
        assert caught.value.code == "too_large_for_format"

    @pytest.mark.parametrize("format", FORMATS)
    def test_a_full_disk_keeps_its_errno(self, format: str) -> None:
        if not Path("/dev/full").exists():
            pytest.skip("needs /dev/full")
        picture = Picture(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8), "png")
        with pytest.raises(OSError) as caught:
            write_picture(picture, Path("/dev/full"), format)
        assert caught.value.errno == errno.ENOSPC

    @pytest.mark.parametrize("format", FORMATS)
    def test_a_full_disk_half_way(self, format: str, tmp_path: Path) -> None:
        picture = Picture(np.random.default_rng(0).integers(0, 255, (300, 300, 3), np.uint8), "png")
        with pytest.raises(OSError) as caught, small_files():
            write_picture(picture, tmp_path / "x", format)
        assert caught.value.errno == errno.EFBIG

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            write_picture(read(encode(scene(), "PNG")), tmp_path / "no" / "x", "png")


@contextmanager
def small_files() -> Iterator[None]:
    """No file may grow past 8 KiB, which ends writes as a full disk does; pytest's own log, if it
    goes to one, too: so only around the writing."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def rgba(*rows: list[tuple[int, int, int, int]]) -> Pixels:
    return np.array(rows, np.uint8)


class TestPixels:
    def test_flatten(self) -> None:
        pixels = rgba([(200, 100, 0, 255), (200, 100, 0, 0), (200, 100, 0, 128)])
        flat = flatten(Picture(pixels, "png"), "#336699").pixels
        assert flat[0].tolist() == [[200, 100, 0], [51, 102, 153], [126, 101, 76]]

    def test_flatten_leaves_opaque_kinds_alone(self) -> None:
        picture = Picture(np.zeros((2, 2, 3), np.uint8), "png")
        assert flatten(picture, "white") is picture

    @pytest.mark.parametrize("colour", ["whitish", "#12", "", "#11223380"])
    def test_bad_colour(self, colour: str) -> None:
        with pytest.raises(UserError) as caught:
            flatten(Picture(np.zeros((2, 2, 4), np.uint8), "png"), colour)
        assert caught.value.code == "usage"

    def test_resize_does_not_bleed_hidden_colours(self) -> None:
        pixels = np.zeros((16, 16, 4), np.uint8)  # hidden black
        pixels[:, 8:] = (240, 240, 240, 255)
        large = resize(pixels, 64, 64)
        seen = large[large[..., 3] > 60][:, :3]
        assert large.shape == (64, 64, 4) and seen.min() >= 235

    @pytest.mark.parametrize("channels", [1, 3, 4])
    def test_resize_keeps_channels(self, channels: int) -> None:
        pixels = np.full((5, 7, channels), 255, np.uint8)
        assert resize(pixels, 3, 11).shape == (11, 3, channels)
        assert resize(pixels, 3, 11).min() == 255

    def test_fill_transparent_takes_the_nearest_visible_colour(self) -> None:
        pixels = np.zeros((40, 60, 4), np.uint8)
        pixels[10:20, 10:20] = (200, 10, 20, 255)
        pixels[15, 15] = (0, 0, 0, 0)
        before = pixels.copy()
        filled = fill_transparent(pixels)
        assert (pixels == before).all()
        assert filled.shape == (40, 60, 3)
        assert (filled == (200, 10, 20)).all(axis=2).mean() == 1

    def test_fill_transparent_of_nothing_visible(self) -> None:
        assert fill_transparent(np.zeros((3, 5, 4), np.uint8)).shape == (3, 5, 3)
