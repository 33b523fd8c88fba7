"""Which token comes next: llama.cpp's own samplers, in llama-cpp-python's order."""

import ctypes
import math
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mediakit.engines.llama import log
from mediakit.engines.llama.context import Context
from mediakit.engines.llama.gbnf import check_gbnf
from mediakit.engines.llama.native import native
from mediakit.engines.llama.request import Sampling
from mediakit.errors import ItemError, UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mediakit.engines.llama.candidates import Candidates

_LAST = 64  # tokens that the penalties look back, as llama-cpp-python's default
_GRAMMARS = 8  # that stay parsed


class Grammars:
    """The grammars that were used last, parsed."""

    def __init__(self, vocab: Any) -> None:
        self._vocab = vocab
        self._parsed: OrderedDict[str, Any] = OrderedDict()

    def begin(self, grammar: str) -> Any:
        """A sampler of its own in the grammar's first state; UserError bad_grammar."""
        if grammar not in self._parsed:
            check_gbnf(grammar)  # some that it refuses would end the process
            with log.caught():
                parsed = native.llama_sampler_init_grammar(self._vocab, grammar.encode(), b"root")
            if not parsed:
                said = log.cause("it does not say why")
                raise UserError("bad_grammar", f"llama.cpp refuses the grammar: {said}")
            self._parsed[grammar] = parsed
            if len(self._parsed) > _GRAMMARS:
                native.llama_sampler_free(self._parsed.popitem(last=False)[1])
        self._parsed.move_to_end(grammar)
        return native.llama_sampler_clone(self._parsed[grammar])

    def close(self) -> None:
        for parsed in self._parsed.values():
            native.llama_sampler_free(parsed)
        self._parsed.clear()


class Sampler:
    """Chooses the tokens of one answer. Use it in a with block: it holds memory of llama.cpp's.

    `grammar` is one of `Grammars.begin`, and freed with it. `candidates` are made when they are
    needed, which takes numpy.
    """

    def __init__(
        self,
        sampling: Sampling,
        context: Context,
        candidates: "Callable[[], Candidates]",
        grammar: Any = None,
    ) -> None:
        self._context = context
        self._candidates = candidates
        self._grammar = grammar
        self._is_greedy = _is_greedy(sampling)
        self._seen = False  # whether all logits were looked through once
        self._chain = native.llama_sampler_chain_init(native.llama_sampler_chain_default_params())
        for part in _chain(sampling, context.vocabulary):
            native.llama_sampler_chain_add(self._chain, part)

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(self, *_: object) -> None:
        native.llama_sampler_free(self._chain)
        if self._grammar:
            native.llama_sampler_free(self._grammar)

    def next(
        self,
        logits: "NDArray[np.float32] | None" = None,
        banned: "NDArray[np.int32] | None" = None,
    ) -> int | None:
        """The next token, none of `banned`; None where the grammar allows no other. Without
        `logits`, those are meant of what the context evaluated last. ItemError if the model
        computes no numbers.

        A token is chosen first and held against the grammar then; only if it does not fit, all
        150,000 are (llama.cpp's common/sampling.cpp does so too): the same where the most probable
        is taken, and an equally valid draw where not.
        """
        if logits is None and banned is None and not self._grammar:
            return self._last()
        if logits is None:
            logits = self._context.logits()
        if banned is not None:
            logits = logits.copy()
            logits[banned] = -math.inf
        best = int(logits.argmax())  # of numbers that are none, the first
        _check(logits[best])
        token = best if self._is_greedy else self._choose(logits)
        if token is not None and self._grammar and not self._fits(token):
            token = self._choose(logits, self._grammar)
        if token is not None:
            # a token that the grammar does not allow would end the process here
            if self._grammar:
                native.llama_sampler_accept(self._grammar, token)
            native.llama_sampler_accept(self._chain, token)
        return token

    def _last(self) -> int:
        """The next token after what the context evaluated last, chosen in one call."""
        pointer = native.llama_get_logits_ith(self._context.handle, -1)
        if not self._seen:  # later a number that is none has made all others none
            values = (ctypes.c_float * self._context.vocabulary).from_address(
                ctypes.addressof(pointer.contents)
            )
            _check(sum(memoryview(values).cast("B").cast("f")))
            self._seen = True
        _check(pointer[0])
        token = int(native.llama_sampler_sample(self._chain, self._context.handle, -1))
        _check(pointer[token])
        return token

    def _choose(self, logits: "NDArray[np.float32]", grammar: Any = None) -> int | None:
        candidates = self._candidates()
        candidates.fill(logits)
        if grammar:
            candidates.apply(grammar)
        if not candidates.possible:
            return None
        candidates.apply(self._chain)
        return candidates.selected

    def _fits(self, token: int) -> bool:
        candidates = self._candidates()
        candidates.single(token)
        candidates.apply(self._grammar)
        return candidates.possible


def _check(logit: float) -> None:
    if math.isnan(logit):
        raise ItemError("failed", "the model computes no numbers; its file may be damaged")


def _is_greedy(sampling: Sampling) -> bool:
    """Whether the most probable token is taken, as the model has it."""
    s = sampling
    is_plain = (s.repeat_penalty, s.frequency_penalty, s.presence_penalty) == (1, 0, 0)
    return s.temperature == 0 and is_plain


def _chain(sampling: Sampling, vocabulary: int) -> list[Any]:
    s = sampling
    penalties = native.llama_sampler_init_penalties(
        vocabulary, _LAST, s.repeat_penalty, s.frequency_penalty, s.presence_penalty
    )
    if s.temperature == 0:
        return [penalties, native.llama_sampler_init_greedy()]
    return [
        penalties,
        native.llama_sampler_init_top_k(s.top_k),
        native.llama_sampler_init_top_p(s.top_p, 1),
        native.llama_sampler_init_min_p(s.min_p, 1),
        native.llama_sampler_init_temp(s.temperature),
        native.llama_sampler_init_dist(s.seed & 0xFFFFFFFF),
    ]
