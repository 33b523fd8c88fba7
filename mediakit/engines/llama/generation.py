"""One answer: token after token, until the model, a stop sequence or a limit ends it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mediakit.engines.llama.context import Context, ContextFull
from mediakit.engines.llama.request import Request
from mediakit.engines.llama.sampling import Sampler
from mediakit.engines.llama.writing import Writer

Emit = Callable[[str], None]


@dataclass(slots=True)
class Written:
    text: str
    finish_reason: Literal["stop", "length", "choice"]
    tokens: int
    first: float  # time.perf_counter() when the first token was there


def generate(
    context: Context,
    request: Request,
    sampler: Sampler,
    ending: Callable[[], NDArray[np.int32]],
    emit: Emit,
) -> Written:
    """Go on from what `context` holds; `ending()` are all the tokens that end a turn.

    `emit` gets the text of each token, empty while it is held back, and what it raises passes.
    """
    writer = Writer(request.stop)
    most = min(request.max_tokens, context.size - context.position)
    reason: Literal["stop", "length"] = "length"
    first, count = 0.0, 0
    while count < most:
        token = sampler.next(context.logits(), ending() if count < request.min_tokens else None)
        first = first or time.perf_counter()
        if token is None or context.ends(token):
            reason = "stop"
            break
        count += 1
        emit(writer.push(context.piece(token)))
        if writer.stopped:
            reason = "stop"
            break
        if count < most:
            try:
                context.add(token)
            except ContextFull:
                break
    if not writer.stopped and (rest := writer.finish(cut=reason == "length")):
        emit(rest)
    return Written(writer.text, reason, count, first or time.perf_counter())
