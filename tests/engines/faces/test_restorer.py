"""Which nets restore faces, and what becomes of each square; of real architectures, untrained."""

import importlib.util
import inspect
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402
from spandrel.architectures.Compact import Compact  # noqa: E402
from spandrel.architectures.RestoreFormer import RestoreFormer  # noqa: E402

from mediakit.engines import opening  # noqa: E402
from mediakit.engines.faces.restorer import Enlarging, FaceNet, load  # noqa: E402
from mediakit.errors import ItemError, UserError  # noqa: E402

RNG = np.random.default_rng(0)


def saved(net: torch.nn.Module, path: Path) -> Path:
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def restoreformer(tmp_path_factory: pytest.TempPathFactory) -> FaceNet:
    """RestoreFormer, smaller and without its attention."""
    torch.manual_seed(0)
    net = RestoreFormer(n_embed=8, embed_dim=32, ch=32, ch_mult=(1, 1, 1, 1), z_channels=32,
                        num_res_blocks=1, enable_mid=False)  # fmt: skip
    made = load(saved(net, tmp_path_factory.mktemp("net") / "rf.safetensors"), "cpu", "float32",
                1, False)  # fmt: skip
    assert isinstance(made, FaceNet) and made.architecture == "RestoreFormer"
    return made


def test_the_net_is_shown_what_it_was_trained_on(restoreformer: FaceNet) -> None:
    """-1 to 1, in the order RGB; 16 bits as finely as they come."""
    square = RNG.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    (made,) = restoreformer.restore([square], None, 1)
    image = torch.from_numpy(square).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        wanted = restoreformer._model(image)[0][0].permute(1, 2, 0).numpy()
    wanted = np.clip((wanted + 1) * 127.5, 0, 255)
    assert isinstance(made, np.ndarray) and made.dtype == np.uint8
    assert abs(made - wanted).max() <= 0.51
    (deep,) = restoreformer.restore([square.astype(np.uint16) * 257], None, 1)
    assert isinstance(deep, np.ndarray) and deep.dtype == np.uint16
    assert abs(deep / 257 - wanted).max() < 0.01


def test_one_of_several_that_is_no_picture_costs_no_other(restoreformer: FaceNet) -> None:
    good, other = (RNG.integers(0, 256, (512, 512, 3), dtype=np.uint8) for _ in range(2))
    called = restoreformer._call

    def broken(net: object, image: torch.Tensor, weight: float) -> torch.Tensor:
        out = image.clone()
        out[1, 0, 5, 5] = float("nan")
        out[2] = -1  # black
        return out

    restoreformer._call = broken
    try:
        made = restoreformer.restore([good, other, other], None, 3)
    finally:
        restoreformer._call = called
    first, second, third = made
    assert isinstance(first, np.ndarray) and np.array_equal(first, good)
    for bad, said in ((second, "no numbers"), (third, "all black")):
        assert isinstance(bad, ItemError) and bad.code == "bad_picture" and said in bad.message


@pytest.mark.skipif(importlib.util.find_spec(opening._EXTRA) is None, reason="not installed")
@pytest.mark.filterwarnings("ignore:.torch.jit.script:FutureWarning")  # of the import below
def test_codeformer_and_its_weight(tmp_path: Path) -> None:
    from spandrel_extra_arches.architectures.CodeFormer import CodeFormer

    path = saved(CodeFormer(n_layers=1, codebook_size=8), tmp_path / "codeformer.safetensors")
    made = load(path, "cpu", "float32", 1, False)
    assert isinstance(made, FaceNet) and made.takes_weight
    # a pass takes ten seconds: the net's own parameter is what is looked at
    assert "weight" in inspect.signature(made._model.forward).parameters
    made._model.forward = lambda image, weight: (image * weight, None)
    square = RNG.integers(0, 256, (512, 512, 3), dtype=np.uint8)
    free, usual, alike = (made.restore([square], weight, 1)[0] for weight in (0.0, None, 1.0))
    assert isinstance(free, np.ndarray) and (free == 128).all()
    assert isinstance(usual, np.ndarray) and abs(usual - (127.5 + square / 2 - 63.75)).max() < 1
    assert np.array_equal(alike, square)


def test_codeformer_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "_EXTRA", "no_such_package")
    path = tmp_path / "a.safetensors"
    save_file({name: torch.zeros(1) for name in opening._CODEFORMER}, path)
    with pytest.raises(UserError, match=r"no commercial use.*'\.\[codeformer\]'") as error:
        load(path, "cpu", "float32", 1, False)
    assert error.value.code == "missing_extra"


@pytest.mark.parametrize(("scale", "side"), [(1, 512), (2, 256), (3, 171), (4, 128)])
def test_any_upscaler_gives_the_whole_square(scale: int, side: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=1, upscale=scale)
    with torch.no_grad():
        net.body[-1].weight.zero_()
        net.body[-1].bias.zero_()
    made = load(saved(net, tmp_path / "a.safetensors"), "cpu", "float32", 1, False)
    assert isinstance(made, Enlarging) and made.side == side and not made.takes_weight
    square = np.full((side, side, 3), 90, np.uint8)
    square[: side // 2] = 200
    (result,) = made.restore([square], None, 1)
    assert isinstance(result, np.ndarray) and result.shape == (512, 512, 3)
    assert (result[100] == 200).all() and (result[400] == 90).all()


def test_a_net_of_another_purpose(tmp_path: Path) -> None:
    torch.manual_seed(0)
    grey = Compact(num_in_ch=1, num_out_ch=1, num_feat=8, num_conv=1, upscale=2)
    with pytest.raises(UserError) as error:
        load(saved(grey, tmp_path / "grey.safetensors"), "cpu", "float32", 1, False)
    assert error.value.code == "wrong_model"
