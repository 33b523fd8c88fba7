"""Which words are shown together as a subtitle, and from when to when."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mediakit.media.cue_breaks import Breaks
from mediakit.media.cue_lines import joined_width, lines
from mediakit.media.cue_units import Unit, units
from mediakit.media.transcripts import Transcript

_UNLIMITED = 1 << 30
# What a cue costs, beside the break at its end (cue_breaks): by itself, and for each fault
_CUE = 3.0
_FURTHER_SENTENCE = 1.5  # a second sentence in it
_BEGUN_SENTENCE = 4.0  # that it leaves unfinished
_TOO_SHORT = 6.0  # shown for no time at all, less up to min_seconds
_UNEVEN = 2.0  # empty, less up to full
_ORPHAN = 3.0  # a scrap of a sentence
_SCRAP = 8  # cells
_PAUSED = 2.0  # what a pause nearly long enough to part cues takes off the cost of a break
# Gaps shorter than this are closed (but for min_gap): a flicker reads worse than a subtitle that
# stays (Netflix Timed Text Style Guide, "Timing": 2 frames, or half a second and more)
_FLICKER = 500


@dataclass(frozen=True, slots=True)
class CueLayout:
    """How subtitles are laid out; the defaults follow Netflix's and the BBC's guidelines.

    Widths are in cells, of which a Chinese character takes two; times in seconds. 0 is no limit
    for `max_line_width`, `max_seconds` and `max_chars_per_second`; a cue that is read faster
    stays longer where a pause follows it. Pauses of `pause` and more part cues.
    """

    max_line_width: int = 42
    max_lines: int = 2
    max_seconds: float = 7.0
    min_seconds: float = 1.0
    max_chars_per_second: float = 21.0
    pause: float = 0.6
    min_gap: float = 0.08


class Timed(NamedTuple):
    """Text of a line, with the space before it, that is said from `start` to `end`, in seconds."""

    start: float
    end: float
    text: str


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle; seconds with whole milliseconds, `end` after `start`. `spoken` has the words
    of each line, the first without a space before it."""

    start: float
    end: float
    spoken: tuple[tuple[Timed, ...], ...]
    joint: str = " "  # between lines that are written as one

    @property
    def lines(self) -> tuple[str, ...]:
        return tuple("".join(word.text for word in line) for line in self.spoken)

    @property
    def text(self) -> str:
        """On one line."""
        return self.joint.join(self.lines)


def cues(transcript: Transcript, layout: CueLayout) -> list[Cue]:
    """Subtitles in order, which do not overlap and lie within the recording.

    Words are never parted; those of other scripts than Chinese, Japanese, Thai and the like only
    at spaces. A word that is too wide has a line of its own. Where segments have no words, or
    their text was edited, times are shared out by the length of the words.
    """
    limit = layout.max_line_width or _UNLIMITED
    found = units(transcript.segments, limit)
    breaks = Breaks(found, transcript.language)
    groups = []
    for first, end in _runs(found, layout):
        groups += [
            (first + a, first + b) for a, b in _best(_Run(found, breaks, layout), first, end)
        ]
    times = _times([(found[a].start, found[b - 1].end, found[a:b]) for a, b in groups], layout)
    made = []
    for (a, b), (start, end) in zip(groups, _within(times, transcript.duration), strict=True):
        rows = lines(found[a:b], breaks.costs[a:b], limit)
        joint = " " if len(rows) < 2 or rows[1][0].space else ""
        made.append(Cue(start / 1000, end / 1000, tuple(map(_timed, rows)), joint))
    return made
