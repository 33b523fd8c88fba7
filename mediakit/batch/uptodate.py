"""Whether an item must be made: by what its output directory remembers and what is there now."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from mediakit.batch.files import FileState, Stat
from mediakit.batch.history import Entry, Making
from mediakit.batch.item import Item, Source
from mediakit.batch.output import Output
from mediakit.errors import ItemError, show
from mediakit.params import Batch


@dataclass(frozen=True, slots=True)
class Verdict:
    """`current`: the item is up to date, and this is how it was made; else it is to be made,
    `replace` saying that a file is there which may go."""

    current: Making | None = None
    replace: bool = False


def is_current(item: Item, entry: Entry, base: Path) -> bool:
    """Whether stats alone show the item up to date; False means `judge` must look."""
    made = entry.made
    if item.recipe is None or item.source.data is not None or entry.intended or made is None:
        return False
    try:
        return (
            made.recipe == item.recipe.hash
            and all(Stat.of(os.stat(base / o.path)) == o.stat for o in made.outputs)
            and Stat.of(os.stat(item.source.path)) == made.inputs[0].stat
        )
    except OSError:
        return False


def judge(item: Item, entry: Entry, place: Output, options: Batch) -> Verdict:
    """The verdict on an item, reading files where stats don't tell.

    ItemError if a file is in the way that mediakit did not make, that was edited since, that was
    made from another input, or that is the item's own input.
    """
    output = item.output
    assert output is not None and item.recipe is not None
    if not os.path.lexists(output):
        return Verdict()
    if _same_file(output, item.source.path):
        raise ItemError(
            "would_overwrite",
            f"{show(output)} would replace its own input; use another --out",
        )
    ours = _still_there(entry, place.base, options.verify)
    if ours is None:
        if options.overwrite and not os.path.isdir(output):
            return Verdict(replace=True)
        known = "was edited since mediakit made it" if entry.made else "was not made by mediakit"
        raise ItemError(
            "would_overwrite",
            f"{show(output)} {known}; --overwrite replaces it, or use another --out",
        )
    if options.force and not entry.fresh:
        return Verdict(replace=True)
    if ours.recipe == item.recipe.hash and _same_input(item.source, ours.inputs[0], options.verify):
        return Verdict(current=ours)
    derived = place.file is None and not options.overwrite  # the user did not write this name
    if derived and ours.source != origin(item.source) and os.path.exists(ours.source):
        raise ItemError(
            "would_overwrite",
            f"{show(output)} was made from {show(ours.source)}; --overwrite replaces it, or use "
            "another --out",
        )
    return Verdict(replace=True)


def origin(source: Source) -> str:
    """Where an input came from, the same from every working directory."""
    return "-" if source.data is not None else os.path.abspath(source.path)


def _still_there(entry: Entry, base: Path, verify: bool) -> Making | None:
    for making in entry.makings():
        if all(o.unchanged(base / o.path, verify) for o in making.outputs):
            return making
    return None


def _same_input(source: Source, state: FileState, verify: bool) -> bool:
    if source.data is not None:
        return hashlib.sha256(source.data).hexdigest() == state.sha256
    return state.unchanged(source.path, verify)


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
