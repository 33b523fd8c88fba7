"""Real speech through a real model: words, times, doubts, batches, and what is no model."""

import itertools
import json
import re
import shutil
import threading
from dataclasses import replace
from difflib import SequenceMatcher
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from mediakit.engines.whisper.decode import Ear
from mediakit.engines.whisper.engine import join, load
from mediakit.engines.whisper.request import RATE, Beams, Doubts, Request
from mediakit.engines.whisper.stretches import Stretch, stretches
from mediakit.errors import Stopped, UserError
from mediakit.media.transcripts import Transcript

SPEECH = Path(__file__).parents[2] / "data" / "speech"
ENGLISH = Request(language="en")
WORDS = replace(ENGLISH, word_timestamps=True)
TEXTS = {
    "sense-and-sensibility-0870.flac": (
        "mr john dashwood had then leisure to consider how much there might be prudently in his "
        "power to do for them"
    ),
    "sense-and-sensibility-0890.flac": (
        "unless to be rather cold hearted and rather selfish is to be ill disposed"
    ),
    "sense-and-sensibility-0930.flac": "he might even have been made amiable himself",
}


def plain(text):
    return re.sub(r"[^a-z ]", "", text.lower().replace("-", " "))


def hear(whisper, sounds, request, batch_size=8):
    tasks = [(stretch, request) for sound in sounds for stretch in stretches([sound], request)]
    return whisper.transcribe(tasks, batch_size)


@pytest.mark.parametrize("sequential", [False, True])
def test_what_was_said(whisper, clips, sequential):
    found = hear(whisper, clips.values(), replace(ENGLISH, sequential=sequential))
    for name, transcript in zip(clips, found, strict=True):
        assert plain(transcript.text).endswith(TEXTS[name])
        assert transcript.language == "en"
        assert not transcript.no_speech
        assert transcript.duration == len(clips[name]) / RATE
        assert 0 < transcript.speech_seconds < transcript.duration
        for segment in transcript.segments:
            assert 0 <= segment.start < segment.end <= transcript.duration
            assert segment.flags == ()
            assert -1 < segment.avg_logprob < 0
            assert segment.temperature == 0


@pytest.mark.parametrize("sequential", [False, True])
def test_nine_of_ten_words_begin_within_a_fifth_of_a_second(whisper, clips, sequential):
    """Of where a forced alignment by another program has them; see the file for how."""
    alignment = json.loads((SPEECH / "alignment.json").read_text())["words"]
    off = []
    request = replace(WORDS, sequential=sequential)
    for name, transcript in zip(clips, hear(whisper, clips.values(), request), strict=True):
        words = [word for segment in transcript.segments for word in segment.words]
        assert all(a.start <= a.end <= b.end for a, b in pairwise(words))
        assert all(0 <= word.probability <= 1 for word in words)
        assert "".join(word.text for word in words).strip() == transcript.text
        ours = [plain(word.text).strip().replace("mr", "mister") for word in words]
        theirs = [word for word, _, _ in alignment[name]]
        for i, j, size in SequenceMatcher(None, theirs, ours, False).get_matching_blocks():
            off += [abs(words[j + k].start - alignment[name][i + k][1]) for k in range(size)]
    assert len(off) > 38
    assert np.mean(np.array(off) <= 0.2) >= 0.9


def test_company_in_a_batch_changes_nothing(whisper, clips):
    together = hear(whisper, clips.values(), WORDS)
    alone = [hear(whisper, [clip], WORDS, 1)[0] for clip in clips.values()]
    for one, other in zip(together, alone, strict=True):
        assert one.text == other.text
        for a, b in zip(one.segments, other.segments, strict=True):
            assert a.start == pytest.approx(b.start, abs=0.03)
            assert a.avg_logprob == pytest.approx(b.avg_logprob, abs=0.01)


def test_one_by_one_is_the_same_to_the_last_bit(whisper, clips):
    assert hear(whisper, clips.values(), WORDS, 1) == [
        hear(whisper, [clip], WORDS, 1)[0] for clip in clips.values()
    ]


@pytest.mark.parametrize("sequential", [False, True])
def test_what_is_drawn_at_random_depends_on_the_stretch_alone(folder, clips, sequential):
    """Neither on what came before, as in the thread that draws, nor on the run."""
    model = load(folder, "cpu", "int8", 1, 1, exact=True)
    draw = np.random.default_rng(0)
    first, second, _ = [c + draw.normal(0, 0.05, len(c)).astype(np.float32) for c in clips.values()]
    # not 0, which would be the likeliest of those that all fail
    beams, doubts = Beams(best_of=1, temperatures=(0.8, 1.0)), Doubts(logprob_threshold=-0.01)
    request = replace(ENGLISH, beams=beams, doubts=doubts, sequential=sequential)
    (alone,) = hear(model, [second], request)
    assert {segment.temperature for segment in alone.segments} == {1.0}
    assert hear(model, [first, second], request)[1] == alone
    assert hear(load(folder, "cpu", "int8", 1, 1, exact=True), [second], request) == [alone]


def test_times_are_those_of_the_recording(whisper, clips):
    (clip,) = [clips["sense-and-sensibility-0930.flac"]]
    (stretch,) = stretches([clip], WORDS)
    later = replace(stretch, start=1000.0)
    here, there = whisper.transcribe([(stretch, WORDS), (later, WORDS)], 1)
    for a, b in zip(here.segments, there.segments, strict=True):
        assert b.start == pytest.approx(a.start + 1000, abs=0.002)
        assert b.words[0].start == pytest.approx(a.words[0].start + 1000, abs=0.002)


