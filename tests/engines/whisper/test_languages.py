"""Languages and translation, by a model that knows a hundred of them and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

from engines.whisper.random_model import SPECIAL, write_random_model

from mediakit.engines.whisper.engine import load
from mediakit.engines.whisper.request import RATE, Beams, Request
from mediakit.engines.whisper.stretches import Stretch

NOISE = np.random.default_rng(0).normal(0, 0.1, RATE * 2).astype(np.float32)
STRETCH = Stretch(0.0, NOISE, ((0, len(NOISE)),), True)
ONCE = Beams(beam_size=1, temperatures=(0.0,))


@pytest.fixture(scope="module")
def polyglot(tmp_path_factory):
    return load(write_random_model(tmp_path_factory.mktemp("m") / "model"), "cpu", "float32", 1)


def test_the_language_is_detected_with_its_probability(polyglot):
    assert polyglot.is_multilingual
    assert len(polyglot.languages) == 100
    language, chance = polyglot.detect_language(STRETCH)
    assert language in polyglot.languages
    assert 1 / 100 <= chance < 1
    assert polyglot.detect_language(replace(STRETCH, spans=((0, 800), (900, 32000))))[0] == language


def test_a_transcript_has_the_language_that_was_detected_or_given(polyglot):
    language, chance = polyglot.detect_language(STRETCH)
    found, given = polyglot.transcribe(
        [(STRETCH, Request(beams=ONCE)), (STRETCH, Request(beams=ONCE, language="de"))], 4
    )
    assert (found.language, found.language_probability) == (language, pytest.approx(chance))
    assert (given.language, given.language_probability) == ("de", 1.0)


@pytest.mark.parametrize("task", ["transcribe", "translate"])
def test_language_and_task_are_what_the_model_is_asked_for(polyglot, task):
    first = 50257
    prompt = polyglot._ear(Request(language="de", task=task)).prompt()
    names = [SPECIAL[token - first] for token in prompt]
    assert names == ["<|startoftranscript|>", "<|de|>", f"<|{task}|>"]


def test_what_was_said_before_comes_first(polyglot):
    request = Request(language="de", initial_prompt="a b", previous_text="c", hotwords="d")
    prompt = polyglot._ear(request).prompt()
    names = [SPECIAL[t - 50257] if t >= 50257 else t for t in prompt]
    assert names[0] == "<|startofprev|>"
    assert names[-3:] == ["<|startoftranscript|>", "<|de|>", "<|transcribe|>"]
    assert len(names) == 8  # " d" and " c", letter by letter
