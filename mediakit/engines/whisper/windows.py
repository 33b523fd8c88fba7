"""Which speech goes into a window of the encoder together, and how wide the window is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil

from mediakit.engines.whisper.request import RATE, Voice
from mediakit.engines.whisper.stretches import Samples, Span, Stretch, quietest

FULL = 30.0  # seconds that Whisper was trained on
LONGEST = 20.0  # seconds of sound in a window
APART = 2.0  # seconds: a longer pause ends a window; shorter ones may be faint speech
PADDING = 5.0  # seconds of silence behind the sound, at least: with less, Whisper leaves words out
NARROWEST = 11.0  # seconds: in narrower windows Whisper mistakes more words
STEP = 1.0  # seconds: a window is as wide as a multiple of this


@dataclass(frozen=True, slots=True)
class Window:
    """Sound from sample `start` to `end` of stretch `owner`, a number."""

    owner: int
    start: int
    end: int

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / RATE

    @property
    def width(self) -> float:
        """Seconds that the encoder is given. It depends on the sound alone, so that a result does
        not depend on the batch."""
        wide = max(NARROWEST, self.seconds + PADDING)
        return min(FULL, ceil(wide / STEP) * STEP)


def windows(owner: int, stretch: Stretch, voice: Voice | None) -> list[Window]:
    """The speech of a stretch in windows of at most LONGEST seconds and the padding on each side,
    cut at its widest pauses."""
    parts = [
        part
        for group in _groups(stretch.spans)
        for span in _divide(group)
        for part in _short(stretch.samples, span)
    ]
    pad = voice.speech_pad_ms * RATE // 1000 if voice else 0
    middles = [(before[1] + after[0]) // 2 for before, after in pairwise(parts)]
    bounds = pairwise([0, *middles, len(stretch.samples)])
    return [
        Window(owner, max(start - pad, least), min(end + pad, most))
        for (start, end), (least, most) in zip(parts, bounds, strict=bool(parts))
    ]


def batches(found: Iterable[Window], size: int) -> list[list[Window]]:
    """Windows of the same width together, at most `size`, the widest first."""
    together: dict[float, list[Window]] = {}
    for window in found:
        together.setdefault(window.width, []).append(window)
    return [
        same[at : at + size]
        for _, same in sorted(together.items(), reverse=True)
        for at in range(0, len(same), size)
    ]


def _groups(spans: Sequence[Span]) -> list[list[Span]]:
    """Spans that are at most APART from their neighbours."""
    found: list[list[Span]] = []
    for span in spans:
        if found and span[0] - found[-1][-1][1] <= APART * RATE:
            found[-1].append(span)
        else:
            found.append([span])
    return found


def _divide(spans: list[Span]) -> list[Span]:
    if spans[-1][1] - spans[0][0] <= LONGEST * RATE or len(spans) == 1:
        return [(spans[0][0], spans[-1][1])]
    middle = (spans[0][0] + spans[-1][1]) / 2
    # of pauses of one width, the one nearest to the middle
    _, _, at = max(
        (after[0] - before[1], -abs(before[1] - middle), at)
        for at, (before, after) in enumerate(pairwise(spans), 1)
    )
    return _divide(spans[:at]) + _divide(spans[at:])


def _short(samples: Samples, span: Span) -> list[Span]:
    """A span without a pause, cut where it is quietest."""
    start, end = span
    if end - start <= LONGEST * RATE:
        return [span]
    at = quietest(samples, start + int(LONGEST * RATE * 0.6), start + int(LONGEST * RATE))
    return [(start, at), *_short(samples, (at, end))]
