"""A voice in any of the channels is in the mix, and no mix is louder than its loudest channel."""

import numpy as np
import pytest
from media.sounds import frequency, level, tone

from mediakit.media.audio_mix import Downmix

STEREO = ["FL", "FR"]
FIVE = ["FL", "FR", "FC", "LFE", "BL", "BR"]
SEVEN = [*FIVE, "SL", "SR"]
QUIET = np.zeros(8000, np.float32)


def voice(level: float = 0.5) -> np.ndarray:
    return tone(300, 0.5, level=level).astype(np.float32)


def mixed(names: list[str], **channels: np.ndarray) -> np.ndarray:
    rows = [channels.get(name, QUIET) for name in names]
    return Downmix(names, 16_000)(np.stack(rows))


@pytest.mark.parametrize("names", [STEREO, FIVE, SEVEN])
def test_a_voice_in_one_channel(names: list[str]) -> None:
    for name in set(names) - {"LFE"}:
        found = mixed(names, **{name: voice()})
        assert frequency(found) == pytest.approx(300, abs=1)
        assert level(found) > 0.05, name


def test_channels_without_names_count_alike_and_one_of_many_is_found() -> None:
    names = ["NONE"] * 16
    rows = np.stack([QUIET] * 16)
    rows[11] = voice()
    assert level(Downmix(names, 16_000)(rows)) == pytest.approx(0.5, rel=0.01)
    rows[:] = voice()
    assert level(Downmix(names, 16_000)(rows)) == pytest.approx(0.5, rel=0.01)


def test_speech_in_the_centre_is_above_effects_around_it() -> None:
    around = tone(900, 0.5).astype(np.float32)
    found = mixed(SEVEN, FC=voice(), SL=around, SR=-around, BL=around)
    assert frequency(found) == pytest.approx(300, abs=1)


def test_rumble_is_left_out() -> None:
    found = mixed(FIVE, FC=voice(0.1), LFE=tone(30, 0.5, level=1).astype(np.float32))
    assert level(found) == pytest.approx(0.04, rel=0.02)
    alone = tone(30, 0.5).astype(np.float32)
    assert level(Downmix(["LFE"], 16_000)(alone[np.newaxis])) == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize("names", [STEREO, FIVE, SEVEN, ["NONE"] * 10])
def test_full_channels_do_not_clip(names: list[str]) -> None:
    rows = np.ones((len(names), 1000), np.float32)
    assert np.abs(Downmix(names, 16_000)(rows)).max() <= 1 + 1e-6


@pytest.mark.parametrize("right", [-1.0, -0.9, -0.75])
def test_opposite_signs(right: float) -> None:
    found = mixed(STEREO, FL=voice(), FR=np.float32(right) * voice())
    assert level(found) == pytest.approx(0.5, rel=0.01)


def test_the_louder_of_two_with_opposite_signs_is_taken() -> None:
    assert level(mixed(STEREO, FL=-0.8 * voice(), FR=voice())) == pytest.approx(0.5, rel=0.01)


def test_two_voices_are_both_heard() -> None:
    other = tone(900, 0.5).astype(np.float32)
    found = np.abs(np.fft.rfft(mixed(STEREO, FL=voice(), FR=other)))
    assert found[450] == pytest.approx(found[150], rel=0.05)  # 900 and 300 Hz


def test_a_pause_changes_nothing_and_a_scene_does() -> None:
    mix = Downmix(STEREO, 16_000)
    opposite, same = np.stack([voice(), -voice()]), np.stack([voice(), voice()])
    assert level(mix(opposite)) == pytest.approx(0.5, rel=0.01)
    assert level(mix(np.stack([QUIET, QUIET]))) == 0
    assert level(mix(opposite)) == pytest.approx(0.5, rel=0.01)
    other = np.stack([QUIET, voice()])
    assert level(mix(other)) == pytest.approx(0.25, rel=0.01)
    mix(opposite)
    one = np.stack([voice(), QUIET])
    levels = [round(level(mix(one)), 2) for _ in range(20)]  # ten seconds
    assert levels[0] == 0.5 and levels[-1] == 0.25 and levels == sorted(levels, reverse=True)
    for _ in range(20):
        assert level(mix(same)) == pytest.approx(0.5, rel=0.01)
    assert level(mix(opposite)) == pytest.approx(0.5, rel=0.01)  # no second of it is lost


def test_one_speaks_after_the_other_each_in_a_channel_of_many() -> None:
    mix = Downmix(["NONE"] * 16, 48_000)
    for speaker in (3, 3, 3, 9, 3, 9, 9):
        rows = np.stack([QUIET] * 16)
        rows[speaker] = voice()
        assert level(mix(rows)) == pytest.approx(0.5, rel=0.01)


def test_no_samples() -> None:
    assert len(Downmix(STEREO, 16_000)(np.zeros((2, 0), np.float32))) == 0
