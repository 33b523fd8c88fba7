"""A schema's "pattern" as GBNF: what stands between the quotes of a JSON string."""

import re
from collections.abc import Iterable

from mediakit.engines.llama.gbnf_reader import MOST

Ranges = list[tuple[int, int]]
_LAST = 0x10FFFF
# Characters that stand for themselves between quotes, those that have an escape, and the rest.
_PLAIN: Ranges = [(0x20, 0x21), (0x23, 0x5B), (0x5D, 0x7E), (0xA0, 0xD7FF), (0xE000, _LAST)]
_ESCAPED = {'"': '"\\\\\\""', "\\": '"\\\\\\\\"', "\b": '"\\\\b"', "\f": '"\\\\f"',
            "\n": '"\\\\n"', "\r": '"\\\\r"', "\t": '"\\\\t"'}  # fmt: skip
_CONTROLS: Ranges = [(0x00, 0x1F), (0x7F, 0x9F)]
_DIGITS: Ranges = [(0x30, 0x39)]
_WORD: Ranges = [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)]
_BLANK: Ranges = [(0x09, 0x0A), (0x0D, 0x0D), (0x20, 0x20)]
# Of Python's classes and of ECMA's; what only one of them has, or not all of it, is in the second.
_CLASSES = {"d": _DIGITS, "w": _WORD, "s": _BLANK}
_PERHAPS: dict[str, Ranges] = {"d": [], "w": [(0xAA, _LAST)], "s": [(0x0B, 0x0C), (0x1C, 0x1F),
    (0x85, 0x85), (0xA0, 0xA0), (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029),
    (0x202F, 0x202F), (0x205F, 0x205F), (0x3000, 0x3000), (0xFEFF, 0xFEFF)]}  # fmt: skip
_LETTERS = {"n": "\n", "r": "\r", "t": "\t", "f": "\f", "v": "\v"}
NOTHING = '""'
_TIMES = re.compile(r"\{(\d{1,5})(?:(,)(\d{1,5})?)?\}")


class _Beyond(Exception):
    """A regular expression may say it, and no grammar of ours."""


def of_pattern(pattern: str) -> str | None:
    """The expression, with a rule "char" for any character; None where there is none, as for a look
    ahead. A pattern that is not tied to the ends by ^ and $ may have anything around it. A \\d
    is 0-9, as in ECMA's."""
    reader = _Reader(pattern)
    try:
        found = _one_of(reader.choices(top=True))
        if reader.at < len(pattern):
            raise _Beyond
    except (_Beyond, IndexError, ValueError):
        return None
    return found


def quoted(text: str) -> str:
    """A literal of GBNF."""
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(plain, escaped)
    return f'"{text}"'


