"""Families whose pipelines are given texts: Z-Image, Qwen-Image and FLUX.2 klein."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from engines.diffusion.test_tasks import SIZE, by_hand, mask, photo, pixels, request
from PIL import Image

from mediakit.engines.diffusion.engine import Diffusion
from mediakit.engines.diffusion.probe import probe
from mediakit.engines.diffusion.request import Files, Picture, Request
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

    def test_what_it_does_not_read_is_said(self, opened: Open) -> None:
        (made,) = opened("z_image").run([request(prompt="y" * 509 + "red", steps=1)])
        assert isinstance(made, Picture) and 'cut: "red"' in made.warnings[0]

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


def by_hand_qwen(pipe: Any, request: Request, **options: Any) -> np.ndarray[Any, Any]:
    """Its guidance is called otherwise; without a negative prompt there is none."""
    given = {"negative_prompt": " "} if request.guidance_scale > 1 else {}
    scale = request.guidance_scale
    request = replace(request, guidance_scale=None)  # type: ignore[arg-type]
    return by_hand(pipe, request, true_cfg_scale=scale, **(given | SIZE | options))


class TestQwenImage:
    def test_what_it_is(self, model: Model) -> None:
        found = probe(Files(model("qwen_image")))
        assert (found.family.name, found.native, found.multiple) == ("qwen-image", 1328, 16)
        assert found.tasks == {"text2img", "img2img", "inpaint"} and found.guided

    def test_text_to_image(self, opened: Open, model: Model, plain: Plain) -> None:
        pipe = plain(model("qwen_image"), "QwenImagePipeline")
        asked = [request(), request(prompt="dog", negative_prompt="blue", seed=2)]
        first, second = (pixels(made) for made in opened("qwen_image").run(asked))
        assert np.array_equal(first, by_hand_qwen(pipe, asked[0]))
        assert np.array_equal(second, by_hand_qwen(pipe, asked[1], negative_prompt="blue"))
        assert first.std() > 5 and not np.array_equal(first, second)

    def test_words_count(self, opened: Open) -> None:
        asked = [request(), request(prompt="a dog"), request(negative_prompt="blue")]
        made = [pixels(one) for one in opened("qwen_image").run(asked)]
        assert len({one.tobytes() for one in made}) == 3

    def test_one_step_is_too_few(self, opened: Open) -> None:
        """Its scheduler would divide by 0."""
        with pytest.raises(ItemError, match="at least 2 steps") as caught:
            opened("qwen_image").run([request(steps=1)])
        assert caught.value.code == "usage"

    def test_long_prompts(self, opened: Open) -> None:
        """As many words as its encoder takes, twice what its pipeline does by itself."""
        asked = [request(prompt="x" * 600 + end * 400) for end in ("a", "b")]
        made = opened("qwen_image").run(asked)
        assert not np.array_equal(pixels(made[0]), pixels(made[1]))
        assert isinstance(made[0], Picture) and made[0].warnings == ()
        (cut,) = opened("qwen_image").run([request(prompt="y" * 1024 + "red")])
        assert isinstance(cut, Picture)
        assert "(1024 tokens)" in cut.warnings[0] and 'cut: "red"' in cut.warnings[0]

    def test_without_guidance(self, opened: Open, model: Model, plain: Plain) -> None:
        """None is computed: the net works once a step."""
        engine = opened("qwen_image")
        pipe = plain(model("qwen_image"), "QwenImagePipeline")
        expected = by_hand_qwen(pipe, request(guidance_scale=1.0))
        calls: list[int] = []
        hook = engine._net.register_forward_hook(lambda *_: calls.append(1))
        for scale in (0.0, 1.0):
            made = engine.run([request(guidance_scale=scale)])[0]
            assert np.array_equal(pixels(made), expected)
        hook.remove()
        assert len(calls) == 4

    def test_from_pictures(self, opened: Open, model: Model, plain: Plain) -> None:
        picture = Image.fromarray(photo())
        one = request(image=photo(), strength=0.6, steps=4)
        pipe = plain(model("qwen_image"), "QwenImageImg2ImgPipeline")
        expected = by_hand_qwen(pipe, one, image=picture, strength=0.6)
        assert np.array_equal(pixels(opened("qwen_image").run([one])[0]), expected)
        two = request(image=photo(), mask=mask(), strength=0.8, steps=4)
        pipe = plain(model("qwen_image"), "QwenImageInpaintPipeline")
        masks = {"mask_image": Image.fromarray(mask()), "strength": 0.8}
        expected = by_hand_qwen(pipe, two, image=picture, **masks)
        assert np.array_equal(pixels(opened("qwen_image").run([two])[0]), expected)

    def test_batch(self, opened: Open) -> None:
        engine = opened("qwen_image", exact=False)
        asked = [request(seed=s, prompt=p) for s, p in ((1, "a cat"), (2, "dog"))]
        asked += [
            request(seed=s, image=photo(s), strength=0.5, steps=4, prompt="a red dog"[: s * 3])
            for s in (2, 3)
        ]
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
