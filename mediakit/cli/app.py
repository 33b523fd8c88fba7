"""The command line's entry: which commands there are, each loaded when it is named."""

import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import mediakit

# name -> (module with `app`, help): enough for `mediakit --help` without importing any of them
TASKS = {
    "upscale": ("mediakit.cli.tasks", "Enlarge pictures with a super-resolution model."),
}
TOOLS = {
    "replay": ("mediakit.cli.replay", "Make results again from their records or pictures."),
    "models": ("mediakit.cli.models", "List models, fetch them, and say where they are."),
    "presets": ("mediakit.cli.presets", "List, show and check presets."),
    "devices": ("mediakit.cli.devices", "Say where models can run, and what is free there."),
}
COMMANDS = TASKS | TOOLS


class LazyGroup(TyperGroup):
    """Knows commands by name and help; imports one when it is invoked."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for panel, commands in (("Tasks", TASKS), ("Beside them", TOOLS)):
            for name, (_, help) in commands.items():
                self.add_command(TyperCommand(name, help=help, rich_help_panel=panel))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS:
            command = load(name)
        return name, command, rest


def load(name: str) -> Any:
    """The real command of that name, imported now."""
    module = import_module(COMMANDS[name][0])
    single = module.command(name) if name in TASKS else module.app
    command = typer.main.get_command(single)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    name="mediakit",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(mediakit.__version__)
        raise typer.Exit


@app.callback()
def callback(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    """Local AI media models from the command line: whole directories, one GPU or a plain CPU."""


def main() -> None:
    """Run the command line and exit with its status."""
    sys.exit(run(sys.argv[1:]))


def run(args: list[str]) -> int:
    """The exit status of a command line; all errors end here, as one line on standard error."""
    from mediakit.errors import ExitStatus, MediakitError, show

    def complain(text: str, code: str) -> None:
        sys.stderr.write(f"mediakit: {text} [{code}]\n")

    try:
        status = typer.main.get_command(app).main(args, "mediakit", standalone_mode=False)
        return int(status or 0)
    except MediakitError as e:
        complain(e.message, e.code)
        return ExitStatus.USAGE
    except typer.Abort:
        return ExitStatus.INTERRUPTED
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains when it flushes
        return ExitStatus.BROKEN_PIPE
    except Exception as e:
        if hasattr(e, "format_message"):  # what the parser has to say of the arguments
            message = e.format_message().replace("Value error, ", "")
            if message:
                complain(show(message), "usage")
            return ExitStatus.USAGE
        if os.environ.get("MEDIAKIT_TRACEBACK"):
            raise
        cause = f"{type(e).__name__}: {e}".splitlines()[0]
        complain(f"internal error: {cause}; MEDIAKIT_TRACEBACK=1 shows where", "failed")
        return ExitStatus.FAILED
