"""Schemas put together ("allOf", a "$ref" or "anyOf" with something beside it) as one schema."""

from collections.abc import Mapping
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


def merged(first: Schema, second: Schema, lost: list[str], at: str) -> dict[str, Any]:
    """A schema for what keeps to both. What of the second can't be said beside the first, such as
    another pattern, goes to `lost`."""
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
        elif key == "properties":
            out[key] = _properties(out[key], value)
        elif key == "type":
            out[key] = _types(out[key], value)
        elif key == "enum":
            out[key] = [each for each in out[key] if each in value]
        elif key in _INNER:
            out[key] = {"allOf": [out[key], value]}
        else:
            lost.append(f"{at}/{key}")
    return out


def _properties(first: Schema, second: Schema) -> dict[str, Any]:
    out = dict(first)
    for name, schema in second.items():
        out[name] = schema if out.get(name, schema) == schema else {"allOf": [out[name], schema]}
    return out


def _types(first: str | list[str], second: str | list[str]) -> list[str]:
    mine, other = ([each] if isinstance(each, str) else each for each in (first, second))
    out = [each for each in mine if each in other or (each == "integer" and "number" in other)]
    out += ["integer"] if "integer" in other and "number" in mine and "integer" not in out else []
    if not out:
        raise Contradiction(f"nothing is both {first} and {second}")
    return out
