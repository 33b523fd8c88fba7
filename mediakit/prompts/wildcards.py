"""Which texts `__name__` stands for: the files below one directory."""

import difflib
import math
import os
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from mediakit.errors import ItemError, UserError, show

Value = tuple[str, float]  # and its weight
_STRUCTURED = (".json", ".yaml")
_LARGEST = 64 << 20  # bytes of one file


class Wildcards:
    """The wildcards below `folder`; none without one.

    A .txt file is named by its path (`colours/warm` for colours/warm.txt), one text a line; a
    .json or .yaml file names its lists itself, as dynamicprompts has it. UserError if the
    directory can't be read.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._files: dict[str, Path] = {}
        self._lists: dict[str, list[Value]] = {}
        self._texts: dict[str, list[Value]] = {}  # of the files read so far
        self._faults: list[str] = []  # of files that name wildcards nobody asked for yet
        if folder is not None:
            self._index(folder)

    def values(self, name: str) -> list[Value]:
        """The texts of a wildcard, or of all that a pattern such as `colours/*` names; sorted,
        each once. Where nothing has the name, files of that name in any folder do.

        ItemError bad_prompt if there are none.
        """
        name = name.replace("\\", "/").strip("/")
        found = self._matching(name) or self._matching(f"*/{name}")
        values = {
            value for match in found for value in (*self._read(match), *self._lists.get(match, ()))
        }
        if not values:
            raise ItemError("bad_prompt", self._missing(name, found))
        return sorted(values)

    def _matching(self, pattern: str) -> list[str]:
        return [name for name in {**self._files, **self._lists} if fnmatchcase(name, pattern)]

    def _index(self, folder: Path) -> None:
        try:
            os.listdir(folder)
        except OSError as e:
            raise UserError("usage", f"--wildcards {show(folder)}: {e.strerror}") from None
        for root, folders, files in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for file in sorted(files):
                path = Path(root, file)
                name = path.relative_to(folder).with_suffix("").as_posix()
                if path.suffix == ".txt":
                    self._files[name] = path
                elif path.suffix in _STRUCTURED:
                    self._structured(path, os.path.dirname(name))

    def _structured(self, path: Path, folder: str) -> None:
        from dynamicprompts.wildcards.collection.structured import parse_structured_file

        _silence()
        try:
            _text(path)  # for its checks
            for name, collection in parse_structured_file(path):
                values = [(str(v), _weight(v)) for v in collection.get_values()]
                self._lists[f"{folder}/{name}".strip("/")] = values
        except ItemError as e:
            self._faults.append(e.message)
        except Exception as e:  # of two parsers
            cause = (str(e).splitlines() or [type(e).__name__])[0]
            self._faults.append(f"{show(path)} is damaged ({show(cause)})")

    def _read(self, name: str) -> list[Value]:
        if name in self._files and name not in self._texts:
            lines = [line.strip() for line in _text(self._files[name]).splitlines()]
            self._texts[name] = [(line, 1.0) for line in lines if line and line[0] != "#"]
        return self._texts.get(name, [])

    def _missing(self, name: str, found: Sequence[str]) -> str:
        plain = f"write \\__{name}__ for plain text"
        if self.folder is None:
            return f"for wildcards name their directory with --wildcards, or {plain}"
        if found:
            return f"the wildcard {show(name)} in {show(self.folder)} is empty; fill it"
        near = difflib.get_close_matches(name, {**self._files, **self._lists}, 3)
        if self._faults and not near:
            return f"there is no wildcard {show(name)}, and {self._faults[0]}; mend it"
        hint = f"did you mean {' or '.join(map(show, near))}?" if near else f"make one, or {plain}"
        return f"there is no wildcard {show(name)} in {show(self.folder)}; {hint}"


def _weight(value: object) -> float:
    weight = float(getattr(value, "weight", 1))
    return weight if 0 <= weight < math.inf else 0


def _text(path: Path) -> str:
    """ItemError bad_prompt for a file that is not UTF-8 text."""
    try:
        if path.stat().st_size > _LARGEST:
            raise ItemError("bad_prompt", f"{show(path)} is larger than 64 MiB; split it")
        return path.read_text("utf-8-sig")
    except OSError as e:
        raise ItemError("bad_prompt", f"{show(path)} can't be read: {e.strerror}") from None
    except UnicodeDecodeError:
        raise ItemError("bad_prompt", f"{show(path)} is not UTF-8 text; save it as that") from None


def _silence() -> None:
    """The library logs what we raise, and Python prints what no handler takes."""
    import logging

    logger = logging.getLogger("dynamicprompts")
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())
