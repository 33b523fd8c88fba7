"""One answer: token after token, until the model, a stop sequence or a limit ends it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mediakit.engines.llama.context import Context, ContextFull
from mediakit.engines.llama.request import Request
from mediakit.engines.llama.sampling import Sampler
from mediakit.engines.llama.writing import Writer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Emit = Callable[[str], None]
Ending = Callable[[], "NDArray[np.int32]"]


@dataclass(slots=True)
class Written:
    text: str
    finish_reason: Literal["stop", "length", "choice"]
    tokens: int
    first: float  # time.perf_counter() when the first token was there


class Going:
    """An answer in the making, at most `most` tokens of it."""

    def __init__(
        self, context: Context, request: Request, sampler: Sampler, ending: Ending, most: int
    ) -> None:
        """`ending()` are all the tokens that end a turn."""
        self.most = most
        self.count = 0  # tokens so far
        self._context = context
        self._request = request
        self._sampler = sampler
        self._ending = ending
        self._writer = Writer(request.stop)
        self._reason: Literal["stop", "length"] = "length"
        self._first = 0.0

    def choose(self, logits: "NDArray[np.float32] | None" = None) -> tuple[str, int | None]:
        """The text that the next token lets be shown, and the token, if another may follow it.
        Without `logits`, those are meant of what the context evaluated last."""
        banned = self._ending() if self.count < self._request.min_tokens else None
        token = self._sampler.next(logits, banned)
        self._first = self._first or time.perf_counter()
        if token is None or self._context.ends(token):
            self._reason = "stop"
            return "", None
        self.count += 1
        text = self._writer.push(self._context.piece(token))
        if self._writer.stopped:
            self._reason = "stop"
            return text, None
        return text, token if self.count < self.most else None

    def finish(self) -> tuple[str, Written]:
        """The text that was held back, and the whole."""
        rest = "" if self._writer.stopped else self._writer.finish(cut=self._reason == "length")
        first = self._first or time.perf_counter()
        return rest, Written(self._writer.text, self._reason, self.count, first)


def generate(
    context: Context, request: Request, sampler: Sampler, ending: Ending, emit: Emit
) -> Written:
    """Go on from what `context` holds.

    `emit` gets the text of each token, empty while it is held back, and what it raises passes.
    """
    most = min(request.max_tokens, context.size - context.position)
    going = Going(context, request, sampler, ending, most)
    while going.count < most:
        text, token = going.choose()
        emit(text)
        if token is None:
            break
        try:
            context.add(token)
        except ContextFull:
            break
    rest, written = going.finish()
    if rest:
        emit(rest)
    return written
