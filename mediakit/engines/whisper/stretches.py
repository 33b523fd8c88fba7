"""Where a recording of any length is cut: into stretches of a few minutes that end in a pause."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from faster_whisper.vad import VadOptions, get_speech_timestamps

from mediakit.engines.whisper.request import RATE, Request, Voice

Samples = npt.NDArray[np.float32]
Span = tuple[int, int]  # samples: the first, and the first behind

SECONDS = 300.0  # 19 MB
_SPOT = RATE // 10  # a place to cut is as quiet as this much around it


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """`samples` are those of the recording from `start` seconds on; `spans` those of speech in
    them, in order. What is made of a stretch depends on nothing else; `last` says that the
    recording ends with it."""

    start: float
    samples: Samples
    spans: tuple[Span, ...]
    last: bool

    @property
    def end(self) -> float:
        return self.start + len(self.samples) / RATE

    @property
    def speech_seconds(self) -> float:
        return sum(end - start for start, end in self.spans) / RATE


def stretches(
    blocks: Iterable[Samples], request: Request, seconds: float = SECONDS, start: int = 0
) -> Iterator[Stretch]:
    """Cut a recording, given in blocks of any size, into stretches of at most `seconds`.

    At least one comes out, the last one with `last` set. Where they are cut depends on the sound
    alone, not on the blocks. To go on behind a stretch, leave out the first
    `round(stretch.end * RATE)` samples and give that number as `start`: the same follow as would
    have. Memory: two stretches.
    """
    limit = int(seconds * RATE)
    held = np.empty(0, np.float32)
    waiting: list[Samples] = []
    count = 0
    for block in blocks:
        waiting.append(block)
        count += len(block)
        while len(held) + count > limit:
            held, waiting, count = np.concatenate((held, *waiting)), [], 0
            spans = speech(held[:limit], request.voice)
            at = _place(held[:limit], spans)
            inside = tuple((a, min(b, at)) for a, b in spans if a < at)
            yield Stretch(start / RATE, held[:at].copy(), inside, last=False)
            held = held[at:]
            start += at
    held = np.concatenate((held, *waiting))
    yield Stretch(start / RATE, held, speech(held, request.voice), last=True)


def speech(samples: Samples, voice: Voice | None) -> tuple[Span, ...]:
    """The spans of speech, unpadded; all of it without `voice`, unless it is digital silence."""
    if not len(samples) or not samples.any():
        return ()
    if voice is None:
        return ((0, len(samples)),)
    found: list[dict[str, Any]] = get_speech_timestamps(samples, vad_options(voice))
    return tuple((int(each["start"]), int(each["end"])) for each in found)


def vad_options(voice: Voice) -> VadOptions:
    """The same for faster_whisper; windows are padded, not the spans that they are made of."""
    return VadOptions(
        threshold=voice.threshold,
        min_speech_duration_ms=voice.min_speech_ms,
        min_silence_duration_ms=voice.min_silence_ms,
        speech_pad_ms=0,
    )


def _place(samples: Samples, spans: tuple[Span, ...]) -> int:
    """Where to cut: in the last long pause of the second half, else in its widest, else where it
    is quietest."""
    end = len(samples)
    if not spans:
        return end
    edges = [*spans, (end, end)]
    pauses = [
        (after[0] - before[1], (before[1] + after[0]) // 2)
        for before, after in pairwise(edges)
        if before[1] > end // 2 and before[1] < end
    ]
    if long := [pause for pause in pauses if pause[0] >= RATE]:
        return long[-1][1]
    if pauses:
        return max(pauses)[1]
    return quietest(samples, max(end // 2, end - 30 * RATE), end)


def quietest(samples: Samples, first: int, behind: int) -> int:
    """The middle of the quietest tenth of a second from `first` to `behind`."""
    count = (behind - first) // _SPOT
    if count < 1:
        return behind
    parts = samples[first : first + count * _SPOT].reshape(count, _SPOT)
    loudness = np.einsum("ij,ij->i", parts, parts)
    return first + int(loudness.argmin()) * _SPOT + _SPOT // 2
