"""The one place that knows cuda, mps and cpu: what is there, what is free, what "auto" means."""

import importlib.util
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from mediakit import heap
from mediakit.errors import UserError, show

_BUSY_SECONDS = 0.08  # long enough for several scheduler ticks (4 ms), too short to be noticed
_LATELY = 1.0  # seconds: what was longer ago says little of now
# A device node that every driver needs on Linux; without one, asking torch (2 s of import) can
# only answer no. NVIDIA, Jetson, AMD, Windows' subsystem.
_GPU_NODES = ("/dev/nvidiactl", "/dev/nvhost-ctrl-gpu", "/dev/nvgpu", "/dev/kfd", "/dev/dxg")


@dataclass(frozen=True)
class Device:
    """A place where models can run; memory in bytes."""

    name: str
    description: str
    total_memory: int
    free_memory: int
    dtypes: tuple[str, ...]


def devices() -> list[Device]:
    """GPUs first, the CPU last; only the CPU where torch is not installed."""
    found = []
    if _gpu_possible():
        found = [_cuda(index) for index in range(_cuda_count())]
        if _has_mps():
            total = psutil.virtual_memory().total
            found.append(
                Device("mps", "Apple GPU", total, free_memory("mps"), ("float32", "float16"))
            )
    cpu = Device(
        "cpu",
        f"{_physical_cores()} cores",
        min([psutil.virtual_memory().total, *(limit for limit, _ in _cgroup_memory())]),
        free_memory("cpu"),
        ("float32", "bfloat16"),
    )
    return [*found, cpu]


def choose(device: str, dtype: str) -> tuple[str, str]:
    """The device and number type that the words of the command line stand for.

    "auto" is the first GPU with float16, else the CPU with float32. Raises UserError(bad_device).
    """
    chosen = find(device)
    if chosen == "cpu":
        if dtype == "float16":
            raise UserError(
                "bad_device",
                "float16 on the CPU is slow and partly unimplemented; "
                "use --dtype float32, or a GPU with --device",
            )
        return chosen, "float32" if dtype == "auto" else dtype
    if dtype == "auto":
        return chosen, "float16"
    known = next(d.dtypes for d in devices() if d.name == chosen)
    if dtype not in known:
        raise UserError("bad_device", f"{chosen} has no {dtype}; use --dtype {' or '.join(known)}")
    return chosen, dtype


def find(device: str, gpus: Callable[[], Sequence[str]] | None = None) -> str:
    """The device that a word of the command line stands for: "auto" is the first GPU, else cpu.

    `gpus` names those that a library other than torch can use: torch is not imported then, which
    takes 2 s and may not be installed. Nobody is asked for "auto" where the system has no driver.
    UserError(bad_device).
    """
    possible = _gpu_possible() if gpus is None else _has_driver()
    if device == "cpu" or (device == "auto" and not possible):
        return "cpu"
    names = [found.name for found in devices()] if gpus is None else [*gpus(), "cpu"]
    if device == "auto":
        return names[0]
    wanted = "cuda:0" if device == "cuda" else device
    if wanted not in names:
        raise UserError(
            "bad_device",
            f"{show(device)}: no such device; --device can be auto, {', '.join(names)}",
        )
    return wanted


def free_memory(device: str) -> int:
    """Bytes that can be taken now; of a host also what its container still allows, and what this
    process keeps for itself."""
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + kept)
    available = psutil.virtual_memory().available
    if device == "mps":
        import torch

        used = torch.mps.driver_allocated_memory()
        return max(0, min(available, torch.mps.recommended_max_memory() - used))
    return max(0, min([available, *(free for _, free in _cgroup_memory())])) + heap.kept()


def empty_cache(device: str) -> None:
    """Give memory that is kept for later back to the device."""
    if device == "cpu":
        heap.give_back()
        return
    if "torch" not in sys.modules:
        return
    import torch

    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def free_cores() -> int:
    """Physical cores that this process may use and that others leave idle now; at least 1.

    Takes 80 ms, less those since `look` or since this module was imported. A thread pool larger
    than this spins: the worst slowdown measured, 8 to 20 times.
    """
    cores = _core_groups()
    shares, mine = _shares()
    busy = sum(
        max((shares[cpu] for cpu in group if cpu < len(shares)), default=0.0) for group in cores
    )
    idle = len(cores) - round(max(0.0, busy - mine))
    return max(1, math.floor(min(idle, _cpu_quota())))


def _gpu_possible() -> bool:
    """Whether torch is worth asking."""
    return importlib.util.find_spec("torch") is not None and _has_driver()


def _has_driver() -> bool:
    return not sys.platform.startswith("linux") or any(Path(p).exists() for p in _GPU_NODES)


