"""Which models stay loaded: as many as fit into a memory budget a device, the latest used first.

A model is handed out as a lease (`with cache.use(...) as model`): it is counted as in use from
the moment it is found or loaded, under one lock, so that nothing can evict it before its user
begins (InvokeAI's cache had that gap, its issue 7513). Room is made before a load where the size
is known, and whoever waits for room looks at everything anew when it wakes (a scheduler that
waited for one chosen victim hung when that victim was used again: Ollama issue 17408).
"""

import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar, cast

from mediakit.errors import OutOfMemory, UserError


class Model(Protocol):
    @property
    def nbytes(self) -> int:
        """Bytes that the model takes on its device."""

    def close(self) -> None:
        """Give up every reference to device memory."""


M = TypeVar("M", bound=Model)

MARGIN = 0.1  # of what is free: left for activations and for other programs


@dataclass
class Stats:
    hits: int = 0  # uses that found the model loaded, or waited while another thread loaded it
    loads: int = 0
    evictions: int = 0


@dataclass
class _Entry:
    """One model on one device; it takes up `nbytes` from the moment its load begins."""

    device: str
    nbytes: int
    model: Model | None = None  # None: being loaded
    users: int = 1
    last_used: int = 0
    unwanted: bool = False  # cleared while in use: closed by its last user

    @property
    def idle(self) -> bool:
        return self.users == 0


