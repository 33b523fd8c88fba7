"""Schemas put together ("allOf", a "$ref" or "anyOf" with something beside it) as one schema."""

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

Schema = Mapping[str, Any]
# What says nothing about an answer.
NOTES = {"$schema", "$id", "$defs", "definitions", "$comment", "title", "description", "default",
         "examples", "deprecated", "readOnly", "writeOnly"}  # fmt: skip
_LOWER = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
_UPPER = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
_INNER = {"items", "additionalProperties", "contains"}


class Contradiction(ValueError):
    """Nothing keeps to both."""


def merged(first: Schema, second: Schema) -> dict[str, Any]:
    """A schema for what keeps to both. It lets in more where the second can't be said beside the
    first, as another pattern."""
    out = dict(first)
    for key, value in second.items():
        if key in NOTES or out.get(key, value) == value:
            out.setdefault(key, value)
        elif key in _LOWER:
            out[key] = max(out[key], value)
        elif key in _UPPER:
            out[key] = min(out[key], value)
        elif key == "required":
            out[key] = list(dict.fromkeys([*out[key], *value]))
        elif key in ("properties", "patternProperties"):
            out[key] = _properties(out[key], value)
        elif key == "prefixItems":
            out[key] = [_both(*each) for each in zip_longest(out[key], value, fillvalue=True)]
        elif key == "type":
            out[key] = _types(out[key], value)
        elif key == "enum":
            out[key] = [each for each in out[key] if each in value]
        elif key in ("anyOf", "oneOf"):
            out[key] = [_both(each, {key: value}) for each in out[key]]
        elif key in _INNER:
            out[key] = _both(out[key], value)
    return out


def _both(first: Any, second: Any) -> Any:
    return {"allOf": [first, second]} if first != second else first


def _properties(first: Schema, second: Schema) -> dict[str, Any]:
    return {**first, **{name: _both(first.get(name, each), each) for name, each in second.items()}}


def _types(first: str | list[str], second: str | list[str]) -> list[str]:
    mine, other = ([each] if isinstance(each, str) else each for each in (first, second))
    out = [each for each in mine if each in other or (each == "integer" and "number" in other)]
    out += ["integer"] if "integer" in other and "number" in mine and "integer" not in out else []
    if not out:
        raise Contradiction(f"nothing is both {first} and {second}")
    return out
