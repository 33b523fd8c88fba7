"""What a schema may say, and whether an answer keeps to it."""

import errno
import json
import re
from collections.abc import Iterable, Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from mediakit.errors import ItemError, UserError, show
from mediakit.media.schemas_short import ShortFormError, parse

Schema = dict[str, Any]
_LONGEST = 200  # characters of a library's words in a message
# Values of these keywords are data or names, not schemas.
_DATA = {"enum", "const", "default", "examples", "required", "dependentRequired", "description"}
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_JSON = re.compile(r'\s*(\{\s*["}]|\[\s*["\]]|\[\s*\{\s*")')  # where the short form has a name
# What is left of true, false, null, a number or an escape where an answer was cut off.
_STUMP = re.compile(r"-|\.|[eE][-+]?|t(ru?)?|f(a(ls?)?)?|n(ul?)?")


def read_schema(value: str) -> Schema:
    """The schema in a file, or given as JSON or in the short form; checked.

    UserError missing_file, unreadable, bad_schema.
    """
    text, where = _text(value)
    if _JSON.match(text) or where.endswith(".json"):
        schema: Schema = _of_json(text, where)
    else:
        try:
            schema = parse(text)
        except ShortFormError as error:
            raise UserError("bad_schema", f"{where}: {error}") from None
        except RecursionError:
            raise UserError("bad_schema", f"{where} is nested too deeply") from None
    check(schema)
    return schema


def check(schema: Any) -> None:
    """UserError bad_schema unless it is a JSON Schema that needs nothing from elsewhere."""
    import jsonschema

    if not isinstance(schema, dict):
        raise UserError(
            "bad_schema", 'the schema must be a JSON object, such as {"type": "object"}'
        )
    for pointer, reference in _references(schema, ""):
        _resolve(schema, reference, pointer)
    try:
        _validator(schema).check_schema(schema)
    except jsonschema.SchemaError as error:
        raise UserError(
            "bad_schema",
            f"the schema is not valid at {_pointer(error.absolute_path)}: {_line(error)}",
        ) from None


def validate(schema: Schema, text: str) -> Any:
    """What the answer says as JSON. ItemError schema_unmet if it is none, or breaks the schema."""
    from jsonschema.exceptions import best_match
    from referencing import Registry

    try:
        found = json.loads(text, parse_constant=_not_json)
    except JSONDecodeError as error:
        raise ItemError("schema_unmet", _why_no_json(error, text)) from None
    except (ValueError, RecursionError) as error:
        raise ItemError("schema_unmet", f"the answer is no JSON: {show(error)}") from None
    kind = _validator(schema)
    checker = kind(schema, format_checker=kind.FORMAT_CHECKER, registry=Registry())
    problem = best_match(checker.iter_errors(found))
    if problem is not None:
        raise ItemError(
            "schema_unmet",
            f"the answer breaks the schema at {_pointer(problem.absolute_path)}: {_line(problem)}; "
            "ask again with --temperature 0.7 --seed N, or loosen the schema",
        )
    return found


def resolve(schema: Schema, reference: str) -> Any:
    """The part of the schema that a "$ref" names. LookupError if there is none."""
    if not reference.startswith("#"):
        raise LookupError("only parts of the same schema can be named, such as #/$defs/NAME")
    found: Any = schema
    for step in unquote(reference[1:]).split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        elif isinstance(found, dict) and name in found:
            found = found[name]
        else:
            raise LookupError(f"there is no {name!r} in it")
    if not reference.startswith("#/") and reference != "#":
        raise LookupError("name it by its place, such as #/$defs/NAME")
    return found


def _text(value: str) -> tuple[str, str]:
    """What the schema says, and what to call it."""
    try:
        path = Path(value)
        if not path.is_file():
            if value.endswith((".json", ".txt")) and "\n" not in value:
                raise UserError("missing_file", f"there is no file {show(value)} with a schema")
            return value, "the schema"
        return path.read_text(encoding="utf-8-sig"), show(value)
    except UnicodeDecodeError:
        raise UserError("bad_schema", f"{show(value)} is not UTF-8 text") from None
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EINVAL):
            return value, "the schema"
        raise UserError("unreadable", f"{show(value)} can't be read: {error.strerror}") from None


def _of_json(text: str, where: str) -> Any:
    try:
        return json.loads(text, parse_constant=_not_json)
    except JSONDecodeError as error:
        at = f"line {error.lineno}, column {error.colno}"
        raise UserError("bad_schema", f"{where} is no JSON: {at}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        raise UserError("bad_schema", f"{where} is no JSON: {show(error)}") from None


def _references(schema: Any, pointer: str) -> Iterator[tuple[str, Any]]:
    """(where it stands, the reference) of all in the schema."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            if key in _REFERENCES and not _is_name(pointer):
                yield f"{pointer}/{key}", value
            elif key not in _DATA or _is_name(pointer):
                yield from _references(value, f"{pointer}/{key}")
    elif isinstance(schema, list):
        for at, value in enumerate(schema):
            yield from _references(value, f"{pointer}/{at}")


def _is_name(pointer: str) -> bool:
    """Whether what stands there maps names of properties or definitions, not keywords."""
    return pointer.rpartition("/")[2] in ("properties", "patternProperties", "$defs", "definitions")


def _resolve(schema: Schema, reference: Any, pointer: str) -> None:
    try:
        resolve(schema, str(reference))
    except LookupError as error:
        raise UserError(
            "bad_schema", f"the schema's {pointer} is {show(reference)}: {error.args[0]}"
        ) from None


def _validator(schema: Schema) -> Any:
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for

    return validator_for(schema, default=Draft202012Validator)


def _why_no_json(error: JSONDecodeError, text: str) -> str:
    left = text[error.pos :].strip()
    escape = error.msg.startswith("Invalid \\u") and len(left) <= len("u0000")
    begun = not error.msg.startswith("Extra") and (not left or _STUMP.fullmatch(left))
    if error.msg.startswith("Unterminated") or escape or begun:
        return (
            "the answer was cut off before its JSON ended; "
            "raise --max-tokens, or give the schema a maxLength or maxItems"
        )
    return f"the answer is no JSON at character {error.pos + 1}: {error.msg}"


def _not_json(name: str) -> Any:
    raise ValueError(f"{name} is no JSON number")


def _pointer(path: Iterable[Any]) -> str:
    return "/" + "/".join(map(str, path))


def _line(error: Any) -> str:
    words = show(error.message)
    return words if len(words) <= _LONGEST else f"{words[:_LONGEST]}..."
