"""What is no weights file is named before anything is loaded."""

import json
import struct

import numpy as np
import pytest
from safetensors.numpy import save

from mediakit.errors import UserError
from mediakit.models.catalog import find
from mediakit.models.check import check_weights
from mediakit.models.store import Store

GOOD = save({"a": np.zeros((2, 3), np.float32), "b": np.ones(4, np.float32)})


def safetensors(header: dict[str, object], data: int) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(data)


def tensor(start: int, end: int, shape: tuple[int, ...] = (2,)) -> dict[str, object]:
    return {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}


BAD = {
    "length-too-large": struct.pack("<Q", 1 << 40) + GOOD[8:],
    "length-past-the-end": struct.pack("<Q", len(GOOD)) + GOOD[8:],
    "length-too-small": struct.pack("<Q", 3) + GOOD[8:],
    "no-json": struct.pack("<Q", 4) + b"abcd",
    "short": GOOD[:5],
    "truncated": GOOD[:-4],
    "longer": GOOD + bytes(4),
    "overlap": safetensors({"a": tensor(0, 8), "b": tensor(4, 12)}, 12),
    "gap": safetensors({"a": tensor(0, 8), "b": tensor(12, 20)}, 20),
    "backwards": safetensors({"a": tensor(8, 0)}, 8),
    "shape": safetensors({"a": tensor(0, 8, (3,))}, 8),
    "kind": safetensors({"a": {**tensor(0, 8), "dtype": "F33"}}, 8),
    "no-tensors": safetensors({}, 0),
}


@pytest.mark.parametrize("name", BAD)
def test_a_corrupt_safetensors_is_named(tmp_path, name):
    path = tmp_path / "net.safetensors"
    path.write_bytes(BAD[name])
    with pytest.raises(UserError) as error:
        Store(tmp_path / "models").pull(find(str(path), stamps=tmp_path / "stamps"))
    assert error.value.code == "bad_weights"
    assert error.value.message.startswith(f"{path} is damaged (")
    assert error.value.message.isprintable()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "is a web page, not weights"),
        (b"<HTML>", "is a web page, not weights"),
    ],
)
def test_what_is_no_weights_at_all(tmp_path, data, said):
    path = tmp_path / "net.pth"
    path.write_bytes(data)
    with pytest.raises(UserError, match=said) as error:
        check_weights(path)
    assert error.value.code == "bad_weights"


def test_weights_pass(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(GOOD)
    check_weights(path)


def test_layers_that_are_not_known(compact, tmp_path):
    param, _ = compact().write(tmp_path)
    param.write_text(param.read_text().replace("PixelShuffle", "Deconvolution"))
    spec = find(str(param), stamps=tmp_path / "stamps")
    with pytest.raises(UserError, match="layers of type Deconvolution") as error:
        Store(tmp_path / "models").pull(spec)
    assert error.value.code == "bad_weights"
    assert list((tmp_path / "models").rglob("*.safetensors")) == []
