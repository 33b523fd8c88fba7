"""What a language model is asked, from the options of chat."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from mediakit.engines.llama.request import Message, Request, Sampling
from mediakit.tasks.chat_options import ChatParams

# What counts where neither the user nor the model's entry says anything
NEUTRAL: dict[str, Any] = {**asdict(Sampling()), "max_tokens": 1024}
del NEUTRAL["seed"]
_RANDOM = 2**32 - 1  # the seed by which llama.cpp means any


def request(params: ChatParams, text: str, images: tuple[bytes, ...] = ()) -> Request:
    """One question."""
    turns = [*before(params), Message("user", text, images)]
    return asking(params, turns, raw=text if params.raw else None)


def before(params: ChatParams) -> list[Message]:
    """What comes before any question, the same for a whole batch."""
    turns = [Message("system", params.system)] if params.system else []
    for example in params.examples:
        turns += [Message("user", example.prompt), Message("assistant", example.answer)]
    return turns


def asking(params: ChatParams, turns: Iterable[Message], raw: str | None = None) -> Request:
    """A request whose last turn is the question; see Request."""
    p, grammar = params, params.grammar
    if p.json_schema:
        from mediakit.engines.llama.grammars import of_schema

        grammar = of_schema(p.json_schema)
    settled = {name: getattr(p, name) for name in NEUTRAL}
    max_tokens = settled.pop("max_tokens")
    return Request(
        messages=() if raw is not None else tuple(turns),
        raw=raw,
        sampling=Sampling(**settled, seed=int(p.seed or 0) % _RANDOM),
        max_tokens=max_tokens,
        min_tokens=p.min_tokens,
        stop=p.stop,
        grammar=grammar,
        choices=p.choices or (),
        truncate=p.truncate,
        variables={} if p.thinking is None else {"enable_thinking": p.thinking},
    )
