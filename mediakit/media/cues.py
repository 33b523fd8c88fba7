"""Where speech is cut into subtitles: at ends of sentences and at pauses, in lines that balance."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from mediakit.media.cue_words import words_of
from mediakit.media.transcripts import Segment, Transcript, Word

_AFTER = r"[\"'”’»)\]」』]*$"
_STOP = re.compile(r"[.!?…。！？؟]" + _AFTER)
_CLAUSE = re.compile(r"[,;:—–،、，；：]" + _AFTER)
# Words that a line may begin with and should not end with.
_JOINS = re.compile(
    r"(?i)^(?:a|an|the|and|or|but|nor|so|yet|because|although|though|while|when|where|which|who|that|"
    r"if|unless|until|as|than|with|from|into|onto|over|under|before|after|between|through|of|to|in|"
    r"on|at|by|for|my|your|his|her|its|our|their)$"
)
# What ends in a full stop and ends no sentence.
_ABBREVIATION = re.compile(r"(?i)^\W*(?:[a-z]|mr|mrs|ms|dr|st|jr|sr|prof|vs|etc|e\.g|i\.e|no)\.$")


@dataclass(frozen=True, slots=True)
class CueLayout:
    """How subtitles are shaped: columns a line (a wide character takes two), lines and seconds a
    cue, characters a second that can be read; `pause` seconds of silence end a cue, and `gap`
    are left between two."""

    max_line_width: int = 42
    max_line_count: int = 2
    max_cue_seconds: float = 7.0
    max_chars_per_second: float = 21.0
    min_cue_seconds: float = 1.0
    pause: float = 0.6
    gap: float = 0.04


@dataclass(frozen=True, slots=True)
class Cue:
    """One subtitle; times in seconds. `words` are those of its text, in order."""

    start: float
    end: float
    lines: tuple[str, ...]
    words: tuple[Word, ...]

    @property
    def text(self) -> str:
        """All of it on one line."""
        return _plain("".join(word.text for word in self.words))


def cues(transcript: Transcript, layout: CueLayout) -> list[Cue]:
    """The subtitles of a transcript: in order, never overlapping, none without text.

    Where the times of words are not known, a segment's words are taken to be spread over it by
    their length.
    """
    made: list[Cue] = []
    for run in _runs(transcript.segments, layout):
        for words in _cut(run, layout):
            text = broken([word.text for word in words], layout)
            made.append(Cue(words[0].start, words[-1].end, text, tuple(words)))
    return _timed(made, layout, transcript.duration)


def columns(text: str) -> int:
    """How wide a text is."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(1 for char in text if unicodedata.combining(char))


def _runs(segments: Sequence[Segment], layout: CueLayout) -> Iterator[list[Word]]:
    """Words up to the next pause or end of a sentence; what is said in no time goes with what
    follows."""
    run: list[Word] = []
    for segment in segments:
        is_first = True
        for word in words_of(segment):
            if not word.text.strip():
                continue
            pause = run and word.start - run[-1].end >= layout.pause
            if pause or (run and _is_sentence(run, word, layout, is_first)):
                yield run
                run = []
            run.append(word)
            is_first = False
    if run:
        yield run


def _is_sentence(run: Sequence[Word], after: Word, layout: CueLayout, begins_segment: bool) -> bool:
    """Whether one ends with the run; 7.30 a.m. and so on goes on in small letters. Where Whisper
    begins a segment, a full stop ends a sentence whatever follows, and a capital begins one."""
    last, is_capital = run[-1].text.strip(), not after.text.strip()[:1].islower()
    is_long = run[-1].end - run[0].start >= layout.min_cue_seconds
    signs = (begins_segment, is_capital, bool(_STOP.search(last)))
    return is_long and sum(signs) >= 2 and not _ABBREVIATION.match(last)


