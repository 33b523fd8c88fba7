"""--explain: every option's value, and where it comes from."""

import json
import sys
from collections.abc import Iterator
from typing import Any

from mediakit.batch.task import Task
from mediakit.cli.options import Given, fields, flags
from mediakit.models.catalog import find
from mediakit.models.spec import fill_in
from mediakit.params import Batch


def explain(task: type[Task], given: Given) -> int:
    """Print a line an option, or with --json an object an option."""
    rows = list(_rows(task, given))
    if given.batch.json_lines:
        for name, value, source in rows:
            line = {"option": name, "value": value, "source": source}
            sys.stdout.write(json.dumps(line) + "\n")
        return 0
    widths = [max(len(str(row[i])) for row in rows) for i in (0, 1)]
    for name, value, source in rows:
        shown = "-" if value is None else str(value)
        sys.stdout.write(f"{name:{widths[0]}}  {shown:{widths[1]}}  {source}\n")
    sys.stdout.write(
        "A row of a list, where it sets one of the first group, wins over all these.\n"
    )
    return 0


def _rows(task: type[Task], given: Given) -> Iterator[tuple[str, Any, str]]:
    params = given.params
    owners: dict[str, str] = {}
    for name in task.model_names(params).values():
        spec = find(name)
        filled = fill_in(params, task.name, spec)
        changed = {f for f in type(params).model_fields if getattr(filled, f) != getattr(params, f)}
        owners |= dict.fromkeys(changed, f"model {spec.name}")
        params = filled
    values = {**params.model_dump(mode="json"), **given.execution.model_dump(mode="json")}
    values |= {k: _said(v) for k, v in given.batch if k in given.sources}
    for model, name, field in fields(task):
        if model is Batch and name not in given.sources:
            continue
        source = given.sources.get(name) or owners.get(name) or "default"
        yield flags(name, field, model)[-1].split("/")[0], values[name], source


def _said(value: Any) -> str:
    """A value of Batch as the command line has it."""
    return "/".join(map(str, value)) if isinstance(value, tuple) else str(value)
