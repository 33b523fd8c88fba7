"""A JSON Schema as a GBNF grammar: an answer that follows it is JSON, keeps to it, and can end.

JSON is written as Python's json.dumps does, so there is no blank that could be repeated without
end; what a grammar can't say is left to the validation of the answer.
"""

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mediakit.engines.llama.gbnf import check_gbnf
from mediakit.engines.llama.gbnf_reader import MOST
from mediakit.engines.llama.grammar_rules import FORMATS, Rules, constant, joined
from mediakit.engines.llama.keywords import (
    OF_NUMBERS,
    OF_OBJECTS,
    OF_STRINGS,
    bound,
    items,
    keeps,
    kind,
)
from mediakit.engines.llama.merging import NOTES, Contradiction, merged
from mediakit.engines.llama.patterns import of_pattern
from mediakit.engines.llama.ranges import decimals, integers
from mediakit.errors import UserError
from mediakit.media.schemas import resolve

Schema = Mapping[str, Any]
_DEEPEST = 100  # of the schema
_KEPT = {"properties", "required", "additionalProperties"}
_ANYWHERE = {"not", "if", "then", "else"}


def of_schema(schema: Schema) -> str:
    """The grammar of a schema that media.schemas.check has passed. UserError bad_schema if nothing
    keeps to it, or it is nested too deeply."""
    return _made(schema)[0]


def unenforced(schema: Schema) -> tuple[str, ...]:
    """The keywords, as "/properties/a/multipleOf", that the grammar does not keep: an answer that
    breaks them is found when it is validated."""
    return tuple(dict.fromkeys(_made(schema)[1]))


def _made(schema: Schema) -> tuple[str, list[str]]:
    maker = _Maker(schema)
    try:
        maker.rules["root"] = maker.of(schema, "")
        text = maker.rules.text()
        text.encode()
        check_gbnf(text)
    except Contradiction as error:
        raise UserError("bad_schema", f"nothing can keep to the schema: {error}") from None
    except UnicodeEncodeError:
        raise UserError("bad_schema", "the schema holds half of a surrogate pair") from None
    except UserError as error:
        if error.code == "bad_grammar":
            raise UserError(
                "bad_schema", "nothing can keep to the schema: it needs itself within itself"
            ) from None
        raise
    return text, maker.unenforced


