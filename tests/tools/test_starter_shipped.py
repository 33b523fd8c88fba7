"""The starter model as it ships: whole, small, loaded by plain diffusers, as good as it is said."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

import mediakit
from tools.starter.draw import Scene
from tools.starter.judge import agrees, look
from tools.starter.measure import generate
from tools.starter.pack import LIMIT, SUMS

FOLDER = Path(mediakit.__file__).parent / "models/shipped/starter-diffusion"
MEASURED = Path(__file__).parent.parent.parent / "docs/starter/measured.json"


@pytest.fixture(scope="module")
def pipe() -> Iterator[StableDiffusionPipeline]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    pipe = StableDiffusionPipeline.from_pretrained(FOLDER, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    yield pipe
    torch.set_num_threads(threads)


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


def test_no_file_says_where_it_was_trained() -> None:
    for config in FOLDER.rglob("*.json"):
        assert "_name_or_path" not in config.read_text(), config


def test_plain_diffusers_loads_it_in_float32(pipe: StableDiffusionPipeline) -> None:
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        assert part.dtype == torch.float32
    assert pipe.tokenizer.model_max_length == 77
    assert pipe.scheduler.config.prediction_type == "v_prediction"
    assert pipe.unet.config.sample_size * pipe.vae_scale_factor == 64


def test_it_draws_what_is_asked(pipe: StableDiffusionPipeline) -> None:
    asked = [  # what it is good at: docs/starter.md says what it is not
        Scene("black", "ring", "white", "large"),
        Scene("red", "cross", "white", "large"),
        Scene("green", "square", "pink", "large"),
        Scene("purple", "heart", "gray", "large"),
    ]
    for scene, pixels in zip(asked, generate(pipe, [s.caption for s in asked]), strict=True):
        assert pixels.shape == (64, 64, 3)
        assert agrees(look(np.asarray(pixels)), scene) == (True, True), scene


def test_what_was_measured_is_what_is_said() -> None:
    """The marks are 95 % for the colours and 85 % for the shapes."""
    measured = json.loads(MEASURED.read_text())
    made = measured["generate"]
    assert made["pictures"] == 200
    assert made["colours"] >= 0.95
    assert made["shapes"] >= 0.85
    differences = [step["difference"] for step in measured["img2img"]]
    assert differences == sorted(differences)
    assert measured["inpaint"]["pixels_outside_changed_by_40"] < 0.01
    page = (MEASURED.parent.parent / "starter.md").read_text()
    assert f"both colours right in {made['colours']:.1%}" in page
    assert f"the shape in {made['shapes']:.1%}" in page
