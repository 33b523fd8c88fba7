"""What the journals of many runs say together, in whatever order they are read."""

import itertools
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from mediakit.batch.gauge import Gauge
from mediakit.batch.history import History
from mediakit.batch.journal import MERGE_FROM, Journal
from mediakit.batch.locks import Locks
from mediakit.batch.order import InOrder
from mediakit.errors import PlaceError

MAKING = {
    "recipe": "r1",
    "source": "/in/a",
    "inputs": [["/in/a", "0" * 64, 3, [3, 1, 1, 7]]],
    "outputs": [["a", "1" * 64, 5, None]],
    "record": {"status": "done"},
}
RUNS: list[list[dict[str, Any]]] = [
    [
        {"t": "start", "at": 1},
        {"t": "intent", "at": 2, **MAKING},
        {"t": "done", "at": 3, "stats": [[5, 2, 2, 8]]},
    ],
    [{"t": "start", "at": 11}, {"t": "stop", "at": 12}],
    [{"t": "start", "at": 21}, {"t": "failed", "at": 22, "record": {"status": "failed"}}],
    [{"t": "start", "at": 31}],
]
ORDERS = list(itertools.permutations(range(len(RUNS))))


def write(folder: Path, name: str, lines: list[dict[str, Any]]) -> None:
    with (folder / f"{name}.jsonl").open("a") as file:
        for line in lines:
            file.write(json.dumps({"key": "a", **line}) + "\n")


def check(history: History) -> None:
    entry = history.entries["a"]
    assert entry.made is not None
    assert entry.made.outputs[0].stat == (5, 2, 2, 8)
    assert history.record(entry.made.where) == {"status": "done"}
    assert (entry.failed, entry.starts, entry.intended) == (True, 1, None)


@pytest.mark.parametrize("order", ORDERS)
def test_lines_count_in_the_order_of_their_times(tmp_path: Path, order: tuple[int, ...]) -> None:
    for name, run in zip("pqrs", order, strict=True):  # listed in the order of creation, or not
        write(tmp_path, name, RUNS[run])
    check(History(tmp_path))


@pytest.mark.parametrize("order", ORDERS)
def test_lines_that_come_to_light_late_count_too(tmp_path: Path, order: tuple[int, ...]) -> None:
    history = History(tmp_path)
    for run in order:
        write(tmp_path, f"run{run}", RUNS[run])
        history.refresh()
    check(history)


def test_torn_and_foreign_lines_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, "a", RUNS[0])
    write(tmp_path, "b", [*RUNS[1], *RUNS[2]])
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write(
            '{"t":"start"}\n[]\n\n{"t":"intent","at":40,"key":"a"}\n{"t":"start","at":31,"ke'
        )
    history = History(tmp_path)
    with (tmp_path / "a.jsonl").open("a") as file:
        file.write('y":"a"}\n')  # whole now
    history.refresh()
    check(history)


def test_merged_beside_what_it_was_merged_from(tmp_path: Path) -> None:
    """As left by a merger that was killed: the sum adds nothing."""
    for number, run in enumerate(RUNS):
        write(tmp_path, f"run{number}", run)
    entry = History(tmp_path).entries["a"]
    assert entry.made is not None
    made = {**entry.made.line(), "record": {"status": "done"}}
    item = {"at": 31, "made": made, "intended": None, "starts": 1, "failed": True}
    write(tmp_path, "merged", [{"t": "item", **item}])
    check(History(tmp_path))


