"""How probable each of several given answers is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mediakit.engines.llama.context import Check, Context


@dataclass(slots=True)
class _Node:
    """A beginning that some of the answers share; `answers` are those that end here."""

    children: dict[int, "_Node"] = field(default_factory=dict)
    answers: list[str] = field(default_factory=list)


def probabilities(
    context: Context, answers: Mapping[str, Sequence[int]], ending: NDArray[np.int32], check: Check
) -> dict[str, float]:
    """Answer -> its probability among them all, after what `context` holds, which stays there.

    `answers` are texts with their tokens; `ending` are the tokens that end a turn. The probability
    of an answer is that of its tokens one after the other, and where another answer goes on from
    it, also of the end after it. Each beginning that answers share is evaluated once. Raises as
    Context.evaluate does.
    """
    root = _Node()
    for text, tokens in answers.items():
        node = root
        for token in tokens:
            node = node.children.setdefault(token, _Node())
        node.answers.append(text)
    found: dict[str, float] = {}
    length = context.count
    try:
        _walk(context, root, 0.0, ending, check, found)
    finally:
        context.keep(length)
    most = max(found.values())
    shares = {text: float(np.exp(found[text] - most)) for text in answers}
    total = sum(shares.values())
    return {text: share / total for text, share in shares.items()}


def _walk(
    context: Context,
    node: _Node,
    so_far: float,
    ending: NDArray[np.int32],
    check: Check,
    found: dict[str, float],
) -> None:
    """Put the logarithm of each answer's probability below `node` into `found`."""
    if not node.children:
        found.update(dict.fromkeys(node.answers, so_far))
        return
    logs = _log_softmax(context.logits())
    if node.answers:
        end = so_far + float(np.logaddexp.reduce(logs[ending]))
        found.update(dict.fromkeys(node.answers, end))
    length = context.count
    for token, child in node.children.items():
        if child.children:
            context.keep(length)
            context.add(token)
            check()
        _walk(context, child, so_far + float(logs[token]), ending, check, found)


def _log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    values = logits.astype(np.float64)
    values -= values.max()
    return np.asarray(values - np.log(np.exp(values).sum()))
