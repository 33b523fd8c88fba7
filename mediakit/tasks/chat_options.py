"""The options of chat."""

import json
import os
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from mediakit.errors import show
from mediakit.media.schemas import check, read_schema
from mediakit.params import Execution, Options, Params, auto_or_int, option
from mediakit.prompts.seeds import HIGHEST


class Example(Options):
    """A question with the answer that is wanted."""

    prompt: str
    answer: str


def _examples(value: object) -> object:
    """Of a preset a list of examples; of the command line JSON Lines files."""
    told = [value] if isinstance(value, str) else value
    if not isinstance(told, list | tuple):
        return value
    return tuple(each for one in told for each in (_lines(one) if isinstance(one, str) else [one]))


def _lines(path: str) -> list[object]:
    try:
        return [json.loads(line) for line in _read(path).splitlines() if line.strip()]
    except json.JSONDecodeError as e:
        raise ValueError(f"{show(path)} is no JSON Lines file: {e}") from None


def _grammar(value: object) -> object:
    """A file's content, unless it is a grammar itself; either has a rule, so that it is known for
    one when it is read again."""
    if not isinstance(value, str) or "::=" in value:
        return value
    if not value.strip():
        raise ValueError("expected a .gbnf file, or a grammar such as root ::= [0-9]+")
    content = _read(value)
    if "::=" not in content:
        raise ValueError(f"{show(value)} is no grammar: it has no rule, such as root ::= [0-9]+")
    return content


def _read(path: str) -> str:
    try:
        return Path(os.path.expanduser(path)).read_text(encoding="utf-8")
    except OSError as e:
        raise ValueError(f"{show(path)} can't be read: {e.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{show(path)} is not UTF-8 text") from None


def _schema(value: object) -> object:
    if value is None:
        return None
    if isinstance(value, str):
        return read_schema(value)
    try:
        _check(json.dumps(value))
    except TypeError as e:
        raise ValueError(f"not JSON: {e}") from None
    return value


@lru_cache(maxsize=64)
def _check(schema: str) -> None:
    """Once, not again for each row of a list."""
    check(json.loads(schema))


def _texts(value: object) -> object:
    """Of a row also a single one."""
    return (value,) if isinstance(value, str) else value


def _choices(value: object) -> object:
    told = value.split(",") if isinstance(value, str) else value
    if not isinstance(told, list | tuple):
        return value
    found = [str(one).strip() for one in told]
    if len(found) < 2 or not all(found):
        raise ValueError("expected two or more, such as yes,no,maybe")
    if len(set(found)) < len(found):
        raise ValueError("one is named twice")
    return tuple(found)


def _seed(value: int | str) -> int | str:
    if isinstance(value, str) and value.isdecimal():
        value = int(value)
    if value != "random" and not (isinstance(value, int) and 0 <= value <= HIGHEST):
        raise ValueError(f"expected a number up to {HIGHEST}, or random")
    return value


Examples = Annotated[tuple[Example, ...], BeforeValidator(_examples)]
Grammar = Annotated[str, BeforeValidator(_grammar)]
Schema = Annotated[dict[str, Any], BeforeValidator(_schema)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_texts)]
Choices = Annotated[tuple[str, ...], BeforeValidator(_choices)]
Seed = Annotated[int | str, AfterValidator(_seed)]


