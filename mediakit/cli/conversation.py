"""A conversation with a language model in a terminal."""

import gc
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from mediakit.batch.recipes import Job, Recipes
from mediakit.batch.stop import Stop
from mediakit.batch.task import check_installed
from mediakit.cli.importing import deadly_interrupt
from mediakit.cli.options import Given
from mediakit.cli.render import Renderer, printable
from mediakit.cli.weights import pinning
from mediakit.cli.worker import new_cache
from mediakit.engines.llama.request import Message
from mediakit.errors import ItemError, MediakitError, Stopped, UserError, show
from mediakit.models.store import Store
from mediakit.params import Batch, flag
from mediakit.tasks.chat import Chat
from mediakit.tasks.chat_answer import answered
from mediakit.tasks.chat_options import ChatExecution, ChatParams
from mediakit.tasks.chat_request import asking, before
from mediakit.tasks.chat_spread import seed_of

if TYPE_CHECKING:
    from mediakit.engines.llama.model import Llama

FORM = "mediakit-chat/1"
# The options that do nothing in a conversation
SILENT = {
    "template", "image", "projector", "json_schema", "grammar", "choices", "raw", "truncate",
    "objects", *(set(Batch.model_fields) - {"offline", "quiet", "verbose", "no_progress"}),
}  # fmt: skip
QUOTES = '"""'
HELP = f"""\
/help          this
/system TEXT   what the model is told before everything; -: nothing; without TEXT, show it
/reset         forget the conversation
/save FILE     write the conversation to a new file; again, without FILE, to the same one
/load FILE     go on with one that was written
/exit          end (or Ctrl-D)
//TEXT         ask what begins with one /
{QUOTES}            begins and ends a text of several lines
Ctrl-C ends an answer early
"""


def converse(given: Given) -> int:
    """Talk until the person ends it; the exit status."""
    check_told(given)
    check_installed(Chat)
    assert isinstance(given.params, ChatParams)
    assert isinstance(given.execution, ChatExecution)
    renderer = Renderer(Chat.name, given.batch, Stop())
    try:
        job = Job(Chat, given.params, given.given, given.batch)
        recipe = Recipes(job, pinning(given.batch, renderer)).of()
        store = Store(offline=given.batch.offline)
        for spec in recipe.models.values():
            store.pull(spec)
    finally:
        renderer.quiet_close()
    task = Chat(given.execution, store, new_cache(given.execution))
    for stream, errors in ((sys.stdout, "replace"), (sys.stdin, "surrogateescape")):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=errors)  # a terminal may be of ASCII alone
    with ExitStack() as held:
        with deadly_interrupt():  # Python can't break off the loading of a model
            with suppress(ImportError):
                import readline  # noqa: F401  (gives `input` its line editing and history)
            task.begin()
            model = held.enter_context(task.model(recipe))
        assert isinstance(recipe.params, ChatParams)
        gc.enable()  # see app.main
        Conversation(model, recipe.params, given.params.seed).run()
    return 0


def check_told(given: Given) -> None:
    """UserError for options of the command line that do nothing in a conversation."""
    for name in sorted(SILENT & given.told):
        option = flag(name, ChatParams, ChatExecution, Batch)
        raise UserError(
            "useless_option", f"{option} does nothing in a conversation; leave it out, or ask"
        )


