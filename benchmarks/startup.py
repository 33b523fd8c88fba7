"""Start-up: `mediakit --help` beside an empty Typer app with as many commands.

As a program of its own it writes that app.
"""

import sys
from pathlib import Path

from benchmarks.measure import MEDIAKIT, Place, Row, Side, ratio, run

MODEL_LIBRARIES = ("torch", "torchvision", "spandrel", "safetensors", "numpy", "PIL", "cv2")
GOAL = 1.3

_HEAD = """import typer

app = typer.Typer(rich_markup_mode="rich", pretty_exceptions_enable=False)


@app.callback()
def callback():
    {help!r}
"""
_COMMAND = """

@app.command({name!r}, help={help!r}, rich_help_panel={panel!r})
def command_{number}():
    pass
"""
_LOOK = f"""import sys
from mediakit.cli.app import run
run(["--help"])
sys.exit(", ".join(m for m in {MODEL_LIBRARIES} if m in sys.modules) or 0)
"""


def rows(place: Place) -> list[Row]:
    """RuntimeError if `mediakit --help` imports a model library."""
    run((sys.executable, "-m", "benchmarks.startup", place.folder / "empty_app.py"))
    empty = (sys.executable, "-c", "from empty_app import app; app()", "--help")
    path = str(place.folder)
    run((sys.executable, "-c", _LOOK))
    return [
        Row(
            name="startup",
            first=Side("mediakit --help", lambda: run((*MEDIAKIT, "--help"))),
            second=Side("empty Typer app --help", lambda: run(empty, PYTHONPATH=path)),
            value=ratio,
            goal=GOAL,
            unit="times",
            pairs=place.count(15, 2),
            notes=["no model library was imported"],
        )
    ]


def _empty_app() -> str:
    """An app of mediakit's command names and help texts, and nothing behind them."""
    from mediakit.cli.app import COMMANDS, TASKS, callback

    parts = [_HEAD.format(help=callback.__doc__)]
    for number, (name, (_, help)) in enumerate(COMMANDS.items()):
        panel = "Tasks" if name in TASKS else "Beside them"
        parts.append(_COMMAND.format(name=name, help=help, panel=panel, number=number))
    return "".join(parts) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(_empty_app())
