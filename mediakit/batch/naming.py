"""Which file an item's result is written to, so that no two items ever meet."""

import hashlib
import os
import re
import string
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mediakit.batch.item import Source
from mediakit.errors import ItemError, UserError, show
from mediakit.params import flag

# A name under --out as one file system that ignores case and normalises sees it.
Folded = str
FOLDER = ".mediakit"  # mediakit's own, in every output directory
FIELDS = ("relpath", "stem", "ext", "name", "index", "hash")
LONGEST = 255  # bytes of one part of a name, on all common file systems
# No nested fields (they would reach into objects), no widths that take all memory.
_SPEC = re.compile(r"0?\d{0,2}(\.\d)?[dfgs]?")


def fold(name: str) -> Folded:
    """Two names with one fold are one file on macOS and Windows."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def default_names(sources: Sequence[Source], suffixes: Sequence[tuple[str, ...]]) -> list[str]:
    """A name a source, unlike all others: its own, else ever longer ones for those that meet.

    It ends in the first of the source's `suffixes`; with the others in its place it is as unlike.

    `{relpath}/{stem}{ext}`; the full input name; the same below the inputs' common directory;
    and last with a hash of path and row.
    """
    steps: list[Callable[[Source], str]] = [
        lambda s: _stem(s.relative),
        lambda s: s.relative,
        lambda s: _stem(os.path.relpath(s.path, common)),
        lambda s: os.path.relpath(s.path, common),
        lambda s: f"{_stem(s.relative)}_{hash_of(s)[:6]}",
        lambda s: f"{_stem(s.relative)}_{hash_of(s)}",
    ]
    names = [_with(steps[0](s), own[0]) for s, own in zip(sources, suffixes, strict=True)]
    common = ""
    for step in steps[1:]:
        meeting = _meeting(names, [own[1:] for own in suffixes])
        if not meeting:
            break
        common = common or _common(sources)
        for index in meeting:
            names[index] = _with(step(sources[index]), suffixes[index][0])
    return names


def others(name: str, suffixes: Sequence[str]) -> tuple[str, ...]:
    """The names of the files that come with a primary output of that name."""
    return tuple(_with(_stem(name), suffix) for suffix in suffixes)


def _with(stem: str, suffix: str) -> str:
    """A stem with its suffix, the part that both have (a.jpg and .jpg.xmp) once."""
    own = os.path.splitext(stem)[1]
    return stem + (suffix[len(own) :] if own and suffix.startswith(f"{own}.") else suffix)


def _stem(name: str) -> str:
    return os.path.splitext(name)[0]


def _meeting(names: Sequence[str], suffixes: Sequence[Sequence[str]]) -> list[int]:
    """Which share a name with another, or one of `others`."""
    groups: defaultdict[Folded, list[int]] = defaultdict(list)
    for index, (name, more) in enumerate(zip(names, suffixes, strict=True)):
        for each in (name, *others(name, more)):
            groups[fold(each)].append(index)
    return sorted({index for group in groups.values() if len(set(group)) > 1 for index in group})


def _common(sources: Sequence[Source]) -> str:
    """The deepest directory that holds all inputs."""
    folders = {os.path.dirname(os.path.abspath(s.path)) for s in sources}
    return os.path.commonpath(folders)


def hash_of(source: Source) -> str:
    """The same on every machine where the command is the same."""
    row = sorted((source.row or {}).items(), key=str)
    path = source.path if source.is_text else os.path.normpath(source.path)
    text = repr((path, row))
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:32]


class Template:
    """`--name`: names made of FIELDS and any parameter."""

    def __init__(self, text: str, parameters: Sequence[str]) -> None:
        """UserError for an unknown field, broken braces, or a place outside the directory."""
        self.text = text
        try:
            parts = list(string.Formatter().parse(text))
        except ValueError as e:
            raise UserError("usage", f"--name {show(text)}: {e}") from None
        self._fields = [field for _, field, _, _ in parts if field is not None]
        for _, field, spec, conversion in parts:
            if field is None:
                continue
            # plain names only: `{x.__class__}` or `{x[0]}` would reach into objects
            if field not in FIELDS and field not in parameters:
                known = " ".join(f"{{{f}}}" for f in (*FIELDS, *parameters))
                raise UserError(
                    "usage", f"--name: unknown field {{{show(field)}}}; known are {known}"
                )
            if conversion or not _SPEC.fullmatch(spec or ""):
                raise UserError(
                    "usage",
                    f"--name: {{{field}:{show(spec)}}} is not understood; {{{field}}} alone is, "
                    "and for numbers a width as in {index:04}",
                )
        if os.path.basename(text) in ("", ".", "..") or not is_inside(text):
            raise UserError(
                "outside_out", f"--name {show(text)}: expected a file below the output directory"
            )

    def name(self, source: Source, suffix: str, index: int, params: Mapping[str, Any]) -> str:
        folder, name = os.path.split(source.relative)
        values = {k: _one_part(v) for k, v in params.items()}
        values |= {"relpath": folder or ".", "stem": _stem(name), "name": name, "ext": suffix}
        values |= {"index": index, "hash": hash_of(source)[:6]}
        if unset := [field for field in self._fields if values[field] is None]:
            raise UserError(
                "usage", f"--name {{{unset[0]}}}: nothing is set; give {flag(unset[0])}"
            )
        try:
            return os.path.normpath(self.text.format_map(values))
        except (ValueError, TypeError) as e:
            raise UserError("usage", f"--name {show(self.text)}: {e}") from None


def _one_part(value: object) -> object:
    return value.replace(os.sep, "_") if isinstance(value, str) else value


def is_inside(name: str) -> bool:
    """Whether a name leads to somewhere below the output directory, and not to mediakit's own."""
    parts = name.split(os.sep)
    own = os.path.normpath(name).split(os.sep)[0].casefold() == FOLDER
    return not (os.path.isabs(name) or ".." in parts or own)


def check_inside(name: str) -> None:
    """ItemError unless `name` is a file name below the output directory that can exist."""
    if not is_inside(name) or name == ".":
        raise ItemError("outside_out", f"{show(name)} would lie outside the output directory")
    if any(len(os.fsencode(part)) > LONGEST for part in name.split(os.sep)):
        raise ItemError(
            "name_too_long", f"{show(name)} is longer than 255 bytes; use a shorter --name"
        )


def check_distinct(
    names: Sequence[str], sources: Sequence[Source], suffixes: Sequence[Sequence[str]]
) -> None:
    """UserError that names two inputs which an explicit template sends to one file; `suffixes`
    are those of the files that come with each."""
    meeting = _meeting(names, suffixes)
    if meeting:
        first, second = meeting[:2]
        raise UserError(
            "name_collision",
            f"--name sends both {show(sources[first].path)} and {show(sources[second].path)} to "
            f"{show(names[first])}; add {{relpath}}, {{name}} or {{hash}} to it",
        )
