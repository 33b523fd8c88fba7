"""Which token comes next: llama.cpp's own samplers, in llama-cpp-python's order."""

import ctypes
from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.engines.llama import log
from mediakit.engines.llama.gbnf import check_gbnf
from mediakit.engines.llama.native import native
from mediakit.engines.llama.request import Sampling
from mediakit.errors import ItemError, UserError

_LAST = 64  # tokens that the penalties look back, as llama-cpp-python's default
_GRAMMARS = 8  # that stay parsed
# one token's llama_token_data
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Candidates:
    """Every token with its logit, in the form that samplers take."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._tokens = np.arange(count, dtype=np.int32)
        self._rows = np.zeros(count, CANDIDATE)
        self._array: Any = native.llama_token_data_array()

    def fill(self, logits: NDArray[np.float32]) -> None:
        self._rows["id"] = self._tokens
        self._rows["logit"] = logits
        self._begin(len(logits))

    def single(self, token: int) -> None:
        """That token alone."""
        self._rows[0] = (token, 1.0, 0.0)
        self._begin(1)

    def apply(self, sampler: Any) -> None:
        native.llama_sampler_apply(sampler, ctypes.byref(self._array))

    @property
    def possible(self) -> bool:
        """Whether a token is left that may come."""
        return bool(self._rows["logit"][: self._array.size].max() > -np.inf)

    @property
    def selected(self) -> int:
        return int(self._rows["id"][self._array.selected])

    def _begin(self, size: int) -> None:
        array = self._array
        array.data = self._rows.ctypes.data_as(native.llama_token_data_p)
        array.size, array.selected, array.sorted = size, -1, False


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

    `grammar` is one of `Grammars.begin`, and freed with it.
    """

    def __init__(self, sampling: Sampling, candidates: Candidates, grammar: Any = None) -> None:
        self._candidates = candidates
        self._grammar = grammar
        self._is_greedy = _is_greedy(sampling)
        self._chain = native.llama_sampler_chain_init(native.llama_sampler_chain_default_params())
        for part in _chain(sampling, candidates.count):
            native.llama_sampler_chain_add(self._chain, part)

    def __enter__(self) -> "Sampler":
        return self

    def __exit__(self, *_: object) -> None:
        native.llama_sampler_free(self._chain)
        if self._grammar:
            native.llama_sampler_free(self._grammar)

    def next(self, logits: NDArray[np.float32], banned: NDArray[np.int32] | None) -> int | None:
        """The next token, none of `banned`; None where the grammar allows no other.

        A token is chosen first and held against the grammar then; only if it does not fit, all
        150,000 are (llama.cpp's common/sampling.cpp does so too): the same where the most probable
        is taken, and an equally valid draw where not.
        """
        if banned is not None:
            logits = logits.copy()
            logits[banned] = -np.inf
        best = int(logits.argmax())  # of numbers that are none, the first
        if np.isnan(logits[best]):
            raise ItemError("failed", "the model computes no numbers; its file may be damaged")
        token = best if self._is_greedy else self._choose(logits)
        if token is not None and self._grammar and not self._fits(token):
            token = self._choose(logits, self._grammar)
        if token is not None:
            # a token that the grammar does not allow would end the process here
            if self._grammar:
                native.llama_sampler_accept(self._grammar, token)
            native.llama_sampler_accept(self._chain, token)
        return token

    def _choose(self, logits: NDArray[np.float32], grammar: Any = None) -> int | None:
        candidates = self._candidates
        candidates.fill(logits)
        if grammar:
            candidates.apply(grammar)
        if not candidates.possible:
            return None
        candidates.apply(self._chain)
        return candidates.selected

    def _fits(self, token: int) -> bool:
        self._candidates.single(token)
        self._candidates.apply(self._grammar)
        return self._candidates.possible


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
