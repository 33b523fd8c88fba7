"""A task's command: its options, its inputs, one batch, its exit status."""

import inspect
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from typing import Annotated, Any

import typer

from mediakit import device
from mediakit.batch.events import Fetching, Finished, Note, Notify, Planned
from mediakit.batch.feed import Feed, ListFeed, StreamFeed
from mediakit.batch.gather import Gathering, output_of
from mediakit.batch.inputs import Finder, check_is_file
from mediakit.batch.item import Item, Source
from mediakit.batch.ledger import Ledger
from mediakit.batch.output import Output
from mediakit.batch.plan import Job, Planner
from mediakit.batch.record import record_of
from mediakit.batch.rows import Lists, prompt
from mediakit.batch.runner import Runner
from mediakit.batch.stop import Stop
from mediakit.batch.task import Task, check_installed
from mediakit.cli.checks import (
    check_bare,
    check_entry,
    check_items,
    check_named,
    check_place,
    check_together,
    check_useful,
)
from mediakit.cli.explain import explain
from mediakit.cli.options import Given, collect, signature
from mediakit.cli.piping import piped
from mediakit.cli.render import Renderer
from mediakit.errors import ExitStatus, MediakitError, Stopped, UserError
from mediakit.models import trust
from mediakit.models.cache import ModelCache
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.params import Batch, Execution
from mediakit.tasks import registry

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
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode="rich", add_completion=False)
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
    if task.takes_text and "prompt" in given.told and rows is None:
        if arguments or batch.list_file:
            raise UserError("usage", "--prompt and other prompts contradict each other")
        arguments = [given.params.prompt]  # type: ignore[attr-defined]
    if rows is None:
        arguments = piped(task, batch, arguments)
    check_together(given, arguments)
    check_bare(task, given, arguments)
    if batch.explain:
        return explain(task, given)
    if not (arguments or batch.list_file or rows is not None):
        if task.takes_piped and sys.stdin.isatty() and sys.stdout.isatty():
            from mediakit.cli.conversation import converse

            return converse(given)
        wanted = "give prompts" if task.takes_text else "name files, directories or globs"
        raise UserError("usage", f"no inputs: {wanted}, or - for stdin")
    if not batch.dry_run:
        check_installed(task)
    streaming = rows is None and (arguments == ["-"] or str(batch.list_file) == "-")
    single = rows is None and (streaming or _is_one(task, batch, arguments))
    output = output_of(task, batch.out or task.default_out, single, batch.beside)
    check_place(task, given, output)
    if streaming and task.prints and not output.journal and not batch.out:
        output = replace(output, lines=True)  # there may be many
    lists, stop = Lists(task.takes_text, _fields(task, given)), Stop()
    with stop.on_signals():
        streams = task.prints and output.journal is None and not output.lines
        renderer = Renderer(task.name, batch, stop, streams)
        try:
            job = Job(task, given.params, given.given, batch)
            planner = Planner(job, output, pinning(batch, renderer))
            bare = bool(arguments) and all(map(task.is_bare, arguments)) and not batch.list_file
            with stop.at_once():
                planner.check() if rows is not None or bare else planner.recipe()
            if streaming:
                check_useful(task, given, [str(output.file)] if output.file else [])
                source = lists.stdin(0, batch.null, task.sniff)
                if output.lines:
                    source = check_named(given, source)
                feed: Feed = StreamFeed(planner.stream(source))
                renderer(Planned(None))
            else:
                with stop.at_once():
                    found = list(rows or _sources(task, batch, arguments, output, lists))
                    feed = _planned(planner, given, found, renderer)
            gathering = _gathering(output, batch, renderer)
            if gathering:
                gathering.items = planner.planned
            notify = gathering or renderer
            ledger = Ledger(output, task, batch)
            status = _run(task, given, ledger, feed, renderer, notify)
            if gathering and not batch.dry_run and gathering.write():
                renderer.wrote(gathering.file)
        except (UserError, Stopped):
            if stop.status is None:
                raise
            status = stop.status  # a signal also ends planning, and what was being fetched
        finally:
            renderer.quiet_close()
        if lists.passed_over:
            count = lists.passed_over
            renderer(Note(f"passed over {count} records that have no outputs (failed or planned)"))
        renderer.close(status)
    return status


def _fields(task: type[Task], given: Given) -> Collection[str] | None:
    """What rows may set; None where there is no template that takes other columns."""
    return task.Params.model_fields if getattr(given.params, "template", None) else None


def _gathering(output: Output, batch: Batch, renderer: Renderer) -> Gathering | None:
    if not output.gathered:
        return None
    gathering = Gathering(output, renderer, batch.overwrite)
    if not batch.dry_run:
        gathering.check(batch.list_file)
    return gathering


def pinning(batch: Batch, renderer: Renderer) -> Callable[[ModelSpec], ModelSpec]:
    """What fetches models whose digests are not known yet; a dry run fetches nothing."""
    store = Store(offline=batch.offline)
    failures: dict[str, UserError] = {}  # asked for once, however many rows name it

    def pin(spec: ModelSpec) -> ModelSpec:
        check_entry(spec)
        if batch.dry_run:
            return trust.fill(spec, store.root)
        if failure := failures.get(spec.name):
            raise UserError(failure.code, failure.message)
        try:
            return store.pin(spec, lambda *told: renderer(Fetching(*told)))
        except UserError as e:
            failures[spec.name] = e
            raise

    return pin


def _planned(planner: Planner, given: Given, found: list[Source], renderer: Renderer) -> Feed:
    """A finite list, planned whole before the first model is loaded."""
    task = planner.job.task
    items = planner.items(found)
    check_items(task, given, items)
    renderer(Planned(len(items)))
    if not found:
        kinds = "prompts" if task.takes_text else ", ".join(sorted(task.suffixes))
        renderer(Note(f"no inputs found ({kinds})"))
    return ListFeed(items)


def _is_one(task: type[Task], batch: Batch, arguments: list[str]) -> bool:
    """Whether there is one file or prompt; what is made of it may still be several."""
    if batch.list_file or len(arguments) != 1:
        return False
    if task.takes_text:
        return True
    (argument,) = arguments
    is_glob = any(c in argument for c in "*?[") and not os.path.lexists(argument)
    return not is_glob and not os.path.isdir(argument)


def _sources(
    task: type[Task], batch: Batch, arguments: list[str], output: Output, lists: Lists
) -> Iterator[Source]:
    """The inputs of a command that does not read standard input."""
    folder = task.takes_text and batch.list_file and batch.list_file.is_dir()
    if folder:
        if arguments:
            raise UserError("usage", "prompts, and --from a folder of them: give one")
        arguments = [str(batch.list_file)]
    elif batch.list_file:
        yield from lists.file(batch.list_file)
    if task.takes_text and not folder:
        yield from map(prompt, arguments)
        return
    made: set[str] = set()
    if output.folder and output.journal:
        entries = output.journal.history.entries
        made = {o.path for e in entries.values() for m in e.makings() for o in m.outputs}
    yield from Finder(task.suffixes, output.folder, made).find(arguments)


def new_cache(execution: Execution) -> ModelCache:
    return ModelCache(execution.memory_budget, device.free_memory, device.empty_cache)


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
