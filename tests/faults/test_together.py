"""Several runs over one directory at once: every item is made exactly once."""

import json
import random
import signal
import time

import pytest
from toys.shell import Done, Shell, eventually

ITEMS = 200


def together(shell: Shell, *commands: list[object]) -> list[Done]:
    runs = [shell.start(*command, "-o", "out") for command in commands]
    return [run.wait() for run in runs]


def orders(shell: Shell, count: int) -> list[list[object]]:
    """The inputs, one by one, in different orders."""
    names: list[object] = [f"in/{name}" for name in shell.inputs(ITEMS)]
    return [random.Random(seed).sample(names, ITEMS) for seed in range(count)]


@pytest.mark.parametrize("count", [2, 3])
def test_each_item_is_made_once(shell: Shell, count: int) -> None:
    done = together(shell, *orders(shell, count))
    assert [d.status for d in done] == [0] * count, done
    assert shell.outputs() == shell.expected()
    assert shell.times_done() == dict.fromkeys(shell.expected(), 1)
    assert shell.leftovers() == []
    # said once in total, too
    assert sorted(line for d in done for line in d.lines) == sorted(
        f"out/{name}" for name in shell.expected()
    )


def test_same_order_and_shards(shell: Shell) -> None:
    shell.inputs(ITEMS)
    shards: list[list[object]] = [["in", "--shard", f"{index}/2"] for index in range(2)]
    done = together(shell, ["in"], *shards)
    assert [d.status for d in done] == [0] * 3, done
    assert shell.outputs() == shell.expected()
    assert shell.times_done() == dict.fromkeys(shell.expected(), 1)


def test_one_of_them_is_killed(shell: Shell) -> None:
    commands = orders(shell, 3)
    runs = [shell.start(*command, "-o", "out", "--seconds", 0.002) for command in commands]
    eventually(lambda: len(shell.outputs()) > 50)
    runs[1].signal(signal.SIGKILL)
    done = [run.wait() for run in runs]
    assert [d.status for d in done] == [0, -9, 0], done
    assert shell.outputs() == shell.expected()
    # what it was at when it died may lack its last line
    times = shell.times_done()
    assert max(times.values()) == 1
    assert len(times) > ITEMS - 10
    assert all(r["status"] == "skipped" for r in shell.batch("--json").records)
    assert shell.leftovers() == []


def test_force_remakes_only_what_was_there_when_it_began(shell: Shell) -> None:
    names = shell.inputs(ITEMS)
    half: list[object] = [f"in/{name}" for name in names[: ITEMS // 2]]
    assert shell.run(*half, "-o", "out").status == 0
    plain = shell.start("in", "-o", "out")
    forced = shell.start("in", "-o", "out", "--force")
    assert [plain.wait().status, forced.wait().status] == [0, 0]
    times = shell.times_done()
    assert {times[name] for name in names[: ITEMS // 2]} == {2}
    # made by either, or by both if it was done before the other began
    assert {times[name] for name in names[ITEMS // 2 :]} <= {1, 2}
    assert shell.outputs() == shell.expected()


def test_two_forced_runs_remake_once(shell: Shell) -> None:
    names = shell.inputs(50)
    assert shell.batch().status == 0
    time.sleep(0.01)
    slow = ("--seconds", 0.01)
    done = together(shell, ["in", "--force", *slow], ["in", "--force", *slow])
    assert [d.status for d in done] == [0, 0], done
    runs = [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in shell.out.glob(".mediakit/journal/*")
    ]
    runs.sort(key=lambda lines: lines[0]["at"])
    late = runs[-1][0]["at"]  # by then both forced runs had begun
    for name in names:
        made = sorted(
            line["at"]
            for lines in runs[1:]
            for line in lines
            if line["t"] == "done" and line["key"] == name
        )
        # the later run may remake what the earlier one had made before it began
        assert len(made) == 1 or (len(made) == 2 and made[0] < late), name


def test_journals_are_merged_while_others_run(shell: Shell) -> None:
    names = shell.inputs(60)
    for name in names[:20]:
        assert shell.run(f"in/{name}", "-o", "out/").status == 0
    slow = shell.start("in", "-o", "out", "--seconds", 0.02)
    runs = []
    for name in names[40:]:  # each merges if there are enough, while the first one is at work
        runs.append(shell.run(f"in/{name}", "-o", "out/"))
    assert {run.status for run in runs} == {0}
    assert slow.wait().status == 0
    assert shell.outputs() == shell.expected()
    assert len(list(shell.out.glob(".mediakit/journal/*"))) < 20
    again = shell.batch("--json")
    assert {r["status"] for r in again.records} == {"skipped"}
    assert all(r["artifacts"] for r in again.records)


def test_one_file_from_many_processes(shell: Shell) -> None:
    """make -j: the same command at once does the work once."""
    shell.inputs(1)
    runs = [
        shell.start("in/i000.txt", "-o", "one.txt", "--seconds", 0.2, "--json") for _ in range(4)
    ]
    done = [run.wait() for run in runs]
    assert [d.status for d in done] == [0] * 4, done
    statuses = [record["status"] for d in done for record in d.records]
    assert sorted(statuses) == ["done", "skipped", "skipped", "skipped"]
