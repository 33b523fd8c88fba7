"""How a batch flows: decode on threads, compute here, encode on threads, each ahead of the next.

The device never waits for a decoder or an encoder, and what waits between them is bounded in
bytes. Whatever happens to one item is answered for that item.
"""

import shutil
import threading
import time
import traceback
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeout
from functools import partial
from typing import Any

from mediakit.batch.events import Fetching, Finished, Note, Notify, Progress
from mediakit.batch.feed import Feed
from mediakit.batch.files import output_error
from mediakit.batch.item import Item
from mediakit.batch.ledger import Ledger, Work
from mediakit.batch.order import InOrder
from mediakit.batch.record import Status, add_result, record_of
from mediakit.batch.stop import Stop
from mediakit.batch.task import Task
from mediakit.errors import (
    ExitStatus,
    ItemError,
    MediakitError,
    OutOfMemory,
    PlaceError,
    Stopped,
    UserError,
    show,
)

# Decoded inputs, and results not yet written: bytes of each that may wait at any time.
BYTES_AHEAD = 256 << 20
ITEMS_AHEAD = 8
THREADS = 2  # that decode, and as many that encode
POLL = 0.1  # seconds between looks at `stop` while waiting


class Gauge:
    """Bytes that wait somewhere."""

    def __init__(self) -> None:
        self.bytes = 0
        self._changed = threading.Condition()

    def add(self, count: int) -> None:
        with self._changed:
            self.bytes += count
            self._changed.notify_all()

    def wait_below(self, limit: int) -> None:
        """Until there is room; a single thing larger than the limit goes through alone."""
        with self._changed:
            self._changed.wait_for(lambda: self.bytes < limit)


