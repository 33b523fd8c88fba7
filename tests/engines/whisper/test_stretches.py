"""Where recordings are cut; what is speech."""

from itertools import pairwise

import numpy as np
import pytest

from mediakit.engines.whisper.request import RATE, Request, Voice
from mediakit.engines.whisper.stretches import speech, stretches

REQUEST = Request()


@pytest.fixture(scope="module")
def talk(clips):
    """40 s: clips with pauses between."""
    rng = np.random.default_rng(1)
    parts = []
    for clip in (*clips.values(), *clips.values()):
        parts += [clip, rng.normal(0, 1e-4, RATE * 3 // 2).astype(np.float32)]
    return np.concatenate(parts)


def blocks(samples, size):
    return (samples[at : at + size] for at in range(0, len(samples), size))


def facts(found):
    return [(s.start, len(s.samples), s.spans, s.last) for s in found]


def test_blocks_make_no_difference(talk):
    one, many, odd = (
        facts(stretches(blocks(talk, size), REQUEST, seconds=15)) for size in (10**7, 16000, 777)
    )
    assert one == many == odd
    assert [last for *_, last in one] == [False] * (len(one) - 1) + [True]
    assert len(one) > 2


def test_stretches_are_the_recording_and_are_cut_in_pauses(talk):
    found = list(stretches([talk], REQUEST, seconds=15))
    assert np.array_equal(np.concatenate([s.samples for s in found]), talk)
    for stretch in found[:-1]:
        assert abs(stretch.samples[-RATE // 4 :]).max() < 0.02
        assert len(stretch.samples) <= 15 * RATE
    assert sum(s.speech_seconds for s in found) == pytest.approx(
        sum(b - a for a, b in speech(talk, Voice())) / RATE, rel=0.03
    )


def test_going_on_behind_a_stretch_gives_the_same(talk):
    found = facts(stretches([talk], REQUEST, seconds=15))
    behind = round(found[0][0] * RATE) + found[0][1]
    assert facts(stretches([talk[behind:]], REQUEST, 15, start=behind)) == found[1:]


def test_a_recording_of_whole_stretches_has_a_last_one():
    found = list(stretches([np.ones(RATE * 10, np.float32)] * 2, REQUEST, seconds=10))
    assert [s.last for s in found] == [False, True]
    assert [len(s.samples) for s in stretches([], REQUEST)] == [0]


def test_noise_is_no_speech_and_a_clip_is(clips):
    rng = np.random.default_rng(0)
    for sound in (np.zeros(RATE * 5), rng.normal(0, 0.1, RATE * 5)):
        assert speech(sound.astype(np.float32), Voice()) == ()
    clip = clips["sense-and-sensibility-0870.flac"]
    spans = speech(clip, Voice())
    assert 5 < sum(b - a for a, b in spans) / RATE < 7.1
    assert all(a < b <= c for (a, b), (c, _) in pairwise(spans))


def test_without_voice_detection_all_is_speech_but_digital_silence():
    assert speech(np.full(100, 0.1, np.float32), None) == ((0, 100),)
    assert speech(np.zeros(100, np.float32), None) == ()
