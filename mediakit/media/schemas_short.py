"""The short form of a schema, `name str, age int, tags [str]`, as a JSON Schema."""

import re
from typing import Any

Schema = dict[str, Any]
TYPES = {
    "str": "string",
    "string": "string",
    "int": "integer",
    "integer": "integer",
    "float": "number",
    "number": "number",
    "bool": "boolean",
    "boolean": "boolean",
}
_NAME = re.compile(r"[^\s\x00-\x1f,:?{}\[\]|\"]+")
_CHOICE = re.compile(r'"(?P<quoted>[^"\x00-\x1f]+)"|(?P<bare>[^\s\x00-\x1f,:?{}\[\]|"]+)')
_SPACE = re.compile(r"[ \t\r]*")
_GAP = re.compile(r"[\s,]*")


class ShortFormError(ValueError):
    """What is wrong, and at which line and column, both from 1."""

    def __init__(self, text: str, at: int, message: str) -> None:
        line = text.count("\n", 0, at) + 1
        column = at - (text.rfind("\n", 0, at) + 1) + 1
        super().__init__(f"line {line}, column {column}: {message}")


def parse(text: str) -> Schema:
    """Fields after commas or on lines of their own: a name, then a type (a string without one), a
    `?` where it may be left out, and a description after a colon.

    A type is str, int, float, bool, [TYPE], {FIELDS}, or one of some words: good|bad. The whole may
    be a list or an object too: [{name, age int}]. Where a group of fields has several lines, commas
    belong to the descriptions, as in Simon Willison's llm, whose schemas mean the same here.
    """
    reader = _Reader(text)
    reader.skip(_GAP)
    if reader.next() in ("[", "{"):
        schema = reader.type()
        reader.skip(_GAP)
        if reader.next():
            raise reader.error("nothing can follow here")
        return schema
    return reader.fields(text, closing="")


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def next(self) -> str:
        return self.text[self.at : self.at + 1]

    def skip(self, what: re.Pattern[str]) -> None:
        found = what.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def take(self, wanted: str) -> bool:
        if self.text.startswith(wanted, self.at):
            self.at += len(wanted)
            return True
        return False

    def error(self, message: str) -> ShortFormError:
        return ShortFormError(self.text, self.at, message)

    def fields(self, group: str, closing: str) -> Schema:
        """Up to and with `closing`; `group` is their text, which says what a comma means."""
        ends = "\n" if "\n" in group.strip() else ",\n"
        properties: dict[str, Schema] = {}
        required = []
        while True:
            self.skip(_GAP)
            if not self.next() or self.next() == closing:
                break
            name, schema, optional = self.field(ends + closing)
            if name in properties:
                raise self.error(f"there are two fields called {name}")
            properties[name] = schema
            required += [] if optional else [name]
        if closing and not self.take(closing):
            raise self.error(f"a {closing} is missing")
        if not properties:
            raise self.error("a field is missing, such as: name str")
        return {
            "type": "object",
            "properties": properties,
            "required": required,
            "additionalProperties": False,
        }

    def field(self, ends: str) -> tuple[str, Schema, bool]:
        found = _NAME.match(self.text, self.at)
        if not found:
            raise self.error(f"the name of a field must stand here, not {self.next()!r}")
        self.at = found.end()
        optional = self.take("?")
        self.skip(_SPACE)
        schema: Schema = {"type": "string"}
        if self.next() not in ("", ":", ",", "\n", "}"):
            schema = self.type()
            optional = self.take("?") or optional
            self.skip(_SPACE)
        if self.take(":"):
            end = min((at for c in ends if (at := self.text.find(c, self.at)) >= 0), default=None)
            description = self.text[self.at : end].strip()
            self.at = len(self.text) if end is None else end
            schema |= {"description": description} if description else {}
        if self.next() not in ("", ",", "\n", "}"):
            raise self.error("a comma, a new line or a colon and a description must stand here")
        return found.group(), schema, optional

    def type(self) -> Schema:
        if self.take("["):
            self.skip(_GAP)
            items = self.type()
            self.skip(_GAP)
            if not self.take("]"):
                raise self.error("a ] is missing")
            return {"type": "array", "items": items}
        if self.take("{"):
            return self.fields(self._inside(), closing="}")
        return self._words()

    def _inside(self) -> str:
        """The text up to the brace that closes the one before."""
        depth = 1
        for at in range(self.at, len(self.text)):
            depth += {"{": 1, "}": -1}.get(self.text[at], 0)
            if not depth:
                return self.text[self.at : at]
        return self.text[self.at :]

    def _words(self) -> Schema:
        """The name of a type, or words of which one is to be chosen; whole numbers stay numbers."""
        start = self.at
        words: list[str] = []
        while not words or self.take("|"):
            found = _CHOICE.match(self.text, self.at)
            if not found:
                raise self.error("a type or a word must stand here")
            words.append(found["quoted"] or found["bare"])
            self.at = found.end()
        if len(words) == 1:
            if words[0] in TYPES:
                return {"type": TYPES[words[0]]}
            self.at = start
            raise self.error(
                f"{words[0]!r} is no type; types are str, int, float, bool, [str], {{name str}} "
                "and words as in yes|no"
            )
        if len(set(words)) < len(words):
            raise self.error("the same word stands here twice")
        if all(re.fullmatch(r"-?(0|[1-9]\d*)", word) for word in words):
            return {"enum": [int(word) for word in words]}
        return {"type": "string", "enum": words}
