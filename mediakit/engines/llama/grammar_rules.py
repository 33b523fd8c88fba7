"""JSON in GBNF: the rules of a grammar, those of plain values and those that are made."""

import json
import re
from typing import Any

from mediakit.engines.llama.gbnf_reader import MOST
from mediakit.engines.llama.patterns import NOTHING, quoted

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
    "natural": '"0" | [1-9] [0-9]{0,14}',
    "number": '"-"? natural ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,2})?',
    "days": '"0" [1-9] | "1" [0-9] | "2" [0-8]',
    "date": '[0-9] [0-9] [0-9] [1-9] "-" (("0" [13578] | "10" | "12") "-" (days | "29" | "3" [01]) '
    '| ("0" [469] | "11") "-" (days | "29" | "30") | "02-" days)',
    "time": '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] '
    '("Z" | [-+] ("0" [0-9] | "1" [0-4]) ":" [0-5] [0-9])',
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

    def items(self, parts: list[str], item: str, least: int, most: int) -> str:
        """The parts, then items until there are `least` to `most` in all; above MOST is no end."""
        more = self.rule(f'", " {item}', "more")
        left, up = max(least - len(parts), 0), most - len(parts)
        end = "" if most > MOST else str(up)
        if parts:
            return " ".join([*joined(parts), f"{more}{{{left},{end}}}"])
        end = "" if most > MOST else str(up - 1)
        text = f"{item} {more}{{{max(left - 1, 0)},{end}}}"
        return text if left else f"({text})?"

    def pairs(self, pairs: list[tuple[str, bool]]) -> str:
        """In this order, those that are not required or not; a comma before all but the first."""
        begun, fresh = "", ""  # what follows from here on, after a pair and after none
        for pair, needed in reversed(pairs):
            after = self.rule(f'", " {pair} {begun}'.strip(), "then")
            alone = self.rule(f"{pair} {begun}".strip(), "then")
            if needed:
                begun, fresh = after, alone
            else:
                begun = self.rule(f"{after} | {begun or NOTHING}", "then")
                fresh = self.rule(f"{alone} | {fresh or NOTHING}", "then")
        return fresh

    def map(self, value: str) -> str:
        pair = self.rule(f'string ": " {value}', "pair")
        more = self.rule(f'", " {pair}', "more")
        return self.rule(f'"{{" ({pair} {more}*)? "}}"', "object")

    def free(self, depth: int = FREE) -> str:
        """Any JSON, with lists and objects so deep."""
        kinds = "string | number | boolean | null"
        if depth:
            inner = self.free(depth - 1)
            more = self.rule(f'", " {inner}', "more")
            array = self.rule(f'"[" ({inner} {more}*)? "]"', "list")
            kinds += f" | {array} | {self.map(inner)}"
        return self.rule(kinds, "any")


def joined(parts: list[str]) -> list[str]:
    """With commas between them."""
    return [each for part in parts for each in ('", "', part)][1:]


def constant(value: Any, after: str = "") -> str:
    """A literal for a value in JSON."""
    return quoted(json.dumps(value, ensure_ascii=False) + after)
