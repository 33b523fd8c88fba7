"""Write the reference page from what the code declares: options, presets, models, codes."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from mediakit import presets
from mediakit.batch.task import Task
from mediakit.cli import tasks
from mediakit.cli.options import PANELS
from mediakit.errors import CODES, ExitStatus
from mediakit.models import catalog
from mediakit.tasks import registry

STATUSES = {
    ExitStatus.DONE: "everything is done or was up to date",
    ExitStatus.FAILED: "some items failed, the others are done; or the disk is full or read-only",
    ExitStatus.USAGE: "wrong usage, or a model that can't be loaded: nothing was begun",
    ExitStatus.HANGUP: "ended by SIGHUP",
    ExitStatus.INTERRUPTED: "ended by Ctrl-C (SIGINT)",
    ExitStatus.BROKEN_PIPE: "whoever read standard output went away (SIGPIPE)",
    ExitStatus.TERMINATED: "ended by SIGTERM",
}


def page() -> Iterator[str]:
    yield "# Reference\n"
    yield "Made by `make docs` from the declarations in the code; a test fails when it is stale.\n"
    for name, task in registry.tasks().items():
        yield from _task(name, task)
    yield "## Presets\n"
    yield from _table(
        ("preset", "tasks", "what for"),
        ((f"`{p.name}`", ", ".join(p.sections), p.description) for p in _shipped()),
    )
    yield "## Models\n"
    yield from _table(
        ("model", "tasks", "MB", "licence", "good at", "bad at"),
        (
            (f"`{name}`", ", ".join(s.tasks), f"{s.size / 1e6:.1f}", s.licence, s.good_at, s.bad_at)
            for name, s in catalog.known().items()
        ),
    )
    yield "## Exit statuses\n"
    yield from _table(("status", "meaning"), ((str(int(s)), text) for s, text in STATUSES.items()))
    yield "## Error codes\n"
    yield from _table(("code", "meaning"), ((f"`{c}`", text) for c, text in CODES.items()))


def _shipped() -> list[presets.Preset]:
    paths = sorted(presets.shipped_folder().glob("*.yaml"))
    return [presets.read(path, registry.tasks()) for path in paths]


def _task(name: str, task: type[Task]) -> Iterator[str]:
    yield f"## mediakit {name}\n"
    yield f"{task.summary}\n"
    yield (
        f"Every option can be set in the environment as `MEDIAKIT_{name.upper()}_OPTION`, those of "
        "how it is computed also as `MEDIAKIT_OPTION`. Options of the first two groups can stand "
        "in presets, those of the first also in the rows of a list.\n"
    )
    command = typer.main.get_command(tasks.command(name))
    context = typer.Context(command)
    for title in PANELS.values():
        yield f"### {title}\n"
        options = [p for p in command.params if getattr(p, "rich_help_panel", None) == title]
        yield from _table(
            ("option", "value", "default", "what it does"), (_option(o, context) for o in options)
        )


def _option(option: Any, context: typer.Context) -> tuple[str, ...]:
    names = ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))
    value = "" if option.is_flag else f"`{_value(option, context)}`"
    default = "" if option.default in (None, False) else f"`{option.default}`"
    return names, value, default, option.help or ""


def _value(option: Any, context: typer.Context) -> str:
    low, high = option.min, option.max
    if low is not None:
        return f"{low} to {high}" if high is not None else f"{low} or more"
    return str(option.metavar or option.display_type(context).strip("<>"))


def _table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        cells = [cell.replace("|", "\\|") for cell in row]
        yield f"| {' | '.join(cells)} |"
    yield ""


def main(target: str) -> None:
    text = "\n".join(page()).rstrip() + "\n"
    if target == "-":
        sys.stdout.write(text)
    else:
        Path(target).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1])
