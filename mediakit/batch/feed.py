"""The next item, without ever waiting: from a list, or from a stream read on a thread."""

import queue
import threading
from collections.abc import Iterator
from typing import Protocol

from mediakit.batch.item import Item

# A stream is read this many items ahead.
STREAM_AHEAD = 64


class Feed(Protocol):
    """`next` gives an item, or None: then `ended` tells whether there will be more."""

    ended: bool

    def next(self) -> Item | None: ...

    def known(self) -> Iterator[Item]:
        """The items that are certain to come, without taking them; none of a stream's."""

    def wait(self, seconds: float) -> None:
        """Return when `next` may have something, or after `seconds`."""


class ListFeed:
    """Items that are all known. The list is used up, so that what is done needs no memory."""

    def __init__(self, items: list[Item]) -> None:
        self._items = items
        items.reverse()
        self.ended = False

    def next(self) -> Item | None:
        if self._items:
            return self._items.pop()
        self.ended = True
        return None

    def known(self) -> Iterator[Item]:
        return reversed(self._items)

    def wait(self, seconds: float) -> None:
        return


class StreamFeed:
    """Items that come when they come; the reading thread ends with the process."""

    def __init__(self, items: Iterator[Item]) -> None:
        self._queue: queue.Queue[Item | Exception | None] = queue.Queue(STREAM_AHEAD)
        self._head: list[Item | Exception | None] = []
        self.ended = False
        threading.Thread(target=self._read, args=(items,), daemon=True).start()

    def _read(self, items: Iterator[Item]) -> None:
        try:
            for item in items:
                self._queue.put(item)
            self._queue.put(None)
        except Exception as e:
            self._queue.put(e)

    def next(self) -> Item | None:
        """Raises what the stream raised when it is not usable."""
        if self.ended:
            return None
        try:
            item = self._head.pop() if self._head else self._queue.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, Exception):
            raise item
        self.ended = item is None
        return item

    def known(self) -> Iterator[Item]:
        return iter(())

    def wait(self, seconds: float) -> None:
        if not self._head and not self.ended:
            try:
                self._head.append(self._queue.get(timeout=seconds))
            except queue.Empty:
                return
