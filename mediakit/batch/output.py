"""Where a batch's results go: a directory, one file, or standard output; and their journal."""

import errno
import hashlib
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs

from mediakit.batch.item import Item, extra_file
from mediakit.batch.journal import Journal
from mediakit.batch.naming import FOLDER
from mediakit.errors import UserError, show


@dataclass(frozen=True)
class Output:
    """`file` is set for a single output file, `folder` for a directory, neither for stdout;
    `lines` says that there each result is printed as one line with the name of its input.
    `gathered` is the one file that the results in `folder`, a state directory, are parts of.
    `beside_inputs`: each output lies in the folder of its own input, under its whole path."""

    journal: Journal | None
    folder: Path | None = None
    file: Path | None = None
    lines: bool = False
    gathered: Path | None = None
    beside_inputs: bool = False

    @property
    def many(self) -> bool:
        """Whether there is room for any number of outputs."""
        return self.folder is not None or self.beside_inputs

    @property
    def base(self) -> str:
        """What paths in the journal are relative to."""
        return str(self.folder or "")

    def path(self, key: str) -> str | None:
        """The path of an output as the user would write it."""
        if self.file:
            return str(self.file)
        if self.beside_inputs:
            here = os.path.relpath(key)
            return key if here.startswith(os.pardir) else here
        if self.folder is None:
            return None
        return key if self.folder == Path() else os.path.join(self.folder, key)

    def final(self, path: str) -> str:
        """The file that an item's output at that path is or becomes: where a link leads, for a
        single file."""
        if self.beside_inputs:  # a link itself would be replaced
            return os.path.abspath(path)
        # not a Path: those keep every name that they have seen in memory
        return os.path.realpath(path) if self.file else path

    def name(self, final: str) -> str:
        """What the journal calls a file."""
        return os.path.relpath(final, self.base) if self.folder else final

    def temporary(self, number: int) -> Path:
        """A temporary name on the file system of the output, free for this process if `number` is
        (small ones are); for `discard`. OSError where nothing can be written."""
        if self.journal is None:
            return Path(tempfile.mkdtemp(prefix="mediakit-")) / "out"
        path = (
            temporary_for(str(self.file)) if self.file else _below(self.journal.temporary, number)
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        if not os.access(path.parent, os.W_OK | os.X_OK):  # known before the work
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
        return path

    def discard(self, path: Path) -> None:
        """Remove what is left under a temporary name, and under those of its extra files."""
        with suppress(OSError):
            path.unlink()
        number = 0
        with suppress(OSError):
            while True:
                extra_file(path, number).unlink()
                number += 1
        if self.journal is None:
            with suppress(OSError):
                path.parent.rmdir()

    def beside(self, final: str) -> Path:
        """A temporary name in the folder of an output."""
        return temporary_for(final)

    def clear_up(self, item: Item) -> None:
        """Remove what a killed run has left beside the item's output; what it has left elsewhere
        is the journal's."""
        for path in (item.output, *item.also):
            if path:
                self._clear(self.beside(self.final(path)))

    def _clear(self, part: Path) -> None:
        if self.file:
            self.discard(part)
        with suppress(OSError):
            part.unlink()


def temporary_for(final: str) -> Path:
    """A temporary name beside a file, for its next content."""
    # the same at every try: what a kill leaves behind, the next run over it removes
    folder, name = os.path.split(os.path.realpath(final))
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:12]
    return Path(folder) / f".mediakit-{digest}.part"


@cache
def _below(folder: Path, number: int) -> Path:
    # kept: every new Path makes Python's table of names grow, even if it is dropped
    return folder / str(number)


def output_for(
    out: Path | None,
    single: bool,
    suffixes: frozenset[str],
    prints: bool = False,
    beside: bool = False,
) -> Output:
    """What `-o` means: `single` says that there is one explicit input, `suffixes` what a file
    of the task's may end in, `prints` that without -o its results go to standard output, `beside`
    that they lie beside their inputs. Nothing is created."""
    if beside:
        # one journal for all: an input is the same however its folder was named
        folder = platformdirs.user_state_path("mediakit") / "beside"
        return Output(Journal(folder), beside_inputs=True)
    if out is None and prints:
        return Output(None, lines=not single)
    if out is None:
        raise UserError("usage", "no output: give -o DIR, -o FILE for one input, or -o -")
    if str(out) == "-":
        if not single:
            raise UserError("usage", "-o - takes one input; give -o DIR for several")
        return Output(None)
    is_file = out.is_file() or (not out.is_dir() and out.suffix.lower() in suffixes)
    if is_file and not single:
        raise UserError(
            "usage", f"-o {show(out)} names a file, but there may be several inputs; name a folder"
        )
    if is_file:
        return Output(Journal(_state_folder(out)), file=out)
    return Output(Journal(out / FOLDER), folder=out)


def _state_folder(out: Path) -> Path:
    """The journal of single files lies with the user's state, by the file's real path.

    One of 256, so that 40,000 calls from a Makefile neither share one journal nor make one each.
    """
    digest = hashlib.sha256(os.fsencode(os.path.realpath(out))).hexdigest()
    return platformdirs.user_state_path("mediakit") / "files" / digest[:2]
