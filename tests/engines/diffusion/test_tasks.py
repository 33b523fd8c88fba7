"""All families and tasks, byte for byte as the plain pipelines of diffusers."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mediakit.engines.diffusion import memory
from mediakit.engines.diffusion.engine import Diffusion, load
from mediakit.engines.diffusion.request import Files, Made, Picture, Request
from mediakit.errors import ItemError, OutOfMemory, Stopped

Open = Callable[..., Diffusion]
Plain = Callable[[Path, str], Any]
Model = Callable[..., Path]

PIPELINES = {
    "sd1": "StableDiffusion",
    "sd2": "StableDiffusion",
    "sdxl": "StableDiffusionXL",
    "sd3": "StableDiffusion3",
    "flux": "Flux",
}


def request(**options: Any) -> Request:
    given: dict[str, Any] = {"prompt": "a red cat", "seed": 5, "width": 64, "height": 64,
                             "steps": 2, "guidance_scale": 4.0}  # fmt: skip
    return Request(**(given | options))


def photo(seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:64, 0:64]
    base = np.stack([x * 4, y * 4, (x + y) * 2], axis=-1) + rng.integers(0, 9, (64, 64, 3))
    return np.clip(base, 0, 255).astype(np.uint8)


def mask() -> np.ndarray[Any, np.dtype[np.uint8]]:
    found = np.zeros((64, 64), np.uint8)
    found[16:48, 8:40] = 255
    return found


def pixels(made: Made) -> np.ndarray[Any, Any]:
    assert isinstance(made, Picture), made
    return made.pixels


def by_hand(pipe: Any, request: Request, **options: Any) -> np.ndarray[Any, Any]:
    """As diffusers' documentation does it."""
    made = pipe(
        prompt=request.prompt,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        generator=torch.Generator().manual_seed(request.seed),
        **options,
    )
    return np.array(made.images[0])


SIZE = {"width": 64, "height": 64}


@pytest.mark.parametrize("family", PIPELINES)
class TestLikeDiffusers:
    def test_text_to_image(self, family: str, opened: Open, model: Model, plain: Plain) -> None:
        pipe = plain(model(family), f"{PIPELINES[family]}Pipeline")
        made = opened(family).run([request(seed=1), request(seed=2), request(prompt="dog")])
        for one, asked in zip(
            made, [request(seed=1), request(seed=2), request(prompt="dog")], strict=True
        ):
            assert pixels(one).shape == (64, 64, 3)
            assert np.array_equal(pixels(one), by_hand(pipe, asked, **SIZE))
        assert not np.array_equal(pixels(made[0]), pixels(made[1]))

    def test_image_to_image(self, family: str, opened: Open, model: Model, plain: Plain) -> None:
        pipe = plain(model(family), f"{PIPELINES[family]}Img2ImgPipeline")
        asked = request(image=photo(), strength=0.6, steps=4)
        sizes = {} if family in ("sd1", "sd2", "sdxl") else SIZE
        expected = by_hand(pipe, asked, image=Image.fromarray(photo()), strength=0.6, **sizes)
        assert np.array_equal(pixels(opened(family).run([asked])[0]), expected)

    def test_inpaint(self, family: str, opened: Open, model: Model, plain: Plain) -> None:
        pipe = plain(model(family), f"{PIPELINES[family]}InpaintPipeline")
        asked = request(image=photo(), mask=mask(), strength=0.75, steps=4)
        expected = by_hand(
            pipe, asked, image=Image.fromarray(photo()), mask_image=Image.fromarray(mask()),
            strength=0.75, **SIZE,
        )  # fmt: skip
        assert np.array_equal(pixels(opened(family).run([asked])[0]), expected)

    def test_tasks_share_the_weights(self, family: str, opened: Open) -> None:
        pipes = opened(family)._pipes
        assert len(pipes) == 3
        assert len({id(pipe.vae) for pipe in pipes.values()}) == 1
        assert len({id(getattr(p, "unet", None) or p.transformer) for p in pipes.values()}) == 1

    def test_strength(self, family: str, opened: Open) -> None:
        """0 keeps the picture, 1 is text to image, and between them it grows."""
        engine = opened(family)
        none, some, much, all_ = (
            pixels(engine.run([request(image=photo(), strength=s, steps=4)])[0])
            for s in (0.0, 0.3, 0.8, 1.0)
        )
        assert np.array_equal(none, photo())
        assert np.array_equal(all_, pixels(engine.run([request(steps=4)])[0]))
        assert not np.array_equal(some, much)

    def test_a_batch_gives_what_singles_give(self, family: str, model: Model, opened: Open) -> None:
        engine = opened(family, exact=False)
        asked = [request(seed=s, prompt=p) for s, p in ((1, "cat"), (2, "dog"), (3, "cat"))] + [
            request(seed=s, image=photo(s), strength=0.5, steps=4) for s in (4, 5)
        ]
        shares: list[float] = []
        together = engine.run(asked, shares.append)
        assert len(shares) == (6 if family == "sd1" else 4)  # PNDM looks once more a group
        assert shares == sorted(shares) and shares[-1] == 1
        for one, alone in zip(together, (engine.run([r])[0] for r in asked), strict=True):
            assert np.abs(pixels(one).astype(int) - pixels(alone)).max() <= 1

    def test_stopped_in_a_step(self, family: str, opened: Open) -> None:
        def stop(share: float) -> None:
            raise Stopped

        before = pixels(opened(family).run([request()])[0])
        with pytest.raises(Stopped):
            opened(family).run([request(seed=8)], stop)
        assert np.array_equal(pixels(opened(family).run([request()])[0]), before)


