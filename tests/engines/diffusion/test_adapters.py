"""LoRAs and textual inversions: on for one item, and gone without a trace."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines.diffusion import single_files
from engines.diffusion.test_tasks import PIPELINES, by_hand, pixels, request
from safetensors.torch import save_file

from mediakit.engines.diffusion.engine import Diffusion
from mediakit.engines.diffusion.request import Embedding, Lora
from mediakit.errors import ItemError

Open = Callable[..., Diffusion]
Model = Callable[..., Path]
NETS = {"sd1": "unet", "sd2": "unet", "sdxl": "unet", "sd3": "transformer", "flux": "transformer"}


@pytest.fixture(scope="session")
def lora(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Lora]:
    root = tmp_path_factory.mktemp("loras")

    def make(family: str, weight: float = 1.0, kohya: bool = True) -> Lora:
        file = root / f"{family}-{kohya}.safetensors"
        if not file.exists():
            single_files.lora(model(family), NETS[family], file, kohya)
        return Lora(file, weight)

    return make


def shot(engine: Diffusion, **options: Any) -> np.ndarray[Any, Any]:
    return pixels(engine.run([request(**options)])[0])


def weights(engine: Diffusion) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value
        for name, part in engine._parts.items()
        if isinstance(part, torch.nn.Module)
        for key, value in part.state_dict().items()
    }


class TestLora:
    @pytest.mark.parametrize("kohya", [True, False])
    @pytest.mark.parametrize("family", ["sd1", "sdxl"])
    def test_as_diffusers_does_it(
        self, family: str, kohya: bool, opened: Open, lora: Any, model: Model, plain: Any
    ) -> None:
        one = lora(family, 0.7, kohya)
        pipe = plain(model(family), f"{PIPELINES[family]}Pipeline")
        pipe.load_lora_weights(str(one.path), adapter_name="a")
        pipe.set_adapters(["a"], [0.7])
        try:
            expected = by_hand(pipe, request(), width=64, height=64)
        finally:
            pipe.unload_lora_weights()
        engine = opened(family)
        before = shot(engine)
        # where weights begin in memory may change the last bits of a sum
        made = shot(engine, loras=(one,)).astype(int)
        assert np.abs(made - expected).max() <= 1
        assert not np.array_equal(before, expected)

    @pytest.mark.parametrize("family", NETS)
    def test_the_picture_after_is_the_one_before(
        self, family: str, opened: Open, lora: Any
    ) -> None:
        engine = opened(family)
        kohya = NETS[family] == "unet"
        one = lora(family, 1.0, kohya)
        before, tensors = shot(engine), weights(engine)
        with_it = shot(engine, loras=(one,))
        after = shot(engine)
        assert np.array_equal(before, after)
        assert not np.array_equal(before, with_it)
        now = weights(engine)
        assert now.keys() == tensors.keys()
        assert all(torch.equal(now[key], tensors[key]) for key in now)

    def test_mixed_in_one_call(self, opened: Open, lora: Any) -> None:
        engine = opened("sd1", exact=False)
        one, strong = lora("sd1"), lora("sd1", 2.0)
        loaded = []
        load = engine.adapters._add_loras
        engine.adapters._add_loras = lambda loras: (loaded.append(loras), load(loras))[1]  # type: ignore[method-assign,func-returns-value]
        asked = [request(seed=s, loras=adapters) for s, adapters in
                 ((1, ()), (2, (one,)), (1, ()), (2, (strong,)), (3, (one,)))]  # fmt: skip
        made = [pixels(one) for one in engine.run(asked)]
        assert loaded == [(), (one,), (strong,)][1:]
        engine.adapters._add_loras = load  # type: ignore[method-assign]
        assert np.array_equal(made[0], made[2])
        assert not np.array_equal(made[1], made[3])
        for got, single in zip(made, asked, strict=True):
            alone = pixels(engine.run([single])[0])
            assert np.abs(got.astype(int) - alone).max() <= 1

    def test_weight(self, opened: Open, lora: Any) -> None:
        engine = opened("sd1")
        base = shot(engine, prompt="dog").astype(int)
        none, some, full = (
            shot(engine, prompt="dog", loras=(lora("sd1", w),)) for w in (0.0, 0.2, 1.0)
        )
        assert np.abs(none - base).max() <= 1
        assert np.abs(some - base).mean() < np.abs(full - base).mean()

    def test_two_at_once(self, opened: Open, lora: Any, tmp_path: Path) -> None:
        engine = opened("sd1")
        one, other = lora("sd1"), lora("sd1", 0.5, kohya=False)
        both = shot(engine, loras=(one, other))
        assert not np.array_equal(both, shot(engine, loras=(one,)))
        assert not np.array_equal(both, shot(engine, loras=(other,)))

    @pytest.mark.parametrize(
        ("family", "other"),
        [("sd1", "sdxl"), ("sdxl", "sd1"), ("sd1", "sd2"), ("flux", "sd1"), ("sd1", "sd3"),
         ("sd3", "flux")],
    )  # fmt: skip
    def test_of_another_family(self, family: str, other: str, opened: Open, lora: Any) -> None:
        engine = opened(family)
        before, tensors = shot(engine), weights(engine)
        steps: list[float] = []
        with pytest.raises(ItemError, match=f"{family}.*made for this family") as caught:
            engine.run([request(loras=(lora(other, 1.0, NETS[other] == "unet"),))], steps.append)
        assert caught.value.code == "wrong_lora" and "\n" not in caught.value.message
        assert steps == []
        assert weights(engine).keys() == tensors.keys()
        assert np.array_equal(shot(engine), before)

    def test_files_that_are_none(self, opened: Open, model: Model, tmp_path: Path) -> None:
        engine = opened("sd1")
        vae = next((model("sd1") / "vae").glob("*.safetensors"))
        with pytest.raises(ItemError, match="no LoRA") as caught:
            engine.run([request(loras=(Lora(vae),))])
        assert caught.value.code == "wrong_lora"
        torn = tmp_path / "torn.safetensors"
        torn.write_bytes(vae.read_bytes()[:999])
        for file, code in ((torn, "bad_weights"), (tmp_path / "no.pt", "unknown_model")):
            with pytest.raises(ItemError) as wrong:
                engine.run([request(loras=(Lora(file),))])
            assert wrong.value.code == code


def vectors(width: int, count: int = 2, seed: int = 3) -> torch.Tensor:
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


class TestEmbedding:
    def test_forms(self, opened: Open, tmp_path: Path) -> None:
        """diffusers' safetensors and A1111's pickle; a word of two vectors."""
        values = vectors(32)
        files = tmp_path / "a" / "moss.safetensors", tmp_path / "b" / "moss.pt"
        for file in files:
            file.parent.mkdir()
        save_file({"<moss>": values}, files[0])
        torch.save({"string_to_token": {"*": 265}, "string_to_param": {"*": values},
                    "name": "other", "step": 9}, files[1])  # fmt: skip
        engine = opened("sd1")
        before = shot(engine, prompt="a moss cat")
        made = [shot(engine, prompt="a moss cat", embeddings=(Embedding(file),)) for file in files]
        assert np.array_equal(made[0], made[1])
        assert not np.array_equal(made[0], before)
        assert np.array_equal(shot(engine, prompt="a moss cat"), before)

    def test_as_diffusers_does_it(
        self, opened: Open, tmp_path: Path, model: Model, plain: Any
    ) -> None:
        file = tmp_path / "moss.safetensors"
        save_file({"moss": vectors(32)}, file)
        pipe = plain(model("sd1"), "StableDiffusionPipeline")
        pipe.load_textual_inversion(str(tmp_path), weight_name=file.name, token="moss")
        try:
            expected = by_hand(pipe, request(prompt="a moss cat"), width=64, height=64)
        finally:
            pipe.unload_textual_inversion()
        assert np.array_equal(
            shot(opened("sd1"), prompt="a moss cat", embeddings=(Embedding(file),)), expected
        )

    def test_for_both_encoders_of_xl(self, opened: Open, tmp_path: Path) -> None:
        file = tmp_path / "moss.safetensors"
        save_file({"clip_l": vectors(32), "clip_g": vectors(64)}, file)
        engine = opened("sdxl")
        before, tensors = shot(engine, prompt="moss"), weights(engine)
        assert not np.array_equal(
            shot(engine, prompt="moss", embeddings=(Embedding(file),)), before
        )
        assert np.array_equal(shot(engine, prompt="moss"), before)
        now = weights(engine)
        assert all(torch.equal(now[key], tensors[key]) for key in tensors)

    def test_with_a_weight(self, opened: Open, tmp_path: Path) -> None:
        file = tmp_path / "moss.safetensors"
        save_file({"moss": vectors(32, 3)}, file)
        engine = opened("sd1")
        made = [
            shot(engine, prompt=p, embeddings=(Embedding(file),))
            for p in ("a moss cat", "a (moss:1.0) cat", "a (moss:1.4) cat")
        ]
        assert np.array_equal(made[0], made[1])
        assert not np.array_equal(made[0], made[2])

    def test_of_another_family(self, opened: Open, tmp_path: Path) -> None:
        file = tmp_path / "moss.safetensors"
        save_file({"moss": vectors(48)}, file)
        engine = opened("sd1")
        before = shot(engine)
        with pytest.raises(ItemError, match="48 channels") as caught:
            engine.run([request(embeddings=(Embedding(file),))])
        assert caught.value.code == "wrong_lora"
        assert np.array_equal(shot(engine), before)

    def test_a_word_that_there_is(self, opened: Open, tmp_path: Path) -> None:
        file = tmp_path / "a.safetensors"
        save_file({"x": vectors(32)}, file)
        with pytest.raises(ItemError, match="rename") as caught:
            opened("sd1").run([request(embeddings=(Embedding(file),))])
        assert caught.value.code == "wrong_lora"

    def test_with_a_lora(self, opened: Open, lora: Any, tmp_path: Path) -> None:
        file = tmp_path / "moss.safetensors"
        save_file({"moss": vectors(32)}, file)
        engine = opened("sd1")
        before = shot(engine, prompt="moss")
        both = shot(engine, prompt="moss", loras=(lora("sd1"),), embeddings=(Embedding(file),))
        assert not np.array_equal(both, shot(engine, prompt="moss", loras=(lora("sd1"),)))
        assert np.array_equal(shot(engine, prompt="moss"), before)
