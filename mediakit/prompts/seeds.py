"""Which seeds an item gets: those told, those drawn, or one derived from its prompt."""

import hashlib
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from mediakit.errors import UserError, show

HIGHEST = 2**32 - 1
_PART = re.compile(r"([0-9]+)(?:\.\.([0-9]+))?")


@dataclass(frozen=True)
class Seeds:
    """What `--seed` says: `ranges` in the order told, none of them meeting another; or `random`,
    a new seed for every picture of every run; or neither, a seed derived from the prompt."""

    ranges: tuple[range, ...] = ()
    random: bool = False

    @property
    def told(self) -> int:
        """How many seeds are named; 0 for random and for derived ones."""
        return sum(len(part) for part in self.ranges)


DERIVED = Seeds()


def parse_seeds(text: str | int) -> Seeds:
    """`5`, `1,2,3`, `10..20` (both ends are in it), `1,5..7` or `random`.

    UserError for anything else, and for a seed that is named twice.
    """
    told = str(text).strip()
    if told == "random":
        return Seeds(random=True)
    ranges = tuple(_part(part.strip(), told) for part in told.split(","))
    ordered = sorted(ranges, key=lambda part: part.start)
    for one, other in pairwise(ordered):
        if other.start < one.stop:
            raise _wrong(told, f"names {other.start} twice")
    return Seeds(ranges)


def _part(part: str, told: str) -> range:
    match = _PART.fullmatch(part)
    if not match or len(part) > 40:  # int() of thousands of digits is slow, and forbidden
        hint = "; -1 is written random here" if part == "-1" else ""
        raise _wrong(told, f"expected a number, 1,2,3, 10..20 or random{hint}")
    first = int(match[1])
    last = int(match[2] or match[1])
    if max(first, last) > HIGHEST:
        raise _wrong(told, f"a seed is at most {HIGHEST}")
    if last < first:
        raise _wrong(told, f"runs backwards; write {last}..{first}")
    return range(first, last + 1)


def _wrong(told: str, cause: str) -> UserError:
    shown = told if len(told) <= 60 else told[:57] + "..."
    return UserError("usage", f"--seed {show(shown)}: {cause}")


def per_prompt(seeds: Seeds, images: int) -> int:
    """How many pictures a prompt gets. UserError for several seeds beside several images, and
    for images whose seeds would run past the highest."""
    if images > 1 and seeds.told > 1:
        raise UserError(
            "usage", f"--images {images} and {seeds.told:,} seeds contradict each other; give one"
        )
    if images > 1 and seeds.told and seeds.ranges[0].start + images - 1 > HIGHEST:
        raise UserError(
            "usage",
            f"--seed {seeds.ranges[0].start} --images {images}: the seeds count up from the first "
            f"and would pass {HIGHEST}; begin lower",
        )
    return max(seeds.told, images)


def seeds_of(seeds: Seeds, images: int, prompt: str, begun: int = 0) -> Iterator[int]:
    """The seeds of a prompt's pictures, as many as `per_prompt` says.

    A single seed told counts up over the `images`; derived ones number the pictures of this
    prompt on from `begun`, those that other mentions of it have taken.
    """
    if seeds.random:
        yield from (secrets.randbelow(HIGHEST + 1) for _ in range(images))
    elif seeds.told == 1:
        first = seeds.ranges[0].start
        yield from range(first, first + images)
    elif seeds.told:
        for part in seeds.ranges:
            yield from part
    else:
        yield from (derived(prompt, number) for number in range(begun, begun + images))


def derived(prompt: str, number: int) -> int:
    """The seed of a prompt's picture `number`, from 0: the same on every machine, in every run.

    Of the prompt alone, so that other steps, sizes or models start from the same noise.
    """
    digest = hashlib.sha256(f"{number}\0{prompt}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big")