def _cut(words: list[Word], layout: CueLayout) -> Iterator[list[Word]]:
    """As few cues as the words need, cut where it reads best and of like length."""
    most = layout.max_line_width * layout.max_line_count
    while words:
        fitting = _fitting(words, layout)
        if fitting == len(words):
            yield words
            return
        rest = _width(words)
        goal = rest / max(-(-rest // most), 2)
        goal = min(goal, _width(words[:fitting]))
        at = min(range(1, fitting + 1), key=lambda n: _cost(words, n, goal, most))
        yield words[:at]
        words = words[at:]


def _fitting(words: Sequence[Word], layout: CueLayout) -> int:
    """How many of the words fit into one cue; at least one."""
    count = 1
    while count < len(words):
        more = words[: count + 1]
        if more[-1].end - more[0].start > layout.max_cue_seconds:
            break
        texts = [word.text for word in more]
        if len(_greedy(texts, layout.max_line_width)) > layout.max_line_count:
            break
        count += 1
    return count


def _cost(words: Sequence[Word], at: int, goal: float, most: int) -> float:
    """How bad a cut before word `at` is: uneven, or in the middle of what belongs together."""
    uneven = abs(_width(words[:at]) - goal) / most
    return uneven / 2 + _break_cost(words[at - 1].text, words[at].text if at < len(words) else "")


def _break_cost(before: str, after: str) -> float:
    before, after = before.strip(), after.strip()
    if not after:
        return 0.0
    if _ABBREVIATION.match(before) or _JOINS.match(before):
        return 0.6
    if _CLAUSE.search(before) or (_STOP.search(before) and not after[:1].islower()):
        return 0.0
    return 0.2 if _JOINS.match(after) else 0.35


def _width(words: Sequence[Word]) -> int:
    return columns("".join(word.text for word in words).strip())


def broken(texts: Sequence[str], layout: CueLayout) -> tuple[str, ...]:
    """Words, each with the space before it, in as few lines as they need, as even as reads well."""
    lines = _greedy(texts, layout.max_line_width)
    if len(lines) == 2:
        return _balanced(texts, layout.max_line_width)
    return lines


def _greedy(texts: Sequence[str], width: int) -> tuple[str, ...]:
    """Lines as full as can be: the fewest there are. A word wider than that has its own."""
    lines: list[str] = []
    line = ""
    for text in texts:
        if line and columns((line + text).strip()) > width:
            lines.append(line)
            line = ""
        line += text
    return tuple(_plain(each) for each in (*lines, line) if each.strip())


def _balanced(texts: Sequence[str], width: int) -> tuple[str, ...]:
    """Two lines, neither wider than `width` if that can be."""
    half = columns("".join(texts).strip()) / 2

    def cost(at: int) -> tuple[float, float]:
        first, second = ("".join(part).strip() for part in (texts[:at], texts[at:]))
        too_wide = max(columns(first), columns(second), width) - width
        uneven = abs(columns(first) - half) / width
        return too_wide, uneven + _break_cost(texts[at - 1], texts[at])

    at = min(range(1, len(texts)), key=cost)
    return tuple(_plain("".join(part)) for part in (texts[:at], texts[at:]))


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _timed(made: Sequence[Cue], layout: CueLayout, duration: float) -> list[Cue]:
    """Longer where there is time to read, in whole milliseconds, each with a gap before the next,
    and all within the recording if its length is known."""
    times: list[tuple[int, int]] = []
    for number, cue in enumerate(made):
        after = made[number + 1] if number + 1 < len(made) else None
        letters = sum(len(line) for line in cue.lines)
        wanted = max(layout.min_cue_seconds, letters / layout.max_chars_per_second)
        start, end = cue.start, max(cue.end, cue.start + min(wanted, layout.max_cue_seconds))
        if after:
            end = min(end, max(after.start - layout.gap, (start + after.start) / 2))
        first = max(_ms(start), times[-1][1] if times else 0)
        times.append((first, max(_ms(end), first + 1)))
    latest = _ms(duration)
    for number in range(len(times) - 1, -1, -1) if latest >= len(times) else ():
        start, end = times[number]
        end = min(end, latest)
        latest = min(start, end - 1)
        times[number] = latest, end
    return [
        replace(cue, start=start / 1000, end=end / 1000)
        for cue, (start, end) in zip(made, times, strict=True)
    ]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
