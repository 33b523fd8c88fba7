"""What a prompt with alternatives can become: how many texts, all of them, or one by a seed."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from random import Random

_MOST_PICKED = 64  # options of one group at once, where all combinations are asked for


class TooManyPicked(Exception):
    """A group that takes so many of its options at once that nobody wants all their orders."""


@dataclass(frozen=True)
class Text:
    text: str
    count = 1

    def every(self) -> Iterator[str]:
        yield self.text

    def choose(self, rand: Random) -> str:
        return self.text


@dataclass(frozen=True)
class Parts:
    parts: tuple["Node", ...]

    @cached_property
    def count(self) -> int:
        return math.prod(part.count for part in self.parts)

    def every(self) -> Iterator[str]:
        for texts in _products([part.every for part in self.parts]):
            yield "".join(texts)

    def choose(self, rand: Random) -> str:
        return "".join(part.choose(rand) for part in self.parts)


@dataclass(frozen=True)
class Pick:
    """`low` to `high` different options in any order. `weights` count for `choose` alone.

    `choose` draws as dynamicprompts 0.31 does, so that a seed means the same there: its own
    generator, and each text of it, would be parsed again for every picture.
    """

    options: tuple["Node", ...]
    weights: tuple[float, ...]
    low: int = 1
    high: int = 1
    separator: str = ","
    wildcard: bool = False

    @cached_property
    def distinct(self) -> tuple["Node", ...]:
        """The options without those that say the same, single picks in them dissolved."""
        if (self.low, self.high) != (1, 1):
            return tuple(dict.fromkeys(self.options))
        flat: dict[Node, None] = {}
        for option in self.options:
            single = isinstance(option, Pick) and (option.low, option.high) == (1, 1)
            flat |= dict.fromkeys(option.distinct if single else (option,))  # type: ignore[union-attr]
        return tuple(flat)

    @property
    def _bounds(self) -> range:
        most = len(self.distinct)
        low, high = min(self.low, most), min(self.high, most)
        if high > _MOST_PICKED:
            raise TooManyPicked(
                f"a group takes up to {high:,} options at once, too many to combine; at most "
                f"{_MOST_PICKED} can be"
            )
        return range(low, high + 1)

    @cached_property
    def count(self) -> int:
        """Ordered choices of k options: k! times the k-th elementary symmetric polynomial of
        the options' own counts."""
        bounds = self._bounds
        sums = [1] + [0] * (bounds.stop - 1)
        for option in self.distinct:
            for k in range(len(sums) - 1, 0, -1):
                sums[k] += sums[k - 1] * option.count
        return sum(math.factorial(k) * sums[k] for k in bounds)

    def every(self) -> Iterator[str]:
        for number in self._bounds:
            for chosen in permutations(self.distinct, number):
                for texts in _products([option.every for option in chosen]):
                    yield self._joined(texts)

    def choose(self, rand: Random) -> str:
        if self.wildcard:
            if len(set(self.weights)) == 1:
                return rand.choice(self.options).choose(rand)
            return self._drawn(1, rand)[0].choose(rand)
        if len(self.options) == 1:
            return self.options[0].choose(rand)
        most = len(self.options)
        number = rand.randint(min(self.low, most), min(self.high, most))
        chosen = self._drawn(number, rand)
        return self._joined([option.choose(rand) for option in chosen])

    def _drawn(self, number: int, rand: Random) -> list["Node"]:
        left = list(range(len(self.options)))
        drawn = []
        for _ in range(number):
            weights = [self.weights[index] for index in left]
            if not any(weights):  # what never comes comes last
                weights = [1.0] * len(left)
            drawn.append(rand.choices(left, weights)[0])
            left.remove(drawn[-1])
        return [self.options[index] for index in drawn]

    def _joined(self, texts: Sequence[str]) -> str:
        """No separator at an end, where an option is empty."""
        if len(texts) == 1:
            return texts[0]
        joined = self.separator.join(texts)
        return joined.removeprefix(self.separator).removesuffix(self.separator)


Node = Text | Parts | Pick


def _products(makers: Sequence[Callable[[], Iterator[str]]]) -> Iterator[list[str]]:
    """Like itertools.product, but nothing is kept: a part may have more texts than memory."""
    texts = [""] * len(makers)
    running: list[Iterator[str]] = []
    if not makers:
        yield []
        return
    running.append(makers[0]())
    while running:
        text = next(running[-1], None)
        if text is None:
            running.pop()
            continue
        texts[len(running) - 1] = text
        if len(running) == len(makers):
            yield texts
        else:
            running.append(makers[len(running)]())
