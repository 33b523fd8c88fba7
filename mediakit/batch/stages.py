"""What becomes of an item before and after it is computed; on threads beside the device's."""

import threading
import time
from typing import Any

from mediakit.batch.answers import Answers
from mediakit.batch.events import Fetching, Finished
from mediakit.batch.files import input_error
from mediakit.batch.gauge import Gauge
from mediakit.batch.item import Item
from mediakit.batch.ledger import Work, errors_of
from mediakit.batch.record import add_result, record_of
from mediakit.batch.task import Task
from mediakit.errors import ExitStatus, Stopped, UserError

POLL = 0.1  # seconds between looks at `stop` while waiting
ANSWERS_AHEAD = 64  # items that may be ahead of one that is not answered yet


class Decoding:
    """Takes items, judges them and decodes those to be made; `room` counts decoded bytes."""

    def __init__(self, task: Task, answers: Answers, room: Gauge) -> None:
        self.task = task
        self.answers = answers
        self.ledger = answers.ledger
        self.stop = answers.stop
        self.room = room
        self.held: list[Item] = []  # by other runs
        self._fetching = threading.Lock()
        self._fetched: set[str] = set()

    def prepare(self, work: Work) -> bool:
        """Take, judge and decode an item; False if it is answered already, or held elsewhere."""
        item = work.item
        try:
            if not self.ledger.take(item):
                self.held.append(item)
                self.answers.pass_over(work)
                return False
            verdict = self.ledger.judge(item)
            if verdict.current:
                self.answers.skip(work, verdict.current)
                return False
            work.replaces = verdict.replaces
            self._fetch_models(item)
            while not (self.stop or self.room.wait(work.ticket, POLL)):
                pass
            if self.stop:
                raise Stopped
            self.ledger.start(item)
            self._decode(work)
        except Exception as e:
            if isinstance(e, Stopped) or is_everybodys([work], e):
                self.answers.give_up(work)
                raise
            self.answers.fail(work, e)
            return False
        self.room.add(work.decoded.media.nbytes)
        return True

    def _fetch_models(self, item: Item) -> None:
        """Have the item's models on the disk; the first call of a batch comes before any work."""
        assert item.recipe is not None

        def progress(name: str, done: int, total: int | None) -> None:
            if self.stop:
                raise Stopped
            self.answers.notify(Fetching(name, done, total))

        with self._fetching:
            for spec in item.recipe.models.values():
                if spec.sha256 not in self._fetched:
                    self.task.store.pull(spec, progress)
                    self._fetched.add(spec.sha256)

    def _decode(self, work: Work) -> None:
        begin = time.perf_counter()
        try:
            work.decoded = self.task.decode(work.item)
        except OSError as e:
            raise input_error(work.item.source.path, e) from e
        work.seconds["decode"] = time.perf_counter() - begin


class Encoding:
    """Writes results and answers for their items; `room` counts bytes not written yet."""

    def __init__(self, task: Task, answers: Answers, room: Gauge) -> None:
        self.task = task
        self.answers = answers
        self.ledger = answers.ledger
        self.room = room
        self.bug: BaseException | None = None  # a thread's exceptions are seen by nobody else

    def encode(self, work: Work, media: Any) -> None:
        """Write a result under its final name, journal it, say it."""
        try:
            try:
                event = self._write(work, media)
            except Exception as e:
                self.answers.fail(work, e)
            else:
                self.answers.say(work, event)
        except BaseException as e:
            self.bug = e
            self.answers.stop.set(ExitStatus.FAILED)
        finally:
            self.room.add(-media.nbytes)

    def _write(self, work: Work, media: Any) -> Finished:
        item, begin = work.item, time.perf_counter()
        with errors_of(item), self.ledger.output.temporary(work.ticket % ANSWERS_AHEAD) as file:
            made = self.task.encode(item, media, file)
            work.seconds["encode"] = time.perf_counter() - begin
            record = record_of(type(self.task), item, "done")
            record |= {
                "execution": work.execution,
                "attempts": work.attempts,
                "seconds": {k: round(v, 4) for k, v in work.seconds.items()},
                "warnings": list(work.decoded.warnings),
            }
            if item.output is None:
                add_result(record, made, None, None)
                return Finished(item, "done", record, data=file.read_bytes())
            self.ledger.commit(work, made, file, record)
            return Finished(item, "done", record)


def is_everybodys(batch: list[Work], error: Exception) -> bool:
    """Whether an error is the whole command's: a row's options are only its item's."""
    return isinstance(error, UserError) and not any(work.item.source.row for work in batch)
