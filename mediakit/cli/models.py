"""`mediakit models`: list, show, pull, verify, path, rm."""

import json
import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from mediakit.cli.checks import check_entry
from mediakit.cli.fetching import Bar, Lines
from mediakit.cli.model_facts import bytes_, facts, files, lines, size
from mediakit.cli.render import on_terminal
from mediakit.errors import ExitStatus, UserError, show
from mediakit.models import catalog, entries, trust, upkeep
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store

app = typer.Typer(
    help="List models, fetch and check them, say where they are, and remove them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="Only errors.")]
_MODEL = "Names from `mediakit models list`, or hf: addresses."
Names = Annotated[list[str], typer.Argument(help=_MODEL)]


@app.command("list")
def list_(
    json_lines: Json = False,
    here: Annotated[bool, typer.Option("--here", help="Only those on this machine.")] = False,
    task: Annotated[str | None, typer.Option(help="Only those for this task.")] = None,
) -> None:
    """All models mediakit knows and your own: size, licence, and which are on this machine."""
    store = Store()
    specs = [
        spec
        for spec in _all(store)
        if (not here or upkeep.on_disk(store, spec))
        and (task is None or task in spec.tasks or not spec.tasks)
    ]
    width = max((len(show(spec.name)) for spec in specs), default=0)
    licence = max((len(spec.licence) for spec in specs), default=0)
    for spec in specs:
        if json_lines:
            _json(facts(store, spec))
            continue
        mark = "here" if store.path(spec) else "part" if upkeep.on_disk(store, spec) else ""
        tasks = ", ".join(spec.tasks) or "any task"
        tasks = tasks if spec.kind == "model" else f"--{spec.kind} of {tasks}"
        line = f"{show(spec.name):{width}}  {mark:4}  {size(spec):>8}  {spec.licence:{licence}}  "
        sys.stdout.write(f"{line}{tasks}: {spec.description}\n")


@app.command("show")
def show_(names: Names, json_lines: Json = False) -> None:
    """What is known of a model: what it is for, its files, their digests and sources."""
    store = Store()
    for number, spec in enumerate([_find(name) for name in names]):
        spec = trust.fill(spec, store.root)
        if json_lines:
            _json({**facts(store, spec), "files": files(spec)})
            continue
        sys.stdout.write("\n" if number else "")
        for title, value in lines(store, spec):
            sys.stdout.write(f"{title:12}  {value}\n" if value else "")


@app.command()
def pull(names: Names, quiet: Quiet = False) -> None:
    """Fetch models and verify their digests; what is here already is left alone, and what was cut
    off is gone on with."""
    specs = [_find(name) for name in names]
    store = Store()
    bar = Bar() if on_terminal() and not quiet else None
    told = bar or (None if quiet else Lines(lambda line: sys.stderr.write(line + "\n")))
    try:
        for spec in specs:
            path = store.pull(spec, told.show if told else None)
            line = f"{show(spec.name)}: {show(path)}"
            if bar:
                bar.above(line)
            elif not quiet:
                sys.stderr.write(line + "\n")
    finally:
        if bar:
            bar.close()


@app.command()
def verify(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"{_MODEL} Left out: all on this machine.")
    ] = None,
    json_lines: Json = False,
    quiet: Quiet = False,
) -> int:
    """Read every file again and compare digests; exit status 1 if one is wrong or not there."""
    store = Store()
    specs = [_find(name) for name in names] if names else list(_all(store))
    failed = False
    for spec in specs:
        if not names and not upkeep.on_disk(store, spec):
            continue
        _check_is_here(store, spec)
        for verdict in upkeep.verify(store, spec):
            failed = failed or not verdict.right
            _say_verdict(spec, verdict, json_lines, quiet)
    return ExitStatus.FAILED if failed else ExitStatus.DONE


@app.command()
def path(names: Names) -> None:
    """Print the weights file of each model, or its folder; exit status 2 if one is not on this
    machine."""
    store = Store(offline=True)
    for spec in [_find(name) for name in names]:
        sys.stdout.buffer.write(os.fsencode(store.pull(spec)) + b"\n")


@app.command()
def entry(
    model: Annotated[str, typer.Argument(help="A folder, a weights file, or an hf: address.")],
    name: Annotated[str | None, typer.Option(help="What the entry is called.")] = None,
) -> None:
    """Print an entry for models.yaml, with the digest of every file; fetches what is not here."""
    spec = _find(model)
    sys.stdout.write(entries.entry(Store(), spec, name or entries.name_for(spec)))


@app.command()
def rm(
    names: Names,
    forget: Annotated[
        bool,
        typer.Option("--forget", help="Trust the next download, where no digest is known."),
    ] = False,
    json_lines: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete models that mediakit fetched, and say what that frees. Other files are left alone."""
    store = Store()
    for spec in [_find(name) for name in names]:
        removed = upkeep.remove(store, spec, forget)
        if spec.shipped and not json_lines:
            sys.stderr.write(
                "" if quiet else f"{show(spec.name)}: belongs to mediakit, and goes when it does\n"
            )
            continue
        left = [show(path) for path in removed.left]
        if json_lines:
            gone = [str(path) for path in removed.files]
            _json({"name": spec.name, "freed": removed.freed, "removed": gone, "left": left})
        elif removed.files or removed.freed:
            word = f"{show(spec.name)}: {bytes_(removed.freed)} freed"
            sys.stdout.write("" if quiet else f"{word} ({len(removed.files)} files)\n")
        elif not quiet:
            sys.stderr.write(f"{show(spec.name)}: nothing of it to remove\n")
        if left and not quiet:
            sys.stderr.write(f"left, as mediakit did not fetch it: {', '.join(left)}\n")


def _find(name: str) -> ModelSpec:
    spec = catalog.find(name)
    check_entry(spec)
    return spec


def _check_is_here(store: Store, spec: ModelSpec) -> None:
    if upkeep.on_disk(store, spec):
        return
    if spec.local:
        raise UserError(
            "usage", f"{show(spec.name)} is your own file: there is no digest to compare it with"
        )
    name = show(spec.name)
    raise UserError(
        "model_unavailable",
        f"nothing of {name} is on this machine; run `mediakit models pull {name}`",
    )


def _all(store: Store) -> Iterator[ModelSpec]:
    for spec in catalog.known().values():
        check_entry(spec)
        yield spec
    for reference in upkeep.references(store):
        yield catalog.find(reference)


def _json(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")


def _say_verdict(spec: ModelSpec, verdict: upkeep.Verdict, as_json: bool, quiet: bool) -> None:
    state = "right" if verdict.right else "missing" if verdict.found is None else "wrong"
    if as_json:
        _json({"name": spec.name, "path": str(verdict.path), "state": state,
               "expected": verdict.expected, "found": verdict.found})  # fmt: skip
    elif verdict.right:
        sys.stdout.write("" if quiet else f"{show(spec.name)}: {verdict.name} is right\n")
    else:
        found = f", found {verdict.found}" if verdict.found else ""
        sys.stderr.write(
            f"{show(spec.name)}: {show(verdict.path)} is {state}: expected sha256 "
            f"{verdict.expected}{found}; run `mediakit models pull {show(spec.name)}`\n"
        )
