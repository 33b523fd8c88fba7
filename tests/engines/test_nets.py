"""torchvision is left out of the way of every command, and there for the nets that call it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact


def python(code: str, *arguments: str | Path) -> str:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code, *arguments],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_neither_torchvision_nor_the_compiler_is_imported(tmp_path: Path) -> None:
    """By loading a net and using it: they take as long as torch itself."""
    net = Compact(num_in_ch=3, num_out_ch=3, num_feat=8, num_conv=1, upscale=2)
    save_file(net.state_dict(), tmp_path / "a.safetensors")
    assert python(_USE, tmp_path / "a.safetensors") == "(10, 12, 3) []"


_USE = """
import sys
from pathlib import Path
import numpy as np
from mediakit.engines.upscaler import load
made = load(Path(sys.argv[1]), "cpu", "float32", 1, False).upscale(np.zeros((5, 6, 3), "u1"), 64)
slow = ("torchvision", "torchvision.transforms.functional", "torch._dynamo", "sympy")
print(made.shape, [name for name in slow if name in sys.modules])
"""


@pytest.mark.parametrize("before", ["", "import torchvision"])
def test_nets_that_need_torchvision_have_it(before: str, tmp_path: Path) -> None:
    """LaMa's rotation and RestoreFormer's normalization give what torchvision itself does."""
    from torchvision.transforms.functional import InterpolationMode, normalize, rotate

    python(before + _CALL, tmp_path / "made.npz")
    made = np.load(tmp_path / "made.npz")
    image = torch.from_numpy(made["image"])
    turned = rotate(image, 30.0, InterpolationMode.BILINEAR, fill=[0])
    assert np.array_equal(made["turned"], turned.numpy())
    assert np.array_equal(made["even"], normalize(image, [0.5] * 3, [0.5] * 3).numpy())


_CALL = """
import sys
from importlib import import_module
import numpy as np
import torch
import mediakit.engines.upscaler
from spandrel.architectures import RestoreFormer
LaMa = import_module("spandrel.architectures.LaMa.__arch.LaMa")
image = torch.rand(1, 3, 24, 24, generator=torch.Generator().manual_seed(4))
turned = LaMa.rotate(image, 30.0, LaMa.InterpolationMode.BILINEAR, fill=0).numpy()
even = RestoreFormer.tv_normalize(image, [0.5] * 3, [0.5] * 3).numpy()
assert sys.modules["torchvision"].__file__
np.savez(sys.argv[1], image=image.numpy(), turned=turned, even=even)
"""
