"""How many bytes may wait between two stages of a batch."""

import threading


class Gauge:
    """Bytes that wait; a single thing larger than `limit` goes through alone."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0
        self._wanted = -1
        self._changed = threading.Condition()

    @property
    def full(self) -> bool:
        return self.bytes >= self.limit

    def add(self, count: int) -> None:
        with self._changed:
            self.bytes += count
            self._changed.notify_all()

    def want(self, ticket: int) -> None:
        """Someone waits for that ticket: it may pass in any case, or all would wait for ever."""
        with self._changed:
            self._wanted = ticket
            self._changed.notify_all()

    def wait(self, ticket: int, seconds: float) -> bool:
        """Whether there is room for that ticket, now or within `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.full or ticket <= self._wanted, seconds)
