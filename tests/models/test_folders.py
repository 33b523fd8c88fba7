"""Of a folder of diffusers one set of weights is taken, and what is missing is named."""

import json

import pytest

from mediakit.errors import UserError
from mediakit.models.folders import component, pipeline, read_folder

from .diffusers_folder import INDEX, folder, text, weights

PLAIN = sorted(folder())
NOT_WANTED = {
    "README.md": b"# A model",
    "sd.safetensors": weights("all in one"),
    "safety_checker/config.json": b"{}",
    "safety_checker/model.safetensors": weights("checker"),
    "text_encoder/pytorch_model.bin": b"pickle",
    "text_encoder/flax_model.msgpack": b"flax",
    "tokenizer/.hidden.json": b"",
    "tokenizer/vocab copy.json": b"",
    "tokenizer/deep/er/vocab.json": b"",
    "unet/diffusion_pytorch_model.bin": b"pickle",
    "unet/diffusion_pytorch_model.fp16.bin": b"pickle",
    "unet/diffusion_pytorch_model.fp16.safetensors": weights("unet", "float16"),
    "unet/diffusion_pytorch_model.non_ema.safetensors": weights("unet before"),
    "unet/run.py": b"raise SystemExit",
    "unet/model.onnx": b"onnx",
    "vae_1_0/config.json": b"{}",
    "vae_1_0/diffusion_pytorch_model.safetensors": weights("older"),
}


def chosen(files, prefer=""):
    return pipeline(files, files["model_index.json"], "here", prefer)


def write(path, files):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def test_one_set_of_weights_is_taken():
    layout = chosen(folder(NOT_WANTED))
    assert sorted(layout.files) == PLAIN
    assert layout.files[0] == "model_index.json"
    assert layout.variant is None
    half = chosen(folder(NOT_WANTED), "fp16")
    assert set(half.files) - set(PLAIN) == {"unet/diffusion_pytorch_model.fp16.safetensors"}
    assert set(PLAIN) - set(half.files) == {"unet/diffusion_pytorch_model.safetensors"}
    assert half.variant == "fp16"


def test_a_variant_is_taken_where_there_is_nothing_else():
    only = {
        "unet/diffusion_pytorch_model.safetensors": None,
        "unet/diffusion_pytorch_model.bf16.safetensors": weights("unet"),
        "unet/diffusion_pytorch_model.fp16.safetensors": weights("unet", "float16"),
    }
    layout = chosen(folder(only))
    assert "unet/diffusion_pytorch_model.fp16.safetensors" in layout.files
    assert "vae/diffusion_pytorch_model.safetensors" in layout.files
    assert layout.variant == "fp16"


def test_pickles_are_taken_where_there_is_nothing_else():
    only = {"vae/diffusion_pytorch_model.safetensors": None,
            "vae/diffusion_pytorch_model.bin": b"pickle"}  # fmt: skip
    assert "vae/diffusion_pytorch_model.bin" in chosen(folder(only)).files


def shards(stem, count, variant=""):
    names = [f"{stem}{variant}-{n:05}-of-{count:05}.safetensors" for n in range(1, count + 1)]
    table = f"{stem}.safetensors.index{variant}.json"
    return {name: weights(name) for name in names} | {table: text({"weight_map": {}})}


def test_weights_in_shards_come_with_their_index():
    whole = "unet/diffusion_pytorch_model.safetensors"
    parts = shards("unet/diffusion_pytorch_model", 3)
    layout = chosen(folder({whole: None, **parts}))
    assert parts.keys() <= set(layout.files)
    halves = shards("unet/diffusion_pytorch_model", 2, ".fp16")
    layout = chosen(folder({whole: None, **parts, **halves}), "fp16")
    assert halves.keys() <= set(layout.files)
    assert not parts.keys() & set(layout.files)
    texts = shards("text_encoder/model", 2)  # transformers loads the one file
    assert not texts.keys() & set(chosen(folder(texts)).files)


