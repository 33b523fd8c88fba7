"""What `{red|blue}` and `__colour__` in a prompt mean, as choices that can be counted and made."""

import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from mediakit.errors import ItemError, UserError
from mediakit.prompts.choices import Node, Parts, Pick, Text, TooManyPicked
from mediakit.prompts.syntax import (
    DEEPEST,
    Piece,
    bad_prompt,
    has_alternatives,
    hidden,
    pieces,
    settled,
    shown,
)
from mediakit.prompts.wildcards import Wildcards

if TYPE_CHECKING:
    from dynamicprompts.commands import Command

LIMIT = 10_000  # combinations that nobody asks for by mistake
_EXACT = 10**30  # counts are written out below it


class Alternatives:
    """Reads prompts with alternatives; `wildcards` is the directory of their files.

    UserError if that can't be read. The methods raise ItemError bad_prompt, whose message quotes
    the prompt and says where. A prompt without alternatives is given back as it is, and
    dynamicprompts, which parses what is in braces, is not imported for it.
    """

    def __init__(self, wildcards: Path | None = None) -> None:
        self._wildcards = Wildcards(wildcards)
        self._named: dict[str, Pick] = {}
        self._last: tuple[str, Node] = "", Text("")

    def choose(self, prompt: str, seed: int) -> str:
        """One text, by the seed: the same on every machine, whatever else is chosen."""
        return settled(self._read(prompt).choose(Random(seed)))

    def count(self, prompt: str) -> int:
        """How many combinations there are, found without making them. Ways that lead to one
        text count once where they are in one group."""
        try:
            return self._read(prompt).count
        except TooManyPicked as e:
            raise bad_prompt(prompt, 0, str(e)) from None

    def every(self, prompt: str, most: int | None = None) -> list[str]:
        """All combinations, or the first `most` of them; the first group varies slowest."""
        self.count(prompt)
        found: dict[str, None] = {}
        for text in self._read(prompt).every():
            if len(found) == most:
                break
            found[settled(text)] = None
        return list(found)

    def _read(self, prompt: str) -> Node:
        if not has_alternatives(prompt):
            return Text(prompt)
        if self._last[0] != prompt:
            self._last = prompt, self._sequence(prompt, ())
        return self._last[1]

    def _sequence(self, prompt: str, within: tuple[str, ...]) -> Node:
        return _sequence([self._piece(prompt, piece, within) for piece in pieces(prompt)])

    def _piece(self, prompt: str, piece: Piece, within: tuple[str, ...]) -> Node:
        try:
            if piece.kind == "text":
                return Text(piece.text)
            if piece.kind == "wildcard":
                return self._wildcard(piece.text, within)
            return self._node(_parsed(hidden(piece.text)), within)
        except _Misread as e:
            raise bad_prompt(prompt, piece.at, str(e)) from None

    def _wildcard(self, name: str, within: tuple[str, ...]) -> Pick:
        if name in within or len(within) >= DEEPEST:
            raise _Misread(f"the wildcard {' in '.join((name, *within[::-1]))} has no end")
        if name not in self._named:
            try:
                values = self._wildcards.values(name)
            except ItemError as e:
                raise _Misread(e.message) from None
            try:
                nodes = [self._value(text, (*within, name)) for text, _ in values]
            except ItemError as e:
                raise _Misread(f"in the wildcard {name}: {e.message}") from None
            weights = tuple(weight for _, weight in values)
            self._named[name] = Pick(tuple(nodes), weights, wildcard=True)
        return self._named[name]

    def _value(self, text: str, within: tuple[str, ...]) -> Node:
        return self._sequence(text, within) if has_alternatives(text) else Text(text)

    def _node(self, command: "Command", within: tuple[str, ...]) -> Node:
        """The library's tree as ours. `{2$$__colour__}` picks from what the wildcard holds."""
        from dynamicprompts import commands

        if isinstance(command, commands.LiteralCommand):
            return Text(shown(command.literal))
        if isinstance(command, commands.SequenceCommand):
            return _sequence([self._node(token, within) for token in command.tokens])
        if isinstance(command, commands.WildcardCommand) and isinstance(command.wildcard, str):
            return self._wildcard(shown(command.wildcard), within)
        if not isinstance(command, commands.VariantCommand):
            raise _Misread("this can't be used in braces")
        options = tuple(self._node(value, within) for value in command.values)
        weights, separator = tuple(command.weights), shown(command.separator)
        only = options[0]
        if len(options) == 1 and isinstance(only, Pick) and only.wildcard:
            options, weights = only.options, only.weights
        if not all(map(math.isfinite, weights)):
            raise _Misread("its weights are too large")
        return Pick(options, weights, command.min_bound, command.max_bound, separator)


class _Misread(Exception):
    """What is wrong with a piece; becomes an error that says where."""


def _sequence(nodes: list[Node]) -> Node:
    parts = tuple(node for node in nodes if node != Text(""))
    return parts[0] if len(parts) == 1 else Parts(parts)


@lru_cache(1024)
def _parsed(group: str) -> "Command":
    """dynamicprompts takes about 1 ms an option."""
    try:
        return _parser()(group)
    except (Exception, RecursionError):  # of pyparsing, and of what the library makes of it
        raise _Misread("this group can't be understood; expected {red|blue} or such") from None


@lru_cache(1)
def _parser() -> Callable[[str], "Command"]:
    with warnings.catch_warnings():
        # 0.31 builds its grammar, once, with names that pyparsing 3.3 calls old
        warnings.simplefilter("ignore", DeprecationWarning)
        from dynamicprompts.parser.parse import parse

        parse("{a|b}")
    return parse


def check_combinations(count: int, limit: int | None) -> None:
    """UserError with the count if it is above LIMIT and no `--limit` says that this is known."""
    if count > LIMIT and limit is None:
        exact = f"{count:,}" if count < _EXACT else f"about 10^{int(math.log10(count))}"
        raise UserError(
            "usage",
            f"there are {exact} combinations of prompts, alternatives and seeds, more than "
            f"{LIMIT:,}; take the first N with --limit N",
        )
