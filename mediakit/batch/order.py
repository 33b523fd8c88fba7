"""Results come out in the order of the inputs, as soon as all before them are out."""

import threading
from collections.abc import Callable

ANSWERS_AHEAD = 64  # tickets that may be ahead of one that is not answered yet

Say = Callable[[], None]


class InOrder:
    """Numbered tickets; what is handed in for a ticket is said after all earlier ones."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: dict[int, Say | None] = {}
        self._given = self._next = 0

    @property
    def open(self) -> int:
        """How many tickets are not answered, or wait for one that is not."""
        return self._given - self._next

    def ticket(self) -> int:
        with self._changed:
            self._given += 1
            return self._given - 1

    def put(self, ticket: int, say: Say | None) -> None:
        """`say` is called here or by whoever hands in the ticket before; None says nothing."""
        with self._changed:
            self._waiting[ticket] = say
            while self._next in self._waiting:
                ready = self._waiting.pop(self._next)
                self._next += 1
                if ready:
                    ready()
            self._changed.notify_all()

    def wait_below(self, count: int, seconds: float) -> bool:
        """Whether fewer than `count` tickets are open, now or within `seconds`."""
        with self._changed:
            return self._changed.wait_for(lambda: self.open < count, seconds)