class Runner:
    """One batch: `run` it once. Events are told in the order of the inputs."""

    def __init__(self, task: Task, ledger: Ledger, notify: Notify, stop: Stop) -> None:
        self.task = task
        self.ledger = ledger
        self.notify = notify
        self.stop = stop
        self.counts: Counter[Status] = Counter()
        self._order = InOrder()
        self._decoded = Gauge()
        self._encoding = Gauge()
        self._held: list[Item] = []  # by other runs
        self._ready = threading.Lock()
        self._fetched: set[str] = set()
        self._begun = False
        self._records = ledger.batch.json_lines

    def run(self, feed: Feed) -> ExitStatus:
        """Do all items. UserError if a model can't be had, before anything is made."""
        waiting: deque[Future[Work | None]] = deque()
        decoders = ThreadPoolExecutor(THREADS, "decode")
        encoders = ThreadPoolExecutor(THREADS, "encode")
        try:
            self._flow(feed, waiting, decoders, encoders)
            self._flow_held(waiting, decoders, encoders)
        finally:
            for future in waiting:
                future.cancel()
            decoders.shutdown()
            for future in waiting:
                self._let_go(future)
            encoders.shutdown()  # what was computed is still written
            if self.ledger.journal:
                self.ledger.journal.close()
        if self.stop.status is not None:
            return self.stop.status
        return ExitStatus.FAILED if self.counts["failed"] else ExitStatus.DONE

    # the loop

    def _flow(
        self,
        feed: Feed,
        waiting: "deque[Future[Work | None]]",
        decoders: ThreadPoolExecutor,
        encoders: ThreadPoolExecutor,
    ) -> None:
        while not self.stop:
            while len(waiting) < ITEMS_AHEAD and self._decoded.bytes < BYTES_AHEAD:
                item = feed.next()
                if item is None:
                    break
                if self.ledger.surely_current(item):
                    self._finish(Work(item, self._order.ticket()), "skipped")
                else:
                    work = Work(item, self._order.ticket())
                    waiting.append(decoders.submit(self._prepare, work))
            if waiting:
                self._compute_next(waiting, encoders)
            elif feed.ended:
                break
            else:
                feed.wait(POLL)

    def _flow_held(
        self,
        waiting: "deque[Future[Work | None]]",
        decoders: ThreadPoolExecutor,
        encoders: ThreadPoolExecutor,
    ) -> None:
        """Look again at the items that other runs held, when they let them go."""
        if self._held and not self.stop:
            count = len(self._held)
            self.notify(Note(f"waiting for {count} items that another run is working on"))
        for item in self._held:
            while not self.stop and not self.ledger.take(item):
                time.sleep(POLL)
            if self.stop:
                return
            waiting.append(
                decoders.submit(self._prepare, Work(item, self._order.ticket()), taken=True)
            )
            self._compute_next(waiting, encoders)

    def _compute_next(
        self, waiting: "deque[Future[Work | None]]", encoders: ThreadPoolExecutor
    ) -> None:
        """Compute the next decoded items, as many as the task takes at once and are ready."""
        batch: list[Work] = []
        while waiting and len(batch) < self.task.batch_size:
            if batch and not waiting[0].done():
                break
            try:
                work = waiting[0].result(timeout=POLL)
            except (FutureTimeout, Stopped):
                if self.stop:
                    return
                continue
            waiting.popleft()
            if work:
                batch.append(work)
        if batch:
            try:
                self._compute(batch, encoders)
            finally:
                self._decoded.add(-sum(w.decoded.media.nbytes for w in batch))

    # before: on a decoding thread

    def _prepare(self, work: Work, taken: bool = False) -> Work | None:
        """Take, judge and decode an item; None if it is answered already, or held elsewhere."""
        item = work.item
        try:
            if not taken and not self.ledger.take(item):
                self._held.append(item)
                self._order.put(work.ticket, None)
                return None
            verdict = self.ledger.judge(item)
            if verdict.current:
                record = self.ledger.skip(item, verdict.current, wanted=self._records)
                self.ledger.release(item)
                self._say(work, Finished(item, "skipped", record))
                return None
            if self.stop:
                raise Stopped
            work.replace = verdict.replace
            self._fetch_models(item)
            self.ledger.start(item)
            begin = time.perf_counter()
            work.decoded = self.task.decode(item)
            work.seconds["decode"] = time.perf_counter() - begin
        except Exception as e:
            if isinstance(e, Stopped) or (isinstance(e, UserError) and not item.source.row):
                self._give_up(work)
                raise
            self._fail(work, e)
            return None
        self._decoded.add(work.decoded.media.nbytes)
        return work

    def _fetch_models(self, item: Item) -> None:
        """Have the item's models on the disk; the first call of a batch comes before any work."""
        assert item.recipe is not None
        with self._ready:
            for spec in item.recipe.models.values():
                if spec.sha256 not in self._fetched:
                    self.task.store.pull(
                        spec, lambda name, done, total: self.notify(Fetching(name, done, total))
                    )
                    self._fetched.add(spec.sha256)

    # compute: on this thread

    def _compute(self, batch: list[Work], encoders: ThreadPoolExecutor) -> None:
        """Results of a batch, to the encoders; smaller steps until the memory suffices."""
        if self.stop:
            for work in batch:
                self._give_up(work)
            return
        failure: Exception | None = None
        begin, loaded = time.perf_counter(), self.task.load_seconds
        try:
            if not self._begun:
                self.task.begin()
                self._begun = True
            emit = partial(self._progress, batch[0].item)
            results = self.task.compute([(w.item, w.decoded) for w in batch], emit)
        except Exception as e:
            # an option of the whole command is everybody's fault, a row's only its item's
            if isinstance(e, Stopped) or (
                isinstance(e, UserError) and not batch[0].item.source.row
            ):
                for work in batch:
                    self._give_up(work)
                if isinstance(e, Stopped):
                    return
                raise
            failure = e.with_traceback(None) if isinstance(e, OutOfMemory) else e
        if failure is not None:  # the failing frame and its tensors are gone here
            self._after_failure(batch, failure, encoders)
            return
        used = dict(self.task.used())
        loading = self.task.load_seconds - loaded
        share = (time.perf_counter() - begin - loading) / len(batch)
        for work, media in zip(batch, results, strict=True):
            work.seconds |= {"load": loading / len(batch), "compute": share}
            work.execution = used
            self._encoding.wait_below(BYTES_AHEAD)
            self._encoding.add(media.nbytes)
            encoders.submit(self._encode, work, media)

    def _after_failure(
        self, batch: list[Work], failure: Exception, encoders: ThreadPoolExecutor
    ) -> None:
        if isinstance(failure, PlaceError):
            for work in batch:
                self._fail(work, failure)
        elif len(batch) > 1:  # find the one, and let the others pass
            half = len(batch) // 2
            self._compute(batch[:half], encoders)
            self._compute(batch[half:], encoders)
        elif isinstance(failure, OutOfMemory):
            smaller = self.task.step_down()
            if smaller is None:
                name = show(batch[0].item.source.path)
                message = f"{name}: {failure}; use a smaller picture, or --device cpu"
                self._fail(batch[0], ItemError("out_of_memory", message))
                return
            attempt = {"code": "out_of_memory", "message": str(failure), "then": smaller}
            batch[0].attempts.append(attempt)
            self.notify(Note(f"out of memory: {smaller}"))
            self._compute(batch, encoders)
        else:
            self._fail(batch[0], failure)

    def _progress(self, item: Item, share: float) -> None:
        if self.stop:
            raise Stopped
        self.notify(Progress(item, share))

    # after: on an encoding thread

    def _encode(self, work: Work, media: Any) -> None:
        """Write a result under its final name, journal it, say it."""
        item, begin = work.item, time.perf_counter()
        file = self.ledger.output.temporary(work.ticket)
        try:
            made = self.task.encode(item, media, file)
            work.seconds["encode"] = time.perf_counter() - begin
            record = record_of(type(self.task), item, "done")
            record |= {
                "execution": work.execution,
                "attempts": work.attempts,
                "seconds": {k: round(v, 4) for k, v in work.seconds.items()},
                "warnings": list(work.decoded.warnings),
            }
            data = None
            if item.output is None:
                data = file.read_bytes()
                shutil.rmtree(file.parent, ignore_errors=True)
                add_result(record, made, None, None)
            else:
                self.ledger.commit(work, made, file, record)
            self._say(work, Finished(item, "done", record, data=data))
        except Exception as e:
            file.unlink(missing_ok=True)
            self._fail(work, e)
        finally:
            self._encoding.add(-media.nbytes)

    # answers

    def _finish(self, work: Work, status: Status) -> None:
        record = self.ledger.skip(work.item, None, self._records)
        self._say(work, Finished(work.item, status, record))

    def _fail(self, work: Work, failure: Exception) -> None:
        """Answer for an item that failed; a fault of the place stops the batch instead."""
        item = work.item
        if isinstance(failure, OSError) and item.output:
            failure = output_error(item.output, failure)
        if isinstance(failure, PlaceError):
            first = not self.stop
            self.stop.set(ExitStatus.FAILED)
            self._give_up(work)
            if first:
                self.notify(Note(f"{failure.message} [{failure.code}]", error=True))
            return
        if not isinstance(failure, MediakitError):
            self.notify(Note("".join(traceback.format_exception(failure)), level=1))
            text = f"{type(failure).__name__}: {failure}".splitlines()[0]
            failure = ItemError("failed", f"{show(item.source.path)}: {text} (-v shows where)")
        record = self.ledger.fail(item, failure, work.attempts)
        self._say(work, Finished(item, "failed", record, failure))
        if self.ledger.batch.fail_fast:
            self.stop.set(ExitStatus.FAILED)

    def _give_up(self, work: Work) -> None:
        self.ledger.abandon(work.item)
        self._order.put(work.ticket, None)

    def _let_go(self, future: "Future[Work | None]") -> None:
        if not future.cancelled() and future.exception() is None and (work := future.result()):
            self._give_up(work)

    def _say(self, work: Work, event: Finished) -> None:
        def say() -> None:
            self.counts[event.status] += 1
            self.notify(event)

        self._order.put(work.ticket, say)
