"""Prompts through `mediakit chat` beside llama-cpp-python: in one process, and in one each.

Both sides have the same model, context, threads (unless the row is about them) and greedy decoding,
and their answers are compared before a ratio counts.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

import psutil

from benchmarks.measure import (
    MEDIAKIT,
    ROOT,
    Place,
    Row,
    Sample,
    Side,
    Unavailable,
    ratio,
    run,
    speedup,
)

MODEL = "smollm2-135m-instruct"
CORES = psutil.cpu_count(logical=False) or 1
CONTEXT = 1024
# about 130 tokens
SYSTEM = (
    "You are the assistant of a small library in a town by the sea. You answer in one or two short "
    "sentences, in plain words, without lists and without headings. You never invent titles, names "
    "or dates. If you do not know something, you say so and name the desk where it can be asked. "
    "You are polite but not flattering, and you do not repeat the question. Opening hours are from "
    "nine to six on weekdays and from ten to two on Saturdays; the library is closed on Sundays "
    "and public holidays. Members may borrow eight books for four weeks, and films for one week."
)
QUESTIONS = (
    "When are you open on Saturday?", "How many books may I borrow?", "May I bring my dog?",
    "Do you have films?", "Who wrote Moby-Dick?", "Where can I print a letter?",
    "What does a lost book cost?", "Is there a reading group?", "Can I renew a book by phone?",
    "Which books are good for a child of six?", "Are you open on New Year's Day?",
    "How long may I keep a film?", "Is there wireless internet?", "May I eat in the reading room?",
    "How do I become a member?", "Where is the nearest bus stop?",
)  # fmt: skip
# for base models, so that nothing but the first word is the same
STARTS = (
    "The sea was calm when", "Four things make a good bread:", "In 1901 the first", "She opened",
    "Water boils at", "My neighbour's dog", "Mountains rise where", "A letter came on",
    "Twenty years later", "Winter in the north", "Bees find their way", "His last words were",
    "Under the old bridge", "Every child knows that", "Copper is used for", "Nobody had seen",
)  # fmt: skip
BUSY = "while True: pass"


@dataclass(frozen=True)
class Case:
    """Prompts for both sides; `threads` of theirs, None for ours: what is free."""

    place: Place
    name: str
    prompts: tuple[str, ...]
    model: Path
    system: str | None = SYSTEM
    tokens: int = 32
    threads: int | None = CORES
    clear: bool = True
    busy: bool = False
    said: dict[str, list[str]] = field(default_factory=dict)

    def ours(self) -> Sample:
        with load(self.busy):
            sample = run(
                (*MEDIAKIT, "chat", "--from", self.file(self.prompts), "--model", MODEL, "--json",
                 "--temperature", "0", "--max-tokens", str(self.tokens), "--device", "cpu",
                 "--context-length", str(CONTEXT), "-q",
                 *(("--raw",) if self.system is None else ("--system", self.system)),
                 *(("--threads", str(self.threads)) if self.threads else ()))
            )  # fmt: skip
        records = [json.loads(line) for line in sample.said.splitlines()]
        self.said["ours"] = [record["result"]["text"] for record in records]
        return sample

    def theirs(self) -> Sample:
        with load(self.busy):
            sample = self._plain(self.prompts)
        self.said["theirs"] = json.loads(sample.said)
        return sample

    def apart(self) -> Sample:
        """A process a prompt."""
        total, answers = Sample(0, 0), []
        for prompt in self.prompts:
            sample = self._plain((prompt,))
            answers += json.loads(sample.said)
            total += sample
        self.said["theirs"] = answers
        return total

    def _plain(self, prompts: tuple[str, ...]) -> Sample:
        told = {
            "model": str(self.model),
            "context": CONTEXT,
            "threads": self.threads or CORES,
            "prompts": str(self.file(prompts)),
            "clear": self.clear,
            "system": self.system,
            "tokens": self.tokens,
        }
        return run((sys.executable, ROOT / "benchmarks" / "plain_llama.py", json.dumps(told)))

    def file(self, prompts: tuple[str, ...]) -> Path:
        path = self.place.folder / f"{self.name}.txt"
        path.write_text("".join(f"{prompt}\n" for prompt in prompts))
        return path

    def check(self) -> list[str]:
        """RuntimeError if the answers of the last two runs are not the same."""
        self.ours()
        self.theirs()
        pairs = zip(self.said["ours"], self.said["theirs"], strict=True)
        other = sum(ours.strip() != theirs.strip() for ours, theirs in pairs)
        if other:
            raise RuntimeError(f"{other} of {len(self.prompts)} answers are not the same")
        return [f"{len(self.prompts)} answers are the same"]


@contextmanager
def load(busy: bool) -> Iterator[None]:
    """With one core kept busy by another process."""
    if not busy:
        yield
        return
    other = subprocess.Popen([sys.executable, "-c", BUSY])
    try:
        yield
    finally:
        other.kill()
        other.wait()


def rows(place: Place) -> list[Row]:
    """Unavailable without llama-cpp-python."""
    if find_spec("llama_cpp") is None:
        raise Unavailable("it needs llama-cpp-python, of the extra chat")
    model = Path(run((*MEDIAKIT, "models", "path", MODEL)).said.strip())
    questions = QUESTIONS[: place.count(16, 2)]
    tokens = place.count(32, 4)

    def case(name: str, **more: object) -> Case:
        told = {"prompts": questions, "tokens": tokens, **more}
        return Case(place, name, model=model, **told)  # type: ignore[arg-type]

    shared = case("chat")
    alone = case("chat, nothing shared", prompts=STARTS[: len(questions)], system=None, clear=False)
    busy = case("chat, a core busy", threads=None, busy=True)
    one = case("chat, first token", prompts=questions[:1], tokens=1)
    idle = case("chat, busy to idle", threads=None)

    def row(c: Case, second: Side, goal: float, **more: object) -> Row:
        told = {"value": speedup, "unit": "times faster", "at_least": True, "check": c.check,
                "pairs": place.count(5, 1), "warm": False, **more}  # fmt: skip
        first = Side(f"{len(c.prompts)} prompts, mediakit chat", c.ours)
        return Row(name=c.name, first=first, second=second, goal=goal, **told)  # type: ignore[arg-type]

    plain = "llama-cpp-python"
    return [
        row(shared, Side(f"{plain}, its cache cleared", shared.theirs), 2.3),
        row(case("chat, a process a prompt"), Side(f"{plain}, a process each", shared.apart), 4),
        row(alone, Side(f"{plain}, a loop", alone.theirs), 0.98),
        row(busy, Side(f"{plain}, {CORES} threads", busy.theirs), 3),
        row(idle, Side("mediakit chat, a core busy", busy.ours), 1 / 0.45, at_least=False,
            check=None, unit="times as fast idle"),
        row(one, Side(f"{plain}, a script", one.theirs), 1.2, value=ratio, at_least=False,
            unit="of its time"),
    ]  # fmt: skip
