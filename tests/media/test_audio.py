"""Recordings of any kind become the same samples, at the right moments, whole or by parts."""

import io
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import sounds
from media.sounds import CLIP, Maker, encoded, frequency, level, placed, speech, sweep, tone, wav

from mediakit.errors import ItemError
from mediakit.media.audio import RATE, Recording, Track, probe

# format, codec, rate, seconds by which a decoder that knows nothing of the coder's delay is late
KINDS = [
    ("wav", "pcm_s16le", 16_000, 0.0),
    ("wav", "pcm_u8", 8_000, 0.0),
    ("wav", "pcm_s24le", 48_000, 0.0),
    ("wav", "pcm_f32le", 44_100, 0.0),
    ("wav", "pcm_f64le", 22_050, 0.0),
    ("w64", "pcm_s16le", 16_000, 0.0),
    ("aiff", "pcm_s16be", 16_000, 0.0),
    ("caf", "pcm_s16le", 16_000, 0.0),
    ("au", "pcm_s16be", 16_000, 0.0),
    ("flac", "flac", 44_100, 0.0),
    ("mp3", "libmp3lame", 44_100, 0.0),
    ("mp4", "aac", 44_100, 0.0),
    ("mov", "pcm_s16le", 16_000, 0.0),
    ("ogg", "libopus", 48_000, 0.0),
    ("ogg", "flac", 16_000, 0.0),
    ("matroska", "libopus", 48_000, 0.0),
    ("webm", "libopus", 48_000, 0.0),
    ("adts", "aac", 16_000, 0.064),
    ("mpegts", "aac", 16_000, 0.064),
    ("ac3", "ac3", 48_000, 0.006),
    ("amr", "libopencore_amrnb", 8_000, 0.01),
]

# which tell no length, or only at their end
_NO_LENGTH = ("adts", "mpegts", "ac3", "amr", "mp4", "mov")


def heard(source: "str | bytes", *place: float, stream: int | None = None) -> Any:
    return np.concatenate([np.zeros(0, np.float32), *Recording(source, stream).blocks(*place)])


def code(source: "str | bytes", stream: int | None = None) -> str:
    with pytest.raises(ItemError) as caught:
        heard(source, stream=stream)
    assert "\n" not in caught.value.message
    return caught.value.code


