"""Schemas: the short form, files and JSON, what may be in one, and answers that keep to it."""

import json
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest

from mediakit.errors import ItemError, UserError
from mediakit.media.schemas import check, read_schema, validate

STRING, INTEGER = {"type": "string"}, {"type": "integer"}


def of(required: str = "", **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": required.split() or list(properties),
        "additionalProperties": False,
    }


SHORT = {
    "name str, age int, tags [str]": of(
        name=STRING, age=INTEGER, tags={"type": "array", "items": STRING}
    ),
    # as in llm (https://llm.datasette.io/en/stable/schemas.html)
    "name, age int, bio: a life": of(
        name=STRING, age=INTEGER, bio={"type": "string", "description": "a life"}
    ),
    "name: first, then last\nheight float\n\nbald bool: no hair": of(
        name={"type": "string", "description": "first, then last"},
        height={"type": "number"},
        bald={"type": "boolean", "description": "no hair"},
    ),
    "mood good|bad|so-so, stars 1|2|3": of(
        mood={"type": "string", "enum": ["good", "bad", "so-so"]}, stars={"enum": [1, 2, 3]}
    ),
    'how "very good"|bad?, age? integer': {**of("", how={"type": "string", "enum": [
        "very good", "bad"]}, age=INTEGER), "required": []},
    "a {b int, d {e}, c [x|y]: some}, f": of(
        a=of(b=INTEGER, d=of(e=STRING), c={
            "type": "array", "items": {"type": "string", "enum": ["x", "y"]},
            "description": "some"}),
        f=STRING,
    ),
    "a {\n  b int: one, two\n  c\n}\nd": of(
        a=of(b={"type": "integer", "description": "one, two"}, c=STRING), d=STRING
    ),
    "[{name, age int}]": {"type": "array", "items": of(name=STRING, age=INTEGER)},
    "größe float, 名前": of(größe={"type": "number"}, 名前=STRING),
}  # fmt: skip


@pytest.mark.parametrize("text", SHORT)
def test_short_form(text: str) -> None:
    assert read_schema(text) == SHORT[text]


def test_order_of_fields() -> None:
    assert list(read_schema("z, a, m {y, b}")["properties"]) == ["z", "a", "m"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "line 1, column 1: a field is missing, such as: name str"),
        ("a, , ", None),
        ("age foo", "line 1, column 5: 'foo' is no type; types are str, int,"),
        ("a\nb strr", "line 2, column 3: 'strr' is no type"),
        ("tags [str", "line 1, column 10: a ] is missing"),
        ("a {b int", "line 1, column 9: a } is missing"),
        ("a {}", "a field is missing"),
        ("a int b", "line 1, column 7: a comma, a new line or a colon"),
        ("a, b, a int", "there are two fields called a"),
        ("a x|x", "the same word stands here twice"),
        ("a x|", "a type or a word must stand here"),
        ("| x", "the name of a field must stand here, not '|'"),
        ("a}", "the name of a field must stand here, not '}'"),
        ("[str] x", "nothing can follow here"),
        ("[" * 100_000, "the schema is nested too deeply"),
        ("a\x07", "a type or a word must stand here"),
    ],
)
def test_short_form_errors(text: str, words: str | None) -> None:
    if words is None:
        assert read_schema(text) == of(a=STRING)
        return
    with pytest.raises(UserError) as caught:
        read_schema(text)
    assert caught.value.code == "bad_schema"
    assert words in caught.value.message
    assert caught.value.message.isprintable()


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    schema = {"type": "object", "properties": {"a": {"type": "null"}}}
    Path("a.json").write_text("\ufeff" + json.dumps(schema), encoding="utf-8")
    Path("short").write_text("a int\nb\n")
    Path("latin").write_bytes(b"gr\xf6\xdfe")
    Path("broken.json").write_text('{\n "type": }')
    assert read_schema("a.json") == schema
    assert read_schema("short") == of(a=INTEGER, b=STRING)
    for name, code, words in [
        ("latin", "bad_schema", "latin is not UTF-8"),
        ("broken.json", "bad_schema", "broken.json is no JSON: line 2, column 10: Expecting value"),
        ("none.json", "missing_file", "there is no file none.json"),
    ]:
        with pytest.raises(UserError) as caught:
            read_schema(name)
        assert (caught.value.code, words in caught.value.message) == (code, True)
    assert read_schema("x" * 5000) == of(**{"x" * 5000: STRING})  # no name of a file


