"""JSON in GBNF: the rules of a grammar, those of plain values and those that are made."""

import json
import re
from typing import Any

from mediakit.engines.llama.gbnf_reader import MOST
from mediakit.engines.llama.patterns import NOTHING, quoted

COMMA = '", "'
FREE = 4  # lists and objects in one another where nothing is said of them
_PLAIN = {
    # Not [^...], which for llama.cpp has bytes in it that no UTF-8 has.
    "char": r'[ !#-[\]-~\xA0-\uD7FF\uE000-\U0010FFFF] | "\\" (["\\bfnrt] | "u" code)',
    "code": "[0-9a-cA-CefEF] hex hex hex | [dD] [0-7] hex hex",  # no half of a surrogate pair
    "hex": "[0-9a-fA-F]",
    "string": r'"\"" char* "\""',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "integer": '"-"? natural',
    "natural": '"0" | [1-9] [0-9]{0,19}',
    # No exponent that would make more of it than a double holds.
    "number": '"-"? natural ("." [0-9]{1,20})? ([eE] ("-" [0-9]{1,3} | "+"? [0-9]{1,2}))?',
    "days": '"0" [1-9] | "1" [0-9] | "2" [0-8]',
    "year": '[1-9] [0-9]{3} | "0" [1-9] [0-9]{2} | "00" [1-9] [0-9] | "000" [1-9]',
    "fours": '"0" [48] | [13579] [26] | [2468] [048]',
    "leap": '[0-9]{2} fours | fours "00"',
    "date": 'year "-" (("0" [13578] | "10" | "12") "-" (days | "29" | "3" [01]) '
    '| ("0" [469] | "11") "-" (days | "29" | "30") | "02-" days) | leap "-02-29"',
    "time": '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" ([0-5] [0-9] | "60") '
    '("." [0-9]{1,9})? ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])',
    "uuid": 'hex{8} "-" hex{4} "-" hex{4} "-" hex{4} "-" hex{12}',
}
FORMATS = {"date": "date", "time": "time", "date-time": 'date "T" time', "uuid": "uuid"}


class Rules:
    """Those of one grammar, by name."""

    def __init__(self) -> None:
        self._made: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def __setitem__(self, name: str, body: str) -> None:
        self._made[name] = body

    def text(self) -> str:
        """The rules that root needs, it first."""
        known = {**_PLAIN, **self._made}
        found: dict[str, str] = {}
        left = ["root"]
        while left:
            name = left.pop(0)
            if name not in found:
                found[name] = known[name]
                bare = re.sub(r'"(\\.|[^"\\])*"|\[(\\.|[^]\\])*\]|\{[^}]*\}', " ", known[name])
                left += re.findall(r"[a-zA-Z0-9-]+", bare)
        return "\n".join(f"{name} ::= {rule}" for name, rule in found.items())

    def rule(self, body: str, kind: str) -> str:
        """The name of a rule of that body; the same for the same."""
        if body not in self._names:
            self._names[body] = self.name(kind)
            self._made[self._names[body]] = body
        return self._names[body]

    def name(self, kind: str) -> str:
        clean = re.sub(r"[^a-zA-Z0-9]+", "-", kind).strip("-") or "part"
        return f"{clean}-{len(self._made) + 1}"

    def items(self, parts: list[str], item: str | None, least: int, most: int) -> str:
        """The parts, then items, `least` to `most` in all; above MOST is no end."""
        text = ""
        if item and most > len(parts):
            more = self.rule(f"{COMMA} {item}", "more")
            before = max(len(parts), 1)
            end = "" if most > MOST else str(most - before)
            text = f"{more}{{{min(max(least - before, 0), MOST)},{end}}}"
            parts = parts or [item]
        for at, part in reversed(list(enumerate(parts))):
            text = f"{COMMA if at else ''} {part} {text}".strip()
            if at >= least:
                text = self.rule(f"{text} | {NOTHING}", "rest")
        return text

    def pairs(self, pairs: list[tuple[str, bool]], other: str | None = None) -> str:
        """In this order, those that are not required or not, then any number of others with that
        value; a comma before all but the first."""
        begun, fresh = "", ""  # what follows from here on, after a pair and after none
        if other:
            pair = self.rule(f'string ": " {other}', "pair")
            begun = self.rule(f"{COMMA} {pair}", "more") + "*"
            fresh = f"({pair} {begun})?"
        for pair, needed in reversed(pairs):
            after = self.rule(f"{COMMA} {pair} {begun}".strip(), "then")
            alone = self.rule(f"{pair} {begun}".strip(), "then")
            if needed:
                begun, fresh = after, alone
            else:
                begun = self.rule(f"{after} | {begun or NOTHING}", "then")
                fresh = self.rule(f"{alone} | {fresh or NOTHING}", "then")
        return self.rule(f'"{{" {fresh} "}}"', "object")

    def free(self, depth: int = FREE) -> str:
        """Any JSON, with lists and objects so deep."""
        kinds = "string | number | boolean | null"
        if depth:
            inner = self.free(depth - 1)
            more = self.rule(f"{COMMA} {inner}", "more")
            array = self.rule(f'"[" ({inner} {more}*)? "]"', "list")
            kinds += f" | {array} | {self.pairs([], inner)}"
        return self.rule(kinds, "any")


def constant(value: Any, after: str = "") -> str:
    """A literal for a value in JSON."""
    return quoted(json.dumps(value, ensure_ascii=False) + after)
