"""What is made again, what is skipped, and what is never touched."""

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from toys.shell import Done, Shell


def statuses(done: Done) -> list[str]:
    return [record["status"] for record in done.records]


@pytest.fixture
def made(shell: Shell) -> Shell:
    """Three items, done."""
    shell.inputs(3)
    assert shell.batch().status == 0
    return shell


def run(shell: Shell, *args: object) -> list[str]:
    done = shell.batch("--json", *args)
    assert done.status == (1 if "failed" in statuses(done) else 0), done.stderr
    return statuses(done)


def journal_size(shell: Shell) -> int:
    return len(shell.journal())


def test_nothing_changed(made: Shell) -> None:
    before = journal_size(made)
    assert run(made) == ["skipped"] * 3
    assert journal_size(made) == before


def test_touched_inputs_are_read_once_more_and_skipped(made: Shell) -> None:
    os.utime(made.folder / "in/i001.txt", (1, 1))
    before = journal_size(made)
    assert run(made) == ["skipped"] * 3
    assert journal_size(made) == before + 1  # its new stat, so that it is not read again
    assert run(made) == ["skipped"] * 3
    assert journal_size(made) == before + 1


def test_changed_input_is_made_again(made: Shell) -> None:
    (made.folder / "in/i001.txt").write_text("new")
    assert run(made) == ["skipped", "done", "skipped"]
    assert made.outputs() == made.expected()


