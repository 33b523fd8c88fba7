"""What is read from files, and what is said of files that can't be used."""

import json
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engines.diffusion import nets, single_files
from engines.diffusion.test_tasks import mask, photo, pixels, request

from mediakit.engines.diffusion import configs, layout
from mediakit.engines.diffusion.clip_words import clip_tokenizer
from mediakit.engines.diffusion.engine import Diffusion, load
from mediakit.engines.diffusion.probe import probe
from mediakit.engines.diffusion.request import Files
from mediakit.errors import UserError

Open = Callable[..., Diffusion]
Model = Callable[..., Path]


def open_(path: Path, **files: Any) -> Diffusion:
    return load(Files(path, **files), "cpu", "float32", 1, True)


def refused(path: Path, **files: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        open_(path, **files)
    assert "\n" not in caught.value.message
    return caught.value


def as_pickle(state: dict[str, Any], file: Path, new: bool = True, **more: Any) -> Path:
    """As trainers save it, counts beside it; `new`: as torch does since 1.6, in an archive."""
    said = {"epoch": 3, "global_step": 470000, **more}
    torch.save({**said, "state_dict": state}, file, _use_new_zipfile_serialization=new)
    return file


class TestProbe:
    @pytest.mark.parametrize(
        ("family", "multiple", "guided", "scheduler"),
        [("sd1", 8, True, "PNDMScheduler"), ("sd2", 8, True, "DDIMScheduler"),
         ("sdxl", 8, True, "EulerDiscreteScheduler"),
         ("sd3", 16, True, "FlowMatchEulerDiscreteScheduler"),
         ("flux", 16, True, "FlowMatchEulerDiscreteScheduler")],
    )  # fmt: skip
    def test_folders(
        self, family: str, multiple: int, guided: bool, scheduler: str, model: Model
    ) -> None:
        found = probe(Files(model(family)))
        assert (found.family.name, found.multiple, found.guided) == (family, multiple, guided)
        assert found.native == (1024 if family == "flux" else 64)
        assert found.scheduler == scheduler
        assert found.tasks == {"text2img", "img2img", "inpaint"}

    @pytest.mark.parametrize(
        ("file", "family", "native"),
        [("sd1", "sd1", 512), ("sd2", "sd2", 768), ("sdxl", "sdxl", 1024),
         ("sd35", "sd3", 1024), ("flux", "flux", 1024)],
    )  # fmt: skip
    def test_single_files(self, file: str, family: str, native: int, single: Model) -> None:
        found = probe(Files(single(file)))
        assert (found.family.name, found.native) == (family, native)

    def test_any_other_pipeline_is_text_to_image(self, model: Model, tmp_path: Path) -> None:
        shutil.copytree(model("sd3"), tmp_path / "a")
        index = json.loads((tmp_path / "a/model_index.json").read_bytes())
        index["_class_name"] = "SanaPipeline"
        (tmp_path / "a/model_index.json").write_text(json.dumps(index))
        found = probe(Files(tmp_path / "a"))
        assert (found.family.name, found.tasks) == ("SanaPipeline", {"text2img"})


class TestSingleFiles:
    @pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl", "sd35", "flux"])
    def test_are_their_folders(self, family: str, single: Model, opened: Open) -> None:
        file = single(family)
        folder = file.with_suffix("")
        parts = folder if family in ("flux", "sd35") else None  # T5's tokenizer is in no file
        engine, other = opened(file, parts=parts), opened(folder)
        for asked in (
            request(prompt="a (red:1.2) cat" if not parts else "a red cat"),
            request(image=photo(), strength=0.6, steps=4),
            request(image=photo(), mask=mask(), steps=3),
        ):
            made, expected = (pixels(one.run([asked])[0]).astype(int) for one in (engine, other))
            # equal but for where weights begin in memory: kernels add up from there
            assert np.abs(made - expected).max() <= 1
            assert (made != expected).mean() < 0.001

    def test_predictions(self, single: Model, opened: Open) -> None:
        assert opened(single("sd2"))._own_scheduler.config.prediction_type == "v_prediction"
        assert opened(single("sd1"))._own_scheduler.config.prediction_type == "epsilon"

    def test_fine_tunes_of_xl_say_how_they_predict(self, single: Model, tmp_path: Path) -> None:
        folder = single("sdxl").with_suffix("")
        marks = {"v_pred": torch.zeros(1), "ztsnr": torch.zeros(1)}
        file = single_files.single_file(folder, "sdxl", tmp_path / "v.safetensors", **marks)
        config = open_(file)._own_scheduler.config
        assert config.prediction_type == "v_prediction" and config.rescale_betas_zero_snr

    def test_inpainting_checkpoint(self, single: Model, model: Model, tmp_path: Path) -> None:
        folder = tmp_path / "a"
        shutil.copytree(single("sd1").with_suffix(""), folder)
        nine = model("sd1", "sd1-inpainting", in_channels=9)
        shutil.rmtree(folder / "unet")
        shutil.copytree(nine / "unet", folder / "unet")
        engine = open_(single_files.single_file(folder, "sd1", tmp_path / "a.safetensors"))
        assert engine.model.tasks == {"inpaint"}
        made = engine.run([request(image=photo(), mask=mask())])[0]
        index = json.loads((folder / "model_index.json").read_bytes())
        index["_class_name"] = "StableDiffusionInpaintPipeline"
        (folder / "model_index.json").write_text(json.dumps(index))
        expected = open_(folder).run([request(image=photo(), mask=mask())])[0]
        assert np.array_equal(pixels(made), pixels(expected))

    @pytest.mark.parametrize(
        ("family", "drop", "words"),
        [("sd1", "cond_stage_model.", "text encoder"), ("sd1", "first_stage_model.", "--vae"),
         ("sd2", "cond_stage_model.", "text encoder"),
         ("sdxl", "conditioner.embedders.1.", "second text encoder"),
         ("sd35", "text_encoders.", "third text encoder (T5)"),
         ("sd35", "nothing", "tokenizer of T5"),
         ("flux", "text_encoders.", "--components"),
         ("flux", "text_encoders.", "tokenizer of T5"), ("flux", "nothing", "tokenizer of T5")],
    )  # fmt: skip
    def test_missing_parts_are_named(
        self, family: str, drop: str, words: str, single: Model, tmp_path: Path
    ) -> None:
        state = single_files.load_file(single(family))
        kept = {key: value for key, value in state.items() if not key.startswith(drop)}
        error = refused(single_files.save(kept, tmp_path / "a.safetensors"))
        assert error.code == "missing_component" and words in error.message

    def test_missing_parts_come_from_a_folder(
        self, single: Model, opened: Open, tmp_path: Path
    ) -> None:
        file = single("flux")
        state = single_files.load_file(file)
        net = {k.removeprefix("model.diffusion_model."): v for k, v in state.items()
               if k.startswith("model.")}  # fmt: skip
        alone = single_files.save(net, tmp_path / "transformer.safetensors")
        folder = file.with_suffix("")
        made = open_(alone, parts=folder).run([request()])[0]
        assert np.array_equal(pixels(made), pixels(opened(folder).run([request()])[0]))
        shutil.copytree(folder, tmp_path / "few")
        index = json.loads((folder / "model_index.json").read_bytes())
        del index["vae"], index["tokenizer_2"]
        (tmp_path / "few/model_index.json").write_text(json.dumps(index))
        error = refused(alone, parts=tmp_path / "few")
        assert error.code == "missing_component" and "few" in error.message
        assert "VAE" in error.message and "tokenizer of T5" in error.message
        assert "text encoder" not in error.message

    @pytest.mark.parametrize(
        ("names", "code", "words"),
        [
            (["lora_unet_down_blocks_0.lora_down.weight"], "wrong_model", "LoRA"),
            (["model.diffusion_model.joint_blocks.0.x"], "bad_weights", "not known"),
            (["down_blocks.0.resnets.0.conv1.weight"], "missing_component", "one part"),
            (["decoder.conv_in.weight"], "wrong_model", "--vae"),
            (["body.0.weight"], "bad_weights", "not known"),
        ],
    )
    def test_other_files(self, names: list[str], code: str, words: str, tmp_path: Path) -> None:
        state = {name: torch.zeros(2, 2) for name in names}
        error = refused(single_files.save(state, tmp_path / "a.safetensors"))
        assert error.code == code and words in error.message

    @pytest.mark.parametrize("change", ["cut", "noise", "empty", "header"])
    def test_damaged(self, change: str, single: Model, tmp_path: Path) -> None:
        data = single("sd1").read_bytes()
        damaged = {"cut": data[:-100], "noise": b"\x07" * 999, "empty": b"",
                   "header": data[:8] + b"[" + data[9:]}[change]  # fmt: skip
        (tmp_path / "a.safetensors").write_bytes(damaged)
        assert refused(tmp_path / "a.safetensors").code == "bad_weights"

    def test_a_layer_is_missing(self, single: Model, tmp_path: Path) -> None:
        state = single_files.load_file(single("sd1"))
        del state["model.diffusion_model.middle_block.0.in_layers.2.weight"]
        error = refused(single_files.save(state, tmp_path / "a.safetensors"))
        assert error.code == "bad_weights" and "missing" in error.message

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        (tmp_path / "a.ckpt").write_bytes(pickle.dumps({"state_dict": {}}))
        assert refused(tmp_path / "a.ckpt").code == "bad_weights"
        assert refused(tmp_path / "no.safetensors").code == "unknown_model"
        assert refused(tmp_path / "no.ckpt").code == "unknown_model"


class TestPickles:
    """Checkpoints as they were published before there was safetensors."""

    @pytest.mark.parametrize("family", ["sd1", "sd2", "sdxl"])
    @pytest.mark.parametrize("new", [True, False])
    def test_are_their_safetensors(
        self, family: str, new: bool, single: Model, opened: Open, tmp_path: Path
    ) -> None:
        state = single_files.load_file(single(family))
        file = as_pickle(state, tmp_path / ("a.ckpt" if new else "a.pt"), new)
        assert layout.header(file)[0] == layout.header(single(family))[0]
        twin = probe(Files(single(family)))
        assert probe(Files(file)) == replace(twin, name="a.ckpt" if new else "a.pt")
        made, expected = (
            pixels(one.run([request(prompt="a (red:1.2) cat")])[0]).astype(int)
            for one in (open_(file), opened(single(family)))
        )
        # equal but for where weights begin in memory: kernels add up from there
        assert np.abs(made - expected).max() <= 1
        assert (made != expected).mean() < 0.001

    @pytest.mark.parametrize("new", [True, False])
    def test_code_is_not_run(self, new: bool, single: Model, tmp_path: Path) -> None:
        trap = tmp_path / "ran"

        class Bomb:
            def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
                return os.mkdir, (str(trap),)

        state = single_files.load_file(single("sd1"))
        file = as_pickle(state, tmp_path / "a.ckpt", new, callbacks=Bomb())
        for attempt in (lambda: probe(Files(file)), lambda: open_(file)):
            with pytest.raises(UserError) as caught:
                attempt()
            assert caught.value.code == "unsafe_weights" and ".mkdir" in caught.value.message
        (tmp_path / "b.ckpt").write_bytes(pickle.dumps(Bomb()))
        assert refused(tmp_path / "b.ckpt").code == "unsafe_weights"
        assert not trap.exists()

    @pytest.mark.parametrize("damage", [b"", b"\x07" * 999, None])
    def test_damaged(self, damage: bytes | None, single: Model, tmp_path: Path) -> None:
        file = as_pickle(single_files.load_file(single("sd1")), tmp_path / "a.ckpt")
        file.write_bytes(file.read_bytes()[:-9999] if damage is None else damage)
        assert refused(file).code == "bad_weights"

    def test_of_a_vae(self, model: Model, opened: Open, tmp_path: Path) -> None:
        torch.manual_seed(77)
        nets.vae(tmp_path / "vae")
        file = as_pickle(single_files.ldm_vae(tmp_path / "vae", ""), tmp_path / "vae.ckpt")
        made, expected = (
            pixels(open_(model("sd1"), vae=v).run([request()])[0]) for v in (file, tmp_path / "vae")
        )
        assert np.array_equal(made, expected)


class TestFullSize:
    """The sizes that the published checkpoints have, without their weights."""

    def test_unets(self) -> None:
        from diffusers import UNet2DConditionModel

        published: dict[str, dict[str, Any]] = {
            "sd1": {"block_out_channels": [320, 640, 1280, 1280], "cross_attention_dim": 768},
            "sdxl": {
                "block_out_channels": [320, 640, 1280],
                "cross_attention_dim": 2048,
                "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
                "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
                "transformer_layers_per_block": [1, 2, 10],
                "attention_head_dim": [5, 10, 20],
                "use_linear_projection": True,
                "addition_embed_type": "text_time",
                "addition_time_embed_dim": 256,
                "projection_class_embeddings_input_dim": 2816,
            },
        }
        for family, expected in published.items():
            with torch.device("meta"):
                net = UNet2DConditionModel(**expected)
            shapes = {k: tuple(v.shape) for k, v in net.state_dict().items()}
            names = {single_files.NET + n: s for n, s in ldm_names(net, shapes).items()}
            found = layout.Layout(family, names, {}, {}, (), 4, None, "")
            made = configs.unet_config(found, 512)
            assert {key: made[key] for key in expected} == expected

    def test_sd3(self) -> None:
        """transformer/config.json of SD 3 medium, and of 3.5 medium."""
        from diffusers import SD3Transformer2DModel

        old: dict[str, Any] = {
            "num_layers": 24, "num_attention_heads": 24, "attention_head_dim": 64,
            "joint_attention_dim": 4096, "caption_projection_dim": 1536, "patch_size": 2,
            "pooled_projection_dim": 2048, "pos_embed_max_size": 192, "in_channels": 16,
            "out_channels": 16, "sample_size": 128, "qk_norm": None, "dual_attention_layers": (),
        }  # fmt: skip
        more = {"pos_embed_max_size": 384, "qk_norm": "rms_norm",
                "dual_attention_layers": tuple(range(13))}  # fmt: skip
        for expected in (old, old | more):
            with torch.device("meta"):
                net = SD3Transformer2DModel(**expected)
            names = single_files.sd3_net(dict(net.state_dict()), 23)
            shapes = {key: tuple(value.shape) for key, value in names.items()}
            found = layout.Layout("sd3", shapes, {}, {}, (), 16, None, "")
            made = configs.sd3_config(found, single_files.NET)
            assert {key: made[key] for key in expected} == expected

    def test_words(self) -> None:
        """Ids of openai/CLIP's own tokenizer."""
        words = clip_tokenizer("!")
        assert words("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]
        assert words("", padding="max_length").input_ids == [49406, 49407] + [0] * 75
        assert len(words) == 49408


def ldm_names(net: Any, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    layers = net.config["layers_per_block"] + 1
    fixed = dict(single_files.DIFFUSERS_TO_LDM_MAPPING["unet"]["layers"])
    fixed |= single_files.DIFFUSERS_TO_LDM_MAPPING["unet"]["addition_embed_type"]
    return {
        fixed.get(key) or single_files._unet_name(key, layers, net.config): shape
        for key, shape in shapes.items()
    }


class TestFolders:
    def test_files_of_half_precision_only(self, model: Model, opened: Open, tmp_path: Path) -> None:
        shutil.copytree(model("sd1"), tmp_path / "a")
        for file in (tmp_path / "a").rglob("*.safetensors"):
            file.rename(file.with_name(f"{file.stem}.fp16.safetensors"))
        made = open_(tmp_path / "a").run([request()])[0]
        assert np.array_equal(pixels(made), pixels(opened("sd1").run([request()])[0]))

    def test_another_vae(self, model: Model, single: Model, opened: Open, tmp_path: Path) -> None:
        torch.manual_seed(77)
        nets.vae(tmp_path / "vae")
        state = single_files.ldm_vae(tmp_path / "vae", "")
        one = single_files.save(state, tmp_path / "vae.safetensors")
        own = pixels(opened("sd1").run([request()])[0])
        made = [pixels(open_(model("sd1"), vae=v).run([request()])[0])
                for v in (tmp_path / "vae", one)]  # fmt: skip
        assert np.array_equal(made[0], made[1])
        assert not np.array_equal(made[0], own)

    def test_a_file_without_vae_takes_another(
        self, single: Model, opened: Open, tmp_path: Path
    ) -> None:
        file = single("sd1")
        kept = {k: v for k, v in single_files.load_file(file).items() if "first_stage" not in k}
        alone = single_files.save(kept, tmp_path / "a.safetensors")
        made = open_(alone, vae=file.with_suffix("") / "vae").run([request()])[0]
        assert np.array_equal(pixels(made), pixels(opened(file).run([request()])[0]))

    @pytest.mark.parametrize(
        ("spoil", "code"),
        [
            (lambda a: shutil.rmtree(a / "vae"), "missing_component"),
            (lambda a: (a / "model_index.json").unlink(), "missing_component"),
            (lambda a: (a / "unet/config.json").unlink(), "missing_component"),
            (lambda a: next((a / "unet").glob("*.safetensors")).unlink(), "missing_component"),
            (lambda a: (a / "model_index.json").write_text("{"), "bad_weights"),
            (lambda a: os.truncate(next((a / "unet").glob("*.safetensors")), 5000), "bad_weights"),
        ],
    )
    def test_damaged(
        self, spoil: Callable[[Path], Any], code: str, model: Model, tmp_path: Path
    ) -> None:
        shutil.copytree(model("sd1"), tmp_path / "a")
        spoil(tmp_path / "a")
        assert refused(tmp_path / "a").code == code

    def test_code_in_a_folder_is_not_run(self, model: Model, tmp_path: Path) -> None:
        shutil.copytree(model("sd1"), tmp_path / "a")
        index = json.loads((tmp_path / "a/model_index.json").read_bytes())
        index["unet"] = ["my_unet", "MyUNet"]
        (tmp_path / "a/model_index.json").write_text(json.dumps(index))
        (tmp_path / "a/unet/my_unet.py").write_text("raise SystemExit('ran')")
        assert refused(tmp_path / "a").code == "unsafe_weights"

    def test_unknown_pipeline(self, model: Model, tmp_path: Path) -> None:
        shutil.copytree(model("sd1"), tmp_path / "a")
        index = json.loads((tmp_path / "a/model_index.json").read_bytes())
        index["_class_name"] = "NoSuchPipeline"
        (tmp_path / "a/model_index.json").write_text(json.dumps(index))
        error = refused(tmp_path / "a")
        assert error.code == "bad_weights" and "NoSuchPipeline" in error.message

    def test_weights_in_a_pickle(self, model: Model, opened: Open, tmp_path: Path) -> None:
        shutil.copytree(model("sd1"), tmp_path / "a")
        file = next((tmp_path / "a/unet").glob("*.safetensors"))
        torch.save(single_files.load_file(file), file.with_suffix(".bin"))
        file.unlink()
        made = open_(tmp_path / "a").run([request()])[0]
        assert np.array_equal(pixels(made), pixels(opened("sd1").run([request()])[0]))

        trap = tmp_path / "ran"

        class Bomb:
            def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
                return os.mkdir, (str(trap),)

        torch.save({"conv_in.weight": Bomb()}, file.with_suffix(".bin"))
        assert refused(tmp_path / "a").code == "unsafe_weights"
        assert not trap.exists()

    def test_closed(self, model: Model) -> None:
        engine = open_(model("sd1"))
        engine.run([request()])
        engine.close()
        assert not hasattr(engine, "_pipes")

    def test_latent_consistency(self, model: Model, tmp_path: Path) -> None:
        """A distilled net, whose guidance is an input."""
        folder = model("sd1", "lcm", time_cond_proj_dim=16)
        shutil.copytree(folder, tmp_path / "a")
        index = json.loads((folder / "model_index.json").read_bytes())
        index["_class_name"] = "LatentConsistencyModelPipeline"
        (tmp_path / "a/model_index.json").write_text(json.dumps(index))
        engine = open_(tmp_path / "a")
        made = [pixels(engine.run([request(guidance_scale=g, scheduler="lcm")])[0]) for g in (2, 9)]
        assert not np.array_equal(made[0], made[1])
