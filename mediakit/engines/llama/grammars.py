"""A JSON Schema as a GBNF grammar: an answer that follows it is JSON, keeps to it, and can end.

JSON is written as Python's json.dumps does, so there is no blank that could be repeated without
end. What keeps to the schema can be written: what a grammar can't say is left to the validation of
the answer. But of what a schema says nothing there is none: properties and items that are not
named, unless it hints at them, and types that its keywords are not about. Properties come in its
order, numbers have up to 20 digits before and after the point and exponents up to 99.
"""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mediakit.engines.llama.gbnf import check_gbnf
from mediakit.engines.llama.gbnf_reader import MOST
from mediakit.engines.llama.grammar_rules import FORMATS, Rules, constant
from mediakit.engines.llama.keywords import bound, items, keeps, kinds, modern, others
from mediakit.engines.llama.merging import NOTES, Contradiction, merged
from mediakit.engines.llama.patterns import of_pattern
from mediakit.engines.llama.ranges import decimals, integers
from mediakit.errors import UserError
from mediakit.media.schemas import resolve

Schema = Mapping[str, Any]
_DEEPEST = 100  # of the schema
_FINEST = 1e-9  # of the bounds that can be written without an exponent


def of_schema(schema: Schema) -> str:
    """The grammar of a schema that media.schemas.check has passed. UserError bad_schema if nothing
    keeps to it, or it is nested too deeply."""
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
    return text


class _Maker:
    """Collects the rules of one schema. Each part is named by its place, a JSON pointer."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.rules = Rules()
        self._references: dict[str, str] = {}
        # Until draft 7 what stands beside a reference says nothing.
        self._old = bool(re.search(r"draft-0[3467]", str(schema.get("$schema", ""))))
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
        if "$ref" in said:
            alone = said == {"$ref"} or self._old
            return self._reference(schema) if alone else self._beside(schema, at)
        if "allOf" in said or (said & {"anyOf", "oneOf"} and len(said) > 1):
            return self._beside(schema, at)
        if key := next(iter(said & {"anyOf", "oneOf"}), None):
            return self._any((f"{at}/{key}/{n}", each) for n, each in enumerate(schema[key]))
        if "const" in said or "enum" in said:
            return self._constants(schema, at)
        found = kinds(schema)
        if len(found) > 1:
            return self._any((at, {**schema, "type": each}) for each in found)
        return self._typed(found[0], schema, at)

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
            try:
                self.rules[name] = self.of(resolve(dict(self.schema), reference), reference)
            except Contradiction:
                del self._references[reference]
                raise
        return self._references[reference]

    def _beside(self, schema: Schema, at: str) -> str:
        """Of keywords beside a reference or an "allOf", all put together, or beside alternatives,
        which each get the others."""
        whole: dict[str, Any] = {}
        for part in self._parts(schema, at, 0):
            whole = merged(whole, part)
        for key in ("anyOf", "oneOf"):
            if key in whole:
                alternatives = whole.pop(key)
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
        if "$ref" not in schema or not self._old:
            yield modern({key: schema[key] for key in schema if key not in ("$ref", "allOf")})
        if "$ref" in schema:
            yield from self._parts(resolve(dict(self.schema), schema["$ref"]), at, depth + 1)
            if self._old:
                return
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
        return kind or self.rules.free()

    def _string(self, schema: Schema, at: str) -> str:
        pattern = of_pattern(schema["pattern"]) if "pattern" in schema else None
        if found := pattern or FORMATS.get(schema.get("format", "")):
            return self.rules.rule(rf'"\"" {found} "\""', "pattern" if pattern else "format")
        least, most = _counts(schema, "Length", at)
        if not least and most > MOST:
            return "string"
        end = "" if most > MOST else most
        return self.rules.rule(rf'"\"" char{{{min(least, MOST)},{end}}} "\""', "text")

    def _number(self, kind: str, schema: Schema, at: str) -> str:
        schema = modern(schema)
        least, above = bound(schema, "minimum", "exclusiveMinimum", max)
        most, below = bound(schema, "maximum", "exclusiveMaximum", min)
        if least is None and most is None:
            return kind
        if kind == "integer":
            low = math.floor(least) + 1 if above and least is not None else least
            high = math.ceil(most) - 1 if below and most is not None else most
            found = integers(low, high)
        elif any(each and abs(each) < _FINEST for each in (least, most)):
            return kind
        else:
            found = decimals(least, most, above, below)
        if not found:
            raise Contradiction(f"no such number lies between the bounds at {at or '/'}")
        return self.rules.rule(found, kind)

    def _array(self, schema: Schema, at: str) -> str:
        first, rest = items(schema)
        least, most = _counts(schema, "Items", at)
        parts: list[str] = []
        try:
            for n, each in enumerate(first[:most]):
                parts.append(self.of(each, f"{at}/prefixItems/{n}"))
            item = self.of(rest, f"{at}/items") if most > len(parts) else None
        except Contradiction:
            if len(parts) < least:
                raise
            item = None  # as many as are possible
        if item is None and len(parts) < least:
            raise Contradiction(f"there are no {least} items at {at or '/'}")
        return self.rules.rule(f'"[" {self.rules.items(parts, item, least, most)} "]"', "list")

    def _object(self, schema: Schema, at: str) -> str:
        properties = dict(schema.get("properties", {}))
        required = schema.get("required", [])
        rest = others(schema)
        unknown = True if rest is False and "additionalProperties" not in schema else rest
        for name in required:
            properties.setdefault(name, unknown)
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
        try:
            return self.rules.pairs(pairs, self.of(rest, f"{at}/additionalProperties"))
        except Contradiction:
            return self.rules.pairs(pairs)


def _counts(schema: Schema, what: str, at: str) -> tuple[int, int]:
    """At least and at most so many characters or items; above MOST is no end."""
    least = int(schema.get(f"min{what}", 0))
    most = int(schema.get(f"max{what}", max(least, MOST + 1)))
    if most < least:
        raise Contradiction(f"max{what} is less than min{what} at {at or '/'}")
    return least, most
