"""How words are chosen step by step: limits in words instead of tokens, and draws that do not
depend on what else is in the batch."""

from collections.abc import Callable, Sequence

import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)

from mediakit.engines.caption.request import Request
from mediakit.media.captions import word_count

Decode = Callable[[torch.Tensor], list[str]]


class WordLimits(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """No end before `least` words, and nothing but the end when there are more than `most`.

    The word that is one too many is cut off afterwards: that it is a new word, and not the rest
    of the last one, is known only when it is there.
    """

    def __init__(self, decode: Decode, ends: Sequence[int], request: Request) -> None:
        self._decode = decode
        self._ends = list(ends)
        self._phrases = request.phrases
        self._least, self._most = request.min_words or 0, request.max_words

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        counts = [word_count(text, self._phrases) for text in self._decode(input_ids)]
        few = [row for row, count in enumerate(counts) if count < self._least]
        many = [
            row for row, count in enumerate(counts) if self._most is not None and count > self._most
        ]
        for row in few:
            scores[row, self._ends] = -torch.inf
        for row in many:
            scores[row] = -torch.inf
            scores[row, self._ends[0]] = 0
        return scores


class Draw(LogitsProcessor):  # type: ignore[misc, unused-ignore]
    """Makes the likeliest token a drawn one, with numbers that follow from seed and step alone.

    The largest of log probabilities with Gumbel noise added is a draw from them (Gumbel 1954;
    Maddison et al. 2014, arXiv:1411.0030).
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def __call__(self, input_ids: torch.LongTensor, scores: torch.FloatTensor) -> torch.FloatTensor:
        step = input_ids.shape[1]
        # on the CPU: the same numbers on every device
        generator = torch.Generator().manual_seed((self._seed * 1_000_003 + step) % 2**63)
        uniform = torch.rand(scores.shape[1], generator=generator, dtype=torch.float64)
        noise = -torch.log(-torch.log(uniform.clamp(1e-12, 1 - 1e-12)))
        likely = torch.log_softmax(scores.float(), dim=-1)
        return likely + noise.to(scores.device, torch.float32)  # type: ignore[return-value]


def processors(request: Request, decode: Decode, ends: Sequence[int]) -> LogitsProcessorList:
    """What a request needs beyond what `generate` does by itself."""
    chosen = LogitsProcessorList()
    if request.min_words or request.max_words is not None:
        chosen.append(WordLimits(decode, ends, request))
    if request.temperature:
        chosen.append(TemperatureLogitsWarper(request.temperature))
        if request.top_p is not None and request.top_p < 1:
            chosen.append(TopPLogitsWarper(request.top_p))
        chosen.append(Draw(request.seed))
    return chosen
