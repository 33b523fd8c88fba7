"""ncnn pairs become exactly the official state dicts, and nothing else is taken for one."""

from pathlib import Path

import numpy as np
import pytest
import spandrel
import torch
from PIL import Image, ImageDraw
from safetensors.numpy import load_file

from mediakit.errors import UserError
from mediakit.models.ncnn import read_param, to_state_dict


def assert_same(found, expected):
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def scale_of(state) -> int:
    """spandrel refuses a state dict with a name or a shape that is not the net's."""
    tensors = {name: torch.from_numpy(array.astype(np.float32)) for name, array in state.items()}
    return spandrel.ModelLoader().load_from_state_dict(tensors).scale


@pytest.mark.parametrize(("blocks", "scale", "fp16"), [(1, 2, True), (3, 4, False), (2, 1, True)])
def test_a_compact_net_comes_out_as_it_was(compact, tmp_path, blocks, scale, fp16):
    net = compact(blocks=blocks, scale=scale, fp16=fp16)  # 5 features: fp16 blocks are padded
    state = to_state_dict(*net.write(tmp_path))
    assert_same(state, net.state)
    assert scale_of(state) == scale


@pytest.mark.parametrize("joined", [True, False])
@pytest.mark.parametrize(("blocks", "ups"), [(1, 0), (2, 1), (3, 3)])
def test_an_esrgan_comes_out_as_it_was(esrgan, tmp_path, blocks, ups, joined):
    net = esrgan(blocks=blocks, ups=ups, joined=joined)
    state = to_state_dict(*net.write(tmp_path))
    assert_same(state, net.state)
    assert scale_of(state) == 2**ups


def test_a_clip_at_the_end_is_the_same_net(esrgan, tmp_path):
    net = esrgan()
    net.lines[-1] += "9=3 -23310=2,0.0,1.0"
    assert_same(to_state_dict(*net.write(tmp_path)), net.state)


def damage(net, what):
    if what == "too short":
        net.bin = net.bin[:-1]
    elif what == "empty":
        net.bin = b""
    elif what == "left over":
        net.bin += b"\0\0\0\0"
    elif what == "coded":
        net.bin = b"\x38\x4b\x0d\x00" + net.bin[4:]  # 8-bit weights
    elif what == "no residual":
        net.lines.pop(max(n for n, line in enumerate(net.lines) if "BinaryOp" in line))
    elif what == "stride":
        net.lines = [line.replace("1=3 4=1", "1=3 3=2 4=1") for line in net.lines]
    elif what == "huge":
        net.lines = [line.replace("1=3 4=1", "1=3000000000 4=1") for line in net.lines]
    elif what == "resized once more":
        net.add("Interp", "0=3 1=0.5 2=0.5")
    elif what == "unknown layer":
        net.add("Sigmoid")


@pytest.mark.parametrize(
    ("what", "cause"),
    [
        ("too short", "net.bin: it ends too early"),
        ("empty", "net.bin: it ends too early, at byte 0"),
        ("left over", "net.bin: 4 bytes are left over"),
        ("coded", "net.bin: its weights are coded in a way that is not known (0x000D4B38)"),
        ("no residual", "net.param: it is neither an ESRGAN nor a Compact net"),
        ("stride", "of a kind that is not known"),
        ("huge", "of a kind that is not known"),
        ("unknown layer", "net.param: it is neither an ESRGAN nor a Compact net: layers of type S"),
        ("resized once more", "net.param: it"),
    ],
)
@pytest.mark.parametrize("kind", ["compact", "esrgan"])
def test_a_damaged_or_strange_pair_is_refused_in_one_line(request, tmp_path, kind, what, cause):
    net = request.getfixturevalue(kind)()
    damage(net, what)
    with pytest.raises(UserError) as error:
        to_state_dict(*net.write(tmp_path))
    assert error.value.code == "bad_weights"
    assert cause in error.value.message
    assert "\n" not in error.value.message


def test_nets_of_another_function_are_refused(esrgan, tmp_path):
    """Same layers, other activation or residual: converting would give wrong pictures."""
    with pytest.raises(UserError, match=r"not LeakyReLU\(0\.2\)"):
        to_state_dict(*esrgan(slope=0.1).write(tmp_path))
    net = esrgan()
    net.lines = [line.replace("2.000000e-01,1.000000e+00", "1.0,1.0") for line in net.lines]
    with pytest.raises(UserError, match="its residuals do not fit"):
        to_state_dict(*net.write(tmp_path))
    net = esrgan()
    net.lines = [line.replace("0=1 1=2.0", "0=2 1=2.0") for line in net.lines]  # bilinear
    with pytest.raises(UserError, match="neither an ESRGAN nor a Compact net"):
        to_state_dict(*net.write(tmp_path))


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (b"", "not an ncnn .param text file"),
        (b"\x89PNG\r\n\x1a\n\0\0", "not an ncnn .param text file"),
        (b"7767517\nx y\n", "does not give the number of layers"),
        (b"7767517\n3 3\nInput a 0 1 b\n", "should have 3 layers and has 1"),
        (b"7767517\n1 1\nInput a x 1 b\n", "layer a can't be understood"),
        (b"7767517\n1 1\nInput\n", "layer Input can't be understood"),
    ],
)
def test_a_damaged_param_file(tmp_path, text, cause):
    (tmp_path / "net.param").write_bytes(text)
    (tmp_path / "net.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=cause):
        read_param(tmp_path / "net.param")
    with pytest.raises(UserError, match=cause):
        to_state_dict(tmp_path / "net.param", tmp_path / "net.bin")


def test_half_a_pair_is_named(compact, tmp_path):
    param, weights = compact().write(tmp_path)
    weights.unlink()
    with pytest.raises(UserError, match=r"net\.bin is missing"):
        to_state_dict(param, weights)


def test_the_real_model_makes_a_picture_that_looks_like_its_input(animevideo):
    picture = Image.new("RGB", (64, 64), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((8, 8, 55, 55), fill="#c03020", outline="black", width=3)
    pixels = torch.from_numpy(np.asarray(picture, np.float32) / 255).permute(2, 0, 1)[None]
    state = load_file(animevideo)
    assert {array.dtype for array in state.values()} == {np.dtype("f2"), np.dtype("f4")}
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    model = spandrel.ModelLoader().load_from_state_dict(tensors)
    assert (model.architecture.id, model.scale) == ("Compact", 4)
    with torch.inference_mode():
        result = model(pixels).clamp(0, 1)[0]
    assert result.shape == (3, 256, 256)
    small = result.reshape(3, 64, 4, 64, 4).mean((2, 4))
    assert -10 * torch.log10(((small - pixels[0]) ** 2).mean()) > 25  # dB
    middle = (result[:, 128, 128] * 255).round()  # #c03020, to within what the net adds
    torch.testing.assert_close(middle, torch.tensor([192.0, 48, 32]), atol=8, rtol=0)


def test_the_converted_file_is_the_official_state_dict(animevideo, model_cache):
    folder = Path(model_cache) / "realesr-animevideov3"
    stem = folder / "realesr-animevideov3-x4"
    expected = to_state_dict(stem.with_suffix(".param"), stem.with_suffix(".bin"))
    found = load_file(animevideo)
    assert found.keys() == expected.keys()
    assert len(found) == 18 * 2 + 17
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array)