def lag(samples: Any, truth: Any, at: float) -> float:
    """By how many seconds the samples are late at that second."""
    piece, reach = samples[round(at * RATE) :][: RATE // 4], RATE // 8
    around = truth[round(at * RATE) - reach :][: RATE // 4 + 2 * reach]
    return (reach - int(np.correlate(around, piece, "valid").argmax())) / RATE


class TestSamples:
    @pytest.mark.parametrize(("format", "codec", "rate", "late"), KINDS)
    def test_of_any_kind(self, format: str, codec: str, rate: int, late: float) -> None:
        data = encoded(format, codec, sweep(3.0, rate), rate)
        found = heard(data)
        assert found.dtype == np.float32
        assert len(found) / RATE == pytest.approx(3.0, abs=0.13 if late else 0.06)
        assert lag(found, sweep(3.0), 1.0) == pytest.approx(late, abs=0.002)
        assert level(found[RATE : 2 * RATE]) == pytest.approx(
            0.5, rel=0.25 if format == "amr" else 0.12
        )
        assert Recording(data).seconds == pytest.approx(3.0, abs=0.25)

    @pytest.mark.parametrize(("format", "codec", "rate", "late"), KINDS)
    def test_any_part_is_a_part_of_the_whole(
        self, format: str, codec: str, rate: int, late: float
    ) -> None:
        data = encoded(format, codec, sweep(9.0, rate), rate)
        whole, part = heard(data), heard(data, 4.321, 7.9)
        assert len(part) == round((7.9 - 4.321) * RATE)
        wanted = whole[round(4.321 * RATE) :][: len(part)]
        if format in ("matroska", "webm"):  # whose times are in milliseconds
            shifted = whole[round(4.321 * RATE) - 16 :][: len(part) + 32]
            assert np.correlate(shifted, part, "valid").max() > 0.99 * (part @ part)
        else:
            assert np.abs(part - wanted).max() < 0.03

    def test_what_needs_no_change_is_not_changed(self) -> None:
        samples = np.random.default_rng(1).integers(-32768, 32768, 50_000) / 32768
        found = heard(wav(samples * 32768 / 32767))
        assert np.abs(found - samples).max() < 1e-6

    @pytest.mark.parametrize("rate", [8_000, 11_025, 44_100, 96_000, 192_000])
    def test_rates(self, rate: int) -> None:
        found = heard(wav(tone(1000, 2.0, rate), rate))
        assert len(found) == pytest.approx(2 * RATE, abs=1)
        assert frequency(found) == pytest.approx(1000, abs=1)
        assert level(found[1000:-1000]) == pytest.approx(0.5, rel=0.01)

    def test_what_is_above_8_khz_does_not_come_back_as_something_else(self) -> None:
        found = heard(wav(tone(11_000, 1.0, 44_100), 44_100))
        assert level(found[100:-100]) < 0.001

    def test_loud_and_broken_numbers(self) -> None:
        samples = tone(440, 1.0, 44_100, 3.0)
        samples[20_000:20_010] = np.nan
        samples[30_000] = np.inf
        found = heard(encoded("wav", "pcm_f32le", samples, 44_100))
        assert np.isfinite(found).all()
        assert np.abs(found).max() == 1.0
        assert level(found[:5000]) > 1

    def test_a_voice_in_the_centre_of_eight_channels_at_192_khz(self) -> None:
        channels = np.zeros((8, 192_000))
        channels[2] = tone(700, 1.0, 192_000, 0.8)  # front centre, in the order of WAV
        channels[3] = tone(60, 1.0, 192_000, 0.8)  # low-frequency effects
        found = heard(wav(channels, 192_000, mask=0x63F))
        assert frequency(found) == pytest.approx(700, abs=2)
        assert level(found) > 0.2

    def test_a_voice_with_opposite_signs_left_and_right(self) -> None:
        voice = speech()
        found = heard(encoded("flac", "flac", np.stack([voice, -voice]), 16_000, "stereo"))
        assert level(found) == pytest.approx(level(voice), rel=0.01)

    def test_kinds_may_change_on_the_way(self) -> None:
        left = np.stack([tone(500, 2.0, 44_100), np.zeros(88_200)])
        both = encoded("adts", "aac", tone(500, 2.0)) + encoded(
            "adts", "aac", left, 44_100, "stereo"
        )
        found = heard(both)
        assert len(found) / RATE == pytest.approx(4.1, abs=0.1)
        assert frequency(found[8000:24000]) == pytest.approx(500, abs=2)
        assert frequency(found[-24000:-8000]) == pytest.approx(500, abs=2)
        assert level(found[-24000:-8000]) == pytest.approx(0.25, rel=0.1)


class TestBlocks:
    def test_are_of_30_seconds(self) -> None:
        data = encoded("flac", "flac", sweep(70.0))
        recording = Recording(data)
        assert [len(block) / RATE for block in recording.blocks()] == [30, 30, 10]
        assert [len(block) / RATE for block in recording.blocks(5, 65.5)] == [30, 30, 0.5]
        assert [len(block) / RATE for block in recording.blocks(0, 30)] == [30]
        assert list(recording.blocks(10, 10)) == list(recording.blocks(80)) == []

    def test_need_no_more_memory_for_a_longer_recording(self) -> None:
        data = encoded("flac", "flac", np.zeros(16 * 60 * RATE))  # 61 MB of samples
        recording = Recording(data)
        tracemalloc.start()
        try:
            blocks = sum(1 for _ in recording.blocks())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert blocks == 32
        assert peak < 12e6

    def test_of_one_recording_can_be_read_side_by_side(self) -> None:
        recording = Recording(encoded("flac", "flac", sweep(35.0)))
        pairs = zip(recording.blocks(), recording.blocks(), strict=True)
        assert all((a == b).all() for a, b in pairs)


class TestFacts:
    def test_several_streams(self) -> None:
        maker = Maker("matroska")
        first = maker.sound("flac", 16_000, language="deu", title="Synchronfassung")
        second = maker.sound("aac", 44_100, "stereo", language="eng")
        maker.say(first, tone(400, 2.0))
        maker.say(second, np.stack([tone(900, 2.0, 44_100)] * 2))
        data = maker.made()
        facts = probe(data)
        assert facts.tracks == (
            Track(0, "flac", 1, 16_000, "deu", "Synchronfassung"),
            Track(1, "aac", 2, 44_100, "eng", ""),
        )
        assert facts.seconds == pytest.approx(2.0, abs=0.1)
        assert facts.format == "matroska,webm"
        assert frequency(heard(data, stream=0)[1000:]) == pytest.approx(400, abs=2)
        assert frequency(heard(data, stream=1)[1000:]) == pytest.approx(900, abs=2)
        with pytest.raises(ItemError, match="has 2 audio streams, none with the number 2") as e:
            Recording(data, 2)
        assert e.value.code == "no_audio"
        assert code(data, stream=-1) == "no_audio"

    def test_the_default_stream_is_taken(self) -> None:
        maker = Maker("matroska")
        streams = [maker.sound("flac", 16_000) for _ in range(3)]
        streams[0].disposition = streams[2].disposition = sounds.Disposition(0)
        streams[1].disposition = sounds.Disposition.default
        for number, stream in enumerate(streams):
            maker.say(stream, tone(300 + 200 * number, 1.0))
        recording = Recording(maker.made())
        assert recording.track.index == 1
        assert frequency(next(recording.blocks())) == pytest.approx(500, abs=2)

    def test_cover_art_is_no_obstacle(self) -> None:
        for format, codec in (("mp3", "libmp3lame"), ("mp4", "aac")):
            maker = Maker(format)
            stream, cover = maker.sound(codec, 16_000), maker.picture(cover=True)
            maker.say(stream, sweep(3.0))
            maker.show(cover, 0)
            found = heard(maker.made())
            assert abs(lag(found, sweep(3.0), 1.0)) < 0.001

    def test_the_length_is_measured_where_it_is_not_written(self) -> None:
        maker = Maker("webm", live="1")  # as browsers record
        stream = maker.sound("libopus", 48_000)
        maker.say(stream, sweep(4.0, 48_000))
        recording = Recording(maker.made())
        assert recording.seconds is None
        assert sum(len(block) for block in recording.blocks()) == pytest.approx(4 * RATE, abs=400)
        assert recording.seconds == pytest.approx(4.0, abs=0.02)

    def test_path_and_bytes(self, tmp_path: Path) -> None:
        name = os.fsencode(tmp_path) + b"/caf\xe9 100%d.wav"  # not UTF-8, and no pattern
        Path(os.fsdecode(name)).write_bytes(CLIP.read_bytes())  # FLAC, whatever its name
        found = heard(os.fsdecode(name))
        assert (found == heard(CLIP.read_bytes())).all()
        assert np.abs(found - speech()).max() < 1e-6


class TestTimes:
    """Sound is where the file's playback has it."""

    @pytest.mark.parametrize(
        ("format", "codec"),
        [("mp4", "aac"), ("matroska", "aac"), ("matroska", "pcm_s16le"), ("mpegts", "aac")],
    )
    def test_sound_that_begins_after_the_pictures_and_has_a_gap(
        self, format: str, codec: str
    ) -> None:
        parts = [(0.512, tone(500, 2.048)), (6.4, tone(900, 2.048))]
        found = heard(placed(format, codec, parts, video=9.0))
        assert level(found[: round(0.44 * RATE)]) < 0.01
        assert frequency(found[RATE : 2 * RATE]) == pytest.approx(500, abs=2)
        assert level(found[round(2.7 * RATE) : round(6.3 * RATE)]) < 0.01
        assert frequency(found[7 * RATE : 8 * RATE]) == pytest.approx(900, abs=2)
        edge = (
            int(np.abs(found[round(2.7 * RATE) :]).argmax() > 0)
            and np.flatnonzero(np.abs(found[3 * RATE :]) > 0.2)[0] + 3 * RATE
        )
        assert edge / RATE == pytest.approx(6.4, abs=0.07)

    @pytest.mark.parametrize("format", ["mp4", "matroska", "mpegts"])
    def test_a_file_begins_with_its_first_stream(self, format: str) -> None:
        data = placed(format, "aac", [(100.0, sweep(3.0))])
        recording = Recording(data)
        found = np.concatenate(list(recording.blocks()))
        assert len(found) / RATE == pytest.approx(3.07, abs=0.08)
        assert recording.seconds == len(found) / RATE

    def test_parts_after_a_gap_are_found_from_any_start(self) -> None:
        parts = [(0.0, tone(500, 2.048)), (6.0, sweep(6.144))]
        for format in ("mp4", "matroska"):
            data = placed(format, "aac", parts, video=13.0)
            whole = heard(data)
            for start in (1.5, 4.0, 5.9, 8.0):
                part = heard(data, start, start + 2)
                wanted = whole[round(start * RATE) :][: 2 * RATE]
                assert len(part) == 2 * RATE
                assert np.abs(part - wanted).max() < 0.05, (format, start)

    def test_a_broadcast_whose_clock_begins_anew(self) -> None:
        parts = [placed("mpegts", "aac", [(at, sweep(3.0))]) for at in (500.0, 20.0, 9000.0)]
        found = heard(b"".join(parts))
        assert len(found) / RATE == pytest.approx(9.2, abs=0.3)
        for start in (0.1, 3.1, 6.2):
            piece = found[round((start + 0.5) * RATE) :][:4000]
            assert 210 < frequency(piece) < 270

    def test_jitter_is_no_gap(self) -> None:
        step = 1024 / RATE
        rng = np.random.default_rng(5)
        samples = sweep(4.0)
        parts = [
            (i * step + rng.uniform(0, 0.01), samples[i * 1024 :][:1024])
            for i in range(len(samples) // 1024)
        ]
        found = heard(placed("matroska", "pcm_s16le", parts))
        assert len(found) == len(samples) // 1024 * 1024
        assert lag(found, samples, 2.0) == pytest.approx(0, abs=0.011)


class TestNoSound:
    def test_pictures_only(self) -> None:
        maker = Maker("mp4")
        maker.show(maker.picture(), 1.0)
        with pytest.raises(ItemError, match="has no sound: it holds video only") as caught:
            Recording(maker.made(), name="a.mp4")
        assert caught.value.code == "no_audio"

    def test_an_empty_stream(self) -> None:
        assert code(wav(np.zeros(0))) == "no_audio"

    def test_another_codec_and_encryption(self) -> None:
        data = encoded("mp4", "aac", tone(440, 1.0))
        at = data.index(b"mp4a", data.index(b"stsd"))
        locked = data[:at] + b"enca" + data[at + 4 :]
        with pytest.raises(ItemError, match="is encrypted") as caught:
            Recording(locked)
        assert caught.value.code == "unsupported_format"
        descriptor = data.index(b"esds") + 4
        kind = data.index(b"\x40\x15", descriptor)  # MPEG-4 audio: another number is no codec
        unknown = data[:kind] + b"\xfe" + data[kind + 1 :]
        unknown = unknown[:at] + b"zzzz" + unknown[at + 4 :]
        assert code(unknown) == "missing_codec"


class TestNoRecordings:
    @pytest.mark.parametrize(
        "content",
        [
            b"Dear Jane, the weather is fine.\n" * 200,
            b"#EXTM3U\n#EXTINF:5,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n",
            b"ffconcat version 1.0\nfile /etc/passwd\n",
            b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=audio 5004 RTP/AVP 0\n",
            b"1\n00:00:01,000 --> 00:00:02,000\nhello\n",
            b"\x89PNG\r\n\x1a\n" + bytes(2000),
            b"%PDF-1.7\n" + bytes(range(256)) * 40,
            bytes(5000),
        ],
    )
    def test_whatever_they_are_called(self, content: bytes, tmp_path: Path) -> None:
        for name in ("a.mp3", "a.wav", "a.mp4", "a.txt", "a"):
            path = tmp_path / name
            path.write_bytes(content)
            assert code(str(path)) in ("unsupported_format", "no_audio", "corrupt")

    def test_no_such_file(self, tmp_path: Path) -> None:
        assert code(str(tmp_path / "a.wav")) == "missing_file"
        assert code(str(tmp_path)) == "not_a_file"
        assert code("\0.wav") == "unreadable"
        os.mkfifo(tmp_path / "pipe")
        assert code(str(tmp_path / "pipe")) == "not_a_file"
        (tmp_path / "empty.wav").touch()
        assert code(str(tmp_path / "empty.wav")) == code(b"") == "empty_file"

    def test_an_address_is_a_name(self) -> None:
        for name in ("http://127.0.0.1:9/a.mp3", "concat:a|b", "pipe:0", "lavfi:sine"):
            assert code(name) == "missing_file"

    def test_a_file_that_is_being_written(self, tmp_path: Path) -> None:
        path = tmp_path / "a.wav"
        path.write_bytes(wav(sweep(70.0)))
        with pytest.raises(ItemError, match="changed while it was read") as caught:
            for _ in Recording(str(path)).blocks():
                with path.open("ab") as file:
                    file.write(b"\0" * 100)
        assert caught.value.code == "changed"


class TestDamage:
    @pytest.mark.parametrize(
        ("format", "codec", "rate"),
        [(*kind[:3],) for kind in KINDS if kind[0] not in _NO_LENGTH],
    )
    def test_what_is_cut_off_is_told_by_times(self, format: str, codec: str, rate: int) -> None:
        data = encoded(format, codec, sweep(20.0, rate), rate)
        with pytest.raises(ItemError) as caught:
            Recording(data[: len(data) * 6 // 10], name="talk")
        assert caught.value.code == "truncated"
        times = [float(word) for word in caught.value.message.split() if word[0].isdigit()]
        assert caught.value.message.startswith("talk is cut off: it ends at ")
        assert times[0] == pytest.approx(12, abs=1.2)
        assert times[1:] == ([] if format == "ogg" else [pytest.approx(20, abs=0.3)])
        assert Recording(data).seconds == pytest.approx(20, abs=0.2)

    def test_an_mp4(self) -> None:
        late = placed("mp4", "aac", [(0, sweep(20.0))])
        assert code(late[: len(late) * 6 // 10]) == "truncated"  # its index came last
        early = placed("mp4", "aac", [(0, sweep(20.0))], movflags="+faststart")
        with pytest.raises(ItemError, match=r"ends at 1[12]\.\d s of 20\.\d s") as caught:
            Recording(early[: len(early) * 6 // 10])
        assert caught.value.code == "truncated"

    def test_where_no_length_is_told_the_end_is(self) -> None:
        data = encoded("adts", "aac", sweep(20.0))
        recording = Recording(data[: len(data) * 6 // 10])
        found = np.concatenate(list(recording.blocks()))
        assert len(found) / RATE == pytest.approx(12, abs=0.7)
        assert recording.warnings == [
            f"its end, at {recording.seconds:.1f} s, is damaged: it may be cut off"
        ]

    def test_tags_behind_the_sound_are_no_loss(self) -> None:
        for format, codec in (("mp4", "aac"), ("mp3", "libmp3lame"), ("wav", "pcm_s16le")):
            data = encoded(format, codec, sweep(3.0)) + b"TAGa title" + b"a" * 118
            assert len(heard(data)) / RATE == pytest.approx(3, abs=0.06)

    def test_a_wav_that_was_not_finished(self) -> None:
        whole = wav(sweep(5.0))
        for length in (0, 0xFFFFFFFF, 0x7FFFFFFF):
            data = whole[:40] + length.to_bytes(4, "little") + whole[44:]
            assert len(heard(data)) == 5 * RATE

    def test_a_little_damage_is_a_warning_and_keeps_the_times(self) -> None:
        data = bytearray(placed("mp4", "aac", [(0, sweep(20.0))]))
        at = data.index(b"mdat") + (len(data) - data.index(b"mdat")) // 2
        data[at : at + 1500] = np.random.default_rng(2).bytes(1500)
        recording = Recording(bytes(data))
        found = np.concatenate(list(recording.blocks()))
        assert len(found) / RATE == pytest.approx(20, abs=0.1)
        assert abs(lag(found, sweep(20.0), 18.0)) < 0.001
        (warning,) = recording.warnings
        assert warning.startswith("damaged at ") and warning.endswith("could not be decoded")
        list(recording.blocks())
        assert recording.warnings == [warning]

    def test_an_end_of_noughts_as_of_a_broken_download(self) -> None:
        data = placed("mp4", "aac", [(0, sweep(20.0))], movflags="+faststart")
        with pytest.raises(ItemError) as caught:
            heard(data[: len(data) * 6 // 10] + bytes(len(data) - len(data) * 6 // 10))
        assert caught.value.code == "truncated"

    def test_nothing_but_damage(self) -> None:
        data = bytearray(encoded("mp4", "aac", sweep(5.0)))
        at, end = data.index(b"mdat") + 4, data.index(b"moov") - 4
        data[at:end] = b"\xff" * (end - at)
        assert code(bytes(data)) == "corrupt"

    @pytest.mark.parametrize(("format", "codec", "rate"), [kind[:3] for kind in KINDS[::3]])
    def test_any_damage_gives_samples_or_a_named_error(
        self, format: str, codec: str, rate: int, capfd: pytest.CaptureFixture[str]
    ) -> None:
        whole = encoded(format, codec, sweep(2.0, rate), rate)
        rng = np.random.default_rng(len(codec))
        for _ in range(25):
            data = bytearray(whole[: rng.integers(8, len(whole) + 1)])
            for _ in range(rng.integers(1, 6)):
                data[rng.integers(0, rng.choice((len(data), min(len(data), 300))))] ^= 255
            try:
                found = heard(bytes(data))
            except ItemError as error:
                assert "\n" not in error.message
            else:
                assert np.abs(found).max() <= 1
                assert len(found) < 3600 * RATE
        assert capfd.readouterr() == ("", "")


def test_real_speech_survives_a_small_file() -> None:
    """What a phone records of it is what was said: the same loudness, moment for moment."""
    voice = speech()
    small = encoded("ogg", "libopus", np.repeat(voice, 3), 48_000)

    def loudness(samples: Any) -> Iterator[float]:
        for at in range(0, len(voice) - 800, 800):
            yield float(np.sqrt(np.mean(np.square(samples[at : at + 800]))))

    assert len(small) < len(io.BytesIO(wav(voice)).getvalue()) / 2
    pairs = np.array([list(loudness(heard(small))), list(loudness(voice))])
    assert np.corrcoef(pairs)[0, 1] > 0.98
