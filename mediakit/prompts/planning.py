"""Which pictures are wanted: each prompt, in its alternatives, with its seeds."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mediakit.prompts.alternatives import Alternatives
from mediakit.prompts.seeds import DERIVED, Seeds, per_prompt, seeds_of


@dataclass(frozen=True, slots=True)
class Wanted:
    """One picture: `prompt` has no alternatives left, and stays what it is when expanded again."""

    prompt: str
    seed: int


class Planner:
    """Expands prompts. With `combinations` every alternative is made, each with every seed; else
    the item's seed chooses one.

    A seed left out is derived from the text and from how often it was asked for before, so that
    the same command gives the same seeds, and a prompt put before others changes none of theirs.
    Both methods raise ItemError bad_prompt and UserError (seeds and images that contradict).
    """

    def __init__(self, alternatives: Alternatives, combinations: bool = False) -> None:
        self._alternatives = alternatives
        self._combinations = combinations
        self._begun: Counter[bytes] = Counter()  # pictures with derived seeds, by digest of text

    def count(self, prompt: str, seeds: Seeds = DERIVED, images: int = 1) -> int:
        """How many pictures `wanted` yields, or a few more where texts repeat."""
        texts = self._alternatives.count(prompt) if self._combinations else 1
        return texts * per_prompt(seeds, images)

    def wanted(
        self, prompt: str, seeds: Seeds = DERIVED, images: int = 1, most: int | None = None
    ) -> Iterator[Wanted]:
        """The pictures of one prompt, at most `most` of them."""
        per_prompt(seeds, images)
        left = most
        texts = self._alternatives.every(prompt, most) if self._combinations else [prompt]
        for text in texts:
            for seed in seeds_of(seeds, images, text, self._taken(text, seeds, images)):
                if left == 0:
                    return
                left = left and left - 1
                chosen = text if self._combinations else self._alternatives.choose(text, seed)
                yield Wanted(chosen, seed)

    def _taken(self, text: str, seeds: Seeds, images: int) -> int:
        if seeds != DERIVED:
            return 0
        key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8]
        begun = self._begun[key]
        self._begun[key] += images
        return begun
