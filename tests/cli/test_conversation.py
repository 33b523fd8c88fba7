"""`mediakit chat` on a terminal: a conversation."""

import json
import os
import pty
import select
import signal
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp")

from mediakit.models.catalog import known
from mediakit.models.store import Store

SHORT = ("--max-tokens", "8", "--temperature", "0")
MAIN = "from mediakit.cli.app import main; main()"
TALK = [sys.executable, "-c", MAIN, "chat", "--preset", "starter"]
END = "\x04"  # control D: read as such only by who waits for a line


@pytest.fixture(scope="session", autouse=True)
def model() -> None:
    """Fetched once a checkout, through the package index."""
    Store().pull(known()["smollm2-135m-instruct"])


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, command: list[str]) -> None:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execve(command[0], command, environment)
        self.seen = ""

    def until(self, wanted: str, seconds: float = 60) -> str:
        """What came up to `wanted`."""
        end = time.monotonic() + seconds
        while wanted not in self.seen:
            if not select.select([self.fd], [], [], max(0, end - time.monotonic()))[0]:
                raise AssertionError(f"no {wanted!r} in {self.seen!r}")
            self.seen += os.read(self.fd, 4096).decode(errors="replace")
        found, _, self.seen = self.seen.partition(wanted)
        return found

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def answer(self, text: str) -> str:
        """Type it at the next prompt; what came up to there."""
        found = self.until("> ")
        self.type(text)
        return found

    def status(self, seconds: float = 60) -> int:
        """The exit status; what is still written is read, so that nobody waits for a reader."""
        end = time.monotonic() + seconds
        while not (ended := os.waitpid(self.pid, os.WNOHANG))[0]:
            if time.monotonic() > end:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
                raise AssertionError(f"it does not end: {self.seen!r}")
            if select.select([self.fd], [], [], 0.05)[0]:
                try:
                    self.seen += os.read(self.fd, 4096).decode(errors="replace")
                except OSError:  # its end is closed
                    time.sleep(0.01)
        os.close(self.fd)
        return os.waitstatus_to_exitcode(ended[1])


def test_a_conversation(home: Path) -> None:
    talk = Terminal([*TALK, *SHORT])
    talk.answer("My name is Ada.\n")
    talk.until("Ada.")
    assert talk.answer("/system You are a pirate.\n").strip()
    talk.answer('"""two\nlines"""\n')
    talk.answer("/save talk.json\n")
    talk.until("saved 4 turns")
    (home / "mine.json").write_text("mine")
    talk.answer("/save mine.json\n")
    talk.until("[would_overwrite]")
    talk.answer("/save\n")
    talk.until("saved 4 turns in talk.json")
    talk.answer("/reset\n")
    talk.answer("/load talk.json\n")
    talk.until("4 turns")
    talk.answer("/nonsense\n")
    talk.until("there is no /nonsense")
    talk.answer("/help\n")
    talk.until("/load FILE")
    talk.answer(END)
    assert talk.status() == 0
    assert (home / "mine.json").read_text() == "mine"
    assert not list(home.glob(".*.part"))
    saved = json.loads((home / "talk.json").read_text())
    assert saved["system"] == "You are a pirate."
    assert [turn["role"] for turn in saved["messages"]] == ["user", "assistant"] * 2
    assert saved["messages"][0]["content"] == "My name is Ada."
    assert saved["messages"][2]["content"] == "two\nlines"


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--image", "x.png"), "--image"),
        (("--json",), "--json"),
        (("-o", "foo.csv"), "--out"),
        (("--template", "A {text}"), "--template"),
        (("--schema", "a str"), "--schema"),
        (("--raw",), "--raw"),
        (("--dry-run",), "--dry-run"),
        (("--limit", "3"), "--limit"),
        (("--grammar", 'root ::= "a"'), "--grammar"),
    ],
)
def test_a_conversation_refuses_what_it_would_ignore(
    home: Path, options: tuple[str, ...], named: str
) -> None:
    talk = Terminal([*TALK, *options])
    talk.until(f"{named} does nothing in a conversation")
    talk.until("[useless_option]")
    assert talk.status() == 2


def test_what_a_conversation_says_of_itself(home: Path) -> None:
    talk = Terminal(["/usr/bin/env", "PYTHONIOENCODING=ascii", *TALK, *SHORT, "--system", "Short."])
    talk.answer("/system\n")
    talk.until("Short.")
    talk.answer("/system -\n")
    talk.answer("/system\n")
    talk.until("nothing")
    talk.answer("//help is what I ask: caf\u00e9\n")
    talk.answer("/save talk.json\n")
    talk.until("saved 2 turns")
    talk.answer(END)
    assert talk.status() == 0
    saved = json.loads((home / "talk.json").read_text())
    assert saved["system"] is None
    assert saved["messages"][0]["content"].startswith("/help is what I ask")


def test_a_seed_at_random_differs_each_time(home: Path) -> None:
    talk = Terminal([*TALK, "--seed", "random", "--temperature", "3", "--max-tokens", "24"])
    answers = set()
    for _ in range(2):
        talk.answer("/reset\n")
        talk.answer("Tell me a story.\n")
        talk.until("story.")
        answers.add(talk.answer("/reset\n").strip())
    talk.answer("/exit\n")
    assert talk.status() == 0
    assert len(answers) == 2


def test_ctrl_c_ends_an_answer_and_not_the_conversation(home: Path) -> None:
    talk = Terminal([*TALK, "--min-tokens", "900"])
    talk.answer("Tell me a long story.\n")
    talk.until("story.")
    time.sleep(1)
    talk.type("\x03")
    talk.until("(stopped)")
    talk.answer("/exit\n")
    assert talk.status() == 0
