"""A batch of the command line, from its inputs to its exit status."""

import gc
import sys
from collections.abc import Iterable

from mediakit.batch.events import Finished, Note, Notify
from mediakit.batch.feed import Feed
from mediakit.batch.gather import Gathering
from mediakit.batch.inputs import check_is_file
from mediakit.batch.item import Item, Source
from mediakit.batch.ledger import Ledger
from mediakit.batch.plan import Planner
from mediakit.batch.recipes import Job
from mediakit.batch.record import record_of
from mediakit.batch.runner import Runner
from mediakit.batch.stop import Stop
from mediakit.batch.task import Task, check_installed
from mediakit.cli.checks import check_place
from mediakit.cli.inputs import Inputs
from mediakit.cli.options import Given
from mediakit.cli.render import Renderer
from mediakit.cli.weights import pinning
from mediakit.errors import ExitStatus, MediakitError, Stopped, UserError
from mediakit.heap import keep_freed


def run(
    worker: Task, given: Given, arguments: list[str], rows: Iterable[Source] | None = None
) -> int:
    """Do it, and say with which exit status it ended. `rows` are inputs that were read already
    (replay's)."""
    task, batch = type(worker), given.batch
    inputs = Inputs(task, given, arguments, rows)
    if inputs.are_none:
        return _without_inputs(task, given)
    if not batch.dry_run:
        check_installed(task)
        if task.keeps_freed:
            keep_freed()
    output = inputs.output()
    check_place(task, given, output)
    output = inputs.in_lines(output)
    stop = Stop()
    with stop.on_signals():
        resumes = output.journal is not None
        streams = task.prints and not resumes and not output.lines
        renderer = Renderer(task.name, batch, stop, streams, resumes)
        try:
            job = Job(task, given.params, given.given, batch)
            planner = Planner(job, output, pinning(batch, renderer))
            recipes = planner.recipes
            with stop.at_once():
                recipes.check() if inputs.may_need_no_model else recipes.of()
                feed = inputs.feed(planner, renderer)
            status = _gathered(worker, given, planner, feed, renderer)
        except (UserError, Stopped):
            if stop.status is None:
                raise
            status = stop.status  # a signal also ends planning, and what was being fetched
        finally:
            renderer.quiet_close()
        inputs.tell(renderer)
        renderer.close(status)
    return status


def _without_inputs(task: type[Task], given: Given) -> int:
    """A conversation, if the task can hold one and somebody is there; else UserError."""
    if task.takes_piped and sys.stdin.isatty() and sys.stdout.isatty():
        from mediakit.cli.conversation import converse

        return converse(given)
    if task.takes_piped and sys.stdin.isatty():
        raise UserError(
            "usage",
            "no inputs: give prompts; a conversation needs a terminal for its output too (/save "
            "writes it to a file)",
        )
    wanted = "give prompts" if task.takes_text else "name files, directories or globs"
    raise UserError("usage", f"no inputs: {wanted}, or - for stdin")


def _gathered(
    worker: Task, given: Given, planner: Planner, feed: Feed, renderer: Renderer
) -> ExitStatus:
    """Run; then write the one file of all results, if there is one."""
    output, batch = planner.output, given.batch
    ledger = Ledger(output, type(worker), batch)
    if not output.gathered:
        return _run(worker, ledger, feed, renderer, renderer)
    gathering = Gathering(output, renderer, batch.overwrite)
    if not batch.dry_run:
        gathering.check(batch.list_file)
    gathering.items = planner.planned
    status = _run(worker, ledger, feed, renderer, gathering)
    if not batch.dry_run and gathering.write():
        renderer.wrote(gathering.file)
    return status


def _run(
    worker: Task, ledger: Ledger, feed: Feed, renderer: Renderer, notify: Notify
) -> ExitStatus:
    gc.enable()  # see app.main
    if ledger.batch.dry_run:
        return _dry_run(type(worker), ledger, feed, renderer.stop, notify)
    status = Runner(worker, ledger, notify, renderer.stop).run(feed)
    used = ", ".join(f"{name} {value}" for name, value in worker.used().items() if value)
    renderer(Note(f"computed with: {used or 'nothing'}", level=1))
    stats = worker.cache.stats
    text = f"models: {stats.loads} loaded, {stats.hits} found, {stats.evictions} evicted"
    renderer(Note(text, level=1))
    return status


def _dry_run(
    task: type[Task], ledger: Ledger, feed: Feed, stop: Stop, notify: Notify
) -> ExitStatus:
    """Say what would be done with each item; write nothing."""
    failed = False
    while not stop and not feed.ended:
        item = feed.next()
        if item is None:
            feed.wait(0.1)
            continue
        event = _forecast(task, ledger, item)
        notify(event)
        failed = failed or event.status == "failed"
        if failed and ledger.batch.fail_fast:
            break
    return stop.status or (ExitStatus.FAILED if failed else ExitStatus.DONE)


def _forecast(task: type[Task], ledger: Ledger, item: Item) -> Finished:
    try:
        if ledger.surely_current(item) or ledger.judge(item).current:
            return Finished(item, "skipped", ledger.skip(item, None, wanted=True))
        for path in item.source.files:
            if item.source.data is None or path != item.source.path:
                check_is_file(path)
        return Finished(item, "planned", record_of(task, item, "planned"))
    except MediakitError as e:
        return Finished(item, "failed", record_of(task, item, "failed", e), e)