class ChatParams(Params):
    model: str = option(
        "qwen3-4b-instruct",
        "Model name (see: mediakit models list --task chat), a .gguf file, or "
        "hf:org/repository@revision/file.gguf. smollm2-135m-instruct: tiny, quick anywhere, knows "
        "little.",
    )
    prompt: str | None = option(None, "What is asked; prompts are named without it.")
    system: str | None = option(
        None,
        "What the model is told before any question: who it is, how it answers. Evaluated once "
        "for a whole batch.",
    )
    template: str | None = option(
        None,
        "How each prompt is asked: 'Classify this review: {text}' takes column text of each row, "
        "{prompt} the prompt itself. {{ and }} are braces.",
        min_length=1,
    )
    examples: Examples = option(
        (),
        "Questions with the answers that are wanted, to learn from: a .jsonl file with prompt and "
        "answer a line, or a list in a preset. Two to eight help small models most.",
    )
    image: Texts = option(
        (), "A picture to ask about; needs a vision model. May be given several times."
    )
    projector: str | None = option(
        None,
        "The vision half (mmproj) of a .gguf model that sees, by path or hf:. Catalog models bring "
        "their own.",
    )
    json_schema: Schema | None = option(
        None,
        "The answer is JSON that obeys this: a JSON Schema file, or in short 'name str, age int, "
        "tags [str]'.",
        flags=("--schema",),
    )
    grammar: Grammar | None = option(
        None, "The answer obeys this grammar: a .gbnf file, as llama.cpp has them."
    )
    choices: Choices | None = option(
        None,
        "The answer is one of these, such as yes,no,maybe; the record has the probability of each.",
    )
    raw: bool = option(
        False, "Continue the prompt as it stands, without the model's chat template: base models."
    )
    thinking: bool | None = option(
        None,
        "Whether a reasoning model thinks before it answers; left out, as it is used to. Thoughts "
        "are no part of the answer, and in the record.",
    )
    temperature: float | None = option(
        None,
        "How freely words are chosen. 0: always the likeliest, for facts and data; 0.7: chat; "
        "above 1.2 it rambles. Left out: the model's own, and 0 with --schema and --grammar.",
        ge=0,
        le=5,
    )
    top_p: float | None = option(
        None,
        "Choose among the likeliest words that make up this share. 0.9 to 0.95; 1 switches it off.",
        gt=0,
        le=1,
    )
    top_k: int | None = option(
        None, "Choose among so many of the likeliest words. 20 to 40; 0 switches it off.", ge=0
    )
    min_p: float | None = option(
        None,
        "Leave out words less likely than this share of the likeliest. 0.05 keeps hot text sane; "
        "0 switches it off.",
        ge=0,
        le=1,
    )
    repeat_penalty: float | None = option(
        None,
        "Against repetition: 1.1 a little, 1.3 and more avoids even words it needs; 1 is off.",
        gt=0,
        le=10,
    )
    frequency_penalty: float | None = option(
        None, "Against words that came often: 0.2 to 1; 0 is off.", ge=-2, le=2
    )
    presence_penalty: float | None = option(
        None, "Against words that came at all: 0.2 to 1.5; 0 is off.", ge=-2, le=2
    )
    max_tokens: int | None = option(
        None,
        "Longest answer, in tokens (about 3/4 of a word). Left out: as the context has room, at "
        "most 1024.",
        ge=1,
    )
    min_tokens: int = option(0, "The answer does not end before so many tokens.", ge=0)
    stop: Texts = option((), "The answer ends before this text. May be given several times.")
    seed: Seed | None = option(
        None,
        "What chance goes by: a number, or random. Left out, it is derived from the prompt, so "
        "that the same command gives the same answers.",
    )
    truncate: bool = option(
        False, "Shorten a prompt that is longer than the context, instead of refusing it."
    )


class ChatExecution(Execution):
    context_length: int | None = option(
        None,
        "Tokens of prompt and answer together. Left out: what the model was trained for, at most "
        "8192. More takes more memory.",
        ge=64,
        le=10_000_000,
    )
    gpu_layers: Literal["auto"] | Annotated[int, Field(ge=0)] = option(
        "auto",
        "Layers of the model that run on the GPU. auto: as many as fit into its free memory.",
    )
    parallel: Annotated[
        Literal["auto"] | Annotated[int, Field(ge=1, le=64)], BeforeValidator(auto_or_int)
    ] = option(
        "auto",
        "Answers that are made at once, each going on from what all prompts begin with. auto: 8; "
        "on a CPU only if each then comes out as it does alone, which is tried. Else rounding may "
        "change a word.",
    )
    objects: bool = option(
        False, "Print the objects of --schema alone, one a line, without the prompts before them."
    )
