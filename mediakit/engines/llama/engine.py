"""How a GGUF file becomes a model that answers, one request after the other."""

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mediakit.engines.llama import choices
from mediakit.engines.llama.context import ContextFull
from mediakit.engines.llama.generation import Emit, Written, generate
from mediakit.engines.llama.loading import Fit, Opened, open_model
from mediakit.engines.llama.prompts import Prompts, Warn, positions
from mediakit.engines.llama.request import Reply, Request
from mediakit.engines.llama.sampling import Candidates, Grammars, Sampler
from mediakit.engines.llama.templates import ChatTemplate
from mediakit.engines.llama.trial import Trial
from mediakit.engines.llama.vision_templates import template_for
from mediakit.errors import ItemError, UserError
from mediakit.models.gguf import Header, header

if TYPE_CHECKING:
    from mediakit.engines.llama.vision import Projector

_LONGEST_CHOICE = 256  # tokens


def load(
    file: Path,
    device: str,
    threads: int,
    gpu_layers: int | None,
    context_length: int | None,
    projector: Path | None = None,
) -> "Llama":
    """Open a language model in GGUF, with the `projector` that lets it see pictures.

    `device` is cpu, or one of `devices.names()`. `gpu_layers` None: as many as fit there.
    `context_length` None: see memory.context_length. Raises UserError unknown_model, bad_weights,
    wrong_model or bad_device, and OutOfMemory.
    """
    facts = header(file)
    facts.check_chat(file)
    trial, source = None, facts.chat_template
    if projector is not None:
        header(projector).check_projector(projector)
        trial = Trial(file, projector)
        source = source or template_for(facts.architecture, facts.name)
    template = None
    if source.strip():  # a base model has none
        template = ChatTemplate(source, facts.bos, facts.eos)
        template.start()  # a process gets ready while the model loads
    with ExitStack() as undo:
        if template is not None:
            undo.callback(template.close)
        opened = open_model(file, facts, Fit(device, threads, gpu_layers, context_length))
        undo.callback(opened.context.close)
        sight = None
        if projector is not None and trial is not None:
            trial.check()
            sight = _sight(projector, opened, threads)
        undo.pop_all()
    return Llama(facts, opened, template, sight)


def _sight(file: Path, opened: Opened, threads: int) -> "Projector":
    # it reads pictures, which takes libraries that nothing else here needs
    from mediakit.engines.llama.vision import Projector

    return Projector(file, opened.context, threads, on_gpu=opened.gpu_layers > 0)


class Llama:
    """A loaded model. One thread at a time."""

    def __init__(
        self,
        facts: Header,
        opened: Opened,
        template: ChatTemplate | None,
        sight: "Projector | None",
    ) -> None:
        self._context = opened.context
        self._template = template
        self._sight = sight
        self._prompts = Prompts(opened.context, self._render, sight.look if sight else None)
        self._candidates = Candidates(opened.context.vocabulary)
        self._grammars = Grammars(opened.context.vocab)
        self.nbytes = opened.nbytes
        self.gpu_layers = opened.gpu_layers
        self.context_length = opened.context.size
        self.trained_context = facts.context_length

    def reply(self, request: Request, emit: Emit = lambda text: None) -> Reply:
        """The answer to one request.

        What a prompt shares with the beginning of the one before is not evaluated again. `emit`
        gets each new piece of text, whole characters and no part of a stop sequence; it is also
        called with nothing, between the batches of a prompt and while text is held back, and what
        it raises passes. ItemError context_too_long, failed and those of ChatTemplate.render;
        UserError bad_grammar, no_template; OutOfMemory.
        """
        begin = time.perf_counter()
        warnings: list[str] = []
        if self.context_length > self.trained_context:
            warnings.append(
                f"the model was trained for a context of {self.trained_context} tokens, not "
                f"{self.context_length}: it may lose the thread"
            )
        room = self.context_length - min(request.max_tokens, self.context_length // 4)
        prompt = self._prompts.fit(request, room, warnings.append)
        length = positions(prompt)
        self._check_fits(length, 1)
        answer = _LONGEST_CHOICE if request.choices else request.max_tokens
        self._context.reserve(length + answer)
        try:
            cached = self._context.evaluate(prompt, lambda: emit(""))
            evaluated = time.perf_counter()
            written, chances = self._answer(request, emit)
        except ContextFull:  # pictures may take more room than they have positions
            raise self._too_long(length) from None
        end = time.perf_counter()
        return Reply(
            written.text,
            written.finish_reason,
            prompt_tokens=length,
            cached_tokens=positions(prompt[:cached]),
            completion_tokens=written.tokens,
            seconds=end - evaluated,
            first_token_seconds=written.first - begin,
            probabilities=chances,
            warnings=tuple(warnings),
        )

    def _answer(self, request: Request, emit: Emit) -> tuple[Written, Mapping[str, float] | None]:
        if request.choices:
            return self._choose(request.choices, emit)
        grammar = self._grammars.begin(request.grammar) if request.grammar is not None else None
        with Sampler(request.sampling, self._candidates, grammar) as sampler:
            return generate(self._context, request, sampler, lambda: self._ending, emit), None

    def _choose(self, answers: Sequence[str], emit: Emit) -> tuple[Written, Mapping[str, float]]:
        tokens = {text: self._context.tokenize(text, special=False) for text in answers}
        longest = max(map(len, tokens.values()))
        if longest > _LONGEST_CHOICE:
            raise UserError(
                "usage", f"a choice of {longest} tokens; {_LONGEST_CHOICE} are the most"
            )
        self._check_fits(self._context.position, longest)
        chances = choices.probabilities(self._context, tokens, self._ending, lambda: emit(""))
        best = max(answers, key=lambda text: chances[text])  # of equals the first
        emit(best)
        return Written(best, "choice", len(tokens[best]), time.perf_counter()), chances

    def _render(
        self, messages: Sequence[Mapping[str, Any]], warn: Warn, /, **variables: Any
    ) -> str:
        template = self._template or ChatTemplate("", "", "")  # which says that there is none
        return template.render(messages, warn=warn, **variables)

    def _check_fits(self, prompt: int, answer: int) -> None:
        """ItemError context_too_long unless there is room for the answer's first tokens."""
        if prompt + answer > self.context_length:
            raise self._too_long(prompt)

    def _too_long(self, prompt: int) -> ItemError:
        return ItemError(
            "context_too_long",
            f"the prompt has {prompt} tokens, and the context holds {self.context_length} with "
            "the answer; shorten it, raise --context-length, or allow --truncate",
        )

    @cached_property
    def _ending(self) -> NDArray[np.int32]:
        """All tokens that end a turn."""
        context = self._context
        return np.array(
            [token for token in range(context.vocabulary) if context.ends(token)], np.int32
        )

    def count(self, text: str) -> int:
        """Tokens that a text is."""
        return len(self._context.tokenize(text, special=False))

    def forget(self) -> None:
        """Let the next request share nothing with the last one: its answer is then the same to
        the last bit whatever was asked before."""
        self._context.keep(0)

    def close(self) -> None:
        """Give the memory back."""
        self._grammars.close()
        if self._sight is not None:
            self._sight.close()
        self._context.close()
        if self._template is not None:
            self._template.close()
