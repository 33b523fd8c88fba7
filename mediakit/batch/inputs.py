"""Which inputs the arguments mean: files, directories and globs."""

import glob
import os
import stat
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mediakit.batch.files import input_error
from mediakit.batch.item import Source
from mediakit.errors import ItemError, UserError, show

Identity = tuple[int, int]  # device and inode


@dataclass(frozen=True)
class Finder:
    """Finds inputs. Directories yield files with one of `suffixes` (lower case); the output
    directory `out` is left out, and so is what was `made` there (names below `out`), for
    results may lie beside their inputs."""

    suffixes: Container[str]
    out: Path | None = None
    made: Container[str] = ()

    def find(self, arguments: Iterable[str]) -> Iterator[Source]:
        """Files, directories (recursively) and globs; an existing path beats a glob.

        A name that leads nowhere is a failed item, except as the only argument: UserError.
        """
        arguments = list(arguments)
        for argument in arguments:
            if os.path.isdir(argument):
                yield from self._walk(argument)
            elif os.path.lexists(argument):
                yield named(argument)
            elif found := sorted(glob.glob(argument, recursive=True)):
                yield from self._matches(found, argument)
            elif len(arguments) == 1:
                raise _nowhere(argument)
            else:
                yield named(argument)

    def _matches(self, found: list[str], pattern: str) -> Iterator[Source]:
        """What a glob found; directories as if the shell had named them, but with `**` all files,
        whose tree is kept."""
        out = identity(self.out) if self.out else None
        files_only = "**" in pattern
        root = os.path.dirname(pattern[: pattern.index("**")]) if files_only else ""
        for path in found:
            if not os.path.isdir(path):
                if not self._was_made(path):
                    yield (
                        Source(path, os.path.relpath(path, root or "."))
                        if files_only
                        else named(path)
                    )
            elif not files_only and (out is None or identity(path) != out):
                yield from self._walk(path)

    def _was_made(self, path: str) -> bool:
        if self.out is None or not self.made:
            return False
        folder = os.path.relpath(
            os.path.realpath(os.path.dirname(path)), os.path.realpath(self.out)
        )
        return os.path.normpath(os.path.join(folder, os.path.basename(path))) in self.made

    def _walk(self, root: str) -> Iterator[Source]:
        """Files below `root` in sorted order; links to directories are followed, circles not."""
        out = identity(self.out) if self.out else None
        made = self.made if out is not None and out == identity(root) else ()
        stack: list[tuple[str, str, tuple[Identity, ...]]] = [(root, "", ())]
        while stack:
            folder, relative, above = stack.pop()
            try:
                status = os.stat(folder)
                here = (status.st_dev, status.st_ino)
                if here in above or (above and here == out):
                    continue
                entries = _entries(folder)
            except OSError as e:
                yield Source(folder, relative or ".", error=input_error(folder, e))
                continue
            for name, is_dir in entries:
                below = os.path.join(relative, name)
                if not is_dir and _suffix(name) in self.suffixes and below not in made:
                    yield Source(os.path.join(folder, name), below)
            stack += [
                (os.path.join(folder, name), os.path.join(relative, name), (*above, here))
                for name, is_dir in reversed(entries)
                if is_dir
            ]


def named(path: str) -> Source:
    """An input that was named by hand: tried whatever its suffix."""
    return Source(path, os.path.basename(path))


def streamed(path: str) -> Source:
    """An input named on standard input. What else will come is not known, so that its folders,
    as far as they are below the current one, keep it apart from others of its name."""
    below = os.path.relpath(path) if path else path
    return Source(path, os.path.basename(path) if below.startswith("..") else below)


def check_is_file(path: str) -> None:
    """ItemError if the input is missing or no file, as reading it would say."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as e:
        raise input_error(path, e if isinstance(e, OSError) else FileNotFoundError(2, "")) from None
    if not stat.S_ISREG(mode):
        raise ItemError("not_a_file", f"{show(path)} is not a file; name a file instead")


def identity(path: str | Path) -> Identity | None:
    """What two names of one file or directory have in common; None if there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _entries(folder: str) -> list[tuple[str, bool]]:
    """Name and whether it is a directory, sorted; without hidden ones."""
    with os.scandir(folder) as scan:
        return sorted((e.name, _is_dir(e)) for e in scan if not e.name.startswith("."))


def _is_dir(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link in a circle
        return False


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _nowhere(path: str) -> UserError:
    try:
        os.lstat(path)
    except OSError as e:
        error = input_error(path or "''", e)
        return UserError(error.code, error.message)
    return UserError("changed", f"{show(path)} appeared meanwhile; run again")