def test_json() -> None:
    assert read_schema(' {"type": "string"}') == STRING
    for text, words in [
        ('{"type": "strin"}', "not valid at /type: 'strin' is not valid"),
        ('{"properties": {"a": 1}}', "not valid at /properties/a"),
        ('{"type": "string"', "the schema is no JSON: line 1, column 18"),
        ('{"minimum": NaN}', "NaN is no JSON number"),
        ('{"properties": {"a": {"pattern": "("}}}', "/properties/a/pattern"),
        ('{"a":' + "[" * 100_000, "maximum recursion depth"),
    ]:
        with pytest.raises(UserError) as caught:
            read_schema(text)
        assert caught.value.code == "bad_schema"
        assert words in caught.value.message
        assert len(caught.value.message) < 400


@pytest.mark.parametrize(
    "reference",
    ["https://json-schema.org/draft/2020-12/schema", "http://127.0.0.1:9/x.json",
     "file:///etc/passwd", "other.json#/a", "#/$defs/none", "#anchor", "#/$defs/a/b/9"],
)  # fmt: skip
def test_references_elsewhere(reference: str) -> None:
    schema = {"$defs": {"a": {"b": []}}, "items": {"anyOf": [{"$ref": reference}]}}
    with pytest.raises(UserError) as caught:
        check(schema)
    assert caught.value.code == "bad_schema"
    assert f"/items/anyOf/0/$ref is {reference}" in caught.value.message


def test_references_within() -> None:
    check({
        "$defs": {"a/b": {"items": {"$ref": "#"}}, "c": {"const": {"$ref": "elsewhere"}}},
        "properties": {"$ref": {"$ref": "#/$defs/a~1b/items"}, "default": {"$ref": "#/$defs/c"}},
    })  # fmt: skip
    with pytest.raises(UserError, match="there is no 'x'"):
        check({"properties": {"default": {"$ref": "#/x"}}})


@pytest.mark.parametrize("schema", [True, [], "str", None, 3])
def test_what_is_no_schema(schema: Any) -> None:
    with pytest.raises(UserError, match="must be a JSON object"):
        check(schema)


def test_answers_that_keep_to_it() -> None:
    schema = read_schema("name, age int?, mood good|bad")
    assert validate(schema, '{"name": "Ö", "mood": "bad"}\n') == {"name": "Ö", "mood": "bad"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"name": "x", "age": "3"}', "breaks the schema at /age: '3' is not of type 'integer'"),
        ('{"name": "x"}', "breaks the schema at /: 'age' is a required property"),
        ('{"name": "x", "age": 3, "b": 1}', "Additional properties are not allowed"),
        ('Sure! {"name": "x", "age": 3}', "is no JSON at character 1"),
        ('{"name": "x", "age": 3}}', "is no JSON at character 24"),
        ('{"name": "x", "age": NaN}', "NaN is no JSON number"),
        ("[" * 200_000, "no JSON"),
    ],
)
def test_answers_that_do_not(text: str, words: str) -> None:
    with pytest.raises(ItemError) as caught:
        validate(read_schema("name, age int"), text)
    assert caught.value.code == "schema_unmet"
    assert words in caught.value.message or (text[1] == "[" and "cut off" in caught.value.message)
    assert "--max-tokens" not in caught.value.message or text[1] == "["


WHOLE = '{"name": "a\\u00e9b", "list": [true, false, null, -1.5e-3]}'


@pytest.mark.parametrize("length", range(len(WHOLE)))
def test_answers_that_were_cut_off(length: int) -> None:
    with pytest.raises(ItemError, match=r"was cut off .* raise --max-tokens") as caught:
        validate({}, WHOLE[:length])
    assert caught.value.code == "schema_unmet"
    assert validate({}, WHOLE)["name"] == "aéb"


def test_what_a_grammar_can_not_keep_is_checked() -> None:
    schema = {
        "properties": {
            "n": {"multipleOf": 5},
            "day": {"format": "date"},
            "l": {"uniqueItems": True},
        }
    }
    assert validate(schema, '{"n": 10, "day": "2024-02-29", "l": [1, 2]}')
    for text in ('{"n": 3}', '{"day": "2023-02-29"}', '{"l": [1, 1]}'):
        with pytest.raises(ItemError, match="breaks the schema at /"):
            validate(schema, text)


def test_nothing_is_fetched() -> None:
    """Even where check was not asked."""
    with warnings.catch_warnings(), pytest.raises(Exception, match=r"127\.0\.0\.1") as caught:
        warnings.simplefilter("error")
        validate({"$ref": "http://127.0.0.1:9/x.json"}, "1")
    assert type(caught.value).__name__ == "_WrappedReferencingError"


def test_recursive_schemas() -> None:
    tree = {"properties": {"left": {"$ref": "#"}}, "required": ["v"]}
    check(tree)
    assert validate(tree, '{"v": 1, "left": {"v": 2}}')
    with pytest.raises(ItemError, match="at /left: 'v' is a required property"):
        validate(tree, '{"v": 1, "left": {}}')


def test_jsonschema_does_not_come_along() -> None:
    code = "import mediakit.media.schemas, sys; print('jsonschema' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "False\n"
