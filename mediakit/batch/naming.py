"""Which file an item's result is written to, so that no two items ever meet."""

import hashlib
import os
import string
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mediakit.batch.item import Source
from mediakit.errors import ItemError, UserError, show

# A name under --out as one file system that ignores case and normalises sees it.
Folded = str
FOLDER = ".mediakit"  # mediakit's own, in every output directory
FIELDS = ("relpath", "stem", "ext", "name", "index")


def fold(name: str) -> Folded:
    """Two names with one fold are one file on macOS and Windows."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def default_names(sources: Sequence[Source], suffix: Callable[[Source], str]) -> list[str]:
    """A name a source, unlike all others: its own, else ever longer ones for those that meet.

    `{relpath}/{stem}{ext}`; the full input name; the same below the inputs' common directory;
    and last with a hash of path and row.
    """
    steps: list[Callable[[Source], str]] = [
        lambda s: os.path.splitext(s.relative)[0] + suffix(s),
        lambda s: s.relative + suffix(s),
        lambda s: os.path.splitext(os.path.relpath(s.path, common))[0] + suffix(s),
        lambda s: os.path.relpath(s.path, common) + suffix(s),
        lambda s: f"{os.path.splitext(s.relative)[0]}_{_hash(s)}{suffix(s)}",
    ]
    names = [steps[0](s) for s in sources]
    common = ""
    for step in steps[1:]:
        meeting = _meeting(names)
        if not meeting:
            break
        common = common or _common(sources)
        for index in meeting:
            names[index] = step(sources[index])
    return names


def _meeting(names: Sequence[str]) -> list[int]:
    groups: defaultdict[Folded, list[int]] = defaultdict(list)
    for index, name in enumerate(names):
        groups[fold(name)].append(index)
    return [index for group in groups.values() if len(group) > 1 for index in group]


def _common(sources: Sequence[Source]) -> str:
    """The deepest directory that holds all inputs."""
    folders = {os.path.dirname(os.path.abspath(s.path)) for s in sources}
    return os.path.commonpath(folders)


def _hash(source: Source) -> str:
    text = repr((os.path.abspath(source.path), sorted((source.row or {}).items(), key=str)))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:6]


class Template:
    """`--name`: names made of {relpath} {stem} {ext} {name} {index} and any parameter."""

    def __init__(self, text: str, parameters: Sequence[str]) -> None:
        """UserError for an unknown field or broken braces."""
        self.text = text
        try:
            fields = [f for _, f, _, _ in string.Formatter().parse(text) if f is not None]
        except ValueError as e:
            raise UserError("usage", f"--name {text!r}: {e}") from None
        for field in fields:
            # plain names only: `{x.__class__}` or `{x[0]}` would reach into objects
            if field not in FIELDS and field not in parameters:
                known = " ".join(f"{{{f}}}" for f in (*FIELDS, *parameters))
                raise UserError("usage", f"--name: unknown field {{{field}}}; known are {known}")

    def name(self, source: Source, suffix: str, index: int, params: Mapping[str, Any]) -> str:
        folder, name = os.path.split(source.relative)
        stem = os.path.splitext(name)[0]
        values = {k: _one_part(v) for k, v in params.items()}
        values |= {"relpath": folder or ".", "stem": stem, "name": name, "ext": suffix}
        try:
            return os.path.normpath(self.text.format_map({**values, "index": index}))
        except (ValueError, LookupError) as e:
            raise UserError("usage", f"--name {self.text!r}: {e}") from None


def _one_part(value: object) -> object:
    return value.replace(os.sep, "_") if isinstance(value, str) else value


def check_inside(name: str) -> None:
    """ItemError unless `name` is a file name below the output directory that can exist."""
    parts = os.path.normpath(name).split(os.sep)
    if os.path.isabs(name) or ".." in parts or parts[0] == FOLDER or name.endswith(os.sep):
        raise ItemError("outside_out", f"{show(name)} would lie outside the output directory")
    if any(len(os.fsencode(part)) > 255 for part in parts):
        raise ItemError(
            "name_too_long", f"{show(name)} is longer than 255 bytes; use a shorter --name"
        )


def check_distinct(names: Sequence[str], sources: Sequence[Source]) -> None:
    """UserError that names two inputs which an explicit template sends to one file."""
    meeting = _meeting(names)
    if meeting:
        first, second = meeting[:2]
        raise UserError(
            "name_collision",
            f"--name sends both {show(sources[first].path)} and {show(sources[second].path)} to "
            f"{show(names[first])}; add {{relpath}}, {{name}} or {{index}} to it",
        )