def lacking(*names, **changes):
    return {**dict.fromkeys(names), **changes}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (lacking("vae/diffusion_pytorch_model.safetensors"), "vae/ has no weights (.safetensors)"),
        (lacking("vae/config.json"), "vae/ has no config.json"),
        (lacking("vae/config.json", "vae/diffusion_pytorch_model.safetensors"), "vae/ has no"),
        (lacking("tokenizer/vocab.json", "tokenizer/merges.txt"), "tokenizer/ has no files"),
        (lacking("scheduler/scheduler_config.json"), "scheduler/ has no files"),
        (
            {
                "unet/diffusion_pytorch_model.safetensors": None,
                **shards("unet/diffusion_pytorch_model", 3),
                "unet/diffusion_pytorch_model-00002-of-00003.safetensors": None,
            },
            "unet/ has no weights",
        ),
    ],
)
def test_what_is_missing_is_named(changes, said):
    with pytest.raises(UserError) as error:
        chosen(folder(changes))
    assert error.value.code == "missing_component"
    assert said in error.value.message
    assert error.value.message.startswith("here: model_index.json names ")


@pytest.mark.parametrize("index", [b"", b"[]", b"{}", text({"../x": ["diffusers", "A"]})])
def test_an_index_that_is_none(index):
    with pytest.raises(UserError) as error:
        chosen(folder({"model_index.json": index}))
    assert error.value.code == "bad_weights"


def test_the_reader_of_the_safety_checker_may_be_missing():
    index = {**INDEX, "feature_extractor": ["transformers", "CLIPImageProcessor"]}
    assert sorted(chosen(folder({"model_index.json": text(index)})).files) == PLAIN
    config = "feature_extractor/preprocessor_config.json"
    assert config in chosen(folder({"model_index.json": text(index), config: b"{}"})).files


def test_folders_on_the_disk(tmp_path):
    whole = read_folder(write(tmp_path / "whole", folder(NOT_WANTED)))
    assert sorted(whole.files) == PLAIN
    parts = {"config.json": b"{}", "diffusion_pytorch_model.safetensors": weights("vae")}
    vae = write(tmp_path / "vae", {**parts, "README.md": b"", "big.bin": b"x"})
    assert sorted(read_folder(vae).files) == sorted(parts)
    assert component(["config.json", "README.md"]) is None


def test_a_folder_that_is_no_model_is_told_what_one_has(tmp_path):
    for files in ({}, {"a.safetensors": weights("a")}, {"config.json": b"{}"}):
        path = write(tmp_path / str(len(files)), {"note.txt": b"", **files})
        with pytest.raises(UserError) as error:
            read_folder(path)
        assert error.value.code == "unknown_model"
        for fact in (str(path), "model_index.json", "unet/", "tokenizer/", "mediakit models list"):
            assert fact in error.value.message
        assert len(error.value.message.splitlines()) == 1


def test_the_layouts_are_those_that_diffusers_writes(tmp_path):
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    vae = diffusers.AutoencoderKL(block_out_channels=(8,), norm_num_groups=4, layers_per_block=1)
    vae.save_pretrained(tmp_path / "whole")
    vae.save_pretrained(tmp_path / "half", variant="fp16")
    vae.save_pretrained(tmp_path / "split", max_shard_size="10KB")
    vae.save_pretrained(tmp_path / "both", max_shard_size="10KB", variant="fp16")
    for name, variant in (("whole", None), ("half", "fp16"), ("split", None), ("both", "fp16")):
        layout = read_folder(tmp_path / name)
        assert layout.variant == variant
        on_disk = {path.name for path in (tmp_path / name).iterdir()}
        assert set(layout.files) == on_disk, name
    index = json.loads(
        (tmp_path / "split/diffusion_pytorch_model.safetensors.index.json").read_text()
    )
    assert len(set(index["weight_map"].values())) > 1
