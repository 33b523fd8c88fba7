"""Grammars: what they allow, in llama.cpp's own hands, and which can't be followed."""

import codecs
import contextlib
import ctypes
import datetime
import json
import math
import random
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import llama_cpp
import numpy as np
import pytest
from gguf_files import tiny, vocabulary
from llama_cpp import llama_grammar

from mediakit.engines.llama.gbnf import check_gbnf
from mediakit.engines.llama.grammars import of_schema
from mediakit.engines.llama.ranges import decimals, integers
from mediakit.errors import ItemError, UserError
from mediakit.media.schemas import check, read_schema, validate

END = 2  # </s>
_NONE = -1
BYTES = vocabulary()[0].index("<0x00>")  # and those after it


class Follower:
    """Writes what a grammar allows, byte by byte, by llama.cpp's own sampler."""

    def __init__(self, model: Path) -> None:
        llama_cpp.llama_backend_init()
        params = llama_cpp.llama_model_default_params()
        params.vocab_only = True
        self._model = llama_cpp.llama_model_load_from_file(str(model).encode(), params)
        self._vocab = llama_cpp.llama_model_get_vocab(self._model)

    def takes(self, grammar: str) -> bool:
        sampler = llama_cpp.llama_sampler_init_grammar(self._vocab, grammar.encode(), b"root")
        if sampler:
            llama_cpp.llama_sampler_free(sampler)
        return bool(sampler)

    def write(self, grammar: str, chance: random.Random, most: int = 3000) -> str:
        """Some text; what would end it is often chosen, so that it does. Of the bytes that are
        allowed only those that are UTF-8, as a model's tokens are: llama.cpp allows E0 80 too."""
        sampler = llama_cpp.llama_sampler_init_grammar(self._vocab, grammar.encode(), b"root")
        assert sampler
        out = bytearray()
        with contextlib.closing(_Freed(sampler)):
            while (allowed := self._allowed(sampler)) != [_NONE] and len(out) < most:
                ends = [byte for byte in allowed if byte in (*b'"]}abcxy', _NONE)]
                byte = chance.choice(ends if ends and chance.random() < 0.5 else allowed)
                if byte == _NONE:
                    break
                if not _begins_utf8(out[-3:] + bytes([byte])):
                    continue
                out.append(byte)
                llama_cpp.llama_sampler_accept(sampler, BYTES + byte)
        return out.decode()

    def allows(self, grammar: str, text: str) -> bool:
        sampler = llama_cpp.llama_sampler_init_grammar(self._vocab, grammar.encode(), b"root")
        assert sampler
        with contextlib.closing(_Freed(sampler)):
            for byte in text.encode():
                if byte not in self._allowed(sampler):
                    return False
                llama_cpp.llama_sampler_accept(sampler, BYTES + byte)
            return _NONE in self._allowed(sampler)

    def _allowed(self, sampler: Any) -> list[int]:
        """The bytes, and _NONE where it may end."""
        tokens = np.zeros(257, [("id", np.int32), ("logit", np.float32), ("p", np.float32)])
        tokens["id"] = [END, *range(BYTES, BYTES + 256)]
        array = llama_cpp.llama_token_data_array(
            data=tokens.ctypes.data_as(llama_cpp.llama_token_data_p), size=257, selected=-1
        )
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        found: list[int] = (np.flatnonzero(tokens["logit"] > -np.inf) - 1).tolist()
        return found

    def close(self) -> None:
        llama_cpp.llama_model_free(self._model)


def _begins_utf8(end: bytes) -> bool:
    """Whether the last of some bytes, the others being UTF-8, goes on with it or begins anew."""
    start = max((at for at, byte in enumerate(end) if byte & 0xC0 != 0x80), default=0)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(end[start:])
    except UnicodeDecodeError:
        return False
    return True


class _Freed:
    def __init__(self, sampler: Any) -> None:
        self._sampler = sampler

    def close(self) -> None:
        llama_cpp.llama_sampler_free(self._sampler)


@pytest.fixture(scope="module")
def follower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Follower]:
    made = Follower(tiny(tmp_path_factory.mktemp("models") / "tiny.gguf"))
    yield made
    made.close()


