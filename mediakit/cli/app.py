"""The command line's entry: which commands there are, each loaded when it is named."""

import errno
import gc
import os
import sys
from contextlib import suppress
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

import mediakit
from mediakit.cli.importing import imported

# name -> (module with `app`, help): enough for `mediakit --help` without importing any of them
TASKS = {
    "caption": (
        "mediakit.cli.tasks",
        "Say what is on pictures: a sentence, tags, or answers to a question.",
    ),
    "chat": (
        "mediakit.cli.tasks",
        "Ask a language model: one question, a conversation, or thousands of rows.",
    ),
    "fixface": (
        "mediakit.cli.tasks",
        "Restore faces in pictures: blurred, small, compressed or damaged ones.",
    ),
    "generate": ("mediakit.cli.tasks", "Make pictures from prompts."),
    "img2img": ("mediakit.cli.tasks", "Restyle pictures by a prompt."),
    "inpaint": (
        "mediakit.cli.tasks",
        "Repaint masked parts of pictures, or paint more around them.",
    ),
    "transcribe": ("mediakit.cli.tasks", "Write down what is said in recordings and videos."),
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
    module = imported(COMMANDS[name][0])
    if name in TOOLS:
        gc.enable()
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
    # importing makes objects by the hundred thousand that all stay: no search for cycles among
    # them, until the work begins (cli/batch.py, or a tool's)
    gc.disable()
    _open_closed()
    _forbid_plugins()
    status = run(sys.argv[1:])
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    # exit() would wait for a thread that is within a net, for minutes, and take libraries apart
    os._exit(status)


def _forbid_plugins() -> None:
    """pydantic looks for plugins in the metadata of everything that is installed, at each start;
    told not to (PYDANTIC_DISABLE_PLUGINS), it still imports what reads them, which takes longer
    than all the options do. If it comes to look elsewhere, this does nothing."""
    loader = ModuleType("pydantic.plugin._loader")
    loader.get_plugins = tuple  # type: ignore[attr-defined]
    sys.modules.setdefault(loader.__name__, loader)


def _open_closed() -> None:
    """A closed standard stream (`>&-`) reads as empty and writes to nowhere; left closed, the
    next file that is opened would become it."""
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:
                os.dup2(opened, fd)
            setattr(sys, name, os.fdopen(fd, "w" if fd else "r", closefd=False))


def run(args: list[str]) -> int:
    """The exit status of a command line; all errors end here, as one line on standard error."""
    from mediakit.errors import ExitStatus

    try:
        status = typer.main.get_command(app).main(args, "mediakit", standalone_mode=False)
        sys.stdout.flush()
        return int(status or 0)
    except KeyboardInterrupt:
        return ExitStatus.INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return ExitStatus.BROKEN_PIPE
    except Exception as e:
        return _complain(e)


def _forget_stdout() -> None:
    # or Python complains when it flushes at exit
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _complain(e: Exception) -> int:
    """Say what went wrong, in one line, and return the exit status."""
    from mediakit.errors import ExitStatus, MediakitError, PlaceError, show

    status = ExitStatus.USAGE
    if isinstance(e, MediakitError):
        text, code = e.message, e.code
        if isinstance(e, PlaceError):
            status = ExitStatus.FAILED
    elif isinstance(e, typer.Abort):
        return ExitStatus.INTERRUPTED
    elif hasattr(e, "format_message"):  # what the parser has to say of the arguments
        text, code = e.format_message().replace("Value error, ", ""), "usage"
        text += _variable(e) + _dashed(e)
    elif isinstance(e, OSError) and e.errno == errno.ENOSPC:
        _forget_stdout()
        text, code = (
            f"{e.filename or 'standard output'} can't be written: {e.strerror}",
            "disk_full",
        )
        status = ExitStatus.FAILED
    elif isinstance(e, ModuleNotFoundError):
        text, code = (
            f"{e.name} is not installed; in mediakit's folder: pip install '.[all]'",
            "missing_extra",
        )
    else:
        if os.environ.get("MEDIAKIT_TRACEBACK"):
            raise e
        cause = f"{type(e).__name__}: {e}".splitlines()[0]
        text, code = f"internal error: {cause}; MEDIAKIT_TRACEBACK=1 shows where", "failed"
        status = ExitStatus.FAILED
    if text:  # the parser has none where it has shown help
        sys.stderr.write(f"mediakit: {show(text)} [{code}]\n")
    return status


def _dashed(e: Any) -> str:
    """What to write for a file whose name was taken for an option."""
    names = [arg for arg in sys.argv[1:] if arg.startswith("-") and os.path.exists(arg)]
    return f" (for the file: ./{names[0]})" if names and hasattr(e, "option_name") else ""


def _variable(e: Any) -> str:
    """Which environment variable the parser complains about, if it is one."""
    context, option = getattr(e, "ctx", None), getattr(e, "param", None)
    if not (context and option):
        return ""
    source = context.get_parameter_source(option.name)
    if source is None or source.name != "ENVIRONMENT":
        return ""
    return f" (from {next(v for v in option.envvar if os.environ.get(v))})"