def test_too_little_strength_for_a_step_is_said(opened: Open) -> None:
    asked = request(image=photo(), strength=0.2, steps=4)
    (kept,) = opened("sd1").run([asked])
    assert isinstance(kept, Picture) and np.array_equal(kept.pixels, photo())
    assert "0.8 of 4 steps" in kept.warnings[0]
    (painted,) = opened("sd3").run([asked])  # a part of a step is one
    assert not np.array_equal(pixels(painted), photo())


class TestInpaintingCheckpoints:
    @pytest.mark.parametrize("family", ["sd1", "sdxl"])
    def test_nine_channels(self, family: str, model: Model, opened: Open, plain: Plain) -> None:
        folder = model(family, f"{family}-inpainting", in_channels=9)
        engine = opened(folder)
        assert engine.model.tasks == {"inpaint"}
        asked = request(image=photo(), mask=mask(), strength=1.0)
        expected = by_hand(
            plain(folder, f"{PIPELINES[family]}InpaintPipeline"), asked,
            image=Image.fromarray(photo()), mask_image=Image.fromarray(mask()), strength=1.0,
            **SIZE,
        )  # fmt: skip
        assert np.array_equal(pixels(engine.run([asked])[0]), expected)
        for other in (request(), request(image=photo(), strength=0.5)):
            with pytest.raises(ItemError, match="inpainting checkpoint") as caught:
                engine.run([other])
            assert caught.value.code == "wrong_model"


class TestGuidance:
    @pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3"])
    def test_at_one_the_net_works_once_a_step(self, family: str, opened: Open) -> None:
        engine = opened(family)
        sizes: list[int] = []
        hook = engine._net.register_forward_hook(
            lambda net, inputs, kwargs, out: sizes.append(len(out[0])), with_kwargs=True
        )
        engine.run([request(guidance_scale=1.0)])
        alone = set(sizes)
        sizes.clear()
        engine.run([request(guidance_scale=4.0)])
        hook.remove()
        assert (alone, set(sizes)) == ({1}, {2})

    def test_negative_prompt(self, opened: Open, model: Model, plain: Plain) -> None:
        for family in ("sd1", "sdxl"):
            asked = request(negative_prompt="blue")
            pipe = plain(model(family), f"{PIPELINES[family]}Pipeline")
            expected = by_hand(pipe, asked, negative_prompt="blue", **SIZE)
            made = opened(family).run([asked, request(), request(negative_prompt="")])
            assert np.array_equal(pixels(made[0]), expected)
            assert not np.array_equal(pixels(made[1]), expected)
            # of SDXL nothing said is not the same as an empty prompt
            same = np.array_equal(pixels(made[1]), pixels(made[2]))
            assert same == (family == "sd1")

    def test_distilled_flux_takes_its_guidance_as_an_input(self, opened: Open) -> None:
        engine = opened("flux")
        low, high = (engine.run([request(guidance_scale=g)])[0] for g in (1.5, 8.0))
        assert not np.array_equal(pixels(low), pixels(high))

    def test_schnell_takes_none(self, model: Model, opened: Open) -> None:
        engine = opened(model("flux", "schnell", guidance=False))
        assert pixels(engine.run([request(guidance_scale=0.0)])[0]).std() > 5
        with pytest.raises(ItemError, match="takes no guidance") as caught:
            engine.run([request(guidance_scale=3.5)])
        assert caught.value.code == "useless_option"


class TestUseless:
    @pytest.mark.parametrize(
        ("family", "options", "words"),
        [
            ("flux", {"negative_prompt": "blue"}, "negative prompt"),
            ("sd1", {"negative_prompt": "blue", "guidance_scale": 1.0}, "guidance scale of 1"),
            ("flux", {"clip_skip": 1}, "clip skip"),
            ("sd1", {"eta": 0.5}, "eta"),
            ("sd1", {"eta": 0.5, "scheduler": "euler-a"}, "eta"),
            ("sd3", {"scheduler": "dpm++2m"}, "takes euler"),
            ("sd1", {"scheduler": "dpm--"}, "takes ddim"),
            ("sd3", {"embeddings": (Path("a.pt"),)}, "textual inversion"),
        ],
    )
    def test_is_refused_before_a_step(
        self, family: str, options: dict[str, Any], words: str, opened: Open
    ) -> None:
        steps: list[float] = []
        with pytest.raises(ItemError, match=words) as caught:
            opened(family).run([request(), request(**options)], steps.append)
        assert caught.value.code == "useless_option"
        assert steps == []

    @pytest.mark.parametrize(
        "options",
        [{"width": 60}, {"height": 0}, {"strength": 1.5, "image": photo()}, {"steps": 0},
         {"image": photo()[:32]}, {"image": photo(), "mask": mask()[:32]}],
    )  # fmt: skip
    def test_sizes_and_ranges(self, options: dict[str, Any], opened: Open) -> None:
        with pytest.raises(ItemError) as caught:
            opened("sd1").check(request(**options))
        assert caught.value.code == "usage"


