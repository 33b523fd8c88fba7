"""What a language model is asked, and what it answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation; `images` are the bytes of whole files, shown before the text."""

    role: str  # system, user or assistant
    content: str
    images: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the next token is chosen, in llama.cpp's names and with its meaning of 0 (top_k, min_p:
    off); temperature 0 takes the most probable. The penalties look back 64 tokens."""

    temperature: float = 0.8
    top_p: float = 0.95
    top_k: int = 40
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Request:
    """`messages`, which the model's own template makes a prompt of; or `raw`, a prompt as it is.

    `variables` are the template's own, such as enable_thinking. `grammar` is GBNF with a rule
    `root`. With `choices` the answer is one of them, and nothing is
    sampled. `truncate`: cut what is too long for the context out of the middle of the longest
    message, instead of refusing it.
    """

    messages: tuple[Message, ...] = ()
    raw: str | None = None
    sampling: Sampling = Sampling()
    max_tokens: int = 512
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    grammar: str | None = None
    choices: tuple[str, ...] = ()
    truncate: bool = False
    variables: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reply:
    """`finish_reason` stop: the model or a stop sequence ended it; length: `max_tokens` or the
    context did; choice: it is one of the choices, whose `probabilities` add up to 1.

    `cached_tokens` of the prompt were there from the prompt before. `seconds` were spent on the
    answer alone, `first_token_seconds` before its first token was there.
    """

    text: str
    finish_reason: Literal["stop", "length", "choice"]
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    seconds: float
    first_token_seconds: float
    probabilities: Mapping[str, float] | None = None
    warnings: tuple[str, ...] = ()
