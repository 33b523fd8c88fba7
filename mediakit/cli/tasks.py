"""A task's command: its options, its inputs, one batch, its exit status."""

import inspect
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from mediakit import device
from mediakit.batch import inputs as find_inputs
from mediakit.batch.events import Finished, Note, Planned
from mediakit.batch.feed import Feed, ListFeed, StreamFeed
from mediakit.batch.item import Item, Source
from mediakit.batch.ledger import Ledger
from mediakit.batch.output import output_for
from mediakit.batch.plan import Job, Planner
from mediakit.batch.record import record_of
from mediakit.batch.runner import Runner
from mediakit.batch.stop import Stop
from mediakit.batch.task import Task, check_installed
from mediakit.cli.explain import explain
from mediakit.cli.options import Given, collect, signature
from mediakit.cli.render import Renderer
from mediakit.errors import ExitStatus, MediakitError, UserError, show
from mediakit.media.formats import WRITABLE
from mediakit.models.cache import ModelCache
from mediakit.models.store import Store
from mediakit.params import Batch
from mediakit.tasks import registry

EPILOG = (
    "Inputs are files, directories (taken recursively), globs, or - for standard input (names, "
    "JSON Lines, or the bytes of one file). Every option can be set as MEDIAKIT_{TASK}_OPTION."
)


def command(name: str, rows: Callable[[Given], list[Source]] | None = None) -> typer.Typer:
    """The Typer app of one task; with `rows`, those are its inputs (replay's)."""
    task = registry.task(name)
    argument = inspect.Parameter(
        "inputs",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            list[str] | None,
            typer.Argument(
                parser=str, metavar="INPUTS", help="Files, directories, globs, or -.",
                show_default=False,
            ),
        ],
    )  # fmt: skip

    def run(context: typer.Context, *, inputs: list[str] | None, **values: Any) -> int:
        given = collect(context, task, values)
        return run_task(task, given, inputs or [], rows(given) if rows else None)

    run.__signature__ = signature(task, argument)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}  # type: ignore[attr-defined]
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode="rich", add_completion=False)
    app.command(
        name,
        help=task.summary,
        epilog=EPILOG.replace("{TASK}", name.upper()),
        context_settings={"help_option_names": ["-h", "--help"]},
    )(run)
    return app


def run_task(
    task: type[Task], given: Given, arguments: list[str], rows: Iterable[Source] | None = None
) -> int:
    """Do a batch. `rows` are inputs that were read already (replay's)."""
    batch = given.batch
    _check_together(batch, arguments)
    if batch.explain:
        return explain(task, given)
    streaming = rows is None and (arguments == ["-"] or str(batch.list_file) == "-")
    if not (arguments or batch.list_file or rows is not None):
        raise UserError("usage", "no inputs: name files, directories or globs, or - for stdin")
    single = streaming or (
        not batch.list_file and rows is None and len(arguments) == 1
        and not Path(arguments[0]).is_dir() and not _is_glob(arguments[0])
    )  # fmt: skip
    output = output_for(batch.out, single, frozenset(WRITABLE))
    if batch.name and not output.folder:
        raise UserError("useless_option", "--name does nothing without -o DIR; leave it out")
    if not output.journal and (useless := _needs_journal(batch)):
        raise UserError("useless_option", f"{useless} does nothing with -o -; leave it out")
    planner = Planner(Job(task, given.params, given.given, batch), output)
    planner.recipe()
    stop = Stop()
    with stop.on_signals():
        if streaming:
            source = find_inputs.from_stdin(0, batch.null, task.sniff)
            feed: Feed = StreamFeed(planner.stream(source))
            total = None
        else:
            sources = rows if rows is not None else _finite(task, batch, arguments, output.folder)
            items = planner.items(sources)
            _check_useful(task, given, items)
            feed, total = ListFeed(items), len(items)
            if not items and not batch.quiet:
                sys.stderr.write(f"mediakit {task.name}: no inputs found\n")
        if not batch.dry_run:
            check_installed(task)
        return _run(task, given, Ledger(output, task, batch), feed, total, stop)


