"""One file for all results, written from parts: order, columns, forms, and what may be replaced."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mediakit.batch.events import Event, Finished
from mediakit.batch.gather import Gathering, output_of
from mediakit.batch.item import Item, Recipe, Source
from mediakit.batch.record import to_json
from mediakit.errors import ItemError, PlaceError, UserError
from mediakit.tasks.chat import Chat
from mediakit.tasks.chat_options import ChatParams

Answer = Callable[..., Gathering]
Made = tuple[str, dict[str, Any], dict[str, Any]]


def planned(key: str, columns: dict[str, Any]) -> Item:
    recipe = Recipe(ChatParams(), (), {}, "recipe")
    return Item(f"{key}.json", Source(key, key, columns=columns), "state", recipe)


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """A batch that answered these (name, columns, row), a row with `error` having failed; of the
    items `of` all that were planned."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(name: str, *made: Made, of: tuple[Item, ...] = (), **more: Any) -> Gathering:
        heard: list[Event] = []
        output = output_of(Chat, tmp_path / name, single=False)
        assert output.folder
        gathering = Gathering(output, heard.append, more.get("overwrite", False))
        gathering.check(None)
        gathering.items = of
        for key, columns, row in made:
            item = planned(key, columns)
            if "error" in row:
                error = ItemError("failed", row["error"])
                gathering(Finished(item, "failed", {"status": "failed"}, error))
                continue
            output.folder.mkdir(parents=True, exist_ok=True)
            (output.folder / item.key).write_bytes(to_json(row))
            gathering(Finished(item, "done", {"status": "done", "outputs": ["state"]}))
        for event in heard:
            assert isinstance(event, Finished)
            assert event.item.output is None
            assert event.record
            assert event.record["outputs"] == ([] if event.error else [str(tmp_path / name)])
        gathering.write()
        return gathering

    return run


def test_json_lines_in_the_order_of_the_inputs(answers: Answer, tmp_path: Path) -> None:
    answers("a.jsonl", ("b", {"id": 1}, {"answer": "é"}), ("a", {"id": 2}, {"answer": "x"}))
    lines = (tmp_path / "a.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": 1, "answer": "é"},
        {"id": 2, "answer": "x"},
    ]


def test_csv_has_a_column_for_every_field_and_those_of_objects(
    answers: Answer, tmp_path: Path
) -> None:
    answers(
        "a.csv",
        ("a", {"id": "1", "mood": "?"}, {"answer": '{"mood":"good"}', "object": {"mood": "good"}}),
        ("b", {"id": "2", "answer": "old"}, {"answer": "two\nlines", "object": {"tags": ["x"]}}),
    )
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in rows] == [
        ["id", "mood", "answer", "object.mood", "new_answer", "tags"]
    ] * 2
    assert rows[0]["object.mood"] == "good"
    assert rows[0]["mood"] == "?"
    assert (rows[1]["answer"], rows[1]["new_answer"]) == ("old", "two\nlines")
    assert rows[1]["tags"] == '["x"]'


def test_the_order_is_that_of_the_plan_and_what_failed_says_why(
    answers: Answer, tmp_path: Path
) -> None:
    plan = tuple(planned(key, {"id": key}) for key in "abcd")
    made = [(key, {"id": key}, {"answer": key * 2}) for key in "dba"]
    answers("a.csv", *made, ("c", {"id": "c"}, {"error": "no"}), of=plan)
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["id"], row["answer"]) for row in rows] == [
        ("a", "aa"), ("b", "bb"), ("c", ""), ("d", "dd"),
    ]  # fmt: skip
    assert [row["error"] for row in rows] == ["", "", "no [failed]", ""]


def test_what_another_command_has_left_is_no_part(answers: Answer, tmp_path: Path) -> None:
    answers("a.jsonl", ("a", {}, {"answer": "1"}), ("b", {}, {"answer": "2"}))
    answers("a.jsonl", ("a", {}, {"answer": "3"}), of=(planned("a", {}), planned("b", {})))
    held = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert held == [{"answer": "3"}]  # the journal knows nothing of b in this recipe


def test_a_foreign_or_edited_file_stays(answers: Answer, tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    file.write_text("mine\n")
    with pytest.raises(UserError, match="--overwrite") as e:
        answers("a.csv", ("a", {}, {"answer": "1"}))
    assert e.value.code == "would_overwrite"
    assert file.read_text() == "mine\n"
    answers("a.csv", ("a", {}, {"answer": "1"}), overwrite=True)
    assert file.read_text() == "answer\n1\n"
    answers("a.csv", ("a", {}, {"answer": "2"}))
    assert file.read_text() == "answer\n2\n"
    file.write_text("answer\nedited\n")
    with pytest.raises(UserError):
        answers("a.csv", ("a", {}, {"answer": "1"}))
    file.unlink()
    answers("a.csv", ("a", {}, {"answer": "1"}))
    assert file.read_text() == "answer\n1\n"


def test_nothing_answered_leaves_the_file_alone(answers: Answer, tmp_path: Path) -> None:
    answers("a.csv", ("a", {}, {"answer": "1"}))
    answers("a.csv")
    assert (tmp_path / "a.csv").read_text() == "answer\n1\n"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "state"]


def test_the_list_of_inputs_is_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    file = tmp_path / "rows.csv"
    file.write_text("prompt\nhello\n")
    gathering = Gathering(output_of(Chat, file, single=False), lambda e: None, overwrite=True)
    with pytest.raises(UserError, match="also the list of inputs"):
        gathering.check(file)


def test_a_place_that_can_not_be_written_is_known_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "file").write_text("no folder")
    output = output_of(Chat, tmp_path / "file" / "a.csv", single=False)
    with pytest.raises(PlaceError):
        Gathering(output, lambda e: None, overwrite=False).check(None)
