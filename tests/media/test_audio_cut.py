"""Bytes that a file promises and does not have are counted, where anything tells."""

import io
import struct

import pytest
from media.sounds import encoded, placed, sweep, wav

from mediakit.media.audio_cut import missing_bytes


def lacks(data: bytes) -> int:
    return missing_bytes(io.BytesIO(data))


@pytest.mark.parametrize(
    ("format", "codec"),
    [
        ("wav", "pcm_s16le"),
        ("w64", "pcm_s16le"),
        ("aiff", "pcm_s16be"),
        ("caf", "pcm_s16le"),
        ("au", "pcm_s16be"),
        ("mp3", "libmp3lame"),
        ("avi", "pcm_s16le"),
        ("matroska", "flac"),
        ("webm", "libopus"),
    ],
)
def test_all_that_is_cut_off(format: str, codec: str) -> None:
    rate = 48_000 if codec == "libopus" else 16_000
    data = encoded(format, codec, sweep(6.0, rate), rate)
    assert lacks(data) == 0
    for part in (0.3, 0.7):
        end = int(len(data) * part)
        assert lacks(data[:end]) == pytest.approx(len(data) - end, abs=500)
    assert lacks(data[:-200]) == 0  # as much as headers are wrong by


def test_mp4() -> None:
    for options in ({}, {"movflags": "+faststart"}, {"movflags": "frag_keyframe+empty_moov"}):
        data = placed("mp4", "aac", [(0, sweep(6.0))], **options)
        assert lacks(data) == lacks(data + b"TAGa title" + b"a" * 118) == 0
        assert lacks(data[: len(data) // 2]) > len(data) // 4


def test_an_incomplete_page_of_ogg() -> None:
    data = encoded("ogg", "flac", sweep(6.0))
    assert lacks(data) == 0
    assert lacks(data[:-1]) == 1
    last = data.rindex(b"OggS")
    assert lacks(data[:last]) == 0


def test_mp3_behind_a_tag_with_pictures() -> None:
    data = encoded("mp3", "libmp3lame", sweep(6.0))
    sound = data[data.index(b"\xff\xf3") :]
    tag = b"ID3\x04\0\0" + bytes([0, 1, 0, 0]) + bytes(1 << 14)
    assert lacks(tag + sound) == 0
    assert lacks(tag + sound[: len(sound) // 2]) == len(sound) - len(sound) // 2


def test_wav_beyond_4_gigabytes() -> None:
    whole = wav(sweep(1.0))
    sizes = struct.pack("<QQQI", 0, 5 << 30, 0, 0)
    data = b"RF64\xff\xff\xff\xffWAVEds64" + struct.pack("<I", len(sizes)) + sizes + whole[12:]
    data = data[: -32_000 - 4] + b"\xff" * 4 + data[-32_000:]
    assert lacks(data) == (5 << 30) - 32_000


def test_lengths_that_nobody_knew() -> None:
    whole = wav(sweep(1.0))
    for length in (0, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFD8):
        assert lacks(whole[:40] + struct.pack("<I", length) + whole[44:]) == 0
    live = placed("matroska", "flac", [(0, sweep(2.0))], live="1")
    assert lacks(live[: len(live) // 2]) == 0


def test_where_the_file_is_read_next_stays() -> None:
    file = io.BytesIO(wav(sweep(1.0))[:9000])
    file.seek(77)
    assert missing_bytes(file) > 0
    assert file.tell() == 77


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"RIFF\0\0\0\0WAVE", b"\x1a\x45\xdf\xa3", b"OggS", b"ID3", b"caff" * 9,
             b"riff", b"\xff\xfb", b"\0\0\0\x20ftyp", b"\x30\x26\xb2\x75" * 4, b"FORM....AIFF"],
)  # fmt: skip
def test_damaged_heads(data: bytes) -> None:
    assert lacks(data) == 0
