"""What a language model is asked, from the options of chat."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from mediakit.tasks.chat_options import ChatParams

if TYPE_CHECKING:
    from mediakit.engines.llama.request import Message, Request

# What counts where neither the user nor the model's entry says anything
NEUTRAL = {
    "temperature": 0.8,
    "top_p": 0.95,
    "top_k": 40,
    "min_p": 0.05,
    "repeat_penalty": 1.0,
    "frequency_penalty": 0.0,
    "presence_penalty": 0.0,
    "max_tokens": 1024,
}


def request(params: ChatParams, text: str, images: tuple[bytes, ...] = ()) -> "Request":
    """One question."""
    from mediakit.engines.llama.request import Message

    turns = [*before(params), Message("user", text, images)]
    return asking(params, turns, raw=text if params.raw else None)


def before(params: ChatParams) -> "list[Message]":
    """What comes before any question, the same for a whole batch."""
    from mediakit.engines.llama.request import Message

    turns = [Message("system", params.system)] if params.system else []
    for example in params.examples:
        turns += [Message("user", example.prompt), Message("assistant", example.answer)]
    return turns


def asking(params: ChatParams, turns: "Iterable[Message]", raw: str | None = None) -> "Request":
    """A request whose last turn is the question; see Request."""
    from mediakit.engines.llama.request import Request, Sampling

    p, grammar = params, params.grammar
    if p.json_schema:
        from mediakit.engines.llama.grammars import of_schema

        grammar = of_schema(p.json_schema)
    sampling = Sampling(
        p.temperature, p.top_p, p.top_k, p.min_p, p.repeat_penalty, p.frequency_penalty,
        p.presence_penalty, int(p.seed or 0),
    )  # fmt: skip
    return Request(
        messages=() if raw is not None else tuple(turns),
        raw=raw,
        sampling=sampling,
        max_tokens=p.max_tokens or NEUTRAL["max_tokens"],
        min_tokens=p.min_tokens,
        stop=p.stop,
        grammar=grammar,
        choices=p.choices or (),
        truncate=p.truncate,
        variables={} if p.thinking is None else {"enable_thinking": p.thinking},
    )
