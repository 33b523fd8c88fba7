"""Which options contradict each other, and which would do nothing.

The rule: an option of the command line that can do nothing whatever the inputs hold is an error.
`--dry-run` and `--explain` may be added to any command; environment and presets speak for many
commands, so what they set may be useless for one.
"""

import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mediakit.batch.task import Task
from mediakit.cli.options import Given
from mediakit.errors import UserError, show
from mediakit.models import catalog
from mediakit.models.spec import ModelSpec
from mediakit.params import Batch, flag
from mediakit.tasks import registry

if TYPE_CHECKING:
    from mediakit.batch.item import Item, Source
    from mediakit.batch.output import Output


def check_together(given: Given, arguments: list[str]) -> None:
    """UserError for options that can't stand together."""
    batch, told = given.batch, given.told
    from_stdin = str(batch.list_file) == "-"
    contradict = [
        (batch.quiet and batch.verbose, "-q and -v contradict each other"),
        (batch.force and batch.retry_failed, "--force and --retry-failed contradict each other"),
        (from_stdin and arguments, "--from - can't be mixed with other inputs"),
        ("-" in arguments and (len(arguments) > 1 or batch.list_file),
         "- (standard input) can't be mixed with other inputs"),
        (batch.json_lines and str(batch.out) == "-", "--json and -o - both want standard output"),
        (batch.beside and batch.out, "--beside and -o contradict each other"),
    ]  # fmt: skip
    useless = [
        ("shard" in told and batch.shard and batch.shard[1] == 1, "--shard 0/1 leaves all items"),
        ("null" in told and not from_stdin and "-" not in arguments,
         "-0 does nothing without - as input"),
        ("no_progress" in told and batch.quiet, "--no-progress does nothing beside -q"),
        ("verify" in told and batch.force, "--verify does nothing beside --force"),
    ]  # fmt: skip
    for code, found in (("usage", contradict), ("useless_option", useless)):
        for is_wrong, text in found:
            if is_wrong:
                raise UserError(code, f"{text}; leave one out")


def check_place(task: type[Task], given: Given, output: "Output") -> None:
    """UserError for options that do nothing where the output goes."""
    told = given.told
    check_useful(task, given, [])
    if "name" in told and not output.many:
        raise UserError("useless_option", "--name does nothing without -o DIR; leave it out")
    if given.batch.beside and not task.prints:
        raise UserError("usage", "--beside is for tasks that write text; use -o DIR")
    if output.gathered:
        for name in {"name", "format"} & told:
            raise UserError(
                "useless_option",
                f"--{name} does nothing for one file of all results; leave it out, or use -o DIR",
            )
    for name in ("shard", "limit"):
        if name in told and output.file:
            raise UserError(
                "useless_option", f"--{name} does nothing for a single output file; leave it out"
            )
    if output.journal:
        return
    for name in ("force", "overwrite", "retry_failed", "verify"):
        if name in told:
            option = name.replace("_", "-")
            raise UserError(
                "useless_option",
                f"--{option} does nothing on standard output; leave it out, or use -o DIR",
            )
    formats = getattr(given.params, "format", "")
    if not isinstance(formats, str) and len(formats) > 1:
        raise UserError(
            "usage", f"standard output takes one format, not {len(formats)}; use -o DIR"
        )
    if "format" in told and (output.lines or (given.batch.json_lines and not given.batch.out)):
        raise _no_format()


def check_named(given: Given, sources: "Iterator[Source]") -> "Iterator[Source]":
    """What standard input turns out to hold, where results are printed as lines: of files that it
    names, but not of one that it is. UserError as they come."""
    for source in sources:
        if "format" in given.told and source.data is None:
            raise _no_format()
        yield source


def _no_format() -> UserError:
    return UserError(
        "useless_option",
        "--format does nothing where results are printed together; leave it out, or use -o DIR",
    )


def check_items(task: type[Task], given: Given, items: "list[Item]") -> None:
    """UserError for options that do nothing for any of the items."""
    outputs = [(i.output or show(i.key), *i.also) for i in items if i.recipe]
    check_useful(task, given, [path for paths in outputs for path in paths])


def check_useful(task: type[Task], given: Given, outputs: list[str]) -> None:
    """UserError for options that do nothing for these outputs, whatever the inputs hold."""
    for name, why, cure in task.useless(given.told, given.values, outputs):
        option = flag(name, task.Params, task.Execution, Batch)
        cure = f", or {cure}" if cure else ""
        raise UserError("useless_option", f"{option} {why}; leave it out{cure}")


def check_bare(task: type[Task], given: Given, arguments: list[str]) -> None:
    """UserError for options about a model, where no input needs one."""
    if given.batch.list_file or not arguments or not all(map(task.is_bare, arguments)):
        return
    for name in (*task.Params.model_fields, *task.Execution.model_fields):
        if name in given.told and name not in task.bare_params:
            option = name.replace("_", "-")
            kinds = " and ".join(sorted(task.bare_suffixes))
            raise UserError(
                "useless_option", f"--{option} does nothing for {kinds} files; leave it out"
            )


def check_entry(spec: ModelSpec) -> None:
    """UserError bad_model_entry for an entry of the user's that names a task there is none of."""
    if not catalog.is_own(spec):
        return
    known = {*registry.names(), *catalog.tasks()}
    for key, named in (("tasks", spec.tasks), ("defaults", spec.defaults)):
        for task in named:
            if task not in known:
                close = difflib.get_close_matches(task, sorted(known), n=1)
                hint = close[0] if close else ", ".join(sorted(known))
                raise UserError(
                    "bad_model_entry",
                    f"{show(catalog.user_file())}: {spec.name}.{key}: there is no task "
                    f"{show(task)!r}; did you mean {hint}?",
                )
