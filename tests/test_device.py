"""Devices, free memory and free cores: real values of this machine, and container limits."""

import math
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from mediakit import device, heap
from mediakit.errors import UserError

GIBI = 1024**3


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_cpu_is_always_there_and_last() -> None:
    found = device.devices()
    assert found[-1].name == "cpu"
    assert "float32" in found[-1].dtypes and "float16" not in found[-1].dtypes
    assert 0 < found[-1].free_memory <= found[-1].total_memory <= psutil.virtual_memory().total


def test_cpu_is_chosen_without_importing_torch() -> None:
    code = (
        "import sys; from mediakit import device;"
        "print(device.choose('cpu', 'auto'), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "('cpu', 'float32') False"


def test_auto_is_the_first_device() -> None:
    first = device.devices()[0].name
    expected = (first, "float32" if first == "cpu" else "float16")
    assert device.choose("auto", "auto") == expected
    assert device.choose("cpu", "bfloat16") == ("cpu", "bfloat16")


def test_unknown_device_names_what_exists() -> None:
    with pytest.raises(UserError, match=r"cuda:97: no such device.*auto.*cpu") as caught:
        device.choose("cuda:97", "auto")
    assert caught.value.code == "bad_device"


def test_another_library_may_say_which_gpus_there_are() -> None:
    """Then torch is not imported, even for a GPU."""
    code = (
        "import sys; from mediakit import device;"
        "print(device.find('cuda', lambda: ['cuda:0', 'cuda:1']),"
        " device.find('cuda:1', lambda: ['cuda:0', 'cuda:1']), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "cuda:0 cuda:1 False"
    with pytest.raises(UserError, match=r"mps: no such device; --device can be auto, cuda:0, cpu"):
        device.find("mps", lambda: ["cuda:0"])


def test_auto_asks_nobody_where_there_is_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_GPU_NODES", ())
    monkeypatch.setattr(sys, "platform", "linux")
    assert device.find("auto", lambda: ["cuda:0"]) == "cpu"
    monkeypatch.setattr(device, "_GPU_NODES", (__file__,))
    assert device.find("auto", lambda: ["cuda:0"]) == "cuda:0"
    assert device.find("auto", list) == "cpu"


def test_float16_on_the_cpu_is_refused_with_the_cure() -> None:
    with pytest.raises(UserError, match="--dtype float32") as caught:
        device.choose("cpu", "float16")
    assert caught.value.code == "bad_device"


def test_free_memory_is_near_what_the_system_says() -> None:
    most = psutil.virtual_memory().available + heap.kept() + GIBI // 4
    assert 0 < device.free_memory("cpu") <= most


def test_container_limit_version_2_counts_every_folder_up(tmp_path: Path) -> None:
    stat = "anon 100\ninactive_file 1000\n"
    write(tmp_path / "a", memory__max="5000", memory__current="3000", memory__stat=stat)
    write(tmp_path / "a/b", memory__max="max", memory__current="2000", memory__stat=stat)
    found = device._cgroup_memory(tmp_path, "0::/a/b\n")
    assert found == [(5000, 3000)]


def test_container_limit_version_1_seen_from_inside(tmp_path: Path) -> None:
    """A container sees its own limit at the root, though its membership names the host's path."""
    write(
        tmp_path / "memory",
        memory__limit_in_bytes="9000",
        memory__usage_in_bytes="4000",
        memory__stat="total_inactive_file 500\n",
    )
    found = device._cgroup_memory(tmp_path, "4:memory:/docker/abc\n3:cpuset:/\n")
    assert found == [(9000, 5500)]


@pytest.mark.parametrize(
    ("files", "membership", "expected"),
    [
        ({"cpu__max": "150000 100000"}, "0::/\n", 1.5),
        ({"cpu__max": "max 100000"}, "0::/\n", math.inf),
        ({}, "0::/\n", math.inf),
        ({}, "", math.inf),
    ],
)
def test_cpu_quota(tmp_path: Path, files: dict[str, str], membership: str, expected: float) -> None:
    write(tmp_path, **files)
    assert device._cpu_quota(tmp_path, membership) == expected


def test_cpu_quota_version_1(tmp_path: Path) -> None:
    write(tmp_path / "cpu", cpu__cfs_quota_us="400000", cpu__cfs_period_us="100000")
    assert device._cpu_quota(tmp_path, "2:cpu:/x\n") == 4.0


def test_free_cores_are_within_what_is_allowed() -> None:
    assert 1 <= device.free_cores() <= len(os.sched_getaffinity(0))


def test_a_process_pinned_to_one_cpu_has_one_core() -> None:
    cpu = min(os.sched_getaffinity(0))
    code = (
        f"import os; os.sched_setaffinity(0, {{{cpu}}});"
        "from mediakit import device; print(device.free_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"


def test_import_is_cheap() -> None:
    code = "import sys, mediakit.device; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False False"


def test_cores_are_counted_over_the_time_that_has_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits longer than it takes to have looked for 80 ms."""
    slept: list[float] = []
    monkeypatch.setattr(device.time, "sleep", slept.append)
    for ago, expected in ((0.2, 0.0), (0.05, 0.03), (5.0, 0.08)):
        device.look()
        device._looks[0].at -= ago
        assert device.free_cores() >= 1
        assert slept.pop() == pytest.approx(expected, abs=0.02)


def test_what_others_keep_busy_is_not_free() -> None:
    """As far as the CPUs are ours to say so: other tests run beside this one."""
    before = device._Look()
    device.look()
    busy = [(total + 1.0, idle) for total, idle in before.cpus]  # a second, none of it idle
    now = device._Look()
    now.cpus = busy
    with pytest.MonkeyPatch.context() as patch:
        device._looks[0].cpus = before.cpus
        device._looks[0].at -= 0.5
        patch.setattr(device, "_Look", lambda: now)
        shares, _ = device._shares()
    assert shares == [1.0] * len(before.cpus)
    device.look()
