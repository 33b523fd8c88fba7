"""A task's command: its options, and what is asked by them."""

import inspect
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mediakit import device
from mediakit.batch.task import Task
from mediakit.cli.checks import check_bare, check_together
from mediakit.cli.defaults import Command
from mediakit.cli.importing import imported
from mediakit.cli.options import Given, collect, signature
from mediakit.cli.piping import piped
from mediakit.cli.worker import begin
from mediakit.errors import UserError
from mediakit.tasks import registry

if TYPE_CHECKING:
    from mediakit.batch.item import Source

WIDE = 120  # columns
FILES = (
    "Inputs are files, directories (taken recursively), globs, or - for standard input (names, "
    "JSON Lines, or the bytes of one file). Every option can be set as MEDIAKIT_{TASK}_OPTION."
)
PROMPTS = (
    "Inputs are prompts, or - for standard input (prompts, one a line, or JSON Lines). Every "
    "option can be set as MEDIAKIT_{TASK}_OPTION."
)

Rows = Callable[[Given], tuple[Given, list["Source"]]]


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
        arguments = _asked(task, given, inputs or []) if found is None else []
        check_together(given, arguments)
        check_bare(task, given, arguments)
        if given.batch.explain:
            return int(imported("mediakit.cli.explain").explain(task, given))
        worker = begin(task, given, arguments)
        # not before: a model loads meanwhile
        return int(imported("mediakit.cli.batch").run(worker, given, arguments, found))

    run.__signature__ = signature(task, argument)  # type: ignore[attr-defined]
    run.__annotations__ = {p.name: p.annotation for p in run.__signature__.parameters.values()}  # type: ignore[attr-defined]
    # in less room, rich's tables cut names off, and leave their descriptions a few columns
    style: Literal["rich"] | None = "rich" if shutil.get_terminal_size().columns >= WIDE else None
    app = typer.Typer(pretty_exceptions_enable=False, rich_markup_mode=style, add_completion=False)
    app.command(
        name,
        cls=Command,
        help=task.summary,
        epilog=(PROMPTS if task.takes_text else FILES).replace("{TASK}", name.upper()),
        context_settings={"help_option_names": ["-h", "--help"]},
    )(run)
    return app


def _asked(task: type[Task], given: Given, arguments: list[str]) -> list[str]:
    """The prompts or names of a command line, by whatever option, or piped with them."""
    if task.takes_text and "prompt" in given.told:
        if arguments or given.batch.list_file:
            raise UserError("usage", "--prompt and other prompts contradict each other")
        arguments = [given.params.prompt]  # type: ignore[attr-defined]
    found = piped(task, given.batch, arguments)
    if found != arguments:
        device.look()  # what wrote the pipe is done
    return found