def _cuda_count() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _has_mps() -> bool:
    import torch

    return torch.backends.mps.is_available()


def _cuda(index: int) -> Device:
    import torch

    name = f"cuda:{index}"
    properties = torch.cuda.get_device_properties(index)
    dtypes = ["float32", "float16"]
    if properties.major >= 8 or torch.version.hip:  # before Ampere bfloat16 is emulated
        dtypes.append("bfloat16")
    return Device(name, properties.name, properties.total_memory, free_memory(name), tuple(dtypes))


def look() -> None:
    """Begin to watch how busy the CPUs are: what was before says nothing of what comes."""
    _looks[:] = [_Look()]


class _Look:
    """What the CPUs have done until now, and what this process has done of it."""

    def __init__(self) -> None:
        self.at = time.monotonic()
        self.mine = _process_seconds()
        self.cpus = [(sum(cpu), cpu.idle) for cpu in psutil.cpu_times(percpu=True)]


def _shares() -> tuple[list[float], float]:
    """How busy each CPU was lately, 0 to 1, and how many of them this process kept so."""
    if time.monotonic() - _looks[0].at > _LATELY:
        look()
    time.sleep(max(0.0, _BUSY_SECONDS - (time.monotonic() - _looks[0].at)))
    before, now = _looks[0], _Look()
    look()
    shares = [
        1 - (idle - was_idle) / max(total - was, 0.01)
        for (was, was_idle), (total, idle) in zip(before.cpus, now.cpus, strict=False)
    ]
    return shares, (now.mine - before.mine) / (now.at - before.at)


def _process_seconds() -> float:
    times = os.times()
    return times.user + times.system


def _allowed_cpus() -> set[int]:
    if hasattr(os, "sched_getaffinity"):
        return set(os.sched_getaffinity(0))
    return set(range(os.cpu_count() or 1))


def _core_groups() -> list[set[int]]:
    """One set of logical CPUs for each physical core this process may use."""
    groups: dict[str, set[int]] = {}
    allowed = _allowed_cpus()
    for cpu in sorted(allowed):
        siblings = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            text = siblings.read_text().strip()
        except OSError:
            text = str(cpu)
        groups.setdefault(text, set()).add(cpu)
    if len(groups) == len(allowed):  # no topology to read (macOS, Windows): trust the count
        physical = psutil.cpu_count(logical=False) or len(groups)
        return list(groups.values())[: max(1, physical)]
    return list(groups.values())


def _physical_cores() -> int:
    return max(1, math.floor(min(len(_core_groups()), _cpu_quota())))


def _cgroup_folders(controller: str, root: Path, membership: str) -> Iterator[Path]:
    """The folders, from ours up, whose limits bind this process: version 2 and version 1."""
    for line in membership.splitlines():
        _, _, rest = line.partition(":")
        names, _, path = rest.partition(":")
        if names == "":
            base = root
        elif controller in names.split(","):
            base = root / controller
        else:
            continue
        folder = base / path.strip("/")
        while True:
            yield folder  # may not exist in a container: the limits are then at the base
            if folder == base or base not in folder.parents:
                break
            folder = folder.parent


def _membership() -> str:
    try:
        return Path("/proc/self/cgroup").read_text()
    except OSError:
        return ""


def _cgroup_memory(
    root: Path = Path("/sys/fs/cgroup"), membership: str | None = None
) -> list[tuple[int, int]]:
    """(limit, free) in bytes of each container limit; file cache counts as free."""
    found = []
    text = _membership() if membership is None else membership
    for folder in _cgroup_folders("memory", root, text):
        for limit_file, used_file, cache in (
            ("memory.max", "memory.current", "inactive_file"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        ):
            try:
                limit = int((folder / limit_file).read_text())
                used = int((folder / used_file).read_text())
                stat = dict(
                    line.split()[:2] for line in (folder / "memory.stat").read_text().splitlines()
                )
            except (OSError, ValueError):  # not there, or "max"
                continue
            used -= int(stat.get(cache, 0))
            found.append((limit, max(0, limit - used)))
    return found


def _cpu_quota(root: Path = Path("/sys/fs/cgroup"), membership: str | None = None) -> float:
    """CPUs that a container's quota allows, infinite without one."""
    quota = math.inf
    text = _membership() if membership is None else membership
    for folder in _cgroup_folders("cpu", root, text):
        try:
            allowed, period = (folder / "cpu.max").read_text().split()
            quota = min(quota, int(allowed) / int(period))
        except (OSError, ValueError):
            pass
        try:
            allowed = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
            if int(allowed) > 0:
                quota = min(quota, int(allowed) / int(period))
        except (OSError, ValueError):
            pass
    return quota


_looks = [_Look()]
