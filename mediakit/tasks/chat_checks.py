"""Which options of chat contradict each other, and which would do nothing."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mediakit.batch.task import Useless
from mediakit.errors import UserError
from mediakit.params import Batch, flag
from mediakit.tasks.chat_options import ChatExecution, ChatParams

# Two of these contradict each other; of one the answer is the likeliest, unless told otherwise.
_SHAPES = ("json_schema", "grammar", "choices")
_CHANCE = ("top_p", "top_k", "min_p", "seed")
_WRITING = ("temperature", *_CHANCE, "max_tokens", "min_tokens", "stop", "repeat_penalty",
            "frequency_penalty", "presence_penalty")  # fmt: skip
_TURNS = ("system", "examples", "image", "thinking")


def shape(params: ChatParams) -> str | None:
    """The option whose form the answer has; UserError for two."""
    shapes = [name for name in _SHAPES if getattr(params, name)]
    if len(shapes) > 1:
        raise UserError(
            "usage", f"{_flag(shapes[0])} and {_flag(shapes[1])} contradict each other; give one"
        )
    return shapes[0] if shapes else None


def check_params(params: ChatParams) -> None:
    """UserError for Params that can't stand together, whoever gave them."""
    if params.max_tokens and params.min_tokens > params.max_tokens:
        raise UserError("usage", "--min-tokens is more than --max-tokens")
    if params.raw:
        for name in _TURNS:
            if getattr(params, name) not in (None, ()):
                raise _useless(name, "does nothing with --raw", "leave one out")
    if params.projector and not params.image:
        raise _useless("projector", "is for pictures", "add --image")


def useless(
    told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
) -> Iterator[Useless]:
    """See Task.useless."""
    if "objects" in told and values["objects"]:
        for name in ("out", "json_lines"):
            if values[name]:
                yield "objects", f"does nothing with {_flag(name)}", "leave that out"
    if "parallel" in told and values["exact"]:
        yield "parallel", "does nothing with --exact", "leave that out"
    if "list_file" in told or not outputs:
        return
    if "objects" in told and values["objects"] and not values["json_schema"]:
        yield "objects", "prints the objects of --schema", "add that"
    form = next((name for name in _SHAPES if values[name]), None)
    nothing: tuple[str, ...] = ()
    beside = ""
    if values["choices"]:
        nothing, beside = _WRITING, "with --choices"
    elif values["temperature"] == 0:
        nothing, beside = _CHANCE, "at temperature 0"
    elif form and values["temperature"] is None:
        nothing, beside = _CHANCE, f"with {_flag(form)} unless there is a --temperature"
    for name in nothing:
        if name in told:
            yield name, f"does nothing {beside}", ""


def _flag(name: str) -> str:
    return flag(name, ChatParams, ChatExecution, Batch)


def _useless(name: str, why: str, cure: str) -> UserError:
    return UserError("useless_option", f"{_flag(name)} {why}: {cure}, or leave it out")
