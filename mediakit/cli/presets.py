"""`mediakit presets`: list, show, check."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer
import yaml

from mediakit import presets
from mediakit.errors import ExitStatus, UserError
from mediakit.errors import show as printable
from mediakit.tasks import registry

app = typer.Typer(
    help="List, show and check presets.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]


@app.command("list")
def list_(json_lines: Json = False) -> int:
    """All presets, the tasks they are for, and what for."""
    tasks = registry.tasks()
    known = presets.available()
    width = max((len(name) for name in known), default=0)
    status = ExitStatus.DONE
    for name, path in known.items():
        try:
            preset = presets.read(path, tasks)
        except UserError as e:  # the others are still good
            sys.stderr.write(f"mediakit presets: {e.message} [{e.code}]\n")
            status = ExitStatus.USAGE
            continue
        if json_lines:
            line = {"name": name, "tasks": list(preset.sections),
                    "description": preset.description, "path": str(path)}  # fmt: skip
            sys.stdout.write(json.dumps(line) + "\n")
        else:
            sections = ", ".join(preset.sections)
            sys.stdout.write(f"{name:{width}}  {sections}: {preset.description}\n")
    return status


@app.command()
def show(name: Annotated[str, typer.Argument(help="A preset's name, or a file.")]) -> None:
    """What a preset sets, with what it takes from the presets it extends."""
    tasks = registry.tasks()
    preset = presets.read(presets.find(name), tasks)
    sections = {task: presets.section(name, kind, tasks) for task, kind in tasks.items()}
    content = {"description": preset.description, **{t: v for t, v in sections.items() if v}}
    sys.stdout.write(yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=100))


@app.command()
def check(file: Annotated[Path, typer.Argument(help="A preset file.")]) -> None:
    """Say whether a preset file is valid; exit status 2 and the reason if not."""
    tasks = registry.tasks()
    name = str(file) if "/" in str(file) else f"./{file}"
    preset = presets.read(presets.find(name), tasks)
    for kind in tasks.values():
        presets.section(name, kind, tasks)
    sys.stdout.write(f"{printable(file)}: valid, for {', '.join(preset.sections)}\n")
