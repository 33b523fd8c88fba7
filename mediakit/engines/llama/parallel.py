"""Several answers at once: one pass over the model's weights gives each its next token."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from mediakit.engines.llama.context import Context, Place
from mediakit.engines.llama.generation import Going, Written
from mediakit.errors import ItemError

_HEAD = 32  # tokens; to share fewer is not worth a family


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


def families(asks: Sequence[Ask], sequences: int) -> list[list[int]]:
    """The numbers of asks that had better be answered together: all; or `sequences` or more that
    begin alike, and the others, if that way no more than half of the tokens have to be evaluated.
    """
    if not asks:
        return []
    heads: dict[tuple[int, ...], list[int]] = {}
    for number, ask in enumerate(asks):
        heads.setdefault(tuple(ask.prompt[:_HEAD]), []).append(number)
    large = [numbers for numbers in heads.values() if len(numbers) >= sequences]
    others = [n for numbers in heads.values() if len(numbers) < sequences for n in numbers]
    found = large + [others] * bool(others)
    everyone = list(range(len(asks)))
    if 2 * sum(_tokens(asks, numbers) for numbers in found) > _tokens(asks, everyone):
        return [everyone]
    return found


def _tokens(asks: Sequence[Ask], numbers: Sequence[int]) -> int:
    """Of prompts, what is evaluated for these together."""
    some = [asks[number] for number in numbers]
    prefix = shared(some)
    return prefix + sum(len(ask.prompt) - prefix for ask in some)


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
    if context.apart:
        context.reserve(max(ask.length for ask in asks), sequences)
        own = [0] * len(asks)
    else:
        context.reserve(prefix + sum(sorted(own)[-sequences:]))
    context.evaluate(asks[0].prompt[:prefix], check) if prefix else context.keep(0)
    room = context.room - prefix
    waiting, free = deque(range(len(asks))), set(range(1, context.sequences + 1))
    lines: list[_Line] = []
    try:
        while waiting or lines:
            while waiting and free and own[waiting[0]] <= room:
                number = waiting.popleft()
                room -= own[number]
                sequence = min(free)  # llama.cpp takes neighbours together
                free.remove(sequence)
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
    """Evaluate what comes next of each line; the lines that ended with it, or that failed."""
    ended: list[tuple[_Line, ItemError | None]] = []
    for together in _passes(context, lines):
        for line, logits in _evaluated(context, together):
            try:
                _, following = line.going.choose(logits)
            except ItemError as error:
                ended.append((line, error))
                continue
            if following is None:
                ended.append((line, None))
            else:
                line.tokens = [following]
    return ended


def _passes(context: Context, lines: list[_Line]) -> list[list[_Line]]:
    """Which lines are evaluated together: all, answers first; or where sequences are `apart`, and
    prompts of several tokens would make another's numbers differ, those that go on by one."""
    if not context.apart:
        return [sorted(lines, key=lambda line: len(line.tokens))]
    going = [line for line in lines if len(line.tokens) == 1]
    going.sort(key=lambda line: line.sequence)
    alone = [[line] for line in lines if line not in going]
    return alone + (
        [[line] for line in going] if context.agrees is False else [going] * bool(going)
    )


def _evaluated(context: Context, lines: list[_Line]) -> Iterator[tuple[_Line, NDArray[np.float32]]]:
    """The lines whose tokens are all evaluated now, with the logits of what comes next."""
    batch: list[Place] = []
    last: dict[int, _Line] = {}  # place in the batch -> whose next token it tells
    for line in lines:
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
    untried = _untried(context, batch) if context.agrees is None else []
    if untried:
        yield from zip(lines, _compared(context, batch, untried), strict=True)
        return
    for at, line in last.items():
        yield line, context.logits(at)


def _untried(context: Context, batch: list[Place]) -> list[tuple[int, int]]:
    """The first and the last places of neighbours, as many as were not tried together yet."""
    found: list[tuple[int, int]] = []
    first = 0
    for at, place in enumerate(batch):
        following = batch[at + 1].sequence if at + 1 < len(batch) else -1
        if following == place.sequence + 1:
            continue
        count = at - first + 1
        if count > 1 and count not in context.tried:
            found.append((first, at))
        first = at + 1
    return found


def _compared(
    context: Context, batch: list[Place], ends: list[tuple[int, int]]
) -> list[NDArray[np.float32]]:
    """The logits of a batch, a token of each sequence, that was just evaluated: as they are if
    those at `ends` are the same bit for bit when they are evaluated by themselves; else those
    that each has by itself, and that the context does not agree."""
    found = [context.logits(at).copy() for at in range(len(batch))]
    places = [at for pair in ends for at in pair]
    if all(np.array_equal(_alone(context, batch[at]), found[at]) for at in places):
        context.tried |= {last - first + 1 for first, last in ends}
        return found
    context.agrees = False
    return [_alone(context, place) for place in batch]


def _alone(context: Context, place: Place) -> NDArray[np.float32]:
    """The logits of the last token of a sequence, evaluated once more by itself."""
    context.drop(place.sequence, place.position)
    context.decode([place])
    return context.logits().copy()