def random_schema(chance: random.Random, depth: int = 3) -> dict[str, Any]:
    kinds = ["str", "int", "num", "bool", "enum", "const", "format", "text", "pattern", "range"]
    kinds += ["list", "object", "object", "tuple", "map", "either", "both", "any"] if depth else []
    kind = chance.choice(kinds)
    small = chance.randint(-30, 30)
    inner = [random_schema(chance, depth - 1) for _ in range(3)] if depth else []
    names = chance.sample(["a", "ä ö", 'q"\\', "x1", "size"], 3)
    if kind == "object":
        return {
            "type": "object",
            "properties": dict(zip(names, inner, strict=True)),
            "required": chance.sample(names, chance.randint(0, 3)),
            "additionalProperties": False,
        }
    made: dict[str, Any] = {
        "str": {"type": "string"},
        "int": {"type": "integer"},
        "num": {"type": ["number", "null"]},
        "bool": {"type": "boolean"},
        "enum": {"enum": ["yes", 'n"o\\', 3, None, {"k": [1.5, "ü\n"]}]},
        "const": {"const": chance.choice(["\u2028", -1.5, [], {}])},
        "format": {"type": "string", "format": chance.choice(["date", "uuid"])},
        "text": {"type": "string", "minLength": 2, "maxLength": 2 + abs(small)},
        "pattern": {"type": "string", "pattern": chance.choice(list(PATTERNS))},
        "range": {
            "type": chance.choice(["integer", "number"]),
            chance.choice(["minimum", "exclusiveMinimum"]): small,
            chance.choice(["maximum", "exclusiveMaximum"]): small + chance.randint(2, 40),
        },
        "list": {"type": "array", "items": (inner or [{}])[0], "minItems": 1, "maxItems": 3},
        "tuple": {"type": "array", "prefixItems": inner[:2], "items": False},
        "map": {"type": "object", "additionalProperties": (inner or [{}])[0]},
        "either": {"anyOf": inner},
        "both": {"type": "object", "required": ["b"], "allOf": [
            {"properties": {"b": inner[0] if inner else {}}}, {"properties": {"c": {}}}]},
        "any": {},
    }[kind]  # fmt: skip
    return made


PATTERNS = {
    r"^[A-Z]{3}-\d+$": "ABC-12",
    r"^(red|green|blue)?$": "",
    r"^[^aeiou\s]{2,5}$": "xyz",
    r"^[\da-f]+@\x62\.(com|org)$": "a@b.org",
    r'^"\\[a-c"\]]*$': '"\\a"]',
    "[ab]+": "xabbcx",
    r"^x|y$": "xa",
    r"^.\u00e9$": "-é",
}


@pytest.mark.parametrize("seed", range(40))
def test_what_follows_the_grammar_keeps_to_the_schema(follower: Follower, seed: int) -> None:
    chance = random.Random(seed)
    schema = random_schema(chance)
    check(schema)
    grammar = of_schema(schema)
    for _ in range(3):
        text = follower.write(grammar, chance)
        assert validate(schema, text) == json.loads(text)


def valid(schema: Any, chance: random.Random) -> Any:
    """A value for a schema of `random_schema` and those it is put together from."""
    if "enum" in schema:
        return chance.choice(schema["enum"])
    if "const" in schema:
        return schema["const"]
    if "anyOf" in schema:
        return valid(chance.choice(schema["anyOf"]), chance)
    if "allOf" in schema:
        return valid(_whole([schema, *schema["allOf"]]), chance)
    kinds = schema.get("type", ["null", "boolean", "number", "string", "array", "object"])
    kind = kinds if isinstance(kinds, str) else chance.choice(kinds)
    if kind == "object":
        return _object(schema, chance)
    if kind == "array":
        first = schema.get("prefixItems", [])
        rest = schema.get("items", {"type": "null"})
        most = schema.get("maxItems", len(first) + 2 * (rest is not False))
        least = schema.get("minItems", 0)
        items = [*first, *[rest] * most][: chance.randint(least, most)]
        return [valid(each, chance) for each in items]
    if kind == "string":
        return _string(schema, chance)
    if kind in ("number", "integer"):
        return _number(schema, kind, chance)
    return chance.choice([True, False]) if kind == "boolean" else None


