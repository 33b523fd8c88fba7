"""Items of several files: whole or not at all, and each judged by itself."""

import json

from toys.shell import Shell

from .test_kill import every_kill

ALSO = ("--also", ".low.all")
NAMES = ("i000.txt", "i000.low", "i000.all")


def test_all_are_made_named_and_recorded(shell: Shell) -> None:
    shell.inputs(1)
    done = shell.batch(*ALSO, "--json")
    (record,) = done.records
    text = shell.expected()["i000.txt"]
    assert shell.outputs() == {
        "i000.txt": text,
        "i000.low": text.lower() + ".low",
        "i000.all": text.lower() + ".all",
    }
    assert record["outputs"] == ["out/i000.txt"]
    assert [(a["path"], a["role"]) for a in record["artifacts"]] == [
        ("out/i000.txt", "text"),
        ("out/i000.low", "low"),
        ("out/i000.all", "all"),
    ]
    (again,) = shell.batch(*ALSO, "--json").records
    assert (again["status"], again["artifacts"]) == ("skipped", record["artifacts"])


def test_one_that_is_gone_is_made_again(shell: Shell) -> None:
    shell.inputs(1)
    shell.batch(*ALSO)
    before = shell.outputs()
    (shell.out / "i000.low").unlink()
    assert shell.batch(*ALSO).lines == ["out/i000.txt"]
    assert shell.outputs() == before


def test_a_foreign_one_is_not_replaced(shell: Shell) -> None:
    shell.inputs(2)
    shell.out.mkdir()
    (shell.out / "i000.all").write_text("mine")
    done = shell.batch(*ALSO)
    assert (done.status, done.codes) == (1, ["would_overwrite"])
    assert "i000.all" in done.stderr
    assert (shell.out / "i000.all").read_text() == "mine"
    assert not (shell.out / "i000.txt").exists()
    assert shell.batch(*ALSO, "--overwrite").status == 0
    assert (shell.out / "i000.all").read_text() != "mine"


def test_an_edited_one_is_not_replaced(shell: Shell) -> None:
    shell.inputs(1)
    shell.batch(*ALSO)
    (shell.out / "i000.low").write_text("corrected by hand")
    done = shell.batch(*ALSO)
    assert (done.status, done.codes) == (1, ["would_overwrite"])
    assert "edited" in done.stderr


def test_fewer_then_others_then_all_again(shell: Shell) -> None:
    """What was made for another choice of files is still known as made."""
    shell.inputs(1)
    for also in (".low.all", ".low", "", ".all", ".low.all"):
        done = shell.batch("--also", also) if also else shell.batch()
        assert (done.status, done.stderr.count("would_overwrite")) == (0, 0), (also, done.stderr)
    assert sorted(shell.outputs()) == sorted(NAMES)


def test_two_inputs_whose_other_files_would_meet(shell: Shell) -> None:
    """The primary output of one is called as the second file of the other."""
    for name, text in (("a.txt", "one"), ("b.txt", "two")):
        (shell.folder / name).write_text(text)
    rows = [{"input": "a.txt", "also": ".low"}, {"input": "b.txt"}]
    (shell.folder / "list.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    done = shell.run("--from", "list.jsonl", "-o", "out", "--name", "same.txt")
    assert (done.status, done.codes) == (2, ["name_collision"])
    shell.run("--from", "list.jsonl", "-o", "out")
    assert sorted(shell.outputs()) == ["a.low", "a.txt", "b.txt"]


def test_a_single_file_has_them_beside_it(shell: Shell) -> None:
    shell.inputs(1)
    for _ in range(2):
        done = shell.run("in/i000.txt", "-o", "one.txt", *ALSO, "--json")
        assert done.status == 0, done.stderr
    (record,) = done.records
    assert record["status"] == "skipped"
    assert [a["path"] for a in record["artifacts"]] == ["one.txt", "one.low", "one.all"]
    assert {"one.txt", "one.low", "one.all"} <= {p.name for p in shell.folder.iterdir()}
    assert list(shell.folder.glob(".mediakit*")) == []


def test_killed_anywhere(shell: Shell) -> None:
    """Some may be there and some not; the next run makes all of them whole."""
    shell.inputs(1)
    text = shell.expected()["i000.txt"]
    expected = {"i000.txt": text, **{f"i000.{n}": f"{text.lower()}.{n}" for n in ("low", "all")}}
    for step in every_kill(shell, lambda: None, "in", "-o", "out", *ALSO):
        assert shell.outputs().items() <= expected.items(), f"step {step}: torn file"
        done = shell.batch(*ALSO)
        assert done.status == 0, f"step {step}: {done.stderr}"
        assert shell.outputs() == expected
        assert shell.leftovers() == []


def test_killed_anywhere_while_replacing(shell: Shell) -> None:
    shell.inputs(1)
    old = {}

    def prepare() -> None:
        assert shell.batch(*ALSO).status == 0
        old.update(shell.outputs())

    for step in every_kill(shell, prepare, "in", "-o", "out", *ALSO, "--times", 2):
        found = shell.outputs()
        assert set(found) == set(old), step
        done = shell.batch(*ALSO, "--times", 2)
        assert done.status == 0, f"step {step}: {done.stderr}"
        assert shell.outputs()["i000.txt"] == old["i000.txt"] * 2
        assert shell.leftovers() == []
