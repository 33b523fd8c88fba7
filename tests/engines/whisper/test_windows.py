"""Which windows speech is put into."""

from itertools import pairwise

import numpy as np
import pytest
from faster_whisper.tokenizer import Tokenizer

from mediakit.engines.whisper.astray import astray, remaining
from mediakit.engines.whisper.request import RATE, Voice
from mediakit.engines.whisper.stretches import Stretch
from mediakit.engines.whisper.windows import FULL, LONGEST, Window, batches, windows

VOICE = Voice(speech_pad_ms=400)


def stretch(seconds, *spans):
    samples = np.random.default_rng(3).normal(size=seconds * RATE).astype(np.float32)
    return Stretch(0.0, samples, tuple((int(a * RATE), int(b * RATE)) for a, b in spans), True)


def times(found):
    return [(round(w.start / RATE, 2), round(w.end / RATE, 2)) for w in found]


def test_short_pauses_stay_inside_a_window_and_long_ones_end_it():
    found = windows(0, stretch(30, (1, 3), (3.5, 6), (10, 12)), VOICE)
    assert times(found) == [(0.6, 6.4), (9.6, 12.4)]


def test_padding_stays_inside_the_recording_and_between_neighbours():
    sound = stretch(20, (0.1, 5), (7.2, 19.9))
    assert times(windows(0, sound, VOICE)) == [(0, 5.4), (6.8, 20)]
    assert times(windows(0, sound, Voice(speech_pad_ms=3000))) == [(0, 6.1), (6.1, 20)]


def test_long_speech_is_cut_at_its_widest_pause():
    found = windows(0, stretch(40, (1, 9), (9.2, 17), (17.9, 24), (24.3, 30)), VOICE)
    assert times(found) == [(0.6, 17.4), (17.5, 30.4)]


def test_speech_without_a_pause_is_cut_where_it_is_quietest():
    sound = stretch(50, (0, 50))
    sound.samples[int(15.5 * RATE) : int(15.8 * RATE)] *= 0.01
    found = windows(0, sound, None)
    assert 15.5 < found[0].end / RATE < 15.8
    assert found[-1].end == 50 * RATE
    assert all(a.end == b.start for a, b in pairwise(found))
    assert all(w.seconds <= LONGEST for w in found)


def test_no_speech_no_windows():
    assert windows(0, stretch(10), VOICE) == []


def test_a_batch_holds_one_width_and_the_widest_comes_first():
    lengths = (3, 15, 3.4, 14.9, 4)
    found = [Window(i, 0, int(seconds * RATE)) for i, seconds in enumerate(lengths)]
    together = batches(found, 2)
    assert [sorted(w.owner for w in batch) for batch in together] == [[1, 3], [0, 2], [4]]
    assert all(len({w.width for w in batch}) == 1 for batch in together)
    assert all(w.seconds < w.width <= FULL for w in found)


BEGIN, EOT = 100, 90


class Words(Tokenizer):
    """Text is below 90, times from 100 on."""

    eot = EOT
    timestamp_begin = BEGIN

    def __init__(self):
        pass


def at(seconds):
    return BEGIN + round(seconds / 0.02)


GOOD = [at(0), 1, 2, 3, 4, at(2.0), at(2.0), 1, 2, 3, 4, at(4.8)]


@pytest.mark.parametrize(
    ("tokens", "strange"),
    [
        (GOOD, False),  # a sentence that is said twice
        ([at(0), 1, 2, 3, 1, 2, 3, at(4.8)], True),  # in one breath
        ([at(0), 1, 2, at(4.8), at(6.2), 3, 4, at(9)], True),  # in the padding
        ([at(0), 1, 2, 3, at(9)], False),  # the last end may lie there
        ([at(0), *range(80), at(4.8)], True),  # 16 tokens a second
    ],
)
def test_what_can_not_be_right_is_found(tokens, strange):
    assert astray(tokens, Words(), 5.0) is strange


def test_what_is_left_to_listen_to():
    assert remaining([at(0), 1, at(2), at(2)], Words(), 5.0) == pytest.approx(3)
    assert remaining([at(0), 1, at(4), at(4)], Words(), 5.0) == 0  # padding
    assert remaining([at(0), 1, 2], Words(), 5.0) == 0  # to the end