def test_same_size_and_time_but_other_content_is_seen(made: Shell) -> None:
    """The inode's change time can't be set back."""
    path = made.folder / "in/i001.txt"
    before = path.stat()
    path.write_text(path.read_text().replace("text", "TEXT"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    path.write_text(path.read_text().replace("of", "on"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run(made) == ["skipped", "done", "skipped"]


def test_other_params_make_again_and_back_again(made: Shell) -> None:
    assert run(made, "--times", 2) == ["done"] * 3
    assert run(made, "--times", 2) == ["skipped"] * 3
    assert run(made) == ["done"] * 3
    assert made.outputs() == made.expected()


def test_execution_does_not_make_again(made: Shell) -> None:
    assert run(made, "--seconds", 0.001, "--threads", 3) == ["skipped"] * 3


def test_deleted_output_is_made_again(made: Shell) -> None:
    (made.out / "i002.txt").unlink()
    assert run(made) == ["skipped", "skipped", "done"]
    assert made.outputs() == made.expected()


def test_edited_output_is_kept(made: Shell) -> None:
    edited = made.out / "i000.txt"
    edited.write_text("edited")
    for args in ((), ("--force",), ("--times", 2), ("--retry-failed",)):
        done = made.batch(*args)
        assert (done.status, done.codes) == (1, ["would_overwrite"])
        assert "was edited since mediakit made it" in done.stderr
        assert edited.read_text() == "edited"
    assert "done" in run(made, "--overwrite")
    assert made.outputs() == made.expected()


def test_truncated_output_is_named(made: Shell) -> None:
    """Shorter than what was made: not ours any more, so it is said and kept."""
    os.truncate(made.out / "i000.txt", 10)
    assert run(made) == ["failed", "skipped", "skipped"]


def test_damage_that_stats_hide_is_found_by_verify(made: Shell) -> None:
    """As after a disk fault: the same stat in the journal as on the disk, and other bytes."""
    path = made.out / "i000.txt"
    path.write_text(path.read_text().replace("T", "#"))
    stat = os.stat(path)
    (journal,) = made.out.glob(".mediakit/journal/*")
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    (done,) = (line for line in lines if line["t"] == "done" and line["key"] == "i000.txt")
    done["stats"] = [[stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert run(made) == ["skipped"] * 3
    assert run(made, "--verify") == ["failed", "skipped", "skipped"]


@pytest.mark.parametrize("how", ["copy", "copy with times", "rename"])
def test_directory_that_was_copied_or_renamed(made: Shell, how: str) -> None:
    new = made.folder / "new"
    if how == "rename":
        made.out.rename(new)
    else:
        copy = shutil.copy2 if "times" in how else shutil.copyfile
        shutil.copytree(made.out, new, copy_function=copy)
    done = made.run("in", "-o", "new", "--json")
    assert statuses(done) == ["skipped"] * 3
    assert [r["outputs"] for r in done.records] == [[f"new/i00{n}.txt"] for n in range(3)]


def test_inputs_that_moved(made: Shell) -> None:
    shutil.copytree(made.folder / "in", made.folder / "elsewhere")
    assert statuses(made.run("elsewhere", "-o", "out", "--json")) == ["skipped"] * 3
    (made.folder / "elsewhere/i000.txt").write_text("other")
    done = made.run("elsewhere", "-o", "out")
    assert (done.status, done.codes) == (1, ["would_overwrite"])
    assert "was made from" in done.stderr
    shutil.rmtree(made.folder / "in")  # what it was made from is gone: this is its successor
    assert made.run("elsewhere", "-o", "out").status == 0
    assert made.outputs()["i000.txt"] == "OTHER"


def test_foreign_file_in_the_way(shell: Shell) -> None:
    shell.inputs(3)
    shell.out.mkdir()
    (shell.out / "i001.txt").write_text("mine")
    assert run(shell) == ["done", "failed", "done"]
    assert (shell.out / "i001.txt").read_text() == "mine"
    assert run(shell, "--retry-failed") == ["failed"]
    assert run(shell, "--overwrite") == ["skipped", "done", "skipped"]
    assert shell.outputs() == shell.expected()


def test_foreign_directory_and_link_in_the_way(shell: Shell) -> None:
    shell.inputs(2)
    (shell.out / "i000.txt").mkdir(parents=True)
    (shell.folder / "mine").write_text("mine")
    (shell.out / "i001.txt").symlink_to("../mine")
    assert run(shell) == ["failed", "failed"]
    assert run(shell, "--overwrite") == ["failed", "done"]
    assert (shell.folder / "mine").read_text() == "mine"
    assert (shell.out / "i000.txt").is_dir()


def test_output_that_is_the_input(shell: Shell) -> None:
    shell.inputs(1)
    before = shell.expected()
    for args in ((), ("--overwrite",), ("--overwrite", "--force")):
        for out in ("in", "in/i000.txt"):
            done = shell.run("in/i000.txt", "-o", out, *args)
            assert (done.status, done.codes) == (1, ["would_overwrite"]), done.stderr
    assert shell.expected() == before
    (shell.folder / "link.txt").symlink_to("in/i000.txt")
    done = shell.run("in/i000.txt", "-o", "link.txt", "--overwrite")
    assert done.codes == ["would_overwrite"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_output_that_appears_meanwhile(shell: Shell, overwrite: bool) -> None:
    shell.inputs(1)
    args = ["--overwrite"] if overwrite else []
    done = shell.batch("--before-write", "echo mine > out/i000.txt", *args)
    assert done.status == (0 if overwrite else 1)
    assert done.codes == ([] if overwrite else ["would_overwrite"])
    expected = shell.expected()["i000.txt"] if overwrite else "mine\n"
    assert shell.outputs() == {"i000.txt": expected}
    assert shell.leftovers() == []


def test_output_that_is_edited_while_it_is_remade(made: Shell) -> None:
    done = made.batch("--force", "--limit", 1, "--before-write", "echo mine > out/i000.txt")
    assert (done.status, done.codes) == (1, ["would_overwrite"])
    assert made.outputs()["i000.txt"] == "mine\n"


def test_input_that_changes_while_it_is_worked_on(shell: Shell) -> None:
    """The result is of what was read; the next run sees the change."""
    shell.inputs(1)
    old = shell.expected()
    assert shell.batch("--before-write", "echo new > in/i000.txt").status == 0
    assert shell.outputs() == old
    assert run(shell) == ["done"]
    assert shell.outputs() == {"i000.txt": "NEW\n"}


def test_failed_items_are_retried_and_keep_what_they_had(made: Shell) -> None:
    (made.folder / "in/i001.txt").write_text("new")
    assert run(made, "--corrupt", "i001") == ["skipped", "failed", "skipped"]
    assert (made.out / "i001.txt").read_text() != "NEW"  # the old one is better than none
    assert run(made, "--retry-failed", "--corrupt", "i001") == ["failed"]
    assert run(made, "--retry-failed") == ["done"]
    assert run(made, "--retry-failed") == []
    assert run(made) == ["skipped"] * 3


def test_interrupted_remake_does_not_forget_what_was_made(made: Shell) -> None:
    """Whatever the order in which journals are read."""
    for _ in range(6):  # several journals that say `start` and `stop`
        assert made.batch("--force", "--lost", "i000").codes == ["device_lost"]
    assert run(made) == ["skipped"] * 3
    assert run(made, "--times", 2) == ["done"] * 3


def test_file_of_another_task_is_kept(made: Shell) -> None:
    """As if `toy` had been another task when it made them."""
    for path in made.out.glob(".mediakit/journal/*"):
        path.write_text(path.read_text().replace('"task":"toy"', '"task":"retouch"'))
    before = made.outputs()
    done = made.batch("--times", 2)
    assert (done.status, done.codes) == (1, ["would_overwrite"] * 3)
    assert "out/i000.txt was made by mediakit retouch" in done.stderr
    assert made.outputs() == before
    assert made.batch("--times", 2, "--overwrite").status == 0
    assert run(made, "--times", 2) == ["skipped"] * 3


@pytest.mark.parametrize("how", ["mount", "bind", "link"])
def test_folder_on_another_disk(shell: Shell, how: str) -> None:
    """Below the output directory: a disk of its own, a link to one, the same disk elsewhere."""
    names = shell.inputs(2)
    sub = shell.out / "sub"
    sub.mkdir(parents=True)
    (shell.folder / "far").mkdir()
    if how == "link":
        far = Path(tempfile.mkdtemp(dir="/dev/shm"))
        if far.stat().st_dev == shell.folder.stat().st_dev:
            pytest.skip("no second file system here")
        sub.rmdir()
        sub.symlink_to(far)
    else:
        options = ["-t", "tmpfs", "tmpfs"] if how == "mount" else ["--bind", shell.folder / "far"]
        mounted = subprocess.run(["mount", *options, sub], capture_output=True, text=True)
        if mounted.returncode:
            pytest.skip(f"nothing can be mounted here: {mounted.stderr}")
    try:
        args = ("in", "-o", "out", "--name", "sub/{stem}{ext}")
        assert shell.run(*args).codes == []
        assert sorted(p.name for p in sub.iterdir()) == names
        assert shell.run(*args, "--times", 2).lines == [f"out/sub/{name}" for name in names]
        assert (sub / names[0]).read_text() == shell.expected()[names[0]] * 2
        assert statuses(shell.run(*args, "--times", 2, "--json")) == ["skipped"] * 2
    finally:
        if how == "link":
            shutil.rmtree(far)
        else:
            subprocess.run(["umount", "-l", sub], check=True)


def test_artifacts_of_what_is_up_to_date_are_where_they_are_now(made: Shell) -> None:
    made.out.rename(made.folder / "new")
    for record in made.run("in", "-o", "new", "--json").records:
        assert [a["path"] for a in record["artifacts"]] == record["outputs"]


def test_a_file_of_the_other_kind_of_output_is_not_called_foreign(made: Shell) -> None:
    done = made.run("in/i000.txt", "-o", "out/i000.txt")
    assert done.codes == ["would_overwrite"]
    assert "is there already, and is not in this output's journal" in done.stderr


class TestOneFile:
    """-o FILE."""

    def make(self, shell: Shell, *args: object) -> Done:
        return shell.run("in/i000.txt", "-o", "one.txt", *args)

    def test_journal_is_in_the_state_directory(self, shell: Shell) -> None:
        shell.inputs(1)
        assert self.make(shell).lines == ["one.txt"]
        assert (shell.folder / "one.txt").read_text() == shell.expected()["i000.txt"]
        assert not (shell.folder / ".mediakit").exists()
        (folder,) = (shell.folder / "state/mediakit/files").iterdir()
        assert [line["t"] for line in shell.journal(folder)] == ["start", "intent", "done"]

    def test_up_to_date_is_touched(self, shell: Shell) -> None:
        shell.inputs(1)
        self.make(shell)
        one = shell.folder / "one.txt"
        os.utime(one, (1, 1))
        done = self.make(shell, "--json")
        assert statuses(done) == ["skipped"]
        assert one.stat().st_mtime >= (shell.folder / "in/i000.txt").stat().st_mtime
        assert statuses(self.make(shell, "--json", "--verify")) == ["skipped"]

    def test_foreign_and_edited_files_are_kept(self, shell: Shell) -> None:
        shell.inputs(1)
        one = shell.folder / "one.txt"
        one.write_text("mine")
        assert self.make(shell).codes == ["would_overwrite"]
        assert one.read_text() == "mine"
        assert self.make(shell, "--overwrite").status == 0
        one.write_text("edited")
        assert self.make(shell).codes == ["would_overwrite"]

    def test_other_input_or_params_replace_what_mediakit_made(self, shell: Shell) -> None:
        shell.inputs(2)
        self.make(shell)
        assert self.make(shell, "--times", 2).status == 0
        assert shell.run("in/i001.txt", "-o", "one.txt").status == 0
        assert (shell.folder / "one.txt").read_text() == shell.expected()["i001.txt"]

    def test_link_is_written_through(self, shell: Shell) -> None:
        shell.inputs(1)
        (shell.folder / "far").mkdir()
        link = shell.folder / "one.txt"
        link.symlink_to("far/real.txt")
        for args in ((), ("--times", 2)):
            assert self.make(shell, *args).status == 0
            assert link.is_symlink()
        assert (shell.folder / "far/real.txt").read_text() == shell.expected()["i000.txt"] * 2
        assert sorted(p.name for p in (shell.folder / "far").iterdir()) == ["real.txt"]

    def test_to_standard_output(self, shell: Shell) -> None:
        shell.inputs(1)
        done = shell.run("in/i000.txt", "-o", "-")
        assert (done.status, done.stdout) == (0, shell.expected()["i000.txt"])
        assert sorted(Path(p).name for p in shell.folder.iterdir() if p.is_dir()) == ["in"]
