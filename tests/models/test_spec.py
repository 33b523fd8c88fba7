"""What a spec says about a model, and how its own values are filled in."""

from hashlib import sha256
from typing import Annotated

import pytest
from pydantic import BeforeValidator, Field, ValidationError

from mediakit.errors import UserError
from mediakit.models.spec import ModelFile, ModelSpec, fill_in
from mediakit.params import Params


class DemoParams(Params):
    scale: int | None = Field(None, ge=1)
    sharpness: float | None = None
    model: str = "demo"


def test_one_file_is_its_own_identity(spec_of):
    spec = spec_of({"a.pth": b"abc"})
    assert spec.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert spec.size == 3
    assert spec.record("upscaler") == {
        "role": "upscaler",
        "name": "demo",
        "revision": "demo-weights==1.0",
        "sha256": spec.sha256,
    }


def test_several_files_are_identified_by_their_sorted_digests(spec_of):
    first, second = sha256(b"abc").hexdigest(), sha256(b"").hexdigest()
    listing = "".join(sorted([f"{first}  b.bin\n", f"{second}  a.param\n"]))
    forward = spec_of({"a.param": b"", "b.bin": b"abc"})
    assert forward.sha256 == sha256(listing.encode()).hexdigest()
    assert forward.sha256 == spec_of({"b.bin": b"abc", "a.param": b""}).sha256
    assert forward.sha256 != spec_of({"b.bin": b"", "a.param": b"abc"}).sha256
    assert forward.size == 3


def test_a_model_of_another_task_is_refused(spec_of):
    spec = spec_of({"a.onnx": b""}, tasks=("detect-faces",))
    spec.check_task("detect-faces")
    spec_of({"a.pth": b""}, tasks=()).check_task("upscale")
    with pytest.raises(UserError, match="demo is a model for detect-faces, not for") as error:
        spec.check_task("upscale")
    assert error.value.code == "wrong_model"


def test_only_what_was_left_out_is_filled_in(spec_of):
    spec = spec_of({"a.pth": b""}, defaults={"upscale": {"scale": 4, "sharpness": 0.5}})
    filled = fill_in(DemoParams(scale=2), "upscale", spec)
    assert (filled.scale, filled.sharpness) == (2, 0.5)
    assert fill_in(DemoParams(), "upscale", spec).scale == 4
    params = DemoParams()
    assert fill_in(params, "fixface", spec) is params


def test_what_was_said_is_not_read_again(spec_of):
    def read(value):
        if value.endswith("!"):
            raise ValueError("read again")
        return value + "!"

    class Once(Params):
        scale: int | None = None
        text: Annotated[str, BeforeValidator(read)] = ""

    spec = spec_of({"a.pth": b""}, defaults={"upscale": {"scale": 4}})
    filled = fill_in(Once(text="a"), "upscale", spec)
    assert (filled.scale, filled.text) == (4, "a!")


@pytest.mark.parametrize(
    ("defaults", "message"),
    [
        ({"scael": 4}, "model demo: upscale has no parameter 'scael'; correct its defaults"),
        ({"scale": 0}, "model demo: its default scale for upscale is not valid"),
    ],
)
def test_impossible_defaults_are_errors(spec_of, defaults, message):
    spec = spec_of({"a.pth": b""}, defaults={"upscale": defaults})
    with pytest.raises(UserError) as error:
        fill_in(DemoParams(), "upscale", spec)
    assert error.value.code == "bad_model_entry"
    assert message in error.value.message


@pytest.mark.parametrize(
    "source",
    [
        "a.pth",
        "ftp://example.org/a.pth",
        "https://example.org/",
        "https://user:secret@example.org/a.pth",
        "https://example.org/../a.pth",
        "hf:org/repository/a.pth",
        "hf:org/repository@main",
        "hf:repository@main/a.pth",
        "hf:org/repository@main/../a.pth",
        "package:/etc/passwd",
        "package:../a.pth",
        "pypi:demo/a.pth",
        "pypi:demo>=1/a.pth",
        "pypi:demo==1/../a.pth",
        "pypi:demo==1//etc/passwd",
        "pypi:-r==1/x",
        "pypi:demo==1",
    ],
)
def test_strange_sources_are_refused(source):
    with pytest.raises(ValidationError):
        ModelFile(name="a.pth", size=1, sha256="0" * 64, sources=(source,))


@pytest.mark.parametrize(
    "name",
    ["", "../a", "a/../b", "/a", "a//b", "a/", "a\\b", ".lock", "a/.lock", "C:a", "a/C:b", "a\0",
     "part-files/a"],
)  # fmt: skip
def test_file_names_stay_in_their_folder(name):
    with pytest.raises(ValidationError):
        ModelFile(name=name, size=1, sha256="0" * 64)


def test_files_may_lie_in_folders(spec_of):
    spec = spec_of({"model_index.json": b"{}", "unet/config.json": b"{}"})
    assert spec.is_folder
    assert not spec_of({"a.pth": b"", "unet/a.bin": b""}).is_folder
    with pytest.raises(ValidationError, match="two have the same name"):
        spec_of({"unet": b"", "Unet/a": b""})


def test_a_repository_stands_for_its_files(spec_of):
    told = {"repository": "hf:org/pictures@main", "download": 5_000_000}
    spec = spec_of({}, **told)
    assert (spec.pinned, spec.size, spec.shipped) == (False, 5_000_000, None)
    assert spec.sha256 == sha256(b"hf:org/pictures@main").hexdigest()
    for place in ("org/pictures", "hf:org/pictures", "hf:org/pictures@main/unet", "hf:../a@main/b"):
        with pytest.raises(ValidationError):
            spec_of({}, **{**told, "repository": place})


def test_files_that_ship_with_mediakit_are_a_folder_of_it(spec_of):
    def at(*sources):
        spec = spec_of({"unet/a.json": b"", "b.txt": b""})
        files = [{**dict(f), "sources": s} for f, s in zip(spec.files, sources, strict=True)]
        return ModelSpec.model_validate({**dict(spec), "files": files})

    inside = ("package:models/shipped/x/unet/a.json",), ("package:models/shipped/x/b.txt",)
    assert at(*inside).shipped == "models/shipped/x"
    assert at(inside[0], ("package:models/shipped/y/b.txt",)).shipped is None
    assert at(inside[0], ("https://example.org/b.txt",)).shipped is None
    assert at(inside[0], ()).shipped is None


def test_a_lora_is_no_model(spec_of):
    lora = spec_of({"a.safetensors": b""}, kind="lora")
    lora.check_kind("lora")
    with pytest.raises(UserError, match="demo is not for --model but for --lora") as error:
        lora.check_kind("model")
    assert error.value.code == "wrong_model"
