"""GBNF, llama.cpp's notation for grammars, as its parts.

https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md and src/llama-grammar.cpp,
whose own parser names no line, and takes all memory for a {3,1}.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from mediakit.errors import UserError, show

MOST = 2000  # repetitions that can be asked for; llama.cpp takes a greater upper limit for none
_SPACE = re.compile(r"(?:[ \t]|#[^\r\n]*)*")
_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\r\n]*)*")
_NAME = re.compile(r"[a-zA-Z0-9-]+")
_CHAR = re.compile(
    r"""\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[trn\\"\[\]])|[^\\\x00]""", re.DOTALL
)
_TOKEN = re.compile(r"!?<(?:\[\d+\]|[^<>\s]+)>")
_TIMES = re.compile(r"\{\s*(?P<least>\d{1,9})\s*(?P<comma>,?)\s*(?P<most>\d{0,9})\s*\}")
_REPEATS = {"*": (0, True), "+": (1, True), "?": (0, False)}


@dataclass(frozen=True, slots=True)
class Text:
    """Characters that must stand here: a literal (`empty` if of none), a class or a token."""

    empty: bool = False


@dataclass(frozen=True, slots=True)
class Name:
    """Another rule."""

    name: str
    at: int


@dataclass(frozen=True, slots=True)
class Choice:
    """One of some sequences."""

    sequences: tuple[tuple["Part", ...], ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A part, at least so many times, and perhaps any number of times."""

    part: "Part"
    least: int
    endless: bool


Part = Text | Name | Choice | Repeat
Rules = Mapping[str, Choice]


class Reader:
    """Reads as llama.cpp's parser does (parse_rule, parse_alternates, parse_sequence)."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.used: list[Name] = []
        self.places: dict[str, int] = {}

    def error(self, message: str, at: int | None = None) -> UserError:
        line = self.text.count("\n", 0, self.at if at is None else at) + 1
        return UserError("bad_grammar", f"line {line} of the grammar: {message}")

    def rules(self) -> dict[str, Choice]:
        found: dict[str, Choice] = {}
        self._take(_BLANK)
        while self.at < len(self.text):
            start = self.at
            name = self._take(_NAME)
            if not name:
                raise self.error(
                    f"a rule must begin here, as in: root ::= ..., not {self._shown()}"
                )
            self._take(_SPACE)
            if not self._literal("::="):
                hint = "; names are of letters, digits and -" if self._next() == "_" else ""
                raise self.error(f"::= must follow the name {name}, not {self._shown()}{hint}")
            if name in found:
                raise self.error(f"there are two rules called {name}")
            self.places[name] = start
            self._take(_BLANK)
            found[name] = self._choice(nested=False)
            if self._next() not in ("", "\r", "\n"):
                raise self.error(f"{self._shown()} can't stand here")
            self._take(_BLANK)
        return found

    def _choice(self, nested: bool) -> Choice:
        sequences = [self._sequence(nested)]
        while self._literal("|"):
            self._take(_BLANK)
            sequences.append(self._sequence(nested))
        return Choice(tuple(sequences))

    def _sequence(self, nested: bool) -> tuple[Part, ...]:
        parts: list[Part] = []
        while True:
            if self._next() in ("*", "+", "?", "{"):
                if not parts:
                    raise self.error(f"there is nothing before {self._shown()} to repeat")
                if isinstance(parts[-1], Repeat):
                    raise self.error("a repetition is repeated; put it in ( )")
                parts[-1] = Repeat(parts[-1], *self._times())
            else:
                part = self._part()
                if part is None:
                    return tuple(parts)
                parts.append(part)
            self._take(_BLANK if nested else _SPACE)

    def _part(self) -> Part | None:
        if self._literal('"'):
            return Text(empty=not self._characters('"'))
        if self._literal("["):
            self._literal("^")
            if not self._characters("]"):
                raise self.error("the [ ] holds no character")
            return Text()
        if self._literal("("):
            self._take(_BLANK)
            choice = self._choice(nested=True)
            if not self._literal(")"):
                raise self.error(f"a ) is missing before {self._shown()}")
            return choice
        if self._literal(".") or self._take(_TOKEN):
            return Text()
        name = self._take(_NAME)
        if not name:
            return None
        self.used.append(Name(name, self.at))
        return self.used[-1]

    def _characters(self, end: str) -> int:
        """How many stand before the `end`, which is taken too."""
        count = 0
        while not self._literal(end):
            if not self._next():
                raise self.error(f"a {end} is missing at the end")
            if not self._take(_CHAR):
                raise self.error(f"there is no escape {show(self.text[self.at : self.at + 2])}")
            count += 1
        return count

    def _times(self) -> tuple[int, bool]:
        """At least how often, and whether without end."""
        if (sign := self._next()) in _REPEATS:
            self.at += 1
            return _REPEATS[sign]
        found = _TIMES.match(self.text, self.at)
        if not found or (found["most"] and not found["comma"]):
            raise self.error("a number must stand in { }, as in {3}, {3,} or {3,5}")
        least = int(found["least"])
        most = int(found["most"] or least)
        if most < least:
            raise self.error(f"{found[0]} can't be met")
        if least > MOST:
            raise self.error(f"{found[0]}: llama.cpp takes up to {MOST} repetitions")
        self.at = found.end()
        return least, most > MOST or (not found["most"] and bool(found["comma"]))

    def _take(self, what: re.Pattern[str]) -> str:
        found = what.match(self.text, self.at)
        if not found:
            return ""
        self.at = found.end()
        return found.group()

    def _literal(self, wanted: str) -> bool:
        if not self.text.startswith(wanted, self.at):
            return False
        self.at += len(wanted)
        return True

    def _next(self) -> str:
        return self.text[self.at : self.at + 1]

    def _shown(self) -> str:
        return show(self._next()) if self._next() else "the end"
