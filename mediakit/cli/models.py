"""`mediakit models`: list, pull, path."""

import json
import os
import sys
from typing import Annotated

import typer

from mediakit.batch.events import Fetching
from mediakit.cli.render import Bar, on_terminal
from mediakit.models import catalog
from mediakit.models.store import Store

app = typer.Typer(
    help="List models, fetch them, and say where they are.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Names = Annotated[list[str], typer.Argument(help="Names from `mediakit models list`.")]


@app.command("list")
def list_(json_lines: Json = False) -> None:
    """All models mediakit knows, their size and licence, and which are on this machine."""
    store = Store()
    known = catalog.known()
    width = max(len(name) for name in known)
    for name, spec in known.items():
        path = store.path(spec)
        if json_lines:
            line = {"name": name, "tasks": spec.tasks, "bytes": spec.size, "licence": spec.licence,
                    "description": spec.description, "good_at": spec.good_at,
                    "bad_at": spec.bad_at, "homepage": spec.homepage, "revision": spec.revision,
                    "sha256": spec.sha256, "path": str(path) if path else None}  # fmt: skip
            sys.stdout.write(json.dumps(line) + "\n")
        else:
            here = "here" if path else "    "
            size = f"{spec.size / 1e6:6.1f} MB"
            tasks = ", ".join(spec.tasks)
            text = f"{name:{width}}  {here}  {size}  {spec.licence:12}  {tasks}: {spec.description}"
            sys.stdout.write(text + "\n")


@app.command()
def pull(
    names: Names,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")] = False,
) -> None:
    """Fetch models and verify their digests; what is here already is left alone."""
    specs = [catalog.find(name) for name in names]
    store = Store()
    bar = Bar() if on_terminal() and not quiet else None
    try:
        for spec in specs:
            path = store.pull(spec, lambda f, d, t: bar.show(Fetching(f, d, t)) if bar else None)
            if bar:
                bar.above(f"{spec.name}: {path}")
            elif not quiet:
                sys.stderr.write(f"{spec.name}: {path}\n")
    finally:
        if bar:
            bar.close()


@app.command()
def path(names: Names) -> None:
    """Print the weights file of each model; exit status 2 if one is not on this machine."""
    store = Store(offline=True)
    for spec in [catalog.find(name) for name in names]:
        sys.stdout.buffer.write(os.fsencode(store.pull(spec)) + b"\n")
