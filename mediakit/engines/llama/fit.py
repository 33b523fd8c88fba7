"""How a language model is to lie in memory."""

from dataclasses import dataclass

_LEAST = 512  # tokens that memory is taken for at least


@dataclass(frozen=True, slots=True)
class Fit:
    """`device` is cpu, or one of `devices.names()`. `gpu_layers` None: as many as fit there.
    `context_length` in tokens; None: see memory.context_length. `sequences`: answers at once;
    `alike`: only where each is then, to the last bit, what it is alone. `budget`: bytes of a CPU's
    memory for the model, if not all that is free."""

    device: str
    threads: int
    gpu_layers: int | None = None
    context_length: int | None = None
    sequences: int = 1
    alike: bool = False
    budget: int | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """What a context may hold: a text of `size` tokens, and `sequences` others that go on from it.

    All together have `cells` tokens at most. On a GPU they share them; on a CPU each sequence has
    as many of its own, `apart`, so that what one pass gives a sequence depends on no other.
    """

    size: int
    cells: int
    sequences: int = 0
    apart: bool = False

    def of(self, tokens: int, sequences: int) -> tuple[int, int]:
        """The tokens to have memory for, of each sequence if they are `apart`, and how many
        sequences there are then, for a text of `tokens` with so many others beside it."""
        if not self.apart:
            return min(self.cells, _up(max(tokens, _LEAST))), self.sequences
        each = min(self.size, _up(max(tokens, _LEAST // 2 if sequences else _LEAST)))
        return each, max(0, min(sequences, self.sequences, self.cells // each - 1))


def _up(tokens: int) -> int:
    """The next power of two."""
    return 1 << (tokens - 1).bit_length()
