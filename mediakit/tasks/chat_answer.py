"""What becomes of a language model's reply: its answer, its thoughts, what the record says."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mediakit.errors import ItemError, UserError
from mediakit.media.schemas import validate
from mediakit.prompts.thinking import Thinking
from mediakit.tasks.chat_options import ChatParams
from mediakit.tasks.chat_request import request

if TYPE_CHECKING:
    from mediakit.engines.llama.model import Llama
    from mediakit.engines.llama.request import Reply, Request

Hear = Callable[[str], None]  # gets the answer in pieces; may raise Stopped


@dataclass(slots=True)
class Question:
    """What an item asks, and the bytes of the pictures it asks about."""

    text: str
    images: tuple[bytes, ...] = ()

    @property
    def nbytes(self) -> int:
        return 1000 + 4 * len(self.text) + sum(map(len, self.images))


@dataclass(slots=True)
class Answer:
    reply: "Reply"
    text: str
    thought: str = ""
    object: Any = None

    @property
    def nbytes(self) -> int:
        return 1000 + 4 * (len(self.text) + len(self.thought))


class Listener:
    """Parts what a model says into answer and thoughts, as it comes."""

    def __init__(self, request: "Request", hear: Hear = lambda piece: None) -> None:
        self._hear = hear
        self._text = ""
        # else the prompt or a grammar says what comes, and <think> is text like any other
        thinks = request.raw is None and not request.grammar
        self._thinking = Thinking() if thinks else None

    def take(self, piece: str, last: bool = False) -> None:
        piece = self._thinking.answer(piece, last) if self._thinking else piece
        self._text += piece
        self._hear(piece)

    def end(self, reply: "Reply") -> tuple[str, str]:
        """The answer and the thoughts; ItemError where tokens sufficed for thoughts alone."""
        self.take("", last=True)
        thought = self._thinking.thought if self._thinking else ""
        if thought and reply.finish_reason == "length" and not self._text.strip():
            raise ItemError(
                "answer_cut", "all tokens went into thoughts; raise --max-tokens, or --no-thinking"
            )
        return self._text, thought.strip()


def answered(model: "Llama", request: "Request", hear: Hear) -> tuple["Reply", str, str]:
    """A model's reply, the answer in it and the thoughts. ItemError."""
    listener = Listener(request, hear)
    reply = model.reply(request, listener.take)
    return reply, *listener.end(reply)


def answer(model: "Llama", params: ChatParams, question: Question, hear: Hear) -> Answer:
    """The answer of a model that is loaded, as the options want it. ItemError."""
    return _answer(params, *answered(model, request(params, question.text, question.images), hear))


def answers(
    model: "Llama", asked: Sequence[tuple[ChatParams, Question]], check: Callable[[], None]
) -> Iterator[tuple[int, Answer | ItemError | UserError]]:
    """The number of each question, and its answer, as they end; several at once."""
    requests = [request(params, question.text, question.images) for params, question in asked]
    for number, reply in model.replies(requests, check):
        if isinstance(reply, ItemError | UserError):
            yield number, reply
            continue
        listener = Listener(requests[number])
        listener.take(reply.text)
        try:
            yield number, _answer(asked[number][0], reply, *listener.end(reply))
        except ItemError as error:
            yield number, error


def _answer(params: ChatParams, reply: "Reply", text: str, thought: str) -> Answer:
    if params.grammar and reply.finish_reason == "length":
        raise ItemError("answer_cut", "the answer ended before its grammar did; raise --max-tokens")
    found = Answer(reply, text if params.raw else text.rstrip(), thought)
    if params.choices:
        found.text = reply.text
    if params.json_schema:
        found.object = validate(params.json_schema, text)
        found.text = json.dumps(found.object, ensure_ascii=False)
    return found


def warnings_of(found: Answer) -> list[str]:
    """What there is to say of an answer, beside what the model's side says."""
    cut = found.reply.finish_reason == "length"
    said = ["the answer was cut off: --max-tokens, or the context, is full"] if cut else []
    return [*found.reply.warnings, *said]


def result_of(found: Answer) -> dict[str, Any]:
    """What the record says of an answer."""
    reply = found.reply
    rate = reply.completion_tokens / reply.seconds if reply.seconds else 0.0
    result = {
        "text": found.text,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.prompt_tokens,
        "cached_tokens": reply.cached_tokens,
        "completion_tokens": reply.completion_tokens,
        "tokens_per_second": round(rate, 2),
        "first_token_seconds": round(reply.first_token_seconds, 4),
    }
    if found.object is not None:
        result["object"] = found.object
    if found.thought:
        result["thinking"] = found.thought
    if reply.probabilities is not None:
        result["probabilities"] = {k: round(v, 6) for k, v in reply.probabilities.items()}
    return result
