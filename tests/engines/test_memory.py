"""How `upscale` uses a net: which tiles, smaller ones when memory runs out, and its warnings."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.SwinIR import SwinIR

from mediakit import device
from mediakit.batch.item import Decoded, Item, Source
from mediakit.batch.output import Output
from mediakit.batch.plan import Planner
from mediakit.batch.recipes import Job
from mediakit.media.pictures import Picture
from mediakit.models.cache import ModelCache
from mediakit.models.store import Store
from mediakit.params import Batch
from mediakit.tasks.upscale import Upscale, UpscaleExecution, UpscaleParams


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    monkeypatch.setenv("MEDIAKIT_CACHE", str(tmp_path / "cache"))
    torch.manual_seed(2)
    warnings.filterwarnings("ignore", message="torch.meshgrid", category=UserWarning)
    made = {
        "Compact": Compact(num_feat=8, num_conv=1, upscale=2),
        "SwinIR": SwinIR(
            img_size=16, window_size=8, depths=[1], embed_dim=8, num_heads=[2], mlp_ratio=2,
            upsampler="pixelshuffledirect", upscale=2,
        ),
    }  # fmt: skip
    for name, net in made.items():
        save_file(net.state_dict(), tmp_path / f"{name}.safetensors")
    return {name: str(tmp_path / f"{name}.safetensors") for name in made}


class Used:
    """`upscale` with some options, as the runner calls it."""

    def __init__(self, model: str, **execution: Any) -> None:
        cache = ModelCache(None, device.free_memory, device.empty_cache)
        self.task = Upscale(UpscaleExecution(threads=2, **execution), Store(), cache)
        job = Job(Upscale, UpscaleParams(model=model), ("model",), Batch())
        self.planner = Planner(job, Output(None, folder=Path("out")))

    def __call__(self, side: int) -> list[str]:
        """The warnings of a picture of that many pixels a side."""
        (item,) = self.planner.items([Source("a.png", "a.png")])
        decoded = Decoded(Picture(np.zeros((side, side // 2, 3), np.uint8), "png"), ())
        work: list[tuple[Item, Decoded]] = [(item, decoded)]
        (made,) = self.task.compute(work, lambda share, told="", piece="": None)
        assert made.rows.whole().shape == (side * 2, side // 2 * 2, 3)
        return decoded.warnings


def begun(model: str, **execution: Any) -> Used:
    used = Used(model, **execution)
    used.task.begin()
    return used


def test_smaller_tiles_begin_below_the_picture(nets: dict[str, str]) -> None:
    used = begun(nets["Compact"], tile=1000)
    used(200)
    assert used.task.step_down() == "tile 100"
    used(200)
    assert used.task.used()["tile"] == 100
    assert used.task.step_down() == "tile 64"  # a tile that the net can join without a seam
    used(200)
    assert used.task.step_down() is None
    small = begun(nets["Compact"])
    small(24)
    assert small.task.step_down() is None


@pytest.fixture
def batched(monkeypatch: pytest.MonkeyPatch) -> None:
    """The CPU takes batches, as a GPU does."""
    for module in ("engines", "tasks"):
        name = {"engines": "upscaler", "tasks": "upscale"}[module]
        monkeypatch.setattr(f"mediakit.{module}.{name}.BATCHED", ("cpu",))


def test_a_batch_of_tiles_is_halved_before_the_tile(nets: dict[str, str], batched: None) -> None:
    used = begun(nets["Compact"], tile=100)
    used(400)
    assert (used.task.used()["batch"], used.task.used()["tile"]) == (16, 100)
    for tiles in (8, 4, 2, 1):
        assert used.task.step_down() == f"tiles at once: {tiles}"
        used(400)
        assert used.task.used()["batch"] == tiles
    assert used.task.step_down() == "tile 64"
    exact = begun(nets["Compact"], exact=True)
    exact(400)
    assert (exact.task.used()["batch"], exact.task.batch_size) == (1, 1)


def test_how_many_pictures_follows_their_size(nets: dict[str, str], batched: None) -> None:
    used = begun(nets["Compact"])
    assert used.task.batch_size == 32
    used.task._sizes.append(128 * 1024)
    assert used.task.batch_size == 8
    used.task._sizes.append(10**9)
    assert used.task.batch_size == 1
    used.task._sizes.clear()
    used.task.batch_size = 3  # the runner, out of memory
    assert used.task.batch_size == 3
    assert begun(nets["Compact"], exact=True).task.batch_size == 1


def test_without_a_gpu_one_picture_at_a_time(nets: dict[str, str]) -> None:
    used = begun(nets["Compact"])
    assert used.task.batch_size == 1
    used(300)
    assert used.task.used()["batch"] == 1


def test_exact_does_not_step_down_to_other_bytes(nets: dict[str, str]) -> None:
    used = begun(nets["Compact"], exact=True)
    used(300)
    assert used.task.used()["tile"] == 256
    assert used.task.step_down() is None


def test_a_net_takes_the_tile_that_it_needs(nets: dict[str, str]) -> None:
    used = begun(nets["SwinIR"], tile=64)
    used(160)
    assert used.task.used()["tile"] == 128
    assert used.task.step_down() is None


def test_a_number_type_that_the_net_can_not_do_is_told(nets: dict[str, str]) -> None:
    warned = []
    for name, dtype in (("SwinIR", "float16"), ("SwinIR", "auto"), ("Compact", "bfloat16")):
        used = begun(nets[name])
        used.task.execution = UpscaleExecution(dtype=dtype)
        used.task._dtype = dtype if dtype != "auto" else "float16"  # as it is on a GPU
        warned.append(used(16))
    text = f"{nets['SwinIR']} can't be computed in float16: computed in float32"
    assert warned == [[text], [], []]
