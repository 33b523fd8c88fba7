"""kill -9 at every step of writing: nothing torn, nothing foreign lost, and a rerun finishes."""

import shutil
import signal
from collections.abc import Callable, Iterator

from toys.shell import Shell, eventually

KILLED = -9


def every_kill(
    shell: Shell, prepare: Callable[[], object], *args: object, status: int = 0
) -> Iterator[int]:
    """Prepare and run, killed at the first step, at the second and so on, until none is left."""
    for step in range(1, 1000):
        shell.wipe()
        prepare()
        done = shell.run(*args, KILL_AT=str(step))
        yield step
        if done.status == status:
            assert step > 20, "too few steps to be true"
            return
        assert done.status == KILLED, done.stderr
    raise AssertionError("it never ended")


def test_killed_anywhere_then_run_again(shell: Shell) -> None:
    names = shell.inputs(2)
    expected = shell.expected()
    for step in every_kill(shell, lambda: None, "in", "-o", "out"):
        whole = shell.outputs()
        assert whole.items() <= expected.items(), f"step {step}: torn file"
        done = shell.batch()
        assert done.status == 0, f"step {step}: {done.stderr}"
        assert shell.outputs() == expected
        assert shell.leftovers() == []
        if step % 4 == 0:
            again = shell.batch("--json")
            assert [r["status"] for r in again.records] == ["skipped"] * 2
        # done before the kill: never again; in flight: perhaps
        assert all(shell.times_done()[name] <= 1 for name in names)


def test_killed_anywhere_while_replacing(shell: Shell) -> None:
    """Outputs that are out of date are whole before, whole after; foreign files stay."""
    shell.inputs(2)
    old = shell.expected()

    def prepare() -> None:
        assert shell.batch().status == 0
        (shell.out / "i001.txt").write_text("mine")

    new = {name: text * 2 for name, text in old.items()}
    for step in every_kill(shell, prepare, "in", "-o", "out", "--times", 2, status=1):
        found = shell.outputs()
        assert found.pop("i001.txt") == "mine"
        assert all(text in (old[name], new[name]) for name, text in found.items()), step
        done = shell.batch("--times", 2)
        assert (done.status, done.codes) == (1, ["would_overwrite"]), done.stderr
        assert shell.outputs() == {**new, "i001.txt": "mine"}
        assert shell.leftovers() == []


def test_killed_anywhere_while_writing_one_file(shell: Shell) -> None:
    shell.inputs(1)
    (expected,) = shell.expected().values()
    out = shell.folder / "one.txt"

    def prepare() -> None:
        out.unlink(missing_ok=True)

    for step in every_kill(shell, prepare, "in/i000.txt", "-o", "one.txt"):
        assert not out.exists() or out.read_text() == expected, step
        done = shell.run("in/i000.txt", "-o", "one.txt", "--json")
        assert done.status == 0, done.stderr
        assert out.read_text() == expected
        assert list(shell.folder.glob(".mediakit-*")) == [], step


def test_killed_anywhere_while_merging_journals(shell: Shell) -> None:
    """Journals of many ended runs become one, and nothing that they knew is lost."""
    names = shell.inputs(18)
    for name in names[:17]:
        assert shell.run(f"in/{name}", "-o", "out/").status == 0
    saved = shell.out.rename(shell.folder / "saved")
    for step in range(1, 400, 5):
        shell.wipe()
        shutil.copytree(saved, shell.out)
        done = shell.batch(KILL_AT=str(step))
        assert shell.batch().status == 0
        assert shell.outputs() == shell.expected()
        third = shell.batch("--json")
        assert [r["status"] for r in third.records] == ["skipped"] * 18, step
        assert all(r["artifacts"] for r in third.records), "records went missing"
        if done.status == 0:
            break
    assert len(list(shell.out.glob(".mediakit/journal/*"))) < 6
    assert step > 30


def test_an_item_that_kills_twice_is_reported_and_then_tried_again(shell: Shell) -> None:
    names = shell.inputs(30)
    crash = ("--crash", "i003")
    assert shell.batch(*crash).status == KILLED
    assert shell.batch(*crash).status == KILLED
    # the second run put off what was in flight, and did all the rest; then one after the other
    assert set(names[12:]) | {"i000.txt"} <= set(shell.outputs())
    assert "i003.txt" not in shell.outputs()
    third = shell.batch("--json", *crash)
    assert third.status == 1
    failed = [r for r in third.records if r["status"] == "failed"]
    assert [(r["input"], r["error"]["code"]) for r in failed] == [("in/i003.txt", "crashed")]
    fourth = shell.batch("--retry-failed", "--json")
    assert [(r["input"], r["status"]) for r in fourth.records] == [("in/i003.txt", "done")]
    assert set(shell.times_done().values()) == {1}
    assert shell.outputs() == shell.expected()


def test_what_was_merely_in_flight_does_not_crash_with_it(shell: Shell) -> None:
    """Killed twice in mid-run by someone: no item is to blame."""
    shell.inputs(40)
    for _ in range(4):
        run = shell.start("in", "-o", "out", "--seconds", 0.02)
        before = len(shell.outputs())
        eventually(lambda before=before: len(shell.outputs()) >= before + 3)
        run.signal(signal.SIGKILL)
        assert run.wait().status == KILLED
    done = shell.batch()
    assert (done.status, done.codes) == (0, [])
    assert shell.outputs() == shell.expected()
    assert shell.leftovers() == []
    assert set(shell.times_done().values()) == {1}
