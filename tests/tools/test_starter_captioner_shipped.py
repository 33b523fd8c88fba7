"""The starter captioner as it ships: whole, small, loaded by transformers, as good as said."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, BlipForConditionalGeneration

import mediakit
from tools.starter.pack import SUMS
from tools.starter_captioner.measure import captions, degraded, drawn, score
from tools.starter_captioner.pack import LIMIT

FOLDER = Path(mediakit.__file__).parent / "models/shipped/starter-captioner"
MEASURED = Path(__file__).parent.parent.parent / "docs/starter/captioner.json"


@pytest.fixture(scope="module")
def model() -> BlipForConditionalGeneration:
    return BlipForConditionalGeneration.from_pretrained(FOLDER, local_files_only=True)


@pytest.fixture(scope="module")
def both() -> AutoProcessor:
    return AutoProcessor.from_pretrained(FOLDER, local_files_only=True)


def test_every_file_has_its_digest_and_all_are_small_enough() -> None:
    listed = dict(reversed(line.split("  ")) for line in (FOLDER / SUMS).read_text().splitlines())
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    found = {
        path.relative_to(FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != SUMS
    }
    assert found == listed
    assert sum(path.stat().st_size for path in files) <= LIMIT
    for config in FOLDER.rglob("*.json"):
        assert "_name_or_path" not in config.read_text(), config


def test_plain_transformers_loads_it_in_float32_with_a_fast_tokenizer(
    model: BlipForConditionalGeneration, both: AutoProcessor
) -> None:
    assert model.dtype == torch.float32
    assert both.tokenizer.is_fast
    assert dict(both.image_processor.size) == {"height": 64, "width": 64}


def test_it_says_what_is_drawn(model: BlipForConditionalGeneration, both: AutoProcessor) -> None:
    asked, images = drawn(100)
    plainly = score(model, both, images, asked)
    assert plainly.colours >= 0.95
    assert plainly.shapes >= 0.95
    assert plainly.all >= 0.95
    assert score(model, both, degraded(images), asked).all >= 0.85


def test_a_caption_does_not_depend_on_the_batch(
    model: BlipForConditionalGeneration, both: AutoProcessor
) -> None:
    _, images = drawn(8)
    alone = [captions(model, both, [image])[0] for image in images]
    assert captions(model, both, images) == alone


def test_what_was_measured_is_what_is_said() -> None:
    """The marks are 95 %, and 85 % for pictures made of prompts."""
    measured = json.loads(MEASURED.read_text())
    page = (MEASURED.parent.parent / "starter.md").read_text()
    for name in ("drawn", "drawn_128", "drawn_512", "degraded"):
        found = measured[name]
        assert found["pictures"] == 200
        assert found["all"] >= 0.95
        assert f"| {found['all']:.1%} | {found['captions']:.1%} |" in page
    assert measured["generated"]["all"] >= 0.85
    assert f"in {measured['generated']['all']:.1%} of 200 prompts" in page
