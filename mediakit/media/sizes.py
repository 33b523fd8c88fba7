"""How large a picture becomes, and how often a net of a fixed factor must run for that."""

from dataclasses import dataclass

LARGEST = 16.0  # times longer a side may become


@dataclass(frozen=True)
class Wanted:
    """What the user asked for; `width`, `height` and `longest` in pixels take the scale's place."""

    scale: float | None = None
    width: int | None = None
    height: int | None = None
    longest: int | None = None
    downscale_first: float = 1.0


def target(width: int, height: int, wanted: Wanted, own: float) -> tuple[int, int]:
    """Width and height of the result; `own` is the scale where nothing was said.

    One side given: the other keeps the proportions. Both: exactly those. `longest` is for the
    longer side. At least one pixel each.
    """
    if wanted.width and wanted.height:
        return wanted.width, wanted.height
    scale = wanted.scale or own
    if wanted.longest:
        scale = wanted.longest / max(width, height)
    if wanted.width:
        return wanted.width, max(1, round(height * wanted.width / width))
    if wanted.height:
        return max(1, round(width * wanted.height / height)), wanted.height
    return max(1, round(width * scale)), max(1, round(height * scale))


def reduced(width: int, height: int, factor: float) -> tuple[int, int]:
    """The size that the net is shown: each side `factor` (1 or more) times shorter."""
    return max(1, round(width / factor)), max(1, round(height / factor))


def passes(size: tuple[int, int], wanted: tuple[int, int], factor: int) -> int:
    """How often a net that makes sides `factor` times longer runs to reach `wanted`.

    Once at least: that is what the user asked for, even where the result is no larger. A pass
    that would add less than one in a hundred to a side is left to Lanczos.
    """
    count = 1
    while factor > 1 and any(
        have * factor**count * 1.01 < want for have, want in zip(size, wanted, strict=True)
    ):
        count += 1
    return count


def too_large(size: tuple[int, int], wanted: tuple[int, int]) -> bool:
    """Whether a side would become more than LARGEST times longer."""
    return any(want > have * LARGEST for have, want in zip(size, wanted, strict=True))
