"""Upscaling nets: small random ones of real architectures, loaded for real; and tiling."""

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from spandrel.architectures.Compact import Compact
from spandrel.architectures.ESRGAN import ESRGAN
from spandrel.architectures.LaMa import LaMa

from mediakit.engines.faults import meaning
from mediakit.engines.flow import Room
from mediakit.engines.tiling import axis, run_tiled, tiles
from mediakit.engines.upscaler import Upscaler, load
from mediakit.errors import ItemError, OutOfMemory, PlaceError, Stopped, UserError


def compact(**options: Any) -> Compact:
    torch.manual_seed(1)
    given: dict[str, Any] = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 16, "num_conv": 4}
    return Compact(**(given | {"upscale": 4} | options))


def scene(height: int, width: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[0:height, 0:width]
    base = np.stack([x % 256, y % 256, (x * 2 + y) % 256], axis=-1)
    return np.clip(base + rng.normal(0, 9, base.shape), 0, 255).astype(np.uint8)


def opened(path: Path, **options: Any) -> Upscaler:
    given = {"device": "cpu", "dtype": "float32", "threads": 2, "exact": False}
    return load(path, **(given | options))


@pytest.fixture
def small(tmp_path: Path) -> Upscaler:
    save_file(compact().state_dict(), tmp_path / "small.safetensors")
    return opened(tmp_path / "small.safetensors")


class TestLoading:
    def test_safetensors_in_half_precision_is_computed_in_float32(self, tmp_path: Path) -> None:
        net = compact().half()
        save_file(net.state_dict(), tmp_path / "a.safetensors")
        found = opened(tmp_path / "a.safetensors")
        values = sum(p.numel() for p in net.parameters())
        assert (found.scale, found.architecture, found.dtype) == (4, "Compact", "float32")
        assert found.nbytes == values * 4
        pixels = scene(20, 30)
        image = torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255
        with torch.inference_mode():
            expected = net.float()(image).clamp(0, 1).mul(255).round()[0].permute(1, 2, 0).numpy()
        assert np.abs(found.upscale(pixels, 1024).astype(int) - expected).max() <= 1

    @pytest.mark.parametrize("key", [None, "params_ema", "params", "state_dict"])
    def test_pth_however_it_is_wrapped(self, key: str | None, tmp_path: Path) -> None:
        state = ESRGAN(num_filters=8, num_blocks=1, scale=4).state_dict()
        torch.save({key: state} if key else state, tmp_path / "a.pth")
        found = opened(tmp_path / "a.pth")
        assert (found.scale, found.architecture) == (4, "ESRGAN")
        assert found.upscale(scene(8, 9), 64).shape == (32, 36, 3)

    def test_code_in_a_pickle_is_refused_and_not_run(self, tmp_path: Path) -> None:
        trap = tmp_path / "ran"

        class Bomb:
            def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
                return os.mkdir, (str(trap),)

        for name, protocol in (("a.pth", 2), ("b.pt", 4)):
            with (tmp_path / name).open("wb") as file:
                pickle.dump({"params": Bomb()}, file, protocol)
            with pytest.raises(UserError, match="safetensors"):
                opened(tmp_path / name)
        torch.save({"params": Bomb(), "w": torch.zeros(2)}, tmp_path / "c.pth")
        with pytest.raises(UserError) as caught:
            opened(tmp_path / "c.pth")
        assert caught.value.code == "unsafe_weights"
        assert not trap.exists()
        torch.load(tmp_path / "c.pth", weights_only=False)
        assert trap.exists()  # the trap does work

    @pytest.mark.parametrize("name", ["a.pth", "a.safetensors"])
    @pytest.mark.parametrize("change", ["cut", "noise", "empty", "text"])
    def test_damaged(self, name: str, change: str, tmp_path: Path) -> None:
        path = tmp_path / name
        state = compact().state_dict()
        save_file(state, path) if name.endswith("s") else torch.save(state, path)
        data = path.read_bytes()
        noise = np.random.default_rng(0).bytes(4096)
        path.write_bytes(
            {"cut": data[: len(data) // 2], "noise": noise, "empty": b"", "text": b"hello\n"}[
                change
            ]
        )
        with pytest.raises(UserError, match=r"again|known") as caught:
            opened(path)
        assert caught.value.code == "bad_weights"
        assert "\n" not in caught.value.message

    def test_missing(self, tmp_path: Path) -> None:
        with pytest.raises(UserError) as caught:
            opened(tmp_path / "no.pth")
        assert caught.value.code == "unknown_model"

    @pytest.mark.parametrize("loaded", [{"a": torch.zeros(3)}, [1, 2], {"a": 1}, {}])
    def test_not_a_known_architecture(self, loaded: object, tmp_path: Path) -> None:
        torch.save(loaded, tmp_path / "a.pth")
        with pytest.raises(UserError) as caught:
            opened(tmp_path / "a.pth")
        assert caught.value.code == "bad_weights"

    def test_half_a_state_dict(self, tmp_path: Path) -> None:
        state = compact().state_dict()
        del state["body.4.weight"]
        save_file(state, tmp_path / "a.safetensors")
        with pytest.raises(UserError) as caught:
            opened(tmp_path / "a.safetensors")
        assert caught.value.code == "bad_weights"

    def test_models_for_something_else(self, tmp_path: Path) -> None:
        save_file(compact(num_in_ch=1, num_out_ch=1).state_dict(), tmp_path / "grey.safetensors")
        torch.save(LaMa().state_dict(), tmp_path / "inpaint.pth")
        for name in ("grey.safetensors", "inpaint.pth"):
            with pytest.raises(UserError) as caught:
                opened(tmp_path / name)
            assert caught.value.code == "wrong_model"


class TestPixels:
    @pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 100), (70, 2)])
    def test_tiny_pictures(self, small: Upscaler, shape: tuple[int, int]) -> None:
        made = small.upscale(scene(*shape), 64)
        assert made.shape == (shape[0] * 4, shape[1] * 4, 3) and made.dtype == np.uint8

    def test_tiled_is_untiled(self, small: Upscaler) -> None:
        pixels = scene(150, 203)
        whole = small.upscale(pixels, 1024).astype(int)
        for tile in (64, 96, 160):
            apart = np.abs(small.upscale(pixels, tile) - whole)
            assert (apart <= 1).mean() >= 0.999
            assert apart.max() <= 3

    @pytest.mark.parametrize("size", [(70, 140), (150, 203)])
    def test_no_tile_is_so_small_that_seams_show(
        self, small: Upscaler, tmp_path: Path, size: tuple[int, int]
    ) -> None:
        pixels = scene(*size)
        assert (small.upscale(pixels, 32) == small.upscale(pixels, 64)).all()
        state = ESRGAN(num_filters=8, num_blocks=1, scale=4).state_dict()
        save_file(state, tmp_path / "other.safetensors")
        other = opened(tmp_path / "other.safetensors")
        assert (other.upscale(pixels, 64) == other.upscale(pixels, 128)).all()
        assert (small.smallest_tile, other.smallest_tile) == (64, 128)
        assert (small.auto_tile(0), other.auto_tile(0)) == (64, 128)

    def test_read_only_pixels_are_taken_and_left_as_they_are(self, small: Upscaler) -> None:
        pixels = scene(20, 20)
        pixels.flags.writeable = False
        before = pixels.copy()
        small.upscale(pixels, 64)
        assert (pixels == before).all()

    def test_the_same_bytes_every_time(self, tmp_path: Path) -> None:
        save_file(compact().state_dict(), tmp_path / "a.safetensors")
        made = [
            opened(tmp_path / "a.safetensors", threads=1, exact=True).upscale(scene(90, 80), 64)
            for _ in range(2)
        ]
        assert made[0].tobytes() == made[1].tobytes()

    def test_threads_are_set_in_the_thread_that_works(self, tmp_path: Path) -> None:
        save_file(compact().state_dict(), tmp_path / "a.safetensors")
        net, seen = opened(tmp_path / "a.safetensors", threads=1), []

        def work() -> None:
            net.upscale(scene(8, 8), 64)
            seen.append(torch.get_num_threads())

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert seen == [1]

    def test_emit_counts_tiles_and_may_stop(self, small: Upscaler) -> None:
        seen: list[float] = []
        small.upscale(scene(100, 50), 64, seen.append)
        assert seen == [1 / 3, 2 / 3, 1.0]

        def stop(fraction: float) -> None:
            raise Stopped

        with pytest.raises(Stopped):
            small.upscale(scene(100, 50), 64, stop)
        assert small.upscale(scene(5, 5), 64).shape == (20, 20, 3)  # and is of use after

    def test_weights_that_give_no_numbers(self, tmp_path: Path) -> None:
        net = compact()
        with torch.no_grad():
            net.body[0].weight.fill_(float("nan"))
        save_file(net.state_dict(), tmp_path / "a.safetensors")
        with pytest.raises(ItemError) as caught:
            opened(tmp_path / "a.safetensors").upscale(scene(8, 8), 64)
        assert caught.value.code == "failed"

    def test_overflow_of_a_half_type_is_done_again_in_float32(self, tmp_path: Path) -> None:
        """Inside: 0.5 * 1e6 (past 65504, float16's largest) * 2^-20; float32 has room for it."""
        net = compact(num_feat=3, num_conv=0)
        with torch.no_grad():
            for part in net.body:
                if isinstance(part, torch.nn.Conv2d):
                    part.weight.zero_()
                    part.bias.zero_()
            for channel in range(3):
                net.body[0].weight[channel, channel, 1, 1] = 60_000.0
                net.body[0].bias[channel] = 60_000.0
                net.body[2].weight[channel * 16, channel, 1, 1] = 2.0**-20  # exact in float16
        save_file(net.state_dict(), tmp_path / "a.safetensors")
        exact = opened(tmp_path / "a.safetensors")
        half = opened(tmp_path / "a.safetensors", dtype="float16")
        pixels = scene(16, 16) // 2 + 100
        assert half.dtype == "float16"
        assert (half.upscale(pixels, 64) == exact.upscale(pixels, 64)).all()
        assert half._net.dtype == torch.float16

    def test_16_bits_are_never_computed_in_a_half_type(self, tmp_path: Path) -> None:
        save_file(compact().state_dict(), tmp_path / "a.safetensors")
        pixels = scene(20, 24).astype(np.uint16) * 257 + 100
        exact = opened(tmp_path / "a.safetensors").upscale(pixels, 64)
        half = opened(tmp_path / "a.safetensors", dtype="bfloat16")
        assert half.dtype == "bfloat16"
        # only the weights are of 8 bits; pictures of 8 bits come out 300 and more apart
        assert np.abs(half.upscale(pixels, 64).astype(int) - exact).max() <= 40
        assert half._net.dtype == torch.bfloat16

    def test_strips_stop_and_run_out_of_memory_like_the_whole(self, small: Upscaler) -> None:
        made = small.strips(scene(200, 20), 64)
        assert next(made).shape[1] == 80
        made.close()
        hook = small._net.model.register_forward_pre_hook(
            lambda *_: torch.empty(2**50, dtype=torch.uint8) and None
        )
        with pytest.raises(OutOfMemory):
            list(small.strips(scene(200, 20), 64))
        hook.remove()
        assert sum(len(strip) for strip in small.strips(scene(200, 20), 64)) == 800