def _whole(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Of parts that name different properties."""
    fields = {name: each for part in parts for name, each in part.get("properties", {}).items()}
    whole = {key: value for part in parts for key, value in part.items() if key != "allOf"}
    return {**whole, "type": "object", "properties": fields}


def _object(schema: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    fields, other = schema.get("properties", {}), schema.get("additionalProperties")
    needed = schema.get("required", [])
    made = {
        name: valid(each, chance)
        for name, each in fields.items()
        if name in needed or chance.random() < 0.5
    }
    free = {"type": "null"} if other in (None, True) else other
    made |= {name: valid(free, chance) for name in needed if name not in fields}
    if other not in (None, False):
        made |= {f"{n} \u00df": valid(free, chance) for n in range(2)}
    return made


def _string(schema: dict[str, Any], chance: random.Random) -> str:
    if "pattern" in schema:
        return PATTERNS[schema["pattern"]]
    if "format" in schema:
        day = datetime.date.fromordinal(chance.randint(1, datetime.date.max.toordinal()))
        return str(day if schema["format"] == "date" else uuid.UUID(int=chance.getrandbits(128)))
    least = schema.get("minLength", 0)
    size = chance.randint(least, schema.get("maxLength", least + 5))
    return "".join(chance.choices('a"\\\n\b\x00\x7f\x85\u00e9\u20ac\u2028\U0001f600/', k=size))


def _number(schema: dict[str, Any], kind: str, chance: random.Random) -> float:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    low = low if low is not None else -(2**62) if high is None else high - 9
    high = high if high is not None else 2**62 if "minimum" not in schema else low + 9
    if "multipleOf" in schema:
        return round(low * 4 + 1) / 4  # a quarter
    found: float = chance.choice([low, high, chance.uniform(low, high)])
    found = round(found) if kind == "integer" else round(found, chance.randint(0, 3))
    return min(max(found, math.ceil(low)), math.floor(high)) if kind == "integer" else found


def written(value: Any) -> str:
    """As a grammar has it: the characters that may not stand as they are, by their codes."""
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x7f-\x9f]", lambda found: f"\\u{ord(found[0]):04x}", text)


def keeps(schema: dict[str, Any], value: Any) -> bool:
    try:
        validate(schema, json.dumps(value))
    except ItemError:
        return False
    return True


@pytest.mark.parametrize("seed", range(150))
def test_what_keeps_to_the_schema_follows_the_grammar(follower: Follower, seed: int) -> None:
    chance = random.Random(seed)
    schema = varied(chance)
    check(schema)
    grammar = of_schema(schema)
    values = [value for _ in range(40) if keeps(schema, value := valid(schema, chance))]
    assert values
    for value in values[:8]:
        assert follower.allows(grammar, written(value)), (schema, value)


def varied(chance: random.Random) -> dict[str, Any]:
    """More than a grammar can keep all of."""
    schema = random_schema(chance)
    low = chance.randint(-300, 300) / 100
    number: dict[str, Any] = {
        "type": chance.choice(["number", "number", ["number", "null"]]),
        chance.choice(["minimum", "exclusiveMinimum"]): low,
        chance.choice(["maximum", "exclusiveMaximum"]): low + chance.randint(50, 300) / 100,
    }
    number |= chance.choice([{}, {}, {"multipleOf": 0.25}])
    several: dict[str, Any] = {
        "type": "array",
        "prefixItems": [number, schema],
        "items": chance.choice([False, schema]),
    }
    several |= chance.choice([{}, {"uniqueItems": True}, {"minItems": 1}])
    fields: dict[str, Any] = {"type": "object", "properties": {"n": number, "s": schema}}
    fields["required"] = ["n", "z"]
    fields |= chance.choice([{}, {"additionalProperties": True}, {"additionalProperties": schema}])
    either = {"anyOf": [number, several, fields], "title": "one of them"}
    named = {**fields, "properties": {"n": number, "s": schema, "z": {}}}
    both = {"allOf": [named, {"properties": {"z": {"type": ["null", "string"]}}}]}
    return chance.choice([schema, number, several, fields, either, both])


YES = [
    ({"type": "string", "format": "date"}, ["1990-05-12", "2020-02-29", "2000-02-29", "0001-01-01"],
     ["1992-02-30", "2021-02-29", "1900-02-29", "0000-01-01", "1990-13-01", "1990-04-31"]),
    ({"type": "string", "format": "date-time"},
     ["2010-12-31T23:59:60Z", "1990-05-12T01:02:03.25+23:00"],
     ["1990-05-12", "1990-05-12T24:00:00Z", "2021-02-29T00:00:00Z"]),
    ({"minimum": 0, "maximum": 0.5}, [0, 0.5, 0.25, 0.0], [2, -1, 1, 1.5]),
    ({"type": "number", "maximum": 4.5}, [4.5, 4.25, -7.5], [5, 5.5]),
    ({"exclusiveMinimum": 0, "maximum": 1}, [1, 1.0, 0.001], [0, 0.0, 1.1]),
    ({"type": "number", "minimum": 0}, [1e25, 0.5, 3], [-1]),
    ({"type": "number", "minimum": 1e-12, "maximum": 1e-10}, [5e-11], ["x"]),
    ({"type": "number", "minimum": 1e20}, [1e21], [None]),
    ({"type": "integer"}, [4111111111111111, 2**64 - 1, -3], [0.5]),
    ({"type": "integer", "maximum": 2**63 - 1}, [2**63 - 1, 0], [2**63]),
    ({"type": "integer", "minimum": -0.5, "maximum": 2.5}, [0, 1, 2], [-1, 3]),
    ({"type": "integer", "minimum": 10**16}, [10**16 + 1], [5]),
    ({"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 3}, [3, 9], [12]),
    ({"enum": [1.0, 2, True]}, [1.0, 2, True], [3, False]),
    ({"type": "string", "maxLength": 0}, [""], ["a"]),
    ({"type": "string", "minLength": 2.0, "maxLength": 3.0}, ["\n\U0001f600", 'a"\\'],
     ["a", "abcd"]),
    ({"type": "string", "minLength": 2100}, ["a" * 2100], ["a"]),
    ({"type": "string", "pattern": r"^\w+$"}, ["M\u00fcller", "\u6771\u4eac"], ["a b", ""]),
    ({"type": "string", "pattern": r"^[^\w]\s.$"}, ["\u00bf\u00a0\r", "-\f\x07", "\x7f\x85\b"],
     ["a  "]),
    ({"type": "array", "items": {"type": "null"}, "minItems": 1.0, "maxItems": 2},
     [[None], [None, None]], [[], [None] * 3]),
    ({"prefixItems": [{"type": "null"}, {"const": 1}], "minItems": 1}, [[None], [None, 1]],
     [[], [1], [None, 1, 1]]),
    ({"prefixItems": [{"type": "null"}], "maxItems": 3}, [[], [None], [None, 1]], [[1]]),
    ({"items": {"enum": []}}, [[]], [[1]]),
    ({"prefixItems": [{"const": 1}, False]}, [[], [1]], [[1, 1]]),
    ({"additionalProperties": False, "properties": {"a": {"const": 1}}},
     [{}, {"a": 1}], [{"b": 1}]),
    ({"additionalProperties": {"const": 2}, "properties": {"a": {"const": 1}}, "required": ["a"]},
     [{"a": 1}, {"a": 1, "b": 2, "c": 2}], [{"b": 2}, {"a": 1, "b": 1}]),
    ({"additionalProperties": False, "patternProperties": {"^x": {"const": 1}}, "required": ["x"]},
     [{"x": 1}, {"x": 1, "xy": 1}], [{}, {"x": 2}]),
    ({"additionalProperties": {"enum": []}}, [{}], [{"a": 1}]),
    ({"properties": {"a": {"const": 1}}, "minProperties": 2}, [{"a": 1, "b": None}], [1, []]),
    ({"minLength": 2, "minimum": 5}, ["ab", 5], ["a", 4]),
    ({"allOf": [{"anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
                {"anyOf": [{"properties": {"c": {"const": 1}}}, {"required": ["d"]}]}]},
     [{"c": 1, "a": 0}, {"b": 0, "d": 0}], [{"c": 1}]),
    ({"allOf": [{"prefixItems": [{"type": "number"}]}, {"prefixItems": [{"minimum": 3}, {}]}]},
     [[4], [4, None]], [[2]]),
    ({"oneOf": [{"type": "integer"}, {"maximum": 0}], "minimum": -5}, [3, -0.5], [-6]),
    ({"$defs": {"no": {"enum": []}}, "anyOf": [{"$ref": "#/$defs/no"},
        {"type": "array", "items": {"$ref": "#/$defs/no"}}]}, [[]], [[1]]),
    ({"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"a": {"minimum": 3}},
      "properties": {"a": {"$ref": "#/definitions/a", "maximum": 4}}}, [{"a": 9}], [{"a": 1}]),
    ({"$schema": "http://json-schema.org/draft-04/schema#", "type": "number",
      "allOf": [{"minimum": 5, "exclusiveMinimum": True}, {"minimum": 7}]}, [7, 7.5], [5, 6]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "inside", "outside"), YES)
def test_both_sides_of_a_schema(
    follower: Follower, schema: dict[str, Any], inside: list[Any], outside: list[Any]
) -> None:
    check(schema)
    grammar = of_schema(schema)
    for value in inside:
        assert keeps(schema, value)
        assert follower.allows(grammar, written(value)), value
    for value in outside:
        assert not follower.allows(grammar, written(value)), value


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"type": "integer", "multipleOf": 5}, 7),
        ({"type": "array", "uniqueItems": True}, [1, 1]),
        ({"type": "number", "minimum": 0.2, "maximum": 0.8}, 0.9),
        ({"type": "string", "pattern": r"^\w$"}, "\u00bf"),
        ({"type": "string", "maxLength": 2001}, "a" * 2002),
        ({"allOf": [{"pattern": "^a"}, {"pattern": "b$"}]}, "ac"),
        ({"not": {"type": "string"}}, "a"),
    ],
)
def test_what_is_left_to_validation(follower: Follower, schema: dict[str, Any], value: Any) -> None:
    assert follower.allows(of_schema(schema), written(value))
    assert not keeps(schema, value)


def test_grammars_always_can_end(follower: Follower) -> None:
    """Blanks are not repeated, and numbers are not endless."""
    text = of_schema({"type": "object"})
    assert not re.search(r'\[[ \\tn]+\][*+]|" "\*', text)
    chance = random.Random(1)
    written = [follower.write(of_schema({"type": "number"}), chance) for _ in range(50)]
    assert max(map(len, written)) <= 46
    assert all(isinstance(json.loads(each), int | float) for each in written)


def test_fields_keep_their_order(follower: Follower) -> None:
    schema = read_schema("z int, a? bool, m one|two, b? bool")
    chance = random.Random(0)
    seen = set()
    for _ in range(40):
        found = list(json.loads(follower.write(of_schema(schema), chance)))
        assert found == [name for name in "zamb" if name in found]
        seen.add("".join(found))
    assert seen == {"zm", "zam", "zmb", "zamb"}


def test_recursion(follower: Follower) -> None:
    tree = {
        "$defs": {
            "tree": {
                "type": "object",
                "properties": {
                    "name": {"enum": ["leaf"]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
                },
                "required": ["name"],
                "additionalProperties": False,
            }
        },
        "$ref": "#/$defs/tree",
    }
    check(tree)
    texts = {follower.write(of_schema(tree), random.Random(seed)) for seed in range(40)}
    assert len(texts) > 2
    for text in texts:
        jsonschema.validate(json.loads(text), tree)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_patterns(follower: Follower, pattern: str) -> None:
    schema = {"type": "string", "pattern": pattern}
    assert re.search(pattern, PATTERNS[pattern])
    for seed in range(10):
        text = follower.write(of_schema(schema), random.Random(seed))
        assert re.search(pattern, json.loads(text))


@pytest.mark.parametrize(
    "pattern",
    ["^(?=a)b$", r"^(a)\1$", "^a*?+$", r"^\p{L}$", "^[$", "(", "^(a|)*$", "a{9999}", "^a$b"],
)
def test_patterns_beyond_a_grammar(follower: Follower, pattern: str) -> None:
    schema = {"type": "string", "pattern": pattern, "maxLength": 3}
    assert len(json.loads(follower.write(of_schema(schema), random.Random(0)))) <= 3


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"$ref": "#/$defs/a"},
                                              "minItems": 1}}},
        {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {"allOf": [{"$ref": "#"}]},
        {"properties": {"a": False}, "required": ["a"]},
        {"type": "integer", "minimum": 3, "maximum": 2},
        {"type": "string", "minLength": 3, "maxLength": 2},
        {"type": "array", "minItems": 3, "maxItems": 2},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "string", "enum": [1, 2]},
        {"enum": ["\ud800"]},
    ],
)  # fmt: skip
def test_schemas_that_nothing_keeps_to(schema: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        of_schema(schema)
    assert caught.value.code == "bad_schema"


def test_deep_schemas() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(500):
        deep = {"type": "array", "items": deep}
    with pytest.raises(UserError, match="nested too deeply"):
        of_schema(deep)


def test_numbers_between_bounds() -> None:
    chance = random.Random(0)
    for _ in range(100):
        low, high = sorted(chance.randint(-2100, 2100) for _ in range(2))
        allowed = _regex(integers(low, high))
        assert [n for n in range(-2200, 2200) if allowed.fullmatch(str(n))] == list(
            range(low, high + 1)
        )
        allowed = _regex(decimals(low, high, True, True))
        for number in range((low - 2) * 4, (high + 2) * 4, 7):
            text = f"{number / 4:g}"
            assert not allowed.fullmatch(text) or low < number / 4 < high
    assert integers(3, 2) is None
    for least, most in ((3, 2), (0.8, 0.2), (4, 4)):
        assert decimals(least, most, True, True) is None


def test_fractions_between_bounds() -> None:
    """All that lie between, and of those outside no more than up to the next whole number."""
    chance = random.Random(0)
    for _ in range(60):
        low, high = sorted(chance.randint(-500, 500) / 100 for _ in range(2))
        above, below = chance.random() < 0.5, chance.random() < 0.5
        found = decimals(low, high, above, below)
        allowed = re.compile("(?!)") if found is None else _regex(found)
        for hundreds in range(-600, 601):
            number = hundreds / 100
            inside = low < number < high or (number == low < high and not above)
            inside |= number == high > low and not below
            inside |= number == low == high and not (above or below)
            if inside:
                assert allowed.fullmatch(json.dumps(number)), (low, high, number)
            if not math.floor(low) <= number <= math.ceil(high):
                assert not allowed.fullmatch(json.dumps(number))
            if found and above and number == low == math.floor(low):
                assert not allowed.fullmatch(json.dumps(number))


def _regex(grammar: str | None) -> re.Pattern[str]:
    assert grammar is not None
    literal = re.sub(r'"([^"]*)"', lambda found: re.escape(found[1]), grammar)
    return re.compile(literal.replace(" ", ""))


SAMPLES = [getattr(llama_grammar, name) for name in dir(llama_grammar) if name.endswith("_GBNF")]
GOOD = [
    'root ::= "a" | "b"',
    'root ::= a-b c1+\n\n# names\na-b ::=\n  "x" |\n  "y"\nc1 ::= [^\\x00-\\x1F"\\]-]{2,3}',
    'root ::= ("a"? "b"?)* "\\u00e9\\U0001F600"',
    'root ::= .{0,5} ( "(" root ")" )?\r\n',
    'root ::= [a-z]{0,99999}',
    'root ::= ""',
]  # fmt: skip
BAD = {
    "": "no rule called root",
    'r ::= "a"': "no rule called root",
    'root ::= x': "line 1 of the grammar: there is no rule called x",
    'root ::= "a"\n\nb = "c"': "line 3 of the grammar: ::= must follow the name b, not =",
    'root ::= a_b\na_b ::= "x"': "line 1 of the grammar: _ can't stand here",
    'root ::= ab\na_b ::= "x"': "names are of letters, digits and -",
    'root ::= "\\q"': "there is no escape \\q",
    "root ::= [\\d]": "there is no escape \\d",
    'root ::= "a': 'a " is missing at the end',
    "root ::= [a": "a ] is missing at the end",
    'root ::= ("a"': "a ) is missing before the end",
    "root ::= *": "nothing before * to repeat",
    'root ::= "a"**': "a repetition is repeated",
    'root ::= "a"{x}': "a number must stand in { }",
    'root ::= "a"{2001}': "up to 2000 repetitions",
    'root ::= root "a" | "a"': "line 1 of the grammar: the rule root begins with itself",
    'root ::= "x" | b\nb ::= c "y"\nc ::= b | "z"': "line 2 of the grammar: the rule b begins",
    'root ::= ("" | "a")* "b"': "repeats without end what may be empty",
}  # fmt: skip
# What llama.cpp takes, or dies of; nobody can want it.
WORSE = {
    'root ::= "a"{3,1}': "{3,1} can't be met",
    'root ::= ws root "x" | "y"\nws ::= [ ]*': "line 1 of the grammar: the rule root begins",
    'root ::= "a" root': "nothing that the grammar allows ever ends",
    'root ::= "a"\nroot ::= "b"': "line 2 of the grammar: there are two rules called root",
    "root ::= []": "the [ ] holds no character",
    "root ::= " + "(" * 100_000: "line 1 of the grammar: the parentheses are nested too deeply",
}


@pytest.mark.parametrize("grammar", [*SAMPLES, *GOOD])
def test_grammars_that_can_be_followed(follower: Follower, grammar: str) -> None:
    check_gbnf(grammar)
    assert follower.takes(grammar)


@pytest.mark.parametrize("grammar", BAD)
def test_grammars_that_can_not(
    follower: Follower, grammar: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError) as caught:
        check_gbnf(grammar)
    assert caught.value.code == "bad_grammar"
    assert BAD[grammar] in caught.value.message
    assert not grammar or not follower.takes(grammar)


@pytest.mark.parametrize("grammar", WORSE)
def test_grammars_that_nobody_wants(grammar: str) -> None:
    with pytest.raises(UserError, match=re.escape(WORSE[grammar])):
        check_gbnf(grammar)
