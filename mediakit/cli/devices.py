"""`mediakit devices`: where models can run."""

import json
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from mediakit import device

app = typer.Typer(
    pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.command()
def devices(
    json_lines: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """Say where models can run, what is free there, and which one `auto` takes."""
    chosen, dtype = device.choose("auto", "auto")
    for found in device.devices():
        auto = found.name == chosen
        if json_lines:
            sys.stdout.write(json.dumps({**asdict(found), "auto": auto}) + "\n")
            continue
        memory = f"{found.free_memory / 2**30:.1f} of {found.total_memory / 2**30:.1f} GiB free"
        kinds = ", ".join(found.dtypes)
        mark = f"  (auto, {dtype})" if auto else ""
        sys.stdout.write(f"{found.name}  {found.description}  {memory}  {kinds}{mark}\n")
