"""Schedulers by the field's names: made of the model's own configuration."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
from engines.diffusion.test_tasks import by_hand, pixels, request

from mediakit.engines.diffusion.engine import Diffusion
from mediakit.engines.diffusion.schedulers import SCHEDULERS, TAKES_ETA, settings

Open = Callable[..., Diffusion]


@pytest.mark.parametrize("name", SCHEDULERS)
def test_each_makes_the_picture_that_diffusers_makes(
    name: str, opened: Open, model: Callable[..., Path], plain: Callable[[Path, str], Any]
) -> None:
    pipe = plain(model("sd2"), "StableDiffusionPipeline")
    own = pipe.scheduler
    kind, changes = SCHEDULERS[name]
    pipe.scheduler = getattr(diffusers, kind).from_config(own.config, **changes)
    asked = request(scheduler=name, steps=3)
    try:
        expected = by_hand(pipe, asked, width=64, height=64)
    finally:
        pipe.scheduler = own
    engine = opened("sd2")
    assert engine._scheduler(name).config.prediction_type == "v_prediction"
    assert np.array_equal(pixels(engine.run([asked])[0]), expected)


def test_they_differ(opened: Open) -> None:
    names = ("ddim", "euler", "euler-a", "dpm++2m", "dpm++2m-karras", "unipc", "lcm", "ddpm")
    made = [pixels(opened("sd2").run([request(scheduler=n, steps=4)])[0]) for n in names]
    assert len({one.tobytes() for one in made}) == len(names)


@pytest.mark.parametrize("name", ["euler-a", "dpm++sde", "lcm", "ddpm", "dpm++2m-sde", "tcd"])
def test_noise_of_the_steps_is_each_pictures_own(name: str, opened: Open) -> None:
    engine = opened("sd2", exact=False)
    asked = [request(scheduler=name, steps=3, seed=s) for s in (1, 2, 3)]
    for one, single in zip(engine.run(asked), asked, strict=True):
        alone = pixels(engine.run([single])[0])
        assert np.abs(pixels(one).astype(int) - alone).max() <= 1


def test_the_models_own_settings_stay() -> None:
    own = diffusers.EulerDiscreteScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing",
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", use_karras_sigmas=True,
    )  # fmt: skip
    for name in ("ddim", "dpm++2m", "euler-a", "unipc", "lcm"):
        kind, config = settings(dict(own.config), name, flow=False)
        made = getattr(diffusers, kind).from_config(config).config
        assert (made.prediction_type, made.timestep_spacing) == ("v_prediction", "trailing")
        assert (made.beta_end, made.beta_schedule) == (0.012, "scaled_linear")
        assert made.rescale_betas_zero_snr
        if name in ("dpm++2m", "unipc"):
            assert not made.use_karras_sigmas
        if name in ("ddim", "lcm"):
            assert not made.clip_sample


def test_eta_is_taken_by_those_that_the_table_names() -> None:
    import inspect

    kinds = {kind for kind, _ in SCHEDULERS.values()}
    takers = {k for k in kinds if "eta" in inspect.signature(getattr(diffusers, k).step).parameters}
    assert takers == set(TAKES_ETA)


def test_eta_changes_the_picture(opened: Open) -> None:
    none, half, full = (
        pixels(opened("sd2").run([request(eta=eta, steps=4)])[0]) for eta in (0.0, 0.5, 1.0)
    )
    assert np.array_equal(none, pixels(opened("sd2").run([request(steps=4)])[0]))
    assert len({one.tobytes() for one in (none, half, full)}) == 3


def test_flow_models_keep_theirs(opened: Open) -> None:
    for family in ("sd3", "flux"):
        engine = opened(family)
        assert type(engine._scheduler(None)) is diffusers.FlowMatchEulerDiscreteScheduler
        named = pixels(engine.run([request(scheduler="euler")])[0])
        assert np.array_equal(named, pixels(engine.run([request()])[0]))
