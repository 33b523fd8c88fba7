"""chat: prompts in, a language model's answers out: as text, or as JSON that obeys a schema."""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit import device
from mediakit.batch.item import Decoded, Item, Made, Recipe, Row, Source
from mediakit.batch.task import Emit, Spread, Task, Useless
from mediakit.errors import ItemError, UserError, show
from mediakit.media.schemas import validate
from mediakit.models.cache import ModelCache
from mediakit.models.given import LLAMA_ENGINE
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.prompts.thinking import Thinking
from mediakit.tasks.chat_checks import check_params, shape, useless
from mediakit.tasks.chat_options import ChatExecution, ChatParams
from mediakit.tasks.chat_request import NEUTRAL, request
from mediakit.tasks.chat_spread import Spreader, asked

if TYPE_CHECKING:
    from mediakit.engines.llama.engine import Llama
    from mediakit.engines.llama.request import Reply, Request

TEXTS = frozenset({".txt", ".md"})  # files of a directory that are prompts


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


class Chat(Task):
    name = "chat"
    summary = "Ask a language model: one question, a conversation, or thousands of rows."
    Params = ChatParams
    Execution = ChatExecution
    input_role = "prompt"
    extra = "chat"
    engine = LLAMA_ENGINE
    packages = ("llama_cpp", "jinja2", "jsonschema")
    takes_text = True
    suffixes = TEXTS
    output_suffixes = frozenset({".txt", ".json"})
    prints = True
    gathers = frozenset({".jsonl", ".csv"})
    takes_piped = True

    def __init__(self, execution: ChatExecution, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self.execution: ChatExecution = execution
        self._device = ""
        self._threads = 0

    # planning

    @classmethod
    def model_names(cls, params: ChatParams) -> Mapping[str, str]:
        names = {"model": params.model}
        return names | ({"projector": params.projector} if params.projector else {})

    @classmethod
    def suffix(cls, name: str, params: ChatParams) -> str:
        return ".json" if params.json_schema else ".txt"

    @classmethod
    def spreading(cls, limit: int | None) -> Spread:
        return Spreader()

    @classmethod
    def own_name(cls, source: Source, params: ChatParams, fingerprint: str) -> str | None:
        return f"{source.relative}_{fingerprint}" if source.is_text else None

    @classmethod
    def check_output(cls, name: str, params: ChatParams) -> None:
        if name.endswith(".json") and not params.json_schema:
            raise UserError("usage", f"{show(name)}: an answer is JSON only with --schema")

    @classmethod
    def settle(
        cls, params: ChatParams, given: Collection[str], models: Mapping[str, ModelSpec]
    ) -> ChatParams:
        form = shape(params)
        check_params(params)
        if params.grammar:
            from mediakit.engines.llama.gbnf import check_gbnf

            check_gbnf(params.grammar)
        neutral = NEUTRAL | ({"temperature": 0.0} if form else {})
        own = {"temperature"} - set(given) if form else set()
        unsaid = {k: v for k, v in neutral.items() if k in own or getattr(params, k) is None}
        return params.model_copy(update=unsaid)

    @classmethod
    def useless(
        cls, told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
    ) -> Iterator[Useless]:
        return useless(told, values)  # of a model that is partly on a GPU, threads compute the rest

    # working

    def begin(self) -> None:
        e = self.execution
        self._device = device.find(e.device, _gpus)
        self._threads = e.threads or (1 if e.exact else device.free_cores())

    def warm_up(self) -> None:
        with suppress(Exception):  # `compute` says what is wrong
            import_module("mediakit.engines.llama.engine")

    def used(self) -> Mapping[str, Any]:
        return {
            "device": self._device,
            "threads": self._threads,
            "gpu_layers": self.execution.gpu_layers,
            "context_length": self.execution.context_length,
            "exact": self.execution.exact,
        }

    def decode(self, item: Item) -> Decoded:
        source, params = item.source, params_of(item)
        states, images = [], []
        text = source.path
        if not source.is_text:
            data, state = source.read()
            states.append(state)
            text = asked(params.template, _text(data, source.path), {})
        for path in source.beside.values():
            data, state = Source(path, path).read()
            images.append(data)
            states.append(state)
        return Decoded(Question(text, tuple(images)), tuple(states))

    def compute(self, batch: list[tuple[Item, Decoded]], emit: Emit) -> list[Any]:
        results: list[Any] = []
        for item, decoded in batch:
            assert item.recipe is not None
            with self.model(item.recipe) as model:
                if self.execution.exact:
                    model.forget()
                try:
                    results.append(answer(model, params_of(item), decoded.media, emit))
                except ItemError as e:
                    results.append(ItemError(e.code, f"{item.source.called}: {e.message}"))
        return results

    def model(self, recipe: Recipe) -> "AbstractContextManager[Llama]":
        """The recipe's model, loaded or found in the cache."""
        e, models = self.execution, recipe.models
        spec, projector = models["model"], models.get("projector")
        layers = None if e.gpu_layers == "auto" else e.gpu_layers

        def arguments() -> tuple[Any, ...]:
            files = list(self.store.files(spec))
            if projector:
                self.store.pull(projector)
                files[1:] = self.store.files(projector)
            sight = files[1] if len(files) > 1 else None
            return files[0], self._device, self._threads, layers, e.context_length, sight

        key = (spec.sha256, projector and projector.sha256, e.context_length)
        return self.loaded(spec, key, self._device, arguments)

    def step_down(self) -> str | None:
        return None

    def encode(self, item: Item, media: Answer, file: Path) -> Made:
        file.write_text(media.text + "\n", encoding="utf-8")
        is_json = media.object is not None
        kind = "application/json" if is_json else "text/plain"
        return Made(
            kind, result_of(media), list(media.reply.warnings), "json" if is_json else "text"
        )

    @classmethod
    def row(cls, item: Item, result: Mapping[str, Any]) -> Row:
        source = item.source
        name = {"input": source.path} if not source.is_text else {"prompt": source.path}
        kept = {k: v for k, v in result.items() if k in ("object", "probabilities", "thinking")}
        return {**({} if source.columns else name), "answer": result["text"], **kept}

    def line(self, item: Item, result: Mapping[str, Any]) -> str:
        if self.execution.objects:
            return str(result["text"])
        name = " ".join(item.source.path.split())
        return f"{show(name)}\t{' '.join(result['text'].split())}"


def answered(
    model: "Llama", request: "Request", hear: Callable[[str], None]
) -> tuple["Reply", str, str]:
    """A model's reply, the answer in it and the thoughts; `hear` gets the answer in pieces and may
    raise Stopped. ItemError, also where tokens sufficed for thoughts alone."""
    thinking, text = Thinking(), ""
    # else the prompt or a grammar says what comes, and <think> is text like any other
    thinks = request.raw is None and not request.grammar

    def take(piece: str, last: bool = False) -> None:
        nonlocal text
        piece = thinking.answer(piece, last) if thinks else piece
        text += piece
        hear(piece)

    reply = model.reply(request, take)
    take("", last=True)
    if thinking.thought and reply.finish_reason == "length" and not text.strip():
        raise ItemError(
            "answer_cut", "all tokens went into thoughts; raise --max-tokens, or --thinking false"
        )
    return reply, text, thinking.thought.strip()


def answer(model: "Llama", params: ChatParams, question: Question, emit: Emit) -> Answer:
    """The answer of a model that is loaded, as the options want it. ItemError."""
    asked_for = request(params, question.text, question.images)
    reply, text, thought = answered(model, asked_for, lambda piece: emit(0.0, "", piece))
    if params.grammar and reply.finish_reason == "length":
        raise ItemError("answer_cut", "the answer ended before its grammar did; raise --max-tokens")
    found = Answer(reply, text if params.raw else text.rstrip(), thought)
    if params.choices:
        found.text = reply.text
    if params.json_schema:
        found.object = validate(params.json_schema, text)
        found.text = json.dumps(found.object, ensure_ascii=False)
    return found


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


def params_of(item: Item) -> ChatParams:
    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, ChatParams)
    return params


def _text(data: bytes, path: str) -> str:
    try:
        return data.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as e:
        raise ItemError(
            "corrupt", f"{show(path)}: byte {e.start + 1} is not UTF-8; save it as that"
        ) from None


def _gpus() -> list[str]:
    from mediakit.engines.llama.devices import names

    return names()
