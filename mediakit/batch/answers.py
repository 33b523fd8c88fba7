"""What is said of an item in the end: done, skipped, failed, or nothing; each exactly once."""

import threading
import traceback
from collections import Counter

from mediakit.batch.events import Finished, Note, Notify
from mediakit.batch.history import Making
from mediakit.batch.item import Item
from mediakit.batch.ledger import Ledger, Work
from mediakit.batch.order import InOrder
from mediakit.batch.record import Status
from mediakit.batch.stop import Stop
from mediakit.errors import (
    ExitStatus,
    ItemError,
    MediakitError,
    OutOfMemory,
    PlaceError,
    show,
)


class Answers:
    """Ends items in the ledger and tells of them in the order of the inputs; safe for threads."""

    def __init__(self, ledger: Ledger, notify: Notify, stop: Stop) -> None:
        self.ledger = ledger
        self.notify = notify
        self.stop = stop
        self.order = InOrder()
        self.counts: Counter[Status] = Counter()
        self._faulty = threading.Lock()  # taken for good by the first fault of the place

    def work(self, item: Item) -> Work:
        """The next item in the order."""
        return Work(item, self.order.ticket())

    def say(self, work: Work, event: Finished) -> None:
        def say() -> None:
            self.counts[event.status] += 1
            self.notify(event)

        self.order.put(work.ticket, say)

    def skip(self, work: Work, current: Making | None) -> None:
        """The item is up to date; `current` as for Ledger.skip."""
        wanted = self.ledger.batch.json_lines
        record = self.ledger.skip(work.item, current, wanted)
        self.ledger.release(work.item)
        self.say(work, Finished(work.item, "skipped", record))

    def fail(self, work: Work, failure: Exception) -> None:
        """The item failed; or, if it is a fault of the place, the batch stops."""
        if isinstance(failure, PlaceError):
            self.stop.set(ExitStatus.FAILED)
            self.give_up(work)
            if self._faulty.acquire(blocking=False):
                self.notify(Note(f"{failure.message} [{failure.code}]", error=True))
            return
        self.ledger.clear(work)
        error = self._error(work.item, failure)
        record = self.ledger.fail(work.item, error, work.attempts)
        self.say(work, Finished(work.item, "failed", record, error))
        if self.ledger.batch.fail_fast:
            self.stop.set(ExitStatus.FAILED)

    def give_up(self, work: Work) -> None:
        """Nothing is said of the item in this run, and it is left for the next."""
        self.ledger.clear(work)
        self.ledger.abandon(work.item)
        self.pass_over(work)

    def pass_over(self, work: Work) -> None:
        """Nothing is said of the item here, and nothing was begun."""
        self.order.put(work.ticket, None)

    def _error(self, item: Item, failure: Exception) -> MediakitError:
        name = show(item.source.path)
        if isinstance(failure, MediakitError):
            return failure
        if isinstance(failure, OutOfMemory | MemoryError):
            cause = str(failure) or "out of memory"
            return ItemError(
                "out_of_memory", f"{name}: {show(cause)}; use a smaller input, or --device cpu"
            )
        self.notify(Note("".join(traceback.format_exception(failure)), level=1))
        first = (str(failure).splitlines() or [""])[0]
        return ItemError(
            "failed", f"{name}: {type(failure).__name__}: {show(first)} (-v shows where)"
        )
