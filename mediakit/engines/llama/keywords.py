"""What the keywords of a JSON Schema say together."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from mediakit.engines.llama.ranges import LARGEST

Schema = Mapping[str, Any]
_OF_STRINGS = {"pattern", "format", "minLength", "maxLength"}
_OF_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
_OF_LISTS = {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains",
             "unevaluatedItems"}  # fmt: skip
# What says that there may be more properties, or items, than are named.
_MORE_PROPERTIES = {"patternProperties", "propertyNames", "minProperties", "dependentRequired",
                    "dependentSchemas", "dependencies", "unevaluatedProperties"}  # fmt: skip
_MORE_ITEMS = {"maxItems", "contains", "unevaluatedItems"}
_MORE = {"if", "then", "else", "$dynamicRef", "$recursiveRef"}
_OF_OBJECTS = {"properties", "required", "additionalProperties", "maxProperties"} | _MORE_PROPERTIES


def keeps(schema: Schema, value: Any) -> bool:
    """Whether a constant is of the types that are allowed."""
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    return not kinds or any(_is(kind, value) for kind in kinds)


def _is(kind: str, value: Any) -> bool:
    if kind in ("number", "integer"):
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        right = whole if kind == "integer" else isinstance(value, int | float)
        return right and not isinstance(value, bool)
    types = {"string": str, "boolean": bool, "null": type(None), "object": dict, "array": list}
    return isinstance(value, types[kind])


def kinds(schema: Schema) -> list[str]:
    """What a schema is about: its types, or those that its keywords are for; "" for anything."""
    if said := schema.get("type"):
        return [said] if isinstance(said, str) else list(said)
    about = ((_OF_OBJECTS, "object"), (_OF_LISTS, "array"), (_OF_STRINGS, "string"),
             (_OF_NUMBERS, "number"))  # fmt: skip
    return [name for keys, name in about if schema.keys() & keys] or [""]


def modern(schema: Schema) -> Schema:
    """With draft 4's "exclusiveMinimum", a flag, as the bound that later drafts have there."""
    out = dict(schema)
    for strict, name in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if isinstance(out.get(strict), bool):
            flag = out.pop(strict)
            if flag and name in out:
                out[strict] = out.pop(name)
    return out


def bound(
    schema: Schema, name: str, strict: str, harder: Callable[[list[float]], float]
) -> tuple[float | None, bool]:
    """The bound that counts, and whether it is outside itself; None beyond what can be counted."""
    bounds = [schema[key] for key in (name, strict) if key in schema]
    found = harder(bounds) if bounds else math.inf
    return (found, schema.get(strict) == found) if abs(found) <= LARGEST else (None, False)


def items(schema: Schema) -> tuple[list[Any], Any]:
    """The schemas of the first items, and of those after them: where nothing hints at any, none."""
    said = schema.get("items")
    if isinstance(said, list):  # before draft 2020-12
        first, rest = said, schema.get("additionalItems")
    else:
        first, rest = schema.get("prefixItems", []), said
    if rest is None:
        more = schema.get("minItems", 0) > len(first) or schema.keys() & (_MORE_ITEMS | _MORE)
        rest = not first or bool(more)
    return first, rest


def others(schema: Schema) -> Any:
    """The schema of properties that are not named: where nothing hints at any, none."""
    said = schema.get("additionalProperties")
    if said is None:
        hints = any(schema.get(key, False) is not False for key in _MORE_PROPERTIES | _MORE)
        said = not schema.get("properties") or hints
    patterns = list(schema.get("patternProperties", {}).values())
    if said is True or not patterns:
        return said
    return {"anyOf": [*patterns, said]}
