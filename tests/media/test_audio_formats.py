"""What a file holds is told by its first bytes."""

import io

import numpy as np
import pytest
from media.sounds import CLIP, encoded, placed, tone, wav
from PIL import Image

from mediakit.media.audio_formats import SUFFIXES, sniff
from mediakit.media.formats import READABLE


@pytest.mark.parametrize(
    ("format", "codec", "suffix"),
    [
        ("wav", "pcm_s16le", ".wav"),
        ("w64", "pcm_s16le", ".w64"),
        ("aiff", "pcm_s16be", ".aiff"),
        ("caf", "pcm_s16le", ".caf"),
        ("au", "pcm_s16be", ".au"),
        ("flac", "flac", ".flac"),
        ("mp3", "libmp3lame", ".mp3"),
        ("mp2", "mp2", ".mp2"),
        ("adts", "aac", ".aac"),
        ("ac3", "ac3", ".ac3"),
        ("amr", "libopencore_amrnb", ".amr"),
        ("ogg", "libopus", ".opus"),
        ("ogg", "flac", ".ogg"),
        ("matroska", "flac", ".mkv"),
        ("webm", "libopus", ".webm"),
        ("avi", "pcm_s16le", ".avi"),
        ("mpegts", "aac", ".ts"),
        ("mpeg", "mp2", ".mpg"),
        ("mp4", "aac", ".mp4"),
        ("ipod", "aac", ".m4a"),
        ("mov", "aac", ".mov"),
        ("3gp", "aac", ".3gp"),
        ("tta", "tta", ".tta"),
        ("wv", "wavpack", ".wv"),
    ],
)
def test_each_kind(format: str, codec: str, suffix: str) -> None:
    rate = {"libopus": 48_000, "ac3": 48_000, "libopencore_amrnb": 8_000}.get(codec, 16_000)
    if codec in ("mp2", "wavpack"):
        rate = 44_100
    data = encoded(format, codec, tone(440, 0.5, rate), rate)
    assert sniff(data[:4096]) == suffix
    assert suffix in SUFFIXES


def test_mp3_without_tags() -> None:
    data = encoded("mp3", "libmp3lame", tone(440, 0.5))
    assert sniff(data[data.index(b"\xff\xf3") :]) == ".mp3"


def test_video() -> None:
    assert sniff(placed("mp4", "aac", [(0, tone(440, 0.5))], video=0.5)) == ".mp4"


def picture(format: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (20, 20)).save(file, format)
    return file.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        *map(picture, ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "AVIF"]),
        b"",
        b"R",
        b"\xff",
        b"\xff\xfb",
        b"RIFF",
        b"plain text\n",
        "UTF-16\n".encode("utf-16"),
        b'{"schema": "mediakit/1"}',
        b"GGG",
        b"%PDF-1.7",
        b"PK\x03\x04",
        bytes(4096),
    ],
)
def test_what_is_no_sound(data: bytes) -> None:
    assert sniff(data) == ""


def test_nothing_is_both_a_picture_and_a_sound() -> None:
    assert SUFFIXES & READABLE.keys() == set()
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in SUFFIXES)


def test_noise_is_nothing() -> None:
    rng = np.random.default_rng(3)
    assert sum(sniff(rng.bytes(400)) != "" for _ in range(2000)) <= 3


def test_whatever_it_is_called() -> None:
    assert sniff(CLIP.read_bytes()) == ".flac"
    assert sniff(wav(tone(440, 0.1), mask=4)) == ".wav"