def test_stretches_of_a_recording_are_joined(whisper, clips):
    pause = np.zeros(RATE * 2, np.float32)
    sound = np.concatenate([part for clip in clips.values() for part in (clip, pause)])
    parts = whisper.transcribe([(s, ENGLISH) for s in stretches([sound], ENGLISH, 10)], 8)
    whole = join(parts)
    assert len(parts) > 1
    assert whole.duration == pytest.approx(len(sound) / RATE)
    starts = [segment.start for segment in whole.segments]
    assert starts == sorted(starts)
    for text in TEXTS.values():
        assert text in plain(whole.text)


def noises():
    rng = np.random.default_rng(1)
    time = np.arange(8 * RATE) / RATE
    chord = sum(np.sin(2 * np.pi * f * time) * np.exp(-(time % 1.6)) for f in (262, 330, 392))
    spectrum = np.fft.rfft(rng.normal(size=len(time)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), len(time))
    return {
        "silence": time * 0,
        "white": rng.normal(0, 0.1, len(time)),
        "pink": pink / abs(pink).max() * 0.3,
        "hum": 0.2 * np.sin(2 * np.pi * 50 * time),
        "music": chord / 8,
        "one sample": np.ones(1),
        "nothing": np.zeros(0),
    }


@pytest.mark.parametrize("voice", [Request().voice, None], ids=["vad", "no vad"])
def test_where_nobody_speaks_nothing_is_said(whisper, voice):
    # one temperature: what is drawn at random is no fact
    request = replace(ENGLISH, voice=voice, beams=Beams(temperatures=(0.0,)))
    sounds = {name: sound.astype(np.float32) for name, sound in noises().items()}
    for name, transcript in zip(sounds, hear(whisper, sounds.values(), request), strict=True):
        assert (name, transcript.text, transcript.no_speech) == (name, "", True)
        if voice:
            assert transcript.dropped == ()
            assert transcript.speech_seconds == 0


def test_what_is_not_believed_is_kept_apart(whisper):
    request = replace(ENGLISH, voice=None, beams=Beams(temperatures=(0.0,)))
    (transcript,) = hear(whisper, [noises()["pink"].astype(np.float32)], request)
    assert transcript.dropped
    assert all("may_be_silence" in segment.flags for segment in transcript.dropped)


def test_telephone_sound_is_understood(whisper, clips):
    """300 to 3400 Hz, 8000 samples a second."""
    clip = clips["sense-and-sensibility-0870.flac"]
    spectrum = np.fft.rfft(clip)
    hertz = np.fft.rfftfreq(len(clip), 1 / RATE)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    narrow = np.fft.irfft(spectrum, len(clip)).astype(np.float32)
    (transcript,) = hear(whisper, [narrow], ENGLISH)
    words = TEXTS["sense-and-sensibility-0870.flac"].split()
    assert SequenceMatcher(None, words, plain(transcript.text).split()).ratio() > 0.85


def test_a_prompt_teaches_how_to_write(whisper, clips):
    clip = clips["sense-and-sensibility-0870.flac"]
    (hint,) = hear(whisper, [clip], replace(ENGLISH, hotwords="Jon Dashwood"))
    assert "Jon Dashwood" in hint.text


def test_the_share_that_is_done_rises_to_one(whisper, clips):
    shares: list[float] = []
    tasks = [(s, ENGLISH) for clip in clips.values() for s in stretches([clip], ENGLISH)]
    whisper.transcribe(tasks, 1, shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert len(shares) >= len(clips)


def test_what_emit_raises_passes(whisper, clips):
    def stop(share: float) -> None:
        raise Stopped

    tasks = [(s, ENGLISH) for clip in clips.values() for s in stretches([clip], ENGLISH)]
    with pytest.raises(Stopped):
        whisper.transcribe(tasks, 1, stop)
    assert isinstance(hear(whisper, clips.values(), ENGLISH)[0], Transcript)


def test_who_stops_does_not_wait_for_a_batch_in_work(whisper, clips, monkeypatch):
    encode, begun, free, ended = Ear.encode, itertools.count(), threading.Event(), threading.Event()

    def held(ear, *sounds):
        if next(begun):
            free.wait(60)
            ended.set()
        return encode(ear, *sounds)

    def stop(share: float) -> None:
        raise Stopped

    monkeypatch.setattr(Ear, "encode", held)
    tasks = [(s, ENGLISH) for clip in clips.values() for s in stretches([clip], ENGLISH)]
    with pytest.raises(Stopped):
        whisper.transcribe(tasks, 1, stop)
    assert not ended.is_set()
    free.set()
    assert ended.wait(60)


def test_what_a_model_knows(whisper):
    assert not whisper.is_multilingual
    assert whisper.languages == ("en",)
    assert whisper.nbytes == 75537502
    silence = Stretch(0, np.zeros(RATE, np.float32), (), True)
    assert whisper.detect_language(silence) == ("en", 1.0)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda path: (path / "tokenizer.json").unlink(), "missing_component"),
        (lambda path: (path / "model.bin").write_bytes(b"no model at all"), "bad_weights"),
        (lambda path: (path / "tokenizer.json").write_text("{"), "bad_weights"),
        (lambda path: shutil.copy(path / "config.json", path / "model.bin"), "bad_weights"),
    ],
)
def test_what_is_no_model_is_named(folder, tmp_path, spoil, code):
    copy = tmp_path / "model"
    copy.mkdir()
    for each in folder.iterdir():
        if each.is_file():
            (copy / each.name).symlink_to(each)
    for name in ("model.bin", "tokenizer.json"):
        content = (copy / name).read_bytes()
        (copy / name).unlink()
        (copy / name).write_bytes(content)
    spoil(copy)
    with pytest.raises(UserError) as error:
        load(copy, "cpu", "int8", 1)
    assert error.value.code == code
    assert "model" in error.value.message
    assert len(error.value.message.splitlines()) == 1
