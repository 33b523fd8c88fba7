"""A task's command: its options, its inputs, one batch, its exit status."""

import inspect
import shutil
import sys
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal

import typer

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
from mediakit.cli.checks import (
    check_bare,
    check_place,
    check_together,
)
from mediakit.cli.explain import explain
from mediakit.cli.inputs import Inputs
from mediakit.cli.options import Given, collect, signature
from mediakit.cli.piping import piped
from mediakit.cli.render import Renderer
from mediakit.cli.weights import new_cache, pinning
from mediakit.errors import ExitStatus, MediakitError, Stopped, UserError
from mediakit.heap import keep_freed
from mediakit.models.store import Store
from mediakit.tasks import registry

WIDE = 120  # columns
FILES = (
    "Inputs are files, directories (taken recursively), globs, or - for standard input (names, "
    "JSON Lines, or the bytes of one file). Every option can be set as MEDIAKIT_{TASK}_OPTION."
)
PROMPTS = (
    "Inputs are prompts, or - for standard input (prompts, one a line, or JSON Lines). Every "
    "option can be set as MEDIAKIT_{TASK}_OPTION."
)

Rows = Callable[[Given], tuple[Given, list[Source]]]


def command(name: str, rows: Rows | None = None) -> typer.Typer:
    """The Typer app of one task; `rows` gives its inputs, and what of the options counts for
    them (replay's)."""
    task = registry.task(name)
    argument = inspect.Parameter(
        "inputs",
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[
            list[str] | None,
            typer.Argument(
                parser=str, metavar="PROMPTS" if task.takes_text else "INPUTS",
                help="Prompts, or -." if task.takes_text else "Files, directories, globs, or -.",
                show_default=False,
            ),
        ],
    )  # fmt: skip

    def run(context: typer.Context, *, inputs: list[str] | None, **values: Any) -> int:
        given = collect(context, task, values)
        found = None
        if rows:
            if inputs or given.batch.list_file:
                raise UserError(
                    "usage",
                    "the inputs are those of the records; leave other inputs and --from out",
                )
            given, found = rows(given)
        return run_task(task, given, inputs or [], found)

    run.__signature__ = signature(task, argument)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}  # type: ignore[attr-defined]
    # in less room, rich's tables cut names off, and leave their descriptions a few columns
    style: Literal["rich"] | None = "rich" if shutil.get_terminal_size().columns >= WIDE else None
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=style, add_completion=False)
    app.command(
        name,
        help=task.summary,
        epilog=(PROMPTS if task.takes_text else FILES).replace("{TASK}", name.upper()),
        context_settings={"help_option_names": ["-h", "--help"]},
    )(run)
    return app


def run_task(
    task: type[Task], given: Given, arguments: list[str], rows: Iterable[Source] | None = None
) -> int:
    """Do a batch. `rows` are inputs that were read already (replay's)."""
    batch = given.batch
    if rows is None:
        arguments = _asked(task, given, arguments)
    check_together(given, arguments)
    check_bare(task, given, arguments)
    if batch.explain:
        return explain(task, given)
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
            status = _gathered(given, planner, feed, renderer)
        except (UserError, Stopped):
            if stop.status is None:
                raise
            status = stop.status  # a signal also ends planning, and what was being fetched
        finally:
            renderer.quiet_close()
        inputs.tell(renderer)
        renderer.close(status)
    return status


def _asked(task: type[Task], given: Given, arguments: list[str]) -> list[str]:
    """The prompts or names of a command line, by whatever option, or piped with them."""
    if task.takes_text and "prompt" in given.told:
        if arguments or given.batch.list_file:
            raise UserError("usage", "--prompt and other prompts contradict each other")
        arguments = [given.params.prompt]  # type: ignore[attr-defined]
    return piped(task, given.batch, arguments)


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


def _gathered(given: Given, planner: Planner, feed: Feed, renderer: Renderer) -> ExitStatus:
    """Run; then write the one file of all results, if there is one."""
    task, output, batch = planner.job.task, planner.output, given.batch
    ledger = Ledger(output, task, batch)
    if not output.gathered:
        return _run(task, given, ledger, feed, renderer, renderer)
    gathering = Gathering(output, renderer, batch.overwrite)
    if not batch.dry_run:
        gathering.check(batch.list_file)
    gathering.items = planner.planned
    status = _run(task, given, ledger, feed, renderer, gathering)
    if not batch.dry_run and gathering.write():
        renderer.wrote(gathering.file)
    return status


def _run(
    task: type[Task], given: Given, ledger: Ledger, feed: Feed, renderer: Renderer, notify: Notify
) -> ExitStatus:
    if given.batch.dry_run:
        return _dry_run(task, ledger, feed, renderer.stop, notify)
    cache = new_cache(given.execution)
    worker = task(given.execution, Store(offline=given.batch.offline), cache)
    status = Runner(worker, ledger, notify, renderer.stop).run(feed)
    used = ", ".join(f"{name} {value}" for name, value in worker.used().items() if value)
    renderer(Note(f"computed with: {used or 'nothing'}", level=1))
    stats = cache.stats
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
