"""A loaded language model, which answers one request after the other, or several at once."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mediakit.engines.llama.context import ContextFull, Prompt
from mediakit.engines.llama.generation import Emit, Going, Written, generate
from mediakit.engines.llama.loading import Opened
from mediakit.engines.llama.prompts import Prompts, Warn, positions
from mediakit.engines.llama.request import Reply, Request
from mediakit.engines.llama.sampling import Grammars, Sampler
from mediakit.engines.llama.templates import ChatTemplate
from mediakit.errors import ItemError, UserError
from mediakit.models.gguf import Header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mediakit.engines.llama.candidates import Candidates
    from mediakit.engines.llama.parallel import Ask
    from mediakit.engines.llama.vision import Projector

_LONGEST_CHOICE = 256  # tokens


@dataclass(frozen=True, slots=True)
class _Asked:
    """A request that is answered beside others."""

    number: int
    ask: "Ask"
    sampler: Sampler
    warnings: list[str]


class Llama:
    """A loaded model. One thread at a time."""

    def __init__(
        self,
        facts: Header,
        opened: Opened,
        template: ChatTemplate | None,
        sight: "Projector | None",
        sequences: int,
    ) -> None:
        self._context = opened.context
        self._template = template
        self._sight = sight
        self._prompts = Prompts(opened.context, self._render, sight.look if sight else None)
        self._grammars = Grammars(opened.context.vocab)
        self._sequences = sequences
        self.at_once = 1  # answers, as the last one was made
        self.nbytes = opened.nbytes
        self.gpu_layers = opened.gpu_layers
        self.context_length = opened.context.size
        self.trained_context = facts.context_length

    @property
    def sequences(self) -> int:
        """Answers that `replies` makes at once."""
        return self._sequences if self._context.agrees is not False else 1

    def reply(self, request: Request, emit: Emit = lambda text: None) -> Reply:
        """The answer to one request.

        What a prompt shares with the beginning of the one before is not evaluated again. `emit`
        gets each new piece of text, whole characters and no part of a stop sequence; it is also
        called with nothing, between the batches of a prompt and while text is held back, and what
        it raises passes. ItemError context_too_long, failed and those of ChatTemplate.render;
        UserError bad_grammar, no_template; OutOfMemory.
        """
        begin = time.perf_counter()
        prompt, warnings = self._prompt(request)
        length = positions(prompt)
        answer = _LONGEST_CHOICE if request.choices else request.max_tokens
        # a picture may take more room than it has positions
        is_text = all(isinstance(item, int) for item in prompt)
        self._context.reserve(length + answer if is_text else self.context_length)
        self.at_once = 1
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

    def replies(
        self, requests: Sequence[Request], check: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[int, Reply | ItemError | UserError]]:
        """The number of each request, and its answer, as they end: `sequences` at once.

        The same tokens as `reply` gives, but for rounding, which may make another one the most
        probable, unless they are to be alike (see Fit). What asks for choices or shows pictures
        comes one by one. Raises OutOfMemory, and what `check` does, which is called before each
        next token of them all.
        """
        if self.sequences == 1:
            yield from self._in_turn(requests, range(len(requests)), check)
            return
        from mediakit.engines.llama import parallel  # and with it numpy

        with ExitStack() as held:
            asked: list[_Asked] = []
            for number, request in enumerate(requests):
                try:
                    if request.choices or any(message.images for message in request.messages):
                        yield number, self.reply(request, lambda _: check())
                        continue
                    prompt, warnings = self._prompt(request)
                    tokens = [item for item in prompt if isinstance(item, int)]
                    sampler = self._sampler(request)
                except (ItemError, UserError) as error:
                    yield number, error
                    continue
                ask = parallel.Ask(
                    tokens, min(request.max_tokens, self.context_length - len(tokens))
                )
                asked.append(_Asked(number, ask, held.enter_context(sampler), warnings))
            for numbers in parallel.families([each.ask for each in asked], self.sequences):
                some = [asked[number] for number in numbers]
                yield from self._together(requests, some, check)

    def _together(
        self, requests: Sequence[Request], asked: list[_Asked], check: Callable[[], None]
    ) -> Iterator[tuple[int, Reply | ItemError | UserError]]:
        from mediakit.engines.llama import parallel

        asks = [each.ask for each in asked]
        most = min(self.sequences, len(asks))
        if most == 1 or not self._context.has_room(max(ask.length for ask in asks), most):
            yield from self._in_turn(requests, [each.number for each in asked], check)
            return
        cached = parallel.shared(asks)
        begun: dict[int, float] = {}

        def begin(at: int) -> Going:
            each, begun[at] = asked[at], time.perf_counter()
            request = requests[each.number]
            return Going(self._context, request, each.sampler, lambda: self._ending, each.ask.most)

        for at, found in parallel.answers(self._context, asks, begin, most, check):
            each = asked[at]
            self.at_once = min(most, self.sequences, self._context.sequences)
            if isinstance(found, ItemError):
                yield each.number, found
                continue
            yield (
                each.number,
                Reply(
                    found.text,
                    found.finish_reason,
                    prompt_tokens=len(each.ask.prompt),
                    cached_tokens=cached,
                    completion_tokens=found.tokens,
                    seconds=time.perf_counter() - found.first,
                    first_token_seconds=found.first - begun[at],
                    warnings=tuple(each.warnings),
                ),
            )

    def _in_turn(
        self, requests: Sequence[Request], numbers: Sequence[int], check: Callable[[], None]
    ) -> Iterator[tuple[int, Reply | ItemError | UserError]]:
        for number in numbers:
            try:
                reply = self.reply(requests[number], lambda _: check())
            except (ItemError, UserError) as error:
                yield number, error
            else:
                yield number, reply

    def _prompt(self, request: Request) -> tuple[Prompt, list[str]]:
        """A prompt that fits the context, and what is to be said of it; ItemError."""
        warnings: list[str] = []
        if self.context_length > self.trained_context:
            warnings.append(
                f"the model was trained for a context of {self.trained_context} tokens, not "
                f"{self.context_length}: it may lose the thread"
            )
        room = self.context_length - min(request.max_tokens, self.context_length // 4)
        prompt = self._prompts.fit(request, room, warnings.append)
        self._check_fits(positions(prompt), 1)
        return prompt, warnings

    def _sampler(self, request: Request) -> Sampler:
        """UserError bad_grammar."""
        grammar = None if request.grammar is None else self._grammars.begin(request.grammar)
        return Sampler(request.sampling, self._context, lambda: self._candidates, grammar)

    @cached_property
    def _candidates(self) -> "Candidates":
        from mediakit.engines.llama.candidates import Candidates

        return Candidates(self._context.vocabulary)

    def _answer(self, request: Request, emit: Emit) -> tuple[Written, Mapping[str, float] | None]:
        if request.choices:
            return self._choose(request.choices, emit)
        with self._sampler(request) as sampler:
            return generate(self._context, request, sampler, lambda: self._ending, emit), None

    def _choose(self, answers: Sequence[str], emit: Emit) -> tuple[Written, Mapping[str, float]]:
        from mediakit.engines.llama import choices

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
    def _ending(self) -> "NDArray[np.int32]":
        """All tokens that end a turn."""
        import numpy as np

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
