"""How a batch flows: decode on threads, compute here, encode on threads, each ahead of the next.

The device never waits for a decoder or an encoder, and what waits between them is bounded in
bytes. Whatever happens to one item is answered for that item.
"""

import os
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from itertools import chain
from typing import Any

from mediakit import device
from mediakit.batch.answers import Answers
from mediakit.batch.events import Note, Notify, Piece, Progress
from mediakit.batch.feed import Feed, ListFeed
from mediakit.batch.gauge import Gauge
from mediakit.batch.item import Item
from mediakit.batch.ledger import Ledger, Work
from mediakit.batch.order import ANSWERS_AHEAD
from mediakit.batch.stages import (
    POLL,
    Decoding,
    Encoding,
    is_echo,
    is_everybodys,
)
from mediakit.batch.stop import Stop
from mediakit.batch.task import Task
from mediakit.errors import ExitStatus, MediakitError, OutOfMemory, PlaceError, Stopped, UserError

# Decoded inputs, and results not yet written: bytes of each that may wait at any time.
BYTES_AHEAD = 256 << 20
ITEMS_AHEAD = 8
SOON = 0.05  # seconds that a batch waits for one more
THREADS = 2  # that decode, and as many at least that encode
# Packing a large PNG takes a core longer than a GPU takes to make it.
ENCODERS = max(THREADS, (os.cpu_count() or 1) // 2)


class Runner:
    """One batch: `run` it once. Events are told in the order of the inputs."""

    def __init__(self, task: Task, ledger: Ledger, notify: Notify, stop: Stop) -> None:
        self.task = task
        self.ledger = ledger
        self.notify = notify
        self.stop = stop
        self.answers = Answers(ledger, notify, stop)
        self._decoders = ThreadPoolExecutor(THREADS, "decode")
        self._encoders = ThreadPoolExecutor(ENCODERS, "encode")
        self._waiting: deque[tuple[Work, Future[bool]]] = deque()
        self._before = Decoding(task, self.answers, Gauge(BYTES_AHEAD))
        self._after = Encoding(task, self.answers, Gauge(BYTES_AHEAD))
        self._suspects: list[Item] = []  # a process died over them
        self._ready = False

    def run(self, feed: Feed) -> ExitStatus:
        """Do all items. UserError if a model can't be had, before anything is made."""
        try:
            self._flow(feed, suspects=False)
            self._flow_suspects()
            self._flow_held()
        finally:
            self._end()
        if self._after.bug:
            raise self._after.bug
        if self.stop.status is not None:
            return self.stop.status
        return ExitStatus.FAILED if self.answers.counts["failed"] else ExitStatus.DONE

    def _end(self) -> None:
        """Let go what was not computed, and write what was."""
        running = [(work, future) for work, future in self._waiting if not future.cancel()]
        for work, future in self._waiting:
            if future.cancelled():
                self.answers.pass_over(work)
        self._decoders.shutdown()
        for work, future in running:
            if future.exception() is None and future.result():
                self.answers.give_up(work)
        self._encoders.shutdown()
        if self.ledger.journal:
            self.ledger.journal.close()

    # the loop

    def _flow(self, feed: Feed, suspects: bool = True) -> None:
        """Do the items of a feed; without `suspects`, put those off."""
        while not self.stop:
            self._fill(feed, suspects)
            if self._waiting:
                self._compute_next()
            elif not self.answers.order.wait_below(ANSWERS_AHEAD, POLL):
                continue
            elif feed.ended:
                break
            else:
                feed.wait(POLL)

    def _fill(self, feed: Feed, suspects: bool) -> None:
        """Give the decoders work, as far ahead as may be."""
        while (
            len(self._waiting) < max(ITEMS_AHEAD, 2 * self.task.batch_size)
            and self.answers.order.open < ANSWERS_AHEAD
            and not (self._before.room.full or self.stop)
        ):
            item = feed.next()
            if item is None:
                return
            if self.ledger.surely_current(item):
                self.answers.skip(self.answers.work(item), None)
                continue
            self._get_ready(item, feed)
            if self.stop:
                return  # before it was taken
            if item.error:
                self.answers.fail(self.answers.work(item), item.error)
            elif not suspects and self.ledger.suspect(item):
                self._suspects.append(item)
            else:
                work = self.answers.work(item)
                self._waiting.append((work, self._decoders.submit(self._before.prepare, work)))

    def _get_ready(self, item: Item, feed: Feed) -> None:
        """Before the first item is taken: have the models of this one and of all that are known
        to come, and the device. UserError then leaves no trace in the output directory."""
        if self._ready:
            return
        try:
            if self._before.fetch_ahead(chain([item], feed.known())):
                self._begin()
        except (UserError, Stopped):
            if not self.stop:
                raise
        # a stream's next item tells more, after one in error
        self._ready = isinstance(feed, ListFeed) or not item.error

    def _begin(self) -> None:
        with self.stop.at_once():
            self.task.get_ready()

    def _flow_suspects(self) -> None:
        """Do the items that a process died over, one at a time: the next death blames only one."""
        for item in self._suspects:
            while not (self.stop or self.answers.order.wait_below(1, POLL)):
                pass
            self._flow(ListFeed([item]))

    def _flow_held(self) -> None:
        """Look again at the items that other runs held, until they have let them go."""
        if self._before.held and not self.stop:
            count = len(self._before.held)
            self.notify(Note(f"waiting for {count} items that another run is working on"))
        while self._before.held and not self.stop:
            held, self._before.held = self._before.held, []
            count = len(held)  # the feed uses the list up
            self._flow(ListFeed(held))
            if len(self._before.held) == count:
                time.sleep(POLL)

    def _compute_next(self) -> None:
        """Compute the next decoded items, as many as the task takes at once and are ready."""
        batch: list[Work] = []
        size = 0
        while self._waiting and len(batch) < self.task.batch_size:
            work, future = self._waiting[0]
            if batch and not wait([future], SOON).done:
                break
            self._before.room.want(work.ticket)
            try:
                ready = future.result(timeout=POLL)
            except (FutureTimeout, Stopped):
                if self.stop:
                    break
                continue
            nbytes = work.decoded.media.nbytes if ready else 0
            if batch and size + nbytes > self.task.batch_bytes:
                break
            self._waiting.popleft()
            if ready:
                batch.append(work)
                size += nbytes
        if batch:
            self._compute(batch)
            self._before.room.add(-size)

    # compute: on this thread

    def _compute(self, batch: list[Work]) -> None:
        """Results of a batch, to the encoders; smaller steps until the memory suffices."""
        left, results = list(batch), self._results(batch)
        while found := self._next(results, left, len(batch)):
            left.remove(found[0])
            self._pass_on(*found)

    def _next(
        self, results: Iterator[tuple[Work, Any]], left: list[Work], begun: int
    ) -> tuple[Work, Any] | None:
        """The next result; None if all have come, or those `left`, of `begun`, are answered for."""
        failure: Exception | None = None
        try:
            return next(results, None)
        except Stopped:
            self._give_up(left)
            return None
        except Exception as e:
            if is_echo(self.stop, e):
                self._give_up(left)
                return None
            if is_everybodys(left, e) or not (self.task.is_ready and left):
                self._give_up(left)
                raise
            failure = _without_frames(e)
        # the failing frame and its tensors are gone here
        if len(left) == 1 < begun:  # by itself it may come out
            self._compute(left)
        else:
            self._after_failure(left, failure)
        return None

    def _pass_on(self, work: Work, media: Any) -> None:
        """A result to the encoders, once there is room for it; or what there is in its place."""
        work.decoded.media = None
        if isinstance(media, MediakitError):
            self.answers.fail(work, media)
            return
        while not self._after.room.wait(work.ticket, POLL):
            pass
        self._after.room.add(media.nbytes)
        self._encoders.submit(self._after.encode, work, media)

    def _give_up(self, batch: list[Work]) -> None:
        for work in batch:
            self.answers.give_up(work)

    def _results(self, batch: list[Work]) -> Iterator[tuple[Work, Any]]:
        if self.stop:
            raise Stopped
        emit = partial(self._progress, batch[0].item)
        emit(0.0)
        self._begin()
        for work in batch:
            self.ledger.scratch(work)
        since = self._clock()
        with self.stop.at_once():
            found = self.task.compute([(work.item, work.decoded) for work in batch], emit)
        if isinstance(found, list):
            self._note(batch, since)
            yield from zip(batch, found, strict=True)
            return
        while True:
            with self.stop.at_once():
                pair = next(found, None)
            if pair is None:
                return
            work = batch[pair[0]]
            self._note([work], since)
            yield work, pair[1]
            since = self._clock()

    def _clock(self) -> tuple[float, float]:
        """Now, and what loading has taken so far."""
        return time.perf_counter(), self.task.load_seconds

    def _note(self, works: list[Work], since: tuple[float, float]) -> None:
        """How works came about, and their shares of the time since then."""
        now = self._clock()
        loading = now[1] - since[1]
        computing = now[0] - since[0] - loading
        used = dict(self.task.used())
        for work in works:
            work.seconds |= {"load": loading / len(works), "compute": computing / len(works)}
            work.execution = used

    def _after_failure(self, batch: list[Work], failure: Exception) -> None:
        """Try again with less, or answer for the items."""
        if isinstance(failure, PlaceError):
            for work in batch:
                self.answers.fail(work, failure)
            return
        half = len(batch) // 2
        if isinstance(failure, OutOfMemory | MemoryError):
            if half:
                self.task.batch_size = half
            smaller = f"batch of {half}" if half else self.task.step_down()
            if smaller:
                device.empty_cache(str(self.task.used().get("device") or "cpu"))
                self.notify(Note(f"out of memory: {smaller}"))
                attempt = {"code": "out_of_memory", "message": str(failure), "then": smaller}
                for work in batch:
                    work.attempts.append(attempt)
                if not half:
                    self._compute(batch)
                    return
        if half:  # find the one, and let the others pass
            self._compute(batch[:half])
            self._compute(batch[half:])
        else:
            self.answers.fail(batch[0], failure)

    def _progress(self, item: Item, share: float, told: str = "", piece: str = "", /) -> None:
        if self.stop:
            raise Stopped
        self.notify(Piece(item, piece) if piece else Progress(item, share, told))


def _without_frames(error: Exception) -> Exception:
    """The error; if memory ran out, free of all that its traceback would keep alive."""
    if isinstance(error, OutOfMemory | MemoryError):
        return OutOfMemory(str(error) or "out of memory")
    return error
