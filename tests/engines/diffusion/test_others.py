"""Families whose pipelines are given texts: Z-Image and FLUX.2 klein."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines.diffusion.test_tasks import SIZE, by_hand, mask, photo, pixels, request
from PIL import Image

from mediakit.engines.diffusion.engine import Diffusion
from mediakit.errors import ItemError

Open = Callable[..., Diffusion]
Model = Callable[..., Path]
Plain = Callable[[Path, str], Any]


class TestZImage:
    def test_text_to_image(self, opened: Open, model: Model, plain: Plain) -> None:
        pipe = plain(model("z_image"), "ZImagePipeline")
        asked = [request(), request(prompt="dog", negative_prompt="blue", seed=2)]
        made = opened("z_image").run(asked)
        first = by_hand(pipe, asked[0], negative_prompt=" ", **SIZE)
        second = by_hand(pipe, asked[1], negative_prompt="blue", **SIZE)
        assert np.array_equal(pixels(made[0]), first)
        assert np.array_equal(pixels(made[1]), second)

    def test_without_guidance(self, opened: Open, model: Model, plain: Plain) -> None:
        """Its pipeline has guidance on from 0; of 1 and less none is computed."""
        pipe = plain(model("z_image"), "ZImagePipeline")
        expected = by_hand(pipe, request(guidance_scale=0.0), **SIZE)
        for scale in (0.0, 1.0):
            made = opened("z_image").run([request(guidance_scale=scale)])[0]
            assert np.array_equal(pixels(made), expected)

    def test_from_pictures(self, opened: Open, model: Model, plain: Plain) -> None:
        picture = Image.fromarray(photo())
        one = request(image=photo(), strength=0.6, steps=4, guidance_scale=0.0)
        pipe = plain(model("z_image"), "ZImageImg2ImgPipeline")
        expected = by_hand(pipe, one, image=picture, strength=0.6, **SIZE)
        assert np.array_equal(pixels(opened("z_image").run([one])[0]), expected)
        two = request(image=photo(), mask=mask(), strength=0.8, steps=4, guidance_scale=0.0)
        pipe = plain(model("z_image"), "ZImageInpaintPipeline")
        expected = by_hand(
            pipe, two, image=picture, mask_image=Image.fromarray(mask()), strength=0.8, **SIZE
        )
        assert np.array_equal(pixels(opened("z_image").run([two])[0]), expected)

    def test_batch(self, opened: Open) -> None:
        engine = opened("z_image", exact=False)
        asked = [request(seed=s, prompt=p) for s, p in ((1, "a cat"), (2, "dog"))]
        for one, alone in zip(engine.run(asked), asked, strict=True):
            difference = pixels(one).astype(int) - pixels(engine.run([alone])[0])
            assert np.abs(difference).max() <= 1


class TestKlein:
    def test_text_to_image(self, opened: Open, model: Model, plain: Plain) -> None:
        pipe = plain(model("flux2_klein"), "Flux2KleinPipeline")
        asked = request(guidance_scale=1.0)
        expected = by_hand(pipe, asked, **SIZE)
        assert np.array_equal(pixels(opened("flux2_klein").run([asked])[0]), expected)

    def test_what_it_can_not(self, opened: Open) -> None:
        engine = opened("flux2_klein")
        for wrong, code in (
            (request(guidance_scale=4.0), "useless_option"),
            (request(guidance_scale=1.0, negative_prompt="blue"), "useless_option"),
            (request(guidance_scale=1.0, image=photo(), strength=0.5), "wrong_model"),
        ):
            with pytest.raises(ItemError) as caught:
                engine.check(wrong)
            assert caught.value.code == code
