"""One file for all results, written from parts: order, columns, forms, and what may be replaced."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mediakit.batch.events import Event, Finished
from mediakit.batch.gather import Gathering, output_of, part_of
from mediakit.batch.item import Item, Source
from mediakit.errors import UserError
from mediakit.tasks.chat import Chat

Answer = Callable[..., Gathering]


@pytest.fixture
def answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Answer:
    """A batch that answered these (name, columns, row), into a file."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))

    def run(name: str, *made: tuple[str, dict[str, Any], dict[str, Any]], **more: Any) -> Gathering:
        heard: list[Event] = []
        output = output_of(Chat, tmp_path / name, single=False)
        assert output.folder
        gathering = Gathering(output, heard.append, more.pop("overwrite", False))
        gathering.check(None)
        for key, columns, row in made:
            item = Item(f"{key}.json", Source(key, key, columns=columns), "state", None)
            output.folder.mkdir(parents=True, exist_ok=True)
            (output.folder / item.key).write_bytes(part_of(item, row))
            gathering(Finished(item, "done", {"status": "done", "outputs": ["state"]}))
        assert [e.record["outputs"] for e in heard] == [[str(tmp_path / name)]] * len(made)  # type: ignore[union-attr]
        assert all(e.item.output is None for e in heard)  # type: ignore[union-attr]
        gathering.write(complete=more.get("complete", True))
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


def test_a_complete_batch_is_the_whole_file_and_a_part_of_one_is_not(
    answers: Answer, tmp_path: Path
) -> None:
    def held() -> list[str]:
        lines = (tmp_path / "a.jsonl").read_text().splitlines()
        return [json.loads(line)["answer"] for line in lines]

    answers("a.jsonl", ("a", {}, {"answer": "1"}), ("b", {}, {"answer": "2"}))
    answers("a.jsonl", ("c", {}, {"answer": "3"}), complete=False)
    assert held() == ["3", "1", "2"]
    answers("a.jsonl", ("b", {}, {"answer": "2"}))
    assert held() == ["2"]


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