class _Maker:
    """Collects the rules of one schema. Each part is named by its place, a JSON pointer."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.rules = Rules()
        self.unenforced: list[str] = []
        self._references: dict[str, str] = {}
        self._depth = 0

    def of(self, schema: Any, at: str) -> str:
        """An expression for what keeps to the schema."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise UserError("bad_schema", f"the schema is nested too deeply at {at[:80]}")
        try:
            if schema is False:
                raise Contradiction(f"nothing is allowed at {at or '/'}")
            return self._of({} if schema is True else schema, at)
        finally:
            self._depth -= 1

    def _of(self, schema: Schema, at: str) -> str:
        said = schema.keys() - NOTES
        self._leave(schema, _ANYWHERE, at)
        if "$ref" in said:
            return self._reference(schema) if said == {"$ref"} else self._beside(schema, at)
        if "allOf" in said or (said & {"anyOf", "oneOf"} and len(said) > 1):
            return self._beside(schema, at)
        if key := next(iter(said & {"anyOf", "oneOf"}), None):
            if key == "oneOf":
                self.unenforced.append(f"{at}/oneOf")
            return self._any((f"{at}/{key}/{n}", each) for n, each in enumerate(schema[key]))
        if "const" in said or "enum" in said:
            return self._constants(schema, at)
        kinds = schema.get("type", kind(schema))
        if isinstance(kinds, list) and len(kinds) > 1:
            return self._any((at, {**schema, "type": each}) for each in kinds)
        return self._typed(kinds if isinstance(kinds, str) else kinds[0], schema, at)

    def _any(self, alternatives: Any) -> str:
        """Of the alternatives that are possible."""
        found, reasons = [], []
        for at, schema in alternatives:
            try:
                found.append(self.of(schema, at))
            except Contradiction as error:
                reasons.append(str(error))
        if not found:
            raise Contradiction("; ".join(reasons))
        return self.rules.rule(" | ".join(dict.fromkeys(found)), "any")

    def _reference(self, schema: Schema) -> str:
        reference = schema["$ref"]
        if reference not in self._references:
            name = self.rules.name(reference.rpartition("/")[2] or "whole")
            self._references[reference] = name
            self.rules[name] = ""
            self.rules[name] = self.of(resolve(dict(self.schema), reference), reference)
        return self._references[reference]

    def _beside(self, schema: Schema, at: str) -> str:
        """Of keywords beside a reference or an "allOf", all put together, or beside alternatives,
        which each get the others."""
        whole: dict[str, Any] = {}
        for part in self._parts(schema, at, 0):
            whole = merged(whole, part, self.unenforced, at)
        for key in ("anyOf", "oneOf"):
            if key in whole:
                alternatives = whole.pop(key)
                if key == "oneOf":
                    self.unenforced.append(f"{at}/oneOf")
                return self._any(
                    (f"{at}/{key}/{n}", {"allOf": [whole, each]})
                    for n, each in enumerate(alternatives)
                )
        return self.of(whole, at)

    def _parts(self, schema: Any, at: str, depth: int) -> Iterator[Schema]:
        """Without references and "allOf", which come as parts of their own."""
        if depth > _DEEPEST:
            raise UserError("bad_schema", f"the schema refers to itself without end at {at or '/'}")
        if isinstance(schema, bool):
            schema = {} if schema else {"enum": []}
        yield {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        if "$ref" in schema:
            yield from self._parts(resolve(dict(self.schema), schema["$ref"]), at, depth + 1)
        for part in schema.get("allOf", ()):
            yield from self._parts(part, at, depth + 1)

    def _constants(self, schema: Schema, at: str) -> str:
        values = [schema["const"]] if "const" in schema else schema["enum"]
        rest = {key: value for key, value in schema.items() if key not in ("const", "enum")}
        values = [value for value in values if keeps(rest, value)]
        if not values:
            raise Contradiction(f"no value is allowed at {at or '/'}")
        return self.rules.rule(" | ".join(constant(value) for value in values), "one")

    def _typed(self, kind: str, schema: Schema, at: str) -> str:
        makers = {"object": self._object, "array": self._array, "string": self._string}
        if kind in makers:
            return makers[kind](schema, at)
        if kind in ("number", "integer"):
            return self._number(kind, schema, at)
        return kind if kind else self.rules.free()

    def _string(self, schema: Schema, at: str) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        pattern = of_pattern(schema["pattern"]) if "pattern" in schema else None
        format_ = FORMATS.get(schema.get("format", ""))
        if pattern or format_:
            used = "pattern" if pattern else "format"
            self._leave(schema, OF_STRINGS - {used}, at)
            return self.rules.rule(rf'"\"" {pattern or format_} "\""', used)
        self._leave(schema, {"pattern", "format"}, at)
        if max(least, most or 0) > MOST:
            self._leave(schema, {"minLength", "maxLength"}, at)
            least, most = min(least, MOST), None
        if most is not None and most < least:
            raise Contradiction(f"maxLength is less than minLength at {at or '/'}")
        if not least and most is None:
            return "string"
        return self.rules.rule(rf'"\"" char{{{least},{"" if most is None else most}}} "\""', "text")

    def _number(self, kind: str, schema: Schema, at: str) -> str:
        self._leave(schema, {"multipleOf"}, at)
        least, above = bound(schema, "minimum", "exclusiveMinimum", max)
        most, below = bound(schema, "maximum", "exclusiveMaximum", min)
        if least is None and most is None:
            return kind
        if kind == "integer":
            low = math.floor(least) + 1 if above and least is not None else least
            high = math.ceil(most) - 1 if below and most is not None else most
            found = integers(low, high)
            if not found:
                raise Contradiction(f"no whole number lies between the bounds at {at or '/'}")
            return self.rules.rule(found, "integer")
        found = decimals(least, most, above, below)
        if not found:
            self._leave(schema, OF_NUMBERS, at)
            return kind
        return self.rules.rule(found, "number")

    def _array(self, schema: Schema, at: str) -> str:
        self._leave(schema, {"uniqueItems", "contains"}, at)
        first, rest = items(schema)
        most = schema.get("maxItems", MOST + 1)
        least = max(schema.get("minItems", 0), len(first)) if most >= len(first) else 0
        first = first[:most]
        if rest is False or (first and rest is None and least <= len(first)):
            most = len(first)  # nothing is known of more, and none is needed
        if most < max(least, schema.get("minItems", 0)):
            raise Contradiction(f"maxItems is less than minItems at {at or '/'}")
        parts = [self.of(each, f"{at}/prefixItems/{n}") for n, each in enumerate(first)]
        if most > len(parts):
            item = self.rules.free() if rest is None else self.of(rest, f"{at}/items")
            return self.rules.rule(f'"[" {self.rules.items(parts, item, least, most)} "]"', "list")
        return self.rules.rule(" ".join(['"["', *joined(parts), '"]"']), "list")

    def _object(self, schema: Schema, at: str) -> str:
        self._leave(schema, OF_OBJECTS - _KEPT, at)
        properties = dict(schema.get("properties", {}))
        required = schema.get("required", [])
        others = schema.get("additionalProperties")
        for name in required:
            properties.setdefault(name, True if others is None else others)
        if not properties:
            if others is False:
                return self.rules.rule('"{}"', "object")
            value = self.rules.free() if others in (None, True) else self.of(others, f"{at}/...")
            return self.rules.map(value)
        pairs: list[tuple[str, bool]] = []
        for name, each in properties.items():
            try:
                value = self.of(each, f"{at}/properties/{name}")
            except Contradiction:
                if name in required:
                    raise
                continue
            key = constant(name, ": ")
            pairs.append((self.rules.rule(f"{key} {value}", "pair"), name in required))
        return self.rules.rule(f'"{{" {self.rules.pairs(pairs)} "}}"', "object")

    def _leave(self, schema: Schema, keys: Iterable[str], at: str) -> None:
        self.unenforced += [f"{at}/{key}" for key in schema if key in keys]