class ModelCache:
    """Loaded models. Safe for threads; knows no model library.

    `budget`: bytes for all models of one device; None: what `free_memory(device)` says is free
    when room is needed, beside what the cache holds itself, less a margin.
    `release(device)` is called after models were closed, to hand their memory back to the device.
    """

    def __init__(
        self,
        budget: int | None,
        free_memory: Callable[[str], int],
        release: Callable[[str], None],
    ) -> None:
        self.stats = Stats()
        self._budget = budget
        self._free_memory = free_memory
        self._release = release
        self._entries: dict[tuple[Hashable, str], _Entry] = {}
        self._sizes: dict[tuple[Hashable, str], int] = {}  # as measured; survives eviction
        self._leases: Counter[int] = Counter()  # thread -> leases it holds
        self._clock = 0
        self._changed = threading.Condition()

    @contextmanager
    def use(
        self, key: Hashable, device: str, load: Callable[[], M], size: int | None = None
    ) -> Iterator[M]:
        """The model of `key` on `device`, loaded by `load()` unless it is there; never evicted
        inside the with block. `size`: bytes it will take, if that can be told beforehand.

        A thread that needs room which others have in use waits for them, unless it holds a lease
        itself (two such threads would wait for each other). UserError over_budget: there will be
        no room. OutOfMemory and anything else that `load` raises passes, and leaves nothing.
        """
        entry = self._take((key, device), load, size or 0)
        try:
            yield cast(M, entry.model)
        finally:
            self._give_back((key, device), entry)

    def clear(self) -> None:
        """Close every model: those in use when their last user is done."""
        with self._changed:
            for entry in self._entries.values():
                entry.unwanted = True
            self._close([key for key, entry in self._entries.items() if entry.idle])

    @property
    def nbytes(self) -> dict[str, int]:
        """Device -> bytes that its models take, those being loaded included."""
        with self._changed:
            taken: Counter[str] = Counter()
            for entry in self._entries.values():
                taken[entry.device] += entry.nbytes
            return dict(taken)

    def _take(self, key: tuple[Hashable, str], load: Callable[[], Model], size: int) -> _Entry:
        """A leased entry whose model is loaded."""
        while True:
            with self._changed:
                entry = self._entries.get(key)
                if entry is not None and entry.model is not None:
                    entry.users += 1
                    self._leases[threading.get_ident()] += 1
                    self.stats.hits += 1
                    return entry
                if entry is not None:  # another thread loads it: if that fails, we try
                    self._changed.wait()
                    continue
                wanted = self._sizes.get(key, size)
                if not self._fits(key[1], wanted):
                    self._wait_for_room(key[1], wanted)
                    continue
                entry = self._entries[key] = _Entry(key[1], wanted)
                # Counted from here, so that a load which uses other models never waits for room.
                self._leases[threading.get_ident()] += 1
            if self._load(key, entry, load):
                return entry

    def _load(self, key: tuple[Hashable, str], entry: _Entry, load: Callable[[], Model]) -> bool:
        """Fill `entry`; False if it turned out too large for the room there is now, and is gone."""
        try:
            model = self._load_or_evict(entry.device, load)
        except BaseException:
            with self._changed:
                del self._entries[key]
                self._forget_lease()
                self._changed.notify_all()
                self._release(entry.device)
            raise
        with self._changed:
            self.stats.loads += 1
            estimate, entry.nbytes = entry.nbytes, model.nbytes
            self._sizes[key] = entry.nbytes
            entry.model = model
            fits = (
                self._budget is None  # it is loaded: the device had room
                or entry.nbytes <= estimate
                or self._fits(entry.device, 0)
            )
            self._changed.notify_all()
            if not fits:
                self._forget_lease()
                self._close([key])
            return fits

    def _load_or_evict(self, device: str, load: Callable[[], Model]) -> Model:
        try:
            return load()
        except OutOfMemory:
            pass  # retried outside the handler: the failed frames hold memory until it is left
        with self._changed:
            self._evict(device, len(self._entries))
            self._release(device)
        return load()

    def _give_back(self, key: tuple[Hashable, str], entry: _Entry) -> None:
        with self._changed:
            self._forget_lease()
            entry.users -= 1
            self._clock += 1
            entry.last_used = self._clock
            self._changed.notify_all()
            if entry.idle and entry.unwanted:
                self._close([key])

    def _forget_lease(self) -> None:
        thread = threading.get_ident()
        self._leases[thread] -= 1
        if not self._leases[thread]:
            del self._leases[thread]

    def _fits(self, device: str, wanted: int) -> bool:
        """Whether `wanted` more bytes fit, once as many idle models are evicted as it takes."""
        if self._budget is not None and wanted > self._budget:
            return False  # never: nothing need be evicted to find out
        while self._over(device, wanted) > 0:
            if not self._evict(device, 1):
                return False
        return True

    def _wait_for_room(self, device: str, wanted: int) -> None:
        """Wait until something changes; UserError over_budget if that would be for ever."""
        held = sum(entry.nbytes for entry in self._entries.values() if entry.device == device)
        others = any(entry.device == device for entry in self._entries.values())
        hopeless = self._budget is not None and wanted > self._budget
        if others and not hopeless and threading.get_ident() not in self._leases:
            self._changed.wait()
            return
        if self._budget is not None:
            needed, room = wanted if hopeless else held + wanted, self._budget
        else:
            needed, room = wanted, max(0, wanted - self._over(device, wanted))
        raise UserError(
            "over_budget",
            f"{_mib(needed)} needed on {device} for the models in use at one time, and the memory "
            f"budget is {_mib(room)}; take a smaller model, or raise --memory-budget",
        )

    def _over(self, device: str, wanted: int) -> int:
        """Bytes by which the models of `device` and `wanted` more would exceed the budget."""
        entries = [entry for entry in self._entries.values() if entry.device == device]
        if self._budget is not None:
            return sum(entry.nbytes for entry in entries) + wanted - self._budget
        if not wanted:
            return 0  # the size is not known: the device will tell
        # what is loaded is already missing from what is free; what is being loaded, not yet
        loading = sum(entry.nbytes for entry in entries if entry.model is None)
        return loading + wanted - int(self._free_memory(device) * (1 - MARGIN))

    def _evict(self, device: str, most: int) -> int:
        """Close up to `most` idle models of `device`, the longest unused first; how many."""
        idle = [
            key for key, entry in self._entries.items() if entry.device == device and entry.idle
        ]
        idle.sort(key=lambda key: self._entries[key].last_used)
        self.stats.evictions += len(idle[:most])
        self._close(idle[:most])
        return len(idle[:most])

    def _close(self, keys: list[tuple[Hashable, str]]) -> None:
        """Forget these models first, then close them: an error in close() leaves no dead entry."""
        entries = [self._entries.pop(key) for key in keys]
        try:
            for entry in entries:
                if entry.model is not None:
                    entry.model.close()
                    entry.model = None
        finally:
            for device in {entry.device for entry in entries}:
                self._release(device)


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:,.1f} MiB"
