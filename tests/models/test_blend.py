"""Two weights of one net are mixed as Real-ESRGAN mixes them."""

import numpy as np
import pytest

from mediakit.errors import UserError
from mediakit.models.catalog import find
from mediakit.models.state_dicts import interpolate

A = {"conv.weight": np.float32([[1, 2], [3, 4]]), "conv.bias": np.float32([0.1, -1e9])}
B = {"conv.weight": np.float32([[5, 6], [7, 0]]), "conv.bias": np.float32([0.3, 1.0])}


def test_the_ends_are_the_files_themselves():
    assert interpolate(A, B, 1, "net") == A
    assert interpolate(A, B, 0, "net") == B
    assert interpolate(A, B, 1.0, "net")["conv.bias"] is A["conv.bias"]


def test_between_it_is_linear():
    mixed = interpolate(A, B, 0.25, "net")
    assert mixed["conv.weight"].tolist() == [[4, 5], [6, 1]]
    assert mixed["conv.weight"].dtype == np.float32
    assert (
        mixed["conv.bias"][0]
        == np.float32(0.25) * A["conv.bias"][0] + np.float32(0.75) * (B["conv.bias"][0])
    )


@pytest.mark.parametrize(
    "other", [{"conv.weight": A["conv.weight"]}, {**B, "conv.bias": np.float32([1])}]
)
def test_other_nets_are_refused(other):
    with pytest.raises(UserError, match="net: its two weights files are not of one net") as error:
        interpolate(A, other, 0.5, "net")
    assert error.value.code == "bad_weights"


def test_the_catalog_has_one_with_the_official_order_and_default():
    spec = find("realesr-general-x4v3")
    assert spec.blend == "denoise"
    assert [file.name for file in spec.files] == [
        "realesr-general-x4v3.pth",
        "realesr-general-wdn-x4v3.pth",
    ]
    assert spec.defaults == {"upscale": {"scale": 4, "denoise": 0.5}}
