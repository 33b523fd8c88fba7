"""What becomes of an item before and after it is computed; on threads beside the device's."""

import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mediakit.batch.answers import Answers
from mediakit.batch.events import Fetching, Finished
from mediakit.batch.files import input_error
from mediakit.batch.gauge import Gauge
from mediakit.batch.item import Item, Made
from mediakit.batch.ledger import Work, errors_of
from mediakit.batch.plan import MODEL_FIELDS
from mediakit.batch.record import add_result, record_of, to_json
from mediakit.batch.stop import Stop
from mediakit.batch.task import Task
from mediakit.errors import ExitStatus, PlaceError, Stopped, UserError

POLL = 0.1  # seconds between looks at `stop` while waiting


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
        self._fetched: dict[str, UserError | None] = {}  # sha256 -> why not

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
            work.replaces, work.earlier = verdict.replaces, verdict.earlier
            self.fetch_models(item)
            while not (self.stop or self.room.wait(work.ticket, POLL)):
                pass
            if self.stop:
                raise Stopped
            self.ledger.start(item)
            self._decode(work)
        except Stopped:
            self.answers.give_up(work)
            raise
        except Exception as e:
            if is_echo(self.stop, e) or is_everybodys([work], e):
                self.answers.give_up(work)
                raise (Stopped if self.stop else e) from None
            self.answers.fail(work, e)
            return False
        self.room.add(work.decoded.media.nbytes)
        return True

    def fetch_ahead(self, items: Iterable[Item]) -> bool:
        """Have the models of all these items, before any is taken; whether there is work to do.

        UserError; but what only some rows name is told when their turn comes.
        """
        recipes: set[str] = set()
        for item in items:
            recipe = item.recipe
            if item.error or recipe is None or recipe.hash in recipes:
                continue
            if not self.ledger.likely_current(item):
                recipes.add(recipe.hash)
                try:
                    self.fetch_models(item)
                except UserError:
                    if not names_model(item):
                        raise
        return bool(recipes)

    def fetch_models(self, item: Item) -> None:
        """Have the item's models on the disk. UserError: what can't be had is tried once only."""
        assert item.recipe is not None

        def progress(name: str, done: int, total: int | None) -> None:
            if self.stop:
                raise Stopped
            self.answers.notify(Fetching(name, done, total))

        with self._fetching:
            for spec in item.recipe.models.values():
                if spec.sha256 not in self._fetched:
                    try:
                        self.task.store.pull(spec, progress)
                        self._fetched[spec.sha256] = None
                    except UserError as e:
                        self._fetched[spec.sha256] = e
                if failure := self._fetched[spec.sha256]:
                    raise UserError(failure.code, failure.message)

    def _decode(self, work: Work) -> None:
        begin = time.perf_counter()
        try:
            work.decoded = self.task.decode(work.item)
        except OSError as e:
            raise input_error(work.item.source.path, e) from e
        self.ledger.tell_earlier(work)
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
                self.ledger.clear(work)
                self.answers.say(work, event)
        except BaseException as e:
            self.bug = e
            self.answers.stop.set(ExitStatus.FAILED)
        finally:
            self.room.add(-media.nbytes)

    def _write(self, work: Work, media: Any) -> Finished:
        item, begin = work.item, time.perf_counter()
        with errors_of(item):
            file = work.decoded.file
            made = self.task.encode(item, media, file)
            work.seconds["encode"] = time.perf_counter() - begin
            record = record_of(type(self.task), item, "done")
            record |= {
                "execution": work.execution,
                "attempts": work.attempts,
                "seconds": {k: round(v, 4) for k, v in work.seconds.items()},
                "warnings": list(work.decoded.warnings),
            }
            if self.ledger.output.gathered:
                file.write_bytes(to_json(self.task.row(item, made.result)))
            if item.output is None:
                add_result(record, item, made)
                return Finished(item, "done", record, data=self._printed(item, made, file))
            self.ledger.commit(work, made, file, record)
            return Finished(item, "done", record)

    def _printed(self, item: Item, made: Made, file: Path) -> bytes | None:
        """What standard output gets: the file; or a line where there are several results; or
        nothing where it gets the record."""
        if self.task.prints and self.ledger.batch.json_lines:
            return None
        if self.ledger.output.lines and item.source.data is None:
            return os.fsencode(f"{self.task.line(item, made.result)}\n")
        return file.read_bytes()


def is_everybodys(batch: list[Work], error: Exception) -> bool:
    """Whether an error is the whole command's: a model that a row names is only its item's."""
    return isinstance(error, UserError) and not any(names_model(work.item) for work in batch)


def names_model(item: Item) -> bool:
    """Whether the item's row names a model, so that it may be another than the command's."""
    return not MODEL_FIELDS.isdisjoint(item.source.row or ())


def is_echo(stop: Stop, error: Exception) -> bool:
    """Whether an error may only be what a library makes of it that the batch was stopped."""
    return bool(stop) and not isinstance(error, PlaceError)
