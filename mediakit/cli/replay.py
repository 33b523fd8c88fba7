"""`mediakit replay`: results made again from their records, or from the pictures themselves."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from mediakit.batch.item import Source
from mediakit.batch.replay import records, source_of
from mediakit.batch.rows import prompt
from mediakit.cli import tasks
from mediakit.cli.options import Given
from mediakit.errors import UserError, show
from mediakit.tasks import registry

app = typer.Typer(pretty_exceptions_enable=False)


@app.command(
    context_settings={
        "help_option_names": ["-h", "--help"],
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
    }
)
def replay(
    arguments: Annotated[
        list[str],
        typer.Argument(
            parser=str,
            metavar="SOURCES... [OPTIONS]",
            help="Records (.jsonl, as --json prints them), pictures that mediakit or "
            "A1111 made, or directories of both; after them, options of the task (see: "
            "mediakit TASK --help), "
            "which win over what was recorded.",
        ),
    ],
) -> int:
    """Make results again from their records or pictures.

    Inputs are found under the names they had, from the current directory.
    """
    count = next((i for i, a in enumerate(arguments) if a.startswith("-")), len(arguments))
    paths, options = arguments[:count], arguments[count:]
    if not paths:
        raise UserError("usage", "name records or pictures first, then options")
    sources: dict[str, list[Source]] = {}
    for path in paths:
        for record, where in records(Path(path), _note):
            if record.get("task") not in registry.names():
                task = show(record.get("task"))
                raise UserError("bad_record", f"{show(where)}: no task is named {task}")
            is_text = registry.task(record["task"]).takes_text
            sources.setdefault(record["task"], []).append(source_of(record, where, is_text))
    if not sources:
        _note("no records found")
    statuses = [_again(name, rows, options) for name, rows in sources.items()]
    return max(statuses, default=0)


def _note(text: str) -> None:
    sys.stderr.write(f"mediakit replay: {text}\n")


def _only_told(given: Given) -> Given:
    """Without the Params of the environment, which speaks for new work: a record's own count,
    and where it has none, the defaults that it was made with."""
    here = {"command line"}
    if given.sources.get("preset") == "command line":
        here |= {source for source in given.sources.values() if source.startswith("preset ")}
    fields = type(given.params).model_fields
    told = {name for name in fields if given.sources.get(name) in here}
    params = type(given.params)(**{name: getattr(given.params, name) for name in told})
    sources = {k: v for k, v in given.sources.items() if k not in fields or k in told}
    sources["list_file"] = "command line"  # rows: they may hold what an option needs
    return replace(given, params=params, sources=sources)


def _again(name: str, rows: list[Source], options: list[str]) -> int:
    """One batch of a task, its inputs taken from records instead of the command line."""

    def with_options(given: Given) -> tuple[Given, list[Source]]:
        told = _only_told(given)
        again = [
            replace(row, row={k: v for k, v in (row.row or {}).items() if k not in told.given})
            for row in rows
        ]
        if "prompt" in told.given and registry.task(name).takes_text:
            text = str(told.params.prompt)  # type: ignore[attr-defined]
            again = [prompt(text, row.row) for row in again]
        return told, again

    command = typer.main.get_command(tasks.command(name, with_options))
    return int(command.main(options, f"mediakit {name}", standalone_mode=False) or 0)