class _Reader:
    """Reads the part of ECMA's and Python's regular expressions that regular languages need."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def choices(self, top: bool = False) -> list[str]:
        found = [self._sequence(top)]
        while self._take("|"):
            found.append(self._sequence(top))
        return found

    def _sequence(self, top: bool) -> str:
        parts: list[str] = []
        if top and not self._take("^"):
            parts.append("char*")
        while self.at < len(self.pattern) and self._next() not in "|)":
            if top and self._next() == "$" and self.pattern[self.at + 1 : self.at + 2] in ("", "|"):
                self.at += 1
                return " ".join(parts) or NOTHING
            parts.append(self._repeated())
        return " ".join([*parts, "char*"] if top else parts) or NOTHING

    def _repeated(self) -> str:
        part, may_be_empty = self._part()
        if self._next() not in ("*", "+", "?", "{") or not self._next():
            return part
        if self._next() == "{":
            found = _TIMES.match(self.pattern, self.at)
            if not found:
                raise _Beyond
            self.at = found.end()
            times = f"{{{found[1]},{found[3] or ''}}}" if found[2] else f"{{{found[1]}}}"
            if int(found[1]) > MOST or int(found[3] or 0) > MOST:
                raise _Beyond
        else:
            times = self._one()
        self._take("?")  # what is matched first makes no difference to what can be written
        if self._next() in ("*", "+", "{") and self._next():
            raise _Beyond
        if may_be_empty and times.endswith(("*", "+", ",}")):
            raise _Beyond  # llama.cpp repeats nothing that may be empty
        return part + times

    def _part(self) -> tuple[str, bool]:
        """And whether it has an empty alternative."""
        one = self._one()
        if one == "(":
            if self._take("?") and not self._take(":"):
                raise _Beyond
            inner = self.choices()
            if not self._take(")"):
                raise _Beyond
            return f"({' | '.join(inner)})", NOTHING in inner
        return self._character(one), False

    def _character(self, one: str) -> str:
        if one == "[":
            return self._class()
        if one == ".":
            return _written(_without([(0x0A, 0x0A)]))
        if one == "\\":
            return _written(self._escape(sure=False))
        if one in "^$*+?{}":
            raise _Beyond
        return _written([(ord(one), ord(one))])

    def _class(self) -> str:
        negative = self._take("^")
        found: Ranges = []
        while not found or self._next() != "]":
            low = self._member(negative)
            if self._next() == "-" and self.pattern[self.at + 1] != "]":
                self.at += 1
                high = self._member(negative)
                found.append((low[0][0], high[0][0]))
                if len(low + high) > 2 or low[0][0] != low[0][1] or low[0][0] > high[0][0]:
                    raise _Beyond
            else:
                found += low
        self.at += 1
        return _written(_without(found) if negative else found)

    def _member(self, sure: bool) -> Ranges:
        one = self._one()
        return self._escape(sure) if one == "\\" else [(ord(one), ord(one))]

    def _escape(self, sure: bool) -> Ranges:
        """What it may stand for, or what it does for `sure`."""
        one = self._one()
        if one.lower() in _CLASSES:
            perhaps = [] if one.islower() == sure else _PERHAPS[one.lower()]
            ranges = _CLASSES[one.lower()] + perhaps
            return ranges if one.islower() else _without(ranges)
        if one in "ux":
            digits = self.pattern[self.at : self.at + (4 if one == "u" else 2)]
            self.at += len(digits)
            code = int(digits, 16)
        elif one.isalnum():
            if one not in _LETTERS:
                raise _Beyond
            code = ord(_LETTERS[one])
        else:
            code = ord(one)
        return [(code, code)]

    def _one(self) -> str:
        self.at += 1
        return self.pattern[self.at - 1]

    def _next(self) -> str:
        return self.pattern[self.at : self.at + 1]

    def _take(self, wanted: str) -> bool:
        taken = self._next() == wanted
        self.at += taken
        return taken


def _without(ranges: Ranges) -> Ranges:
    """All others."""
    found: Ranges = []
    start = 0
    for low, high in sorted(ranges):
        if start < low:
            found.append((start, low - 1))
        start = max(start, high + 1)
    return [*found, (start, _LAST)] if start <= _LAST else found


def _written(ranges: Ranges) -> str:
    """One of these characters, as JSON has it."""
    both = [(max(a, c), min(b, d)) for a, b in ranges for c, d in _PLAIN]
    members = "".join(_range(low, high) for low, high in both if low <= high)
    found = [f"[{members}]"] if members else []
    found += [text for one, text in _ESCAPED.items() if _holds(ranges, ord(one))]
    found += _codes(ranges)
    if not found:
        raise _Beyond
    return _one_of(found)


def _codes(ranges: Ranges) -> list[str]:
    """Those of the controls that are written by their codes."""
    codes = [code for low, high in _CONTROLS for code in range(low, high + 1)
             if _holds(ranges, code) and chr(code) not in _ESCAPED]  # fmt: skip
    tens = {f"{code:02x}"[0]: "" for code in codes}
    for code in codes:
        tens[f"{code:02x}"[0]] += f"{code:x}"[-1]
    each = [f'"{ten}" [{ones}]' for ten, ones in tens.items()]
    return [f'"\\\\u00" {_one_of(each)}'] if each else []


def _one_of(found: list[str]) -> str:
    return found[0] if len(found) == 1 else f"({' | '.join(found)})"


def _holds(ranges: Iterable[tuple[int, int]], code: int) -> bool:
    return any(low <= code <= high for low, high in ranges)


def _range(low: int, high: int) -> str:
    return _code(low) if low == high else f"{_code(low)}-{_code(high)}"


def _code(code: int) -> str:
    one = chr(code)
    return one if one.isascii() and one.isalnum() else f"\\U{code:08X}"
