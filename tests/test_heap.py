"""Freed memory is kept for the next tensor, counted as free, and given back when asked."""

import subprocess
import sys

import pytest

from mediakit import heap

MIB = 2**20

pytestmark = pytest.mark.skipif(heap._glibc() is None, reason="another C library")


def python(code: str) -> list[int]:
    done = subprocess.run([sys.executable, "-c", _MEANS + code], capture_output=True, text=True,
                          timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]


_MEANS = """
import resource, threading
import psutil, torch
from mediakit import device, heap

net = torch.nn.Sequential(
    *(torch.nn.Conv2d(8, 8, 3, padding=1) if n % 2 else torch.nn.ReLU() for n in range(6))
)

@torch.inference_mode()
def run():
    "The fewest page faults of a net whose layers make 50 MiB each."
    image = torch.zeros(1, 8, 1280, 1280)
    found = []
    for number in range(8):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        net(image)
        found.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    print(min(found))

torch.set_num_threads(1)
"""


def test_freed_memory_is_used_again() -> None:
    """50 MiB have 12,800 pages."""
    (anew,) = python("run()")
    (again,) = python("heap.keep_freed(); run()")
    assert again < 1000 < 12_800 < anew


def test_in_threads_too() -> None:
    code = "heap.keep_freed(); t = threading.Thread(target=run); t.start(); t.join()"
    (again,) = python(code)
    assert again < 1000


def test_what_is_kept_counts_as_free_and_can_be_given_back() -> None:
    kept, resident, after, left = python("""
heap.keep_freed()
resident = lambda: psutil.Process().memory_info().rss
tensor = torch.full((256 << 18,), 1.0)
before = resident()
del tensor
print(heap.kept(), before - resident())
device.empty_cache("cpu")
print(before - resident(), device.free_memory("cpu") - psutil.virtual_memory().available)
""")
    assert kept >= 256 * MIB
    assert resident < 16 * MIB
    assert after > 200 * MIB
    assert left >= -64 * MIB