def fragile(most: float, over: float) -> Compact:
    """Bright pixels (past 0.13) overflow a type whose largest is a little over 1.1 * `most`."""
    net = compact(num_feat=3, num_conv=0)
    with torch.no_grad():
        for part in net.body:
            if isinstance(part, torch.nn.Conv2d):
                part.weight.zero_()
                part.bias.zero_()
        for channel in range(3):
            net.body[0].weight[channel, channel, 1, 1] = most
            net.body[0].bias[channel] = most
            net.body[2].weight[channel * 16, channel, 1, 1] = over
    return net


class TestBatches:
    """On the CPU, by the same way as on a GPU but for the copies."""

    @pytest.fixture(autouse=True)
    def batched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mediakit.engines.upscaler.BATCHED", ("cpu",))

    @pytest.fixture
    def net(self, batched: None, tmp_path: Path) -> Upscaler:
        save_file(compact().state_dict(), tmp_path / "small.safetensors")
        return opened(tmp_path / "small.safetensors")

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_pictures_go_together_and_come_out_apart(self, net: Upscaler, dtype: type) -> None:
        wide = 257 if dtype is np.uint16 else 1
        shapes = [(100, 100), (100, 100), (64, 64), (30, 40), (64, 64)]
        pictures = [
            np.roll(scene(*shape).astype(dtype) * wide, 31 * i) for i, shape in enumerate(shapes)
        ]
        sizes: list[int] = []
        net._net.model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
        alone = [net.upscale(picture, 64) for picture in pictures]
        assert set(sizes) == {1}
        sizes.clear()
        together = net.together(64, Room(8, 8 * 64 * 64))
        strips = [together.strips(picture) for picture in pictures]
        for one, expected in zip(strips, alone, strict=True):
            made = np.concatenate(list(one))
            assert made.dtype == dtype
            assert np.abs(made.astype(int) - expected).max() <= wide
        assert together.flow.largest == 8 == max(sizes)
        # 9 + 9 tiles of one kind, 2 of another, 1 of a third, in powers of two
        assert sorted(sizes) == [1, 2, 2, 8, 8]
        assert together.flow._jobs == [] and not together.flow._flights

    def test_only_as_much_as_there_is_room_for(self, net: Upscaler) -> None:
        sizes: list[int] = []
        net._net.model.register_forward_pre_hook(lambda _, given: sizes.append(len(given[0])))
        for room, most in ((Room(8, 3 * 64 * 64), 2), (Room(4, 10**9), 4), (Room(8, 0), 1)):
            sizes.clear()
            list(net.together(64, room).strips(scene(180, 180)))
            assert max(sizes) == most
        tile = net.auto_tile(2**26)
        assert net.auto_room(2**26) == Room(64, tile**2)
        assert net.auto_room(2**26, 4) == Room(4, tile**2)

    def test_exact_and_a_cpu_have_no_batches(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        save_file(compact().state_dict(), tmp_path / "a.safetensors")
        assert opened(tmp_path / "a.safetensors", exact=True).auto_room(2**40) == Room(1, 0)
        monkeypatch.setattr("mediakit.engines.upscaler.BATCHED", ("cuda",))
        assert opened(tmp_path / "a.safetensors").auto_room(2**40) == Room(1, 0)

    def test_one_that_gives_no_numbers_costs_no_other(self, tmp_path: Path) -> None:
        save_file(fragile(3e38, 2.0**-120).state_dict(), tmp_path / "a.safetensors")
        net = opened(tmp_path / "a.safetensors")
        dark = scene(64, 64) // 10
        bright = dark + 200
        together = net.together(64, Room(4, 10**6))
        first, bad, last = (together.strips(picture) for picture in (dark, bright, dark + 1))
        assert (next(first) == net.upscale(dark, 64)).all()
        with pytest.raises(ItemError, match="no numbers"):
            next(bad)
        assert (next(last) == net.upscale(dark + 1, 64)).all()
        assert together.flow.largest == 2

    def test_only_what_overflowed_is_done_again_in_float32(self, tmp_path: Path) -> None:
        save_file(fragile(40_000.0, 2.0**-17).state_dict(), tmp_path / "a.safetensors")
        half = opened(tmp_path / "a.safetensors", dtype="float16")
        seen: list[tuple[int, torch.dtype]] = []
        half._net.model.register_forward_pre_hook(
            lambda _, given: seen.append((len(given[0]), given[0].dtype))
        )
        dark, bright = scene(64, 64) // 10, scene(64, 64) // 4 + 180
        together = half.together(64, Room(4, 10**6))
        strips = [together.strips(picture) for picture in (dark, bright, dark, dark)]
        made = [np.concatenate(list(one)) for one in strips]
        assert seen == [(4, torch.float16), (1, torch.float32)]
        assert half._net.dtype == torch.float16
        exact = opened(tmp_path / "a.safetensors")
        assert (made[1] == exact.upscale(bright, 64)).all()
        assert (made[0] == made[2]).all() and (made[0] == made[3]).all()

    def test_a_picture_given_up_leaves_the_others(self, net: Upscaler) -> None:
        together = net.together(64, Room(4, 10**6))
        first, second = (together.strips(scene(150, 90)) for _ in range(2))
        next(first)
        first.close()
        assert (np.concatenate(list(second)).shape) == (600, 360, 3)
        assert together.flow._jobs == []


class TestMemory:
    def test_tile_follows_the_free_memory(self, small: Upscaler) -> None:
        tiles = [small.auto_tile(free) for free in (0, 2**22, 2**24, 2**26, 2**40)]
        assert tiles[0] == 64 and tiles[-1] == 384
        assert tiles == sorted(tiles) and len(set(tiles)) >= 3
        assert all(tile % 64 == 0 for tile in tiles)

    def test_tile_of_exact_does_not(self, tmp_path: Path) -> None:
        save_file(compact().state_dict(), tmp_path / "a.safetensors")
        net = opened(tmp_path / "a.safetensors", exact=True)
        assert net.auto_tile(2**20) == net.auto_tile(2**40)

    def test_too_little_memory_steps_down_and_the_net_is_of_use_after(
        self, small: Upscaler, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A real allocation that no machine grants, made where the net would make its own."""
        huge = torch.nn.Module.register_forward_pre_hook(
            small._net.model, lambda *_: torch.empty(2**50, dtype=torch.uint8) and None
        )
        with pytest.raises(OutOfMemory) as caught:
            small.upscale(scene(8, 8), 64)
        assert caught.value.__context__ is None
        huge.remove()
        assert small.upscale(scene(8, 8), 64).shape == (32, 32, 3)

    @pytest.mark.parametrize(
        ("error", "expected"),
        [
            (MemoryError(), OutOfMemory),
            (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), OutOfMemory),
            (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), OutOfMemory),
            (RuntimeError("CUDA error: out of memory\nfurther"), OutOfMemory),
            (RuntimeError("std::bad_alloc"), OutOfMemory),
            (RuntimeError("CUDA error: device-side assert triggered"), PlaceError),
            (RuntimeError("CUDA error: unspecified launch failure"), PlaceError),
            (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), type(None)),
            (ValueError("out of memory"), type(None)),
        ],
    )
    def test_what_errors_mean(self, error: Exception, expected: type) -> None:
        found = meaning(error)
        assert type(found) is expected
        if isinstance(found, PlaceError):
            assert found.code == "device_lost" and "\n" not in found.message

    def test_close_gives_the_weights_back(self, small: Upscaler) -> None:
        import gc
        import weakref

        model = weakref.ref(small._net.model)
        small.close()
        gc.collect()
        assert model() is None


class TestTiling:
    @pytest.mark.parametrize("size", [1, 63, 64, 65, 100, 127, 500, 1001])
    @pytest.mark.parametrize(("tile", "multiple"), [(64, 1), (64, 8), (100, 16), (7, 1)])
    def test_tiles_cover_the_side_evenly(self, size: int, tile: int, multiple: int) -> None:
        found = axis(size, tile, 32, multiple)
        assert found.length <= max(tile, multiple)
        assert found.starts[0] == 0
        if len(found.starts) == 1:
            assert found.length == size
            return
        assert found.starts[-1] + found.length == size
        assert found.length % multiple == 0
        for index in range(1, len(found.starts)):
            shared = found.starts[index - 1] + found.length - found.starts[index]
            low, high = found.seam(index)
            assert shared >= min(32, tile // 2) - 1
            assert found.starts[index] <= low < high <= found.starts[index - 1] + found.length

    def test_a_net_that_copies_gives_the_picture_back(self) -> None:
        pixels = scene(130, 170)
        axes = axis(130, 50, 16), axis(170, 64, 16)
        made = run_tiled(*axes, 1, (part.copy() for part in tiles(pixels, *axes)))
        assert (made == pixels).all()

    def test_a_step_between_tiles_is_spread_over_the_ramp(self) -> None:
        """Each tile one level brighter than the last: no neighbours may differ by more than one."""
        values = iter(range(100, 200))

        def flat(part: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return np.full((part.shape[0] * 2, part.shape[1] * 2, 3), next(values) * 1, np.uint8)

        pixels = np.zeros((60, 200, 3), np.uint8)
        axes = axis(60, 80, 32), axis(200, 80, 32)
        made = run_tiled(*axes, 2, map(flat, tiles(pixels, *axes))).astype(int)
        assert made.shape == (120, 400, 3)
        assert np.abs(np.diff(made, axis=1)).max() <= 1
        assert made[0, 0, 0] == 100 and made[0, -1, 0] == 103
