"""Whether an item must be made: by what its output directory remembers and what is there now."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

from mediakit.batch.files import FileState, Stat
from mediakit.batch.history import Entry, Making
from mediakit.batch.item import Item, Source
from mediakit.batch.output import Output
from mediakit.errors import ItemError, show
from mediakit.params import Batch


@dataclass(frozen=True, slots=True)
class Verdict:
    """`current`: the item is up to date, and this is how it was made, with the stats its files
    have now; else it is to be made, and `replaces` are the files there that may go. `earlier` is
    how the primary output there was made, if mediakit made it, edited since or not."""

    current: Making | None = None
    replaces: Mapping[str, Stat] = field(default_factory=dict)
    earlier: Making | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """The task's name, and when the run began (nanoseconds): what was made later is not made again
    by --force. `adds`: it adds to what is there, so that nothing is in the way; `may_add`: with
    --append it would."""

    task: str
    began: int
    adds: bool = False
    may_add: bool = False


def is_current(item: Item, entry: Entry, base: str) -> bool:
    """Whether stats alone show the item up to date; False means `judge` must look."""
    made = entry.made
    if item.recipe is None or item.source.data is not None or entry.intended or made is None:
        return False
    try:
        return (
            made.recipe == item.recipe.hash
            and all(Stat.of(os.stat(os.path.join(base, o.path))) == o.stat for o in made.outputs)
            and [Stat.of(os.stat(f)) for f in item.source.files] == [i.stat for i in made.inputs]
        )
    except OSError:
        return False


def judge(item: Item, entry: Entry, place: Output, options: Batch, run: Run) -> Verdict:
    """The verdict on an item, reading files where stats don't tell.

    ItemError if a file is in the way that mediakit did not make, that was edited since, that was
    made by another task or from another input, or that is the item's own input.
    """
    assert item.output is not None and item.recipe is not None
    paths = {place.final(path): path for path in (item.output, *item.also)}
    there = _present(paths)
    if not there:
        return Verdict()
    for final in there:
        if any(_same_file(final, path) for path in item.source.files):
            raise _in_the_way(paths[final], "would replace its own input; use another --out")
    ours = _still_there(entry, place.base, options.verify)
    lax = options.model_copy(update={"overwrite": True}) if run.adds else options
    makers: dict[str, Making | None] = {}
    for final in there:
        makers[final] = maker_of(final, entry, place, options.verify)
        if makers[final] is None and not (lax.overwrite and not os.path.isdir(final)):
            adding = "--append adds to it, " if run.may_add else ""
            raise _in_the_way(paths[final], f"{_foreign(final, place)}; {adding}{_CURE}")
    derived = place.file is None and not options.overwrite  # the user did not write these names
    for final, maker in makers.items():
        if maker and derived and maker.task not in ("", run.task):
            known = f"was made by mediakit {maker.task}"
            raise _in_the_way(paths[final], f"{known}; {_CURE}")
    if ours and not (options.force and ours.at <= run.began):
        states = _same_inputs(item.source, ours.inputs, options.verify)
        if states is not None and ours.recipe == item.recipe.hash:
            return Verdict(replace(ours, inputs=states))
    for final, maker in makers.items():
        forced = options.force and maker is ours
        if maker and derived and not forced and _is_anothers(maker, item):
            known = f"was made from {show(maker.source)}"
            raise _in_the_way(paths[final], f"{known}; {_CURE}")
    return Verdict(replaces=there, earlier=ours or _earlier(item, place))


_CURE = "--overwrite replaces it, or use another --out"


def _present(paths: Iterable[str]) -> dict[str, Stat]:
    """Those of the files that are there, with their stats."""
    found = {}
    for path in paths:
        with suppress(OSError):
            found[path] = Stat.of(os.lstat(path))
    return found


def _foreign(final: str, place: Output) -> str:
    """What is wrong with a file that mediakit did not make as it is."""
    if place.journal and place.journal.history.makers(place.name(final)):
        return "was edited since mediakit made it"
    return "is there already, and is not in this output's journal"


def _earlier(item: Item, place: Output) -> Making | None:
    """How the primary output was last made of the same input, if it was edited since."""
    if place.journal is None or item.output is None:
        return None
    makers = place.journal.history.makers(place.name(place.final(item.output)))
    mine = [making for making in makers if making.source == origin(item.source)]
    return max(mine, key=lambda making: making.at, default=None)


def maker_of(final: str, entry: Entry, place: Output, verify: bool) -> Making | None:
    """How the file there was made, if mediakit made it as it is: for the item whose `entry` it
    is, or for another."""
    name = place.name(final)
    others = place.journal.history.makers(name) if place.journal else []
    for making in (*entry.makings(), *others):
        for state in (*making.outputs, *making.former):
            if state.path == name and state.found_at(final, verify):
                return making
    return None


def _is_anothers(maker: Making, item: Item) -> bool:
    return maker.source != origin(item.source) and os.path.exists(maker.source)


def _in_the_way(output: str, why: str) -> ItemError:
    return ItemError("would_overwrite", f"{show(output)} {why}")


def origin(source: Source) -> str:
    """Where an input came from, the same from every working directory."""
    if source.is_text:
        return f"text:{source.path}"
    return "-" if source.data is not None else os.path.abspath(source.path)


def _still_there(entry: Entry, base: str, verify: bool) -> Making | None:
    """The making whose files are there now, with their stats."""
    for making in entry.makings():
        found = [
            output.found_at(os.path.join(base, output.path), verify) for output in making.outputs
        ]
        outputs = tuple(state for state in found if state)
        if len(outputs) == len(found):
            return replace(making, outputs=outputs)
    return None


def _same_inputs(
    source: Source, states: tuple[FileState, ...], verify: bool
) -> tuple[FileState, ...] | None:
    """The states of all inputs with the stats that they have now; None if one is another."""
    paths = source.files
    if len(paths) != len(states):
        return None
    found = [state.found_at(path, verify) for path, state in zip(paths, states, strict=True)]
    if source.data is not None:
        found[0] = (
            states[0] if hashlib.sha256(source.data).hexdigest() == states[0].sha256 else None
        )
    same = tuple(state for state in found if state)
    return same if len(same) == len(paths) else None


def _same_file(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