def _run(
    task: type[Task], given: Given, ledger: Ledger, feed: Feed, total: int | None, stop: Stop
) -> int:
    renderer = Renderer(task.name, given.batch, stop)
    renderer(Planned(total))
    status = ExitStatus.USAGE
    try:
        if given.batch.dry_run:
            status = _dry_run(task, ledger, feed, renderer, stop)
        else:
            cache = ModelCache(
                given.execution.memory_budget, device.free_memory, device.empty_cache
            )
            worker = task(given.execution, Store(offline=given.batch.offline), cache)
            status = Runner(worker, ledger, renderer, stop).run(feed)
            stats = cache.stats
            text = f"models: {stats.loads} loaded, {stats.hits} found, {stats.evictions} evicted"
            renderer(Note(text, level=1))
    except UserError:
        if stop.status is None:
            renderer.quiet_close()
            raise
        status = stop.status  # a signal also ends what was being fetched
    renderer.close(status)
    return status


def _dry_run(
    task: type[Task], ledger: Ledger, feed: Feed, renderer: Renderer, stop: Stop
) -> ExitStatus:
    failed = False
    while not stop and not (feed.ended):
        item = feed.next()
        if item is None:
            feed.wait(0.1)
            continue
        event = _forecast(task, ledger, item)
        failed = failed or event.status == "failed"
        renderer(event)
    return stop.status or (ExitStatus.FAILED if failed else ExitStatus.DONE)


def _forecast(task: type[Task], ledger: Ledger, item: Item) -> Finished:
    try:
        current = ledger.surely_current(item) or ledger.judge(item).current is not None
        status = "skipped" if current else "planned"
        return Finished(item, status, record_of(task, item, status))  # type: ignore[arg-type]
    except MediakitError as e:
        return Finished(item, "failed", record_of(task, item, "failed", e), e)


def _finite(
    task: type[Task], batch: Batch, arguments: list[str], out: Path | None
) -> Iterable[Source]:
    if "-" in arguments:
        raise UserError("usage", "- (standard input) can't be mixed with other inputs")
    if batch.list_file:
        yield from find_inputs.from_list(batch.list_file)
    yield from find_inputs.from_arguments(arguments, task.suffixes, out)


def _is_glob(argument: str) -> bool:
    return any(c in argument for c in "*?[") and not os.path.lexists(argument)


def _check_together(batch: Batch, arguments: list[str]) -> None:
    """UserError for options that contradict each other, or would do nothing together."""
    stdin = arguments == ["-"] or str(batch.list_file) == "-"
    wrong = [
        (batch.quiet and batch.verbose, "-q and -v contradict each other"),
        (batch.force and batch.retry_failed, "--force and --retry-failed contradict each other"),
        (batch.null and not stdin, "-0 does nothing without - as input"),
        (batch.no_progress and batch.quiet, "--no-progress does nothing beside -q"),
        (batch.force and batch.verify, "--verify does nothing beside --force"),
        (str(batch.list_file) == "-" and arguments, "--from - can't be mixed with other inputs"),
        (batch.json_lines and str(batch.out) == "-", "--json and -o - both want standard output"),
    ]
    for is_wrong, text in wrong:
        if is_wrong:
            raise UserError("useless_option", f"{text}; leave one out")


def _needs_journal(batch: Batch) -> str | None:
    names = ("force", "overwrite", "retry_failed", "verify")
    return next((f"--{n.replace('_', '-')}" for n in names if getattr(batch, n)), None)


def _check_useful(task: type[Task], given: Given, items: list[Item]) -> None:
    values = {name: getattr(given.params, name) for name in given.given}
    task.check_useful(values, [i.output or show(i.key) for i in items if i.recipe])
