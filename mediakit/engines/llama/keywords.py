"""What the keywords of a JSON Schema say together."""

from collections.abc import Callable, Mapping
from typing import Any

Schema = Mapping[str, Any]
OF_STRINGS = {"pattern", "format", "minLength", "maxLength"}
OF_NUMBERS = {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
OF_LISTS = {"items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"}
OF_OBJECTS = {"properties", "required", "additionalProperties", "patternProperties",
              "propertyNames", "minProperties", "maxProperties", "dependentRequired",
              "dependentSchemas", "unevaluatedProperties"}  # fmt: skip


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


def kind(schema: Schema) -> str:
    """What a schema without a type is about; "" if it may be anything."""
    if schema.keys() & OF_OBJECTS:
        return "object"
    for keys, name in ((OF_LISTS, "array"), (OF_STRINGS, "string"), (OF_NUMBERS, "number")):
        if schema.keys() & keys:
            return name
    return ""


def bound(
    schema: Schema, name: str, strict: str, harder: Callable[[list[float]], float]
) -> tuple[float | None, bool]:
    """The bound that counts, and whether it is outside itself; draft 4 has `strict` as a flag."""
    bounds = [schema[key] for key in (name, strict) if isinstance(schema.get(key), int | float)
              and not isinstance(schema.get(key), bool)]  # fmt: skip
    if not bounds:
        return None, False
    found = harder(bounds)
    return found, schema.get(strict) is True or schema.get(strict) == found


def items(schema: Schema) -> tuple[list[Any], Any]:
    """The schemas of the first items, and of those after them; None where none is said."""
    said = schema.get("items")
    if isinstance(said, list):  # before draft 2020-12
        return said, schema.get("additionalItems")
    return schema.get("prefixItems", []), said