def test_journals_of_ended_runs_are_merged(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    for number in range(MERGE_FROM + 2):
        journal = Journal(tmp_path)
        journal.open()
        journal.append("start", f"key {number}")
        if number % 2:
            journal.append("intent", f"key {number}", **MAKING)
        journal.close()
    assert len(os.listdir(folder)) == 3  # the sum, this one, and that which made the sum
    history = History(folder)
    assert len(history.entries) == MERGE_FROM + 2
    for number in range(MERGE_FROM + 2):
        entry = history.entries[f"key {number}"]
        assert entry.starts == 1
        assert bool(entry.intended) == bool(number % 2)
        if entry.intended:
            assert history.record(entry.intended.where) == {"status": "done"}


def test_journal_of_a_run_that_lives_is_let_be(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from mediakit.batch.journal import Journal\n"
        "j = Journal(Path(sys.argv[1])); j.open(); j.append('start', 'mine'); print(j.run)\n"
        "sys.stdout.flush(); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        run = other.stdout.readline().strip()
        for _ in range(MERGE_FROM + 2):
            journal = Journal(tmp_path)
            journal.open()
            journal.close()
        assert (tmp_path / "journal" / f"{run}.jsonl").exists()
        assert (tmp_path / "tmp" / run).is_dir()
        other.kill()
    journal = Journal(tmp_path)
    journal.open()
    assert os.listdir(tmp_path / "tmp") == [journal.run]
    journal.close()


def test_locks_exclude_threads_too(tmp_path: Path) -> None:
    locks = Locks(tmp_path / "lock")
    assert locks.acquire("a")
    assert not locks.acquire("a")
    assert locks.acquire("b")
    locks.release("a")
    assert locks.acquire("a")
    locks.close()


def test_order() -> None:
    order, said = InOrder(), list[int]()
    tickets = [order.ticket() for _ in range(4)]
    for number in (2, 0, 3):
        order.put(tickets[number], lambda number=number: said.append(number))
    assert (said, order.open) == ([0], 3)
    assert not order.wait_below(3, 0)
    order.put(tickets[1], None)
    assert (said, order.open) == ([0, 2, 3], 0)
    assert order.wait_below(1, 0)


def test_gauge_lets_pass_whom_all_wait_for() -> None:
    gauge = Gauge(100)
    assert gauge.wait(5, 0)
    gauge.add(100)
    assert gauge.full
    assert not gauge.wait(5, 0)
    gauge.want(5)
    assert gauge.wait(5, 0)
    assert not gauge.wait(6, 0)
    gauge.add(-1)
    assert gauge.wait(6, 0)


def test_a_host_whose_name_begins_alike_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "gpu")
    theirs, ours = tmp_path / "tmp" / "gpu-2-123-456", tmp_path / "tmp" / "gpu-123-456"
    theirs.mkdir(parents=True)
    ours.mkdir()
    journal = Journal(tmp_path)
    journal.open()
    assert theirs.is_dir() and not ours.exists()
    journal.close()


def test_odd_things_in_the_folder_of_journals(tmp_path: Path) -> None:
    for number, run in enumerate(RUNS):
        write(tmp_path, f"run{number}", run)
    (tmp_path / "link.jsonl").symlink_to("nowhere")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    check(History(tmp_path))


def test_a_journal_that_can_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop.jsonl").mkdir()
    history = History(tmp_path)
    with pytest.raises(PlaceError, match=r"loop\.jsonl can't be read: is a directory"):
        history._lines("loop.jsonl", 0)


def test_what_another_task_began_or_failed_at_counts_for_itself(tmp_path: Path) -> None:
    one, other = {"task": "one"}, {"task": "other"}
    write(tmp_path, "a", [{"t": "start", "at": 1, **one}, {"t": "start", "at": 2, **one}])
    assert History(tmp_path).entries["a"].starts == 2
    write(tmp_path, "b", [{"t": "failed", "at": 3, **one}, {"t": "start", "at": 4, **other}])
    entry = History(tmp_path).entries["a"]
    assert (entry.starts, entry.failed, entry.task) == (1, False, "other")


def test_a_flush_does_not_hold_up_other_threads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    journal.open()
    flushing, go_on = threading.Event(), threading.Event()

    def slow(fd: int) -> None:
        flushing.set()
        assert go_on.wait(10)

    monkeypatch.setattr(os, "fsync", slow)
    thread = threading.Thread(target=journal.append, args=("intent", "a", True))
    thread.start()
    assert flushing.wait(10)
    other = threading.Thread(target=journal.append, args=("start", "b"))
    other.start()
    other.join(5)
    assert not other.is_alive()
    go_on.set()
    thread.join()
    journal.close()
