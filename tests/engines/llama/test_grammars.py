"""Grammars: what of a schema they keep, in llama.cpp's own hands, and which can't be followed."""

import codecs
import contextlib
import ctypes
import json
import random
import re
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
from mediakit.engines.llama.grammars import of_schema, unenforced
from mediakit.engines.llama.ranges import decimals, integers
from mediakit.errors import UserError
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
    r"^\w+@\w+\.(com|org)$": "a@b.org",
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
    assert unenforced(schema) == ()
    for _ in range(3):
        text = follower.write(grammar, chance)
        assert validate(schema, text) == json.loads(text)


def test_grammars_always_can_end(follower: Follower) -> None:
    """Blanks are not repeated, and numbers are not endless."""
    text = of_schema({"type": "object"})
    assert not re.search(r'\[[ \\tn]+\][*+]|" "\*', text)
    chance = random.Random(1)
    written = [follower.write(of_schema({"type": "number"}), chance) for _ in range(50)]
    assert max(map(len, written)) <= 36
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
    assert unenforced(schema) == ()
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
    assert unenforced(schema) == ("/pattern",)
    assert len(json.loads(follower.write(of_schema(schema), random.Random(0)))) <= 3


@pytest.mark.parametrize(
    ("schema", "wanted"),
    [
        ({"type": "integer", "multipleOf": 5}, ["/multipleOf"]),
        ({"type": "array", "items": {"type": "string", "format": "email"}, "uniqueItems": True},
         ["/uniqueItems", "/items/format"]),
        ({"type": "number", "minimum": 0.2, "maximum": 0.8}, ["/minimum", "/maximum"]),
        ({"not": {"type": "string"}}, ["/not"]),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, ["/oneOf"]),
        ({"type": "string", "maxLength": 5000}, ["/maxLength"]),
        ({"allOf": [{"pattern": "^a"}, {"pattern": "b$"}]}, ["/pattern"]),
        ({"type": "string", "format": "date", "description": "the day"}, []),
    ],
)  # fmt: skip
def test_what_is_left_to_validation(schema: dict[str, Any], wanted: list[str]) -> None:
    assert list(unenforced(schema)) == wanted


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
    assert decimals(0.2, 0.8, False, False) is None


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
