"""The cache over fake devices whose memory is counted byte by byte."""

import random
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from mediakit.errors import OutOfMemory, UserError
from mediakit.models.cache import ModelCache, Stats


class Devices:
    """Devices of `total` bytes each; memory of closed models is free only after release()."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.lock = threading.Lock()
        self.used: Counter[str] = Counter()
        self.closed: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.loads: list[object] = []
        self.alive: Counter[object] = Counter()

    def free(self, device: str) -> int:
        with self.lock:
            return self.total - self.used[device]

    def release(self, device: str) -> None:
        with self.lock:
            self.used[device] -= self.closed.pop(device, 0)

    def load(self, name: object, nbytes: int, device: str = "cuda:0") -> "FakeModel":
        with self.lock:
            self.loads.append(name)
            if self.used[device] + nbytes > self.total:
                raise OutOfMemory(device)
            self.used[device] += nbytes
            self.most[device] = max(self.most[device], self.used[device])
            self.alive[name, device] += 1
            assert self.alive[name, device] == 1, f"{name} is loaded twice"
        return FakeModel(self, name, nbytes, device)


class FakeModel:
    def __init__(self, devices: Devices, name: object, nbytes: int, device: str) -> None:
        self.devices, self.name, self.nbytes, self.device = devices, name, nbytes, device
        self.open = True

    def close(self) -> None:
        assert self.open
        with self.devices.lock:
            self.open = False
            self.devices.closed[self.device] += self.nbytes
            self.devices.alive[self.name, self.device] -= 1


@pytest.fixture
def devices():
    return Devices(1000)


def cache_of(devices, budget=None):
    return ModelCache(budget, devices.free, devices.release)


def touch(cache, devices, name, nbytes, device="cuda:0", size=None):
    with cache.use(name, device, lambda: devices.load(name, nbytes, device), size) as model:
        assert model.open
        assert (model.name, model.nbytes) == (name, nbytes)
    return model


def test_a_model_is_loaded_once(devices):
    cache = cache_of(devices)
    first = touch(cache, devices, "a", 100)
    assert touch(cache, devices, "a", 100) is first
    assert cache.stats == Stats(hits=1, loads=1, evictions=0)
    assert cache.nbytes == {"cuda:0": 100}


def test_the_longest_unused_goes_first(devices):
    cache = cache_of(devices, budget=300)
    a, b, c = (touch(cache, devices, name, 100, size=100) for name in "abc")
    touch(cache, devices, "a", 100)
    touch(cache, devices, "d", 150, size=150)  # needs both b and c
    assert (a.open, b.open, c.open) == (True, False, False)
    assert cache.stats == Stats(hits=1, loads=4, evictions=2)
    assert devices.used["cuda:0"] == 250  # released
    assert devices.most["cuda:0"] == 300  # room was made before the load


def test_without_an_estimate_room_is_made_after_the_load_and_remembered(devices):
    cache = cache_of(devices, budget=300)
    touch(cache, devices, "a", 200)
    touch(cache, devices, "b", 200)
    assert devices.most["cuda:0"] == 400
    assert cache.nbytes == {"cuda:0": 200}
    touch(cache, devices, "a", 200)  # its size is known by now
    assert devices.most["cuda:0"] == 400
    assert devices.used["cuda:0"] == 200


def test_each_device_has_its_own_budget(devices):
    cache = cache_of(devices, budget=100)
    models = [touch(cache, devices, "a", 100, device, 100) for device in ("cuda:0", "cpu")]
    assert all(model.open for model in models)
    assert cache.nbytes == {"cuda:0": 100, "cpu": 100}
    assert cache.stats.evictions == 0


def test_the_default_budget_is_what_is_free_less_a_margin(devices):
    cache = cache_of(devices)
    a = touch(cache, devices, "a", 500, size=500)
    b = touch(cache, devices, "b", 400, size=400)  # 500 are free, 450 without the margin
    assert a.open and b.open
    c = touch(cache, devices, "c", 90, size=90)  # 100 are free
    assert a.open and b.open and c.open
    devices.used["cuda:0"] += 5  # another program
    touch(cache, devices, "d", 5, size=5)  # 5 are free, 4 without the margin
    assert (a.open, b.open, c.open) == (False, True, True)


def test_a_model_in_use_is_not_evicted(devices):
    cache = cache_of(devices, budget=200)
    with cache.use("a", "cuda:0", lambda: devices.load("a", 100), 100) as a:
        touch(cache, devices, "b", 100, size=100)
        touch(cache, devices, "c", 100, size=100)
        assert a.open
        with pytest.raises(UserError) as error:
            touch(cache, devices, "d", 150, size=150)
    assert error.value.code == "over_budget"
    assert a.open
    touch(cache, devices, "d", 150, size=150)  # now it fits
    assert not a.open


@pytest.mark.parametrize("size", [None, 5 * 2**20, 2**20])
def test_a_model_larger_than_the_budget(size):
    devices = Devices(100 * 2**20)
    cache = cache_of(devices, budget=4 * 2**20)
    small = touch(cache, devices, "small", 2**19, size=2**19)
    with pytest.raises(UserError) as error:
        touch(cache, devices, "large", 5 * 2**20, size=size)
    assert error.value.code == "over_budget"
    assert "5.0 MiB needed on cuda:0" in error.value.message
    assert "budget is 4.0 MiB" in error.value.message
    assert "raise --memory-budget" in error.value.message
    assert devices.used["cuda:0"] == (2**19 if small.open else 0)
    assert cache.nbytes == ({"cuda:0": 2**19} if small.open else {})
    if size == 5 * 2**20:
        assert small.open  # nothing was evicted for what can't be


def test_a_model_larger_than_what_is_free(devices):
    cache = cache_of(devices)
    with pytest.raises(UserError) as error:
        touch(cache, devices, "a", 2000, size=2000)
    assert error.value.code == "over_budget"
    assert devices.loads == []


def test_out_of_memory_evicts_everything_idle_and_tries_once_more(devices):
    cache = cache_of(devices)
    a, b = touch(cache, devices, "a", 400), touch(cache, devices, "b", 300)
    elsewhere = touch(cache, devices, "c", 10, "cpu")
    touch(cache, devices, "d", 500)
    assert (a.open, b.open, elsewhere.open) == (False, False, True)
    assert devices.loads == ["a", "b", "c", "d", "d"]
    assert cache.stats == Stats(hits=0, loads=4, evictions=2)
    with pytest.raises(OutOfMemory):
        touch(cache, devices, "e", 1001)
    assert devices.loads[-2:] == ["e", "e"]
    assert cache.nbytes == {"cpu": 10}


def test_memory_of_a_failed_load_is_free_before_the_second_try(devices):
    """Frames of the first try, kept by its traceback, would still hold what it loaded."""
    partial = []

    class Tensor:
        def __init__(self) -> None:
            partial.append(self)

        def __del__(self) -> None:
            freed.append(True)

    freed: list[bool] = []

    def load() -> FakeModel:
        if not freed:
            tensor = Tensor()
            partial.clear()
            raise OutOfMemory(repr(tensor))
        return devices.load("a", 10)

    with cache_of(devices).use("a", "cuda:0", load) as model:
        assert model.open


def test_a_failed_load_leaves_nothing(devices):
    cache = cache_of(devices, budget=100)

    def fail() -> FakeModel:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"), cache.use("a", "cuda:0", fail, 100):
        pass
    assert cache.nbytes == {}
    assert cache.stats == Stats()
    assert touch(cache, devices, "a", 100, size=100).open


def test_those_who_waited_for_a_failed_load_try_themselves(devices):
    cache = cache_of(devices)
    begun, others_wait = threading.Event(), threading.Event()
    tries = []

    def load() -> FakeModel:
        tries.append(threading.get_ident())
        if len(tries) == 1:
            begun.set()
            assert others_wait.wait(10)
            raise ValueError("damaged")
        return devices.load("a", 10)

    def use() -> bool:
        with cache.use("a", "cuda:0", load) as model:
            return model.open

    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(use)
        assert begun.wait(10)
        others = [pool.submit(use) for _ in range(3)]
        others_wait.set()
        with pytest.raises(ValueError, match="damaged"):
            first.result(10)
        assert all(other.result(10) for other in others)
    assert len(tries) == 2
    assert cache.stats == Stats(hits=2, loads=1)


def test_an_error_of_the_user_gives_the_lease_back(devices):
    cache = cache_of(devices, budget=100)
    with (
        pytest.raises(KeyError),
        cache.use("a", "cuda:0", lambda: devices.load("a", 100), 100),
    ):
        raise KeyError
    touch(cache, devices, "b", 100, size=100)
    assert cache.stats.evictions == 1


def test_whoever_needs_room_waits_for_those_who_have_it(devices):
    cache = cache_of(devices, budget=100)
    taken, finish = threading.Event(), threading.Event()

    def hold() -> None:
        with cache.use("a", "cuda:0", lambda: devices.load("a", 80), 80) as model:
            taken.set()
            assert finish.wait(10)
            assert model.open

    with ThreadPoolExecutor(3) as pool:
        holding = pool.submit(hold)
        assert taken.wait(10)
        waiting = [
            pool.submit(touch, cache, devices, "b", 80, size=80),
            pool.submit(touch, cache, devices, "c", 80),  # found out after its load
        ]
        finish.set()
        holding.result(10)
        for result in waiting:
            result.result(10)
    assert sum(devices.alive.values()) == 1
    assert devices.used["cuda:0"] == 80


def test_two_threads_that_each_hold_one_and_want_another_do_not_hang(devices):
    cache = cache_of(devices, budget=200)
    both = threading.Barrier(2)

    def nested(outer: str, inner: str) -> str:
        with cache.use(outer, "cuda:0", lambda: devices.load(outer, 100), 100):
            both.wait(10)
            try:
                touch(cache, devices, inner, 100, size=100)
            except UserError as error:
                return error.code
            return "done"

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(nested, "a", "b"), pool.submit(nested, "c", "d")]
        codes = [result.result(10) for result in results]
    assert "over_budget" in codes  # at least the first to ask; the other may find room by then


def test_a_load_may_use_other_models(devices):
    cache = cache_of(devices, budget=200)

    def load() -> FakeModel:
        touch(cache, devices, "part", 50, size=50)
        return devices.load("whole", 100)

    with cache.use("whole", "cuda:0", load, 100) as model:
        assert model.open
    assert cache.nbytes == {"cuda:0": 150}


def test_clear_closes_idle_models_now_and_others_when_they_are_done(devices):
    cache = cache_of(devices)
    idle = touch(cache, devices, "a", 100)
    with cache.use("b", "cuda:0", lambda: devices.load("b", 100)) as used:
        cache.clear()
        assert (idle.open, used.open) == (False, True)
    assert not used.open
    assert devices.used["cuda:0"] == 0
    assert cache.nbytes == {}
    assert cache.stats.evictions == 0
    assert touch(cache, devices, "b", 100).open


def test_a_model_that_can_not_be_closed_is_forgotten(devices):
    class Stuck(FakeModel):
        def close(self) -> None:
            raise RuntimeError("stuck")

    cache = cache_of(devices, budget=100)
    with cache.use("a", "cuda:0", lambda: Stuck(devices, "a", 100, "cuda:0"), 100):
        pass
    with pytest.raises(RuntimeError, match="stuck"):
        touch(cache, devices, "b", 100, size=100)
    assert cache.nbytes == {}
    assert touch(cache, devices, "b", 100, size=100).open


@pytest.mark.parametrize("budget", [100, None])
@pytest.mark.parametrize("estimated", [True, False])
def test_many_threads(budget, estimated):
    """No eviction in use, no double load, no byte over the budget, nothing lost, no hang."""
    devices = Devices(100 if estimated and budget else 1000)
    cache = cache_of(devices, budget)
    sizes = {f"model{n}": 15 + 10 * n for n in range(6)}  # 15 to 65 of 100 bytes
    waited = threading.Barrier(8)

    def work(seed: int) -> int:
        choose = random.Random(seed)
        waited.wait(10)
        for _ in range(150):
            name = choose.choice(list(sizes))
            device = choose.choice(["cuda:0", "cuda:1"])
            key = (name, device)

            def load(key=key, name=name, device=device) -> FakeModel:
                return devices.load(key, sizes[name], device)

            size = sizes[name] if estimated else None
            with cache.use(key, device, load, size) as model:
                assert model.open and model.name == key
                threading.Event().wait(choose.choice([0, 0, 0.0005]))
                assert model.open, f"{key} was closed while in use"
        return 150

    switch = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(8) as pool:
            done = [pool.submit(work, seed) for seed in range(8)]
            assert sum(result.result(60) for result in done) == 1200
    finally:
        sys.setswitchinterval(switch)
    assert cache.stats.loads == len(devices.loads)
    assert cache.stats.hits + cache.stats.loads >= 1200
    if budget and estimated:
        assert max(devices.most.values()) <= 100
        assert cache.stats.evictions > 50
    if budget:
        assert max(cache.nbytes.values()) <= 100
    assert dict(+devices.used) == cache.nbytes
    cache.clear()
    assert not +devices.used
    assert not +devices.alive
