"""Where a batch's results go: a directory, one file, or standard output; and their journal."""

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from mediakit.batch.journal import Journal
from mediakit.batch.naming import FOLDER
from mediakit.errors import UserError, show


@dataclass(frozen=True)
class Output:
    """`file` is set for a single output file, `folder` for a directory, neither for stdout."""

    journal: Journal | None
    folder: Path | None = None
    file: Path | None = None

    @property
    def base(self) -> Path:
        """What paths in the journal are relative to."""
        return self.folder or Path()

    def path(self, key: str) -> str | None:
        """The path of an output as the user would write it."""
        if self.file:
            return str(self.file)
        return os.path.join(self.folder, key) if self.folder else None

    def temporary(self, number: int) -> Path:
        """A temporary name on the file system of the output, free for this process."""
        if self.file:
            # the same at every try: what a kill leaves behind, the next run over it replaces
            name = hashlib.sha256(os.fsencode(self.file.name)).hexdigest()[:12]
            return self.file.parent / f".mediakit-{name}.part"
        if self.journal:
            return self.journal.temporary / str(number)
        return Path(tempfile.mkdtemp(prefix="mediakit-")) / "out"


def output_for(out: Path | None, single: bool, suffixes: frozenset[str]) -> Output:
    """What `-o` means: `single` says that there is one explicit input, `suffixes` what a file
    of the task's may end in. Nothing is created."""
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
