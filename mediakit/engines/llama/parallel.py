"""Several answers at once: one pass over the model's weights gives each its next token."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

from mediakit.engines.llama.context import Context, Place
from mediakit.engines.llama.generation import Going, Written
from mediakit.errors import ItemError


@dataclass(frozen=True, slots=True)
class Ask:
    """A prompt, in tokens, and the tokens that its answer may have."""

    prompt: Sequence[int]
    most: int

    @property
    def length(self) -> int:
        return len(self.prompt) + self.most


@dataclass(slots=True)
class _Line:
    """An answer underway: its sequence, and the tokens that are to be evaluated next."""

    number: int
    sequence: int
    tokens: Sequence[int]
    position: int
    going: Going


def shared(asks: Sequence[Ask]) -> int:
    """How many tokens all prompts begin with, without the last of the shortest."""
    prompts = [list(ask.prompt) for ask in asks]
    least, greatest = min(prompts), max(prompts)  # all others are between them
    alike = takewhile(lambda pair: pair[0] == pair[1], zip(least, greatest, strict=False))
    return min(len(list(alike)), *(len(prompt) - 1 for prompt in prompts))


def answers(
    context: Context,
    asks: Sequence[Ask],
    begin: Callable[[int], Going],
    sequences: int,
    check: Callable[[], None],
) -> Iterator[tuple[int, Written | ItemError]]:
    """The number of each ask and its answer, as they end; `begin` gives what makes one.

    At most `sequences` are underway, and no more than there is room for; as one ends, the next
    begins. What all prompts share is evaluated once, and stays in the context. Each ask must fit
    the context by itself. Raises as Context.evaluate does.
    """
    prefix = shared(asks)
    own = [ask.length - prefix for ask in asks]
    context.reserve(prefix + sum(sorted(own)[-sequences:]))
    context.evaluate(asks[0].prompt[:prefix], check) if prefix else context.keep(0)
    room = context.room - prefix
    waiting, free = deque(range(len(asks))), set(range(1, sequences + 1))
    lines: list[_Line] = []
    try:
        while waiting or lines:
            while waiting and free and own[waiting[0]] <= room:
                number = waiting.popleft()
                room -= own[number]
                sequence = free.pop()
                context.fork(sequence)
                rest = asks[number].prompt[prefix:]
                lines.append(_Line(number, sequence, rest, prefix, begin(number)))
            for line, error in _step(context, lines):
                lines.remove(line)
                context.drop(line.sequence)
                free.add(line.sequence)
                room += own[line.number]
                yield line.number, error or line.going.finish()[1]
            check()
    finally:
        for line in lines:
            context.drop(line.sequence)


def _step(context: Context, lines: list[_Line]) -> list[tuple[_Line, ItemError | None]]:
    """Evaluate a batch, of answers first; the lines that ended with it, or that failed."""
    batch: list[Place] = []
    last: dict[int, _Line] = {}  # place in the batch -> whose next token it tells
    for line in sorted(lines, key=lambda line: len(line.tokens)):
        taken = line.tokens[: context.batch_size - len(batch)]
        whole = len(taken) == len(line.tokens)
        for i, token in enumerate(taken, 1):
            is_last = whole and i == len(taken)
            batch.append(Place(token, line.position, line.sequence, is_last))
            line.position += 1
        line.tokens = line.tokens[len(taken) :]
        if whole and taken:
            last[len(batch) - 1] = line
    context.decode(batch)
    ended: list[tuple[_Line, ItemError | None]] = []
    for at, line in last.items():
        try:
            _, following = line.going.choose(context.logits(at))
        except ItemError as error:
            ended.append((line, error))
            continue
        if following is None:
            ended.append((line, None))
        else:
            line.tokens = [following]
    return ended