class TestBadPictures:
    def test_one_of_a_batch_is_named_and_the_others_come(self, model: Model) -> None:
        engine = load(Files(model("sd1")), "cpu", "float32", 1, False)
        good = engine.run([request(seed=1)])[0]
        decode = engine._parts["vae"].decode

        def broken(latents: torch.Tensor, **options: Any) -> Any:
            made = decode(latents, **options)[0]
            made[1] = float("nan")
            made[2] = -1.0
            return (made,)

        engine._parts["vae"].decode = broken
        made = engine.run([request(seed=s) for s in (1, 2, 3)])
        codes = [one.code if isinstance(one, ItemError) else "" for one in made]
        assert codes == ["", "bad_picture", "bad_picture"]
        assert np.abs(pixels(made[0]).astype(int) - pixels(good)).max() <= 1
        assert "no numbers" in str(made[1]) and "black" in str(made[2])
        engine.close()

    def test_half_types_are_told_the_cure(self, model: Model) -> None:
        engine = load(Files(model("sd1")), "cpu", "bfloat16", 1, True)
        assert pixels(engine.run([request()])[0]).std() > 5
        torch.nn.init.constant_(engine._parts["vae"].decoder.conv_out.bias, float("nan"))
        made = engine.run([request()])[0]
        assert isinstance(made, ItemError) and "--dtype float32" in made.message


class TestMemory:
    def test_out_of_memory_has_its_own_error(self, opened: Open) -> None:
        def burst(share: float) -> None:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ...")

        with pytest.raises(OutOfMemory):
            opened("sd1").run([request()], burst)

    def test_steps_down_to_tiles(self, model: Model) -> None:
        engine = load(Files(model("sd1")), "cpu", "float32", 1, False)
        whole = pixels(engine.run([request()])[0])
        assert (engine.step_down(), engine.step_down()) == ("VAE in tiles", None)
        vae = engine._parts["vae"]
        assert vae.use_tiling and vae.use_slicing
        assert np.abs(pixels(engine.run([request()])[0]).astype(int) - whole).max() <= 1
        engine.close()

    def test_a_cpu_decodes_large_pictures_one_by_one(self, model: Model, monkeypatch: Any) -> None:
        engine = load(Files(model("sd1")), "cpu", "float32", 1, False)
        asked, vae = [request(), request(seed=2)], engine._parts["vae"]
        together = [pixels(made).astype(int) for made in engine.run(asked)]
        assert not vae.use_slicing
        monkeypatch.setattr(memory, "_CACHED", 1)
        apart = [pixels(made).astype(int) for made in engine.run(asked)]
        assert vae.use_slicing and not vae.use_tiling
        for one, other in zip(together, apart, strict=True):
            assert np.abs(one - other).max() <= 1
        engine.close()

    def test_a_batch_is_decoded_at_once_only_where_there_is_room(
        self, model: Model, monkeypatch: Any
    ) -> None:
        engine = load(Files(model("sd1")), "cpu", "float32", 1, False)
        vae = engine._parts["vae"]
        need = 64 * 64 * vae.config.block_out_channels[0] * 4 * memory._DECODER
        for pictures, sliced in ((3, False), (1.5, True)):
            free = int(need * pictures / memory._SHARE)
            monkeypatch.setattr(memory, "free_memory", lambda device, free=free: free)
            engine.run([request(), request(seed=2)])
            assert (vae.use_slicing, vae.use_tiling) == (sliced, False)
        engine.close()

    def test_exact_never_does(self, opened: Open) -> None:
        assert opened("sd1").step_down() is None

    def test_size(self, opened: Open) -> None:
        engine = opened("sd1")
        parts = [engine._parts[name] for name in ("unet", "vae", "text_encoder")]
        weights = sum(p.numel() for part in parts for p in part.parameters())
        assert engine.nbytes == pytest.approx(weights * 4, rel=0.01)


class TestPromptsAreEncodedOnce:
    @pytest.mark.parametrize("family", ["sd1", "sdxl", "sd3", "flux"])
    def test_whatever_the_seed(self, family: str, opened: Open) -> None:
        engine = opened(family)
        engine.encoder.forget()
        before = engine.encoder.count
        engine.run([request(seed=s, guidance_scale=1.5) for s in (1, 2, 3)])
        engine.run([request(seed=s, guidance_scale=1.5, prompt="dog") for s in (1, 2)])
        # SDXL's nothing is zeros, Flux has no negative prompt
        assert engine.encoder.count - before == (3 if family in ("sd1", "sd3") else 2)

    def test_other_parameters_are_other_requests(self) -> None:
        assert request() == request() and request() != replace(request(), seed=6)