class Conversation:
    """The turns so far, and what the person does to them."""

    def __init__(self, model: "Llama", params: ChatParams, seed: int | str | None) -> None:
        self.model = model
        self.params = params
        self.seed = seed
        self.turns: list[Message] = []
        self._file: Path | None = None  # that /save wrote or /load read: of this conversation

    def run(self) -> None:
        """Read, answer, until the end of input."""
        _tell(f"{self.params.model}; /help says what can be done, Ctrl-D ends")
        while True:
            try:
                line = self._read()
            except EOFError:
                sys.stdout.write("\n")
                return
            except KeyboardInterrupt:
                sys.stdout.write("\n")
                continue
            if line.strip() in ("/exit", "/bye", "/quit"):
                return
            try:
                self._do(line)
            except MediakitError as e:
                _tell(f"{e.message} [{e.code}]")

    def _read(self) -> str:
        line = input("> ")
        if not line.lstrip().startswith(QUOTES):
            return line
        text = line.lstrip().removeprefix(QUOTES)
        while QUOTES not in text:
            text += "\n" + input(". ")
        return text.partition(QUOTES)[0].strip("\n")

    def _do(self, line: str) -> None:
        if not line.strip():
            return
        if not line.startswith("/") or line.startswith("//"):
            self._ask(line.removeprefix("/"))
            return
        word, _, rest = line[1:].partition(" ")
        commands: dict[str, Callable[[str], None]] = {
            "help": lambda _: _tell(HELP.rstrip()),
            "system": self._system,
            "reset": lambda _: self.turns.clear(),
            "save": self._save,
            "load": self._load,
        }
        if word not in commands:
            raise UserError("usage", f"there is no /{show(word)}; /help says what there is")
        commands[word](rest.strip())

    def _ask(self, text: str) -> None:
        # undecodable bytes of the terminal
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self.turns.append(Message("user", text))
        said = ""

        def hear(piece: str) -> None:
            nonlocal said
            said += piece
            sys.stdout.write(printable(piece))
            sys.stdout.flush()

        try:
            with _interruptible(hear) as emit:
                self._answer(text, emit)
        except Stopped:
            _tell("\n(stopped)")
        except BaseException:
            self.turns.pop()
            raise
        if said.strip():
            sys.stdout.write("" if said.endswith("\n") else "\n")
            self.turns.append(Message("assistant", said.strip()))
        else:
            self.turns.pop()

    def _answer(self, text: str, emit: Callable[[str], None]) -> None:
        """The oldest turns are forgotten where the context has no room for all."""
        seed = seed_of(self.seed, text, len(self.turns))
        params = self.params.model_copy(update={"seed": seed})
        while True:
            try:
                answered(self.model, asking(params, [*before(params), *self.turns]), emit)
                return
            except ItemError as e:
                if e.code != "context_too_long" or len(self.turns) < 3:
                    raise
            del self.turns[:2]
            _tell("(the context is full: the oldest question and answer are forgotten)")

    def _system(self, text: str) -> None:
        if text:
            self.params = self.params.model_copy(update={"system": None if text == "-" else text})
        else:
            _tell(self.params.system or "nothing")

    def _save(self, name: str) -> None:
        turns = [{"role": turn.role, "content": turn.content} for turn in self.turns]
        told = {"form": FORM, "model": self.params.model, "system": self.params.system}
        path = _path(name) if name or not self._file else self._file
        part = path.with_name(f".{path.name}.part") if path == self._file else path
        try:
            with part.open("w" if part != path else "x", encoding="utf-8") as file:
                json.dump({**told, "messages": turns}, file, ensure_ascii=False, indent=1)
            part.replace(path)
        except FileExistsError:
            raise UserError(
                "would_overwrite", f"{show(name)} is there already; name a new file"
            ) from None
        except OSError as e:
            raise UserError("unwritable", f"{show(name)} can't be written: {e.strerror}") from None
        self._file = path
        _tell(f"saved {len(turns)} turns in {show(path)}")

    def _load(self, name: str) -> None:
        try:
            told = json.loads(_path(name).read_bytes())
            if told["form"] != FORM:
                raise ValueError(f"not of the form {FORM}")
            turns = [Message(str(t["role"]), str(t["content"])) for t in told["messages"]]
            if [turn.role for turn in turns] != ["user", "assistant"] * (len(turns) // 2):
                raise ValueError("questions and answers do not alternate")
            system = told["system"]
            if not (system is None or isinstance(system, str)):
                raise ValueError("its system text is no text")
        except OSError as e:
            raise UserError("unreadable", f"{show(name)} can't be read: {e.strerror}") from None
        except (ValueError, KeyError, TypeError, RecursionError) as e:
            raise UserError(
                "corrupt", f"{show(name)} is no conversation that /save wrote: {show(e)}"
            ) from None
        self._file = _path(name)
        self.turns = turns
        self.params = self.params.model_copy(update={"system": system})
        _tell(f"{len(turns)} turns; the last: {show(turns[-1].content[:60]) if turns else '-'}")


@contextmanager
def _interruptible(hear: Callable[[str], None]) -> Iterator[Callable[[str], None]]:
    """`hear`, which after Ctrl-C raises Stopped instead: between two tokens, where the model's
    memory is whole."""
    stopped = False

    def caught(number: int, frame: FrameType | None) -> None:
        nonlocal stopped
        stopped = True

    def emit(piece: str) -> None:
        if stopped:
            raise Stopped
        hear(piece)

    former = signal.signal(signal.SIGINT, caught)
    try:
        yield emit
    finally:
        signal.signal(signal.SIGINT, former)


def _path(name: str) -> Path:
    if not name:
        raise UserError("usage", "name a file, such as /save talk.json")
    return Path(os.path.expanduser(name))


def _tell(text: str) -> None:
    """A line that is not the model's."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
