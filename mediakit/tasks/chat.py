"""chat: prompts in, a language model's answers out: as text, or as JSON that obeys a schema."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit import device
from mediakit.batch.item import Decoded, Item, Made, Recipe, Row, Source
from mediakit.batch.task import Emit, Spread, Task, Useless
from mediakit.engines.llama.fit import Fit
from mediakit.errors import ItemError, UserError, show
from mediakit.heap import uncollected
from mediakit.models.cache import ModelCache
from mediakit.models.engines import LLAMA_ENGINE
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.tasks.chat_answer import (
    Answer,
    Question,
    answer,
    answers,
    result_of,
    warnings_of,
)
from mediakit.tasks.chat_checks import check_params, shape, useless
from mediakit.tasks.chat_options import ChatExecution, ChatParams
from mediakit.tasks.chat_request import NEUTRAL
from mediakit.tasks.chat_spread import Spreader, asked

if TYPE_CHECKING:
    from mediakit.engines.llama.model import Llama

TEXTS = frozenset({".txt", ".md"})  # files of a directory that are prompts
_PARALLEL = 8  # answers at once
_ROUNDS = 4  # of them in a batch: as one ends, the next begins


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
    keeps_freed = False  # llama.cpp takes its memory once
    gathers = frozenset({".jsonl", ".csv"})
    takes_piped = True

    def __init__(self, execution: ChatExecution, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self.execution: ChatExecution = execution
        self._parallel = self._at_once = 1  # asked for, and so many they are
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
        # not --threads: of a model that is partly on a GPU, they compute the rest
        return useless(told, values, outputs)

    # working

    def begin(self) -> None:
        e = self.execution
        self._device = device.find(e.device, _gpus)
        self._threads = e.threads or (1 if e.exact else device.free_cores())
        usual = 1 if e.exact else _PARALLEL
        self._parallel = usual if e.parallel == "auto" else e.parallel
        self.batch_size = 1 if self._parallel == 1 else self._parallel * _ROUNDS

    def warm_up(self) -> None:
        with uncollected():
            import_module("mediakit.engines.llama.engine")

    def load_ahead(self, recipe: Recipe, begun: Callable[[], None]) -> None:
        params = recipe.params
        assert isinstance(params, ChatParams)
        if params.projector:  # its trial would outlive a command that ends meanwhile
            self.warm_up()
            return
        with uncollected():
            renderer = import_module("mediakit.engines.llama.renderer")
            if not params.raw:
                renderer.prepare()
            plain = not (shape(params) or params.grammar or params.choices or params.min_tokens)
            try:
                with self.model(recipe, begun, plain):
                    pass
            finally:
                renderer.dismiss()

    def used(self) -> Mapping[str, Any]:
        return {
            "device": self._device,
            "threads": self._threads,
            "gpu_layers": self.execution.gpu_layers,
            "context_length": self.execution.context_length,
            "parallel": self._at_once,
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

    def compute(
        self, batch: list[tuple[Item, Decoded]], emit: Emit
    ) -> Iterator[tuple[int, Answer | ItemError | UserError]]:
        done = 0
        for numbers in self._groups(batch):
            first = batch[numbers[0]][0]
            assert first.recipe is not None
            with self.model(first.recipe) as model:
                asked = [(params_of(batch[n][0]), batch[n][1].media) for n in numbers]
                if len(asked) > 1:
                    found = answers(model, asked, partial(emit, done / len(batch)))
                else:
                    found = self._alone(model, *asked[0], emit)
                for number, result in found:
                    self._at_once = model.at_once
                    yield numbers[number], _named(batch[numbers[number]][0], result)
                    done += 1

    def _alone(
        self, model: "Llama", params: ChatParams, question: Question, emit: Emit
    ) -> Iterator[tuple[int, Answer | ItemError]]:
        if self.execution.exact:
            model.forget()
        try:
            yield 0, answer(model, params, question, partial(emit, 0.0, ""))
        except ItemError as error:
            yield 0, error

    def _groups(self, batch: list[tuple[Item, Decoded]]) -> list[list[int]]:
        """What is answered at once: by one model; or each by itself."""
        if self._parallel == 1:
            return [[number] for number in range(len(batch))]
        groups: dict[tuple[str, ...], list[int]] = {}
        for number, (item, _) in enumerate(batch):
            assert item.recipe is not None
            models = tuple(spec.sha256 for spec in item.recipe.models.values())
            groups.setdefault(models, []).append(number)
        return list(groups.values())

    def model(
        self, recipe: Recipe, begun: Callable[[], None] = lambda: None, plain: bool = False
    ) -> "AbstractContextManager[Llama]":
        """The recipe's model, loaded or found in the cache; for `begun` see load_ahead, for
        `plain` the engine."""
        e, models = self.execution, recipe.models
        spec, projector = models["model"], models.get("projector")
        layers = None if e.gpu_layers == "auto" else e.gpu_layers

        def arguments() -> tuple[Any, ...]:
            files = list(self.store.files(spec))
            if projector:
                self.store.pull(projector)
                files[1:] = self.store.files(projector)
            sight = files[1] if len(files) > 1 else None
            alike = e.parallel == "auto" and self._device == "cpu"
            fit = Fit(
                self._device, self._threads, layers, e.context_length, self._parallel, alike,
                e.memory_budget,
            )  # fmt: skip
            return files[0], fit, sight, begun, plain

        key = (spec.sha256, projector and projector.sha256, e.context_length, self._parallel)
        return self.loaded(spec, key, self._device, arguments)

    def step_down(self) -> str | None:
        return None

    def encode(self, item: Item, media: Answer, file: Path) -> Made:
        file.write_text(media.text + "\n", encoding="utf-8")
        is_json = media.object is not None
        kind = "application/json" if is_json else "text/plain"
        return Made(kind, result_of(media), warnings_of(media), "json" if is_json else "text")

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


def _named(item: Item, result: Answer | ItemError | UserError) -> Answer | ItemError | UserError:
    if isinstance(result, ItemError):
        return ItemError(result.code, f"{item.source.called}: {result.message}")
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
