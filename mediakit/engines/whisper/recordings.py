"""Recordings of any length on their way through a model, kept stretch by stretch."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from mediakit.engines.whisper.engine import Whisper, join
from mediakit.engines.whisper.request import RATE, Request
from mediakit.engines.whisper.stretches import Stretch, stretches
from mediakit.errors import ItemError, show
from mediakit.media.audio import Recording
from mediakit.media.transcripts import SCHEMA, Transcript

_PREVIOUS = 1000  # characters of what was said before, more than a model takes


class Emit(Protocol):
    def __call__(self, share: float, told: str = "", /) -> None: ...


@dataclass(eq=False)
class Heard:
    """A recording that is open, with its first stretch. `clips` are seconds: start, end, start,
    end; none: all of it. `rest` is what follows, for the first that asks. What `keep` names is
    written stretch by stretch, under the words `identity`, and read again where they are the
    same."""

    recording: Recording
    request: Request
    clips: tuple[float, ...]
    first: Stretch
    rest: Iterator[Stretch] | None
    keep: Path | None = None
    identity: str = ""

    @property
    def nbytes(self) -> int:
        held = int(self.first.samples.nbytes)
        return held if self.first.last else 2 * held  # the next one is read ahead

    @property
    def seconds(self) -> float:
        """How much sound there is to listen to, as far as it is known."""
        total = self.recording.seconds or self.first.end
        if not self.clips:
            return total
        pairs = _pairs(self.clips, total)
        return sum((min(end, total) - min(start, total) for start, end in pairs), 0.0)


def open_recording(recording: Recording, request: Request, clips: tuple[float, ...]) -> Heard:
    """Read the first few minutes of a recording. ItemError: those of Recording.blocks, and no_audio
    where it ends before the first clip."""
    rest = _all_stretches(recording, request, clips, 0)
    first = next(rest)
    if clips and not len(first.samples):
        raise ItemError(
            "no_audio", f"{show(recording.name)} ends before {clips[0]:g} s, where the clip begins"
        )
    return Heard(recording, request, clips, first, rest)


def transcribe(
    batch: Sequence[Heard], model: Whisper, batch_size: int, emit: Emit
) -> list[Transcript | ItemError]:
    """What was said in each recording; one that goes wrong does not cost the others.

    Raises what Whisper.transcribe does, and what `emit` raises.
    """
    going = [_Going(heard) for heard in batch]
    progress = _Progress(going, emit)
    try:
        while open := [each for each in going if each.stretch]:
            asked = [(each.stretch, each.ask(model)) for each in open if each.stretch]
            found = model.transcribe(asked, batch_size, progress)
            for each, result in zip(open, found, strict=True):
                each.take(result)
    finally:
        for each in going:
            each.close()
    return [each.error or each.whole() for each in going]


class _Going:
    """One recording's way through the stretches; the next one is read while one is computed."""

    def __init__(self, heard: Heard) -> None:
        self.heard = heard
        self.request = heard.request
        self.chance = 1.0
        self.parts: list[Transcript] = []
        self.error: ItemError | None = None
        self.past = 0.0  # seconds of sound that were listened to in an earlier run
        self.listened = 0.0  # seconds of sound that have been listened to
        self._reader = ThreadPoolExecutor(1, "read ahead")
        self._next: Future[Stretch | None] | None = None
        self.stretch: Stretch | None = heard.first
        self._stretches, heard.rest = heard.rest or self._from(heard.first.end), None
        if kept := _kept(heard):
            self._go_on(kept)
        elif not heard.first.last:
            self._read_ahead()

    def _from(self, end: float) -> Iterator[Stretch]:
        """The stretches behind one that ended there."""
        heard = self.heard
        return _all_stretches(heard.recording, heard.request, heard.clips, round(end * RATE))

    def _go_on(self, kept: list["_Kept"]) -> None:
        self.parts = [each.part for each in kept]
        self.heard.recording.damaged |= {time for each in kept for time in each.damaged}
        self.past = self.listened = sum(part.duration for part in self.parts)
        if spoken := next((part for part in self.parts if part.language), None):
            self._set_language(spoken.language, spoken.language_probability)
        self._stretches = self._from(kept[-1].end)
        self._read_ahead()
        self._advance()

    def ask(self, model: Whisper) -> Request:
        """What is wanted of the next stretch."""
        assert self.stretch
        if not self.request.language and self.stretch.spans:
            self._set_language(*model.detect_language(self.stretch))
        conditioned = self.request.sequential and self.request.condition_on_previous_text
        if conditioned and self.parts:
            text = " ".join(part.text for part in self.parts[-3:])[-_PREVIOUS:]
            return replace(self.request, previous_text=text or None)
        return self.request

    def _set_language(self, language: str, chance: float) -> None:
        self.request, self.chance = replace(self.request, language=language), chance

    def take(self, result: Transcript | ItemError) -> None:
        """The result of a stretch; then the next one."""
        assert self.stretch
        if isinstance(result, ItemError):
            self.error, self.stretch = result, None
            return
        if result.language and not self.heard.request.language:
            result = replace(result, language_probability=self.chance)
        self.parts.append(result)
        self.listened += result.duration
        if self._next is None:
            self.stretch = None
            return
        _keep(self.heard, self.stretch, result, new=len(self.parts) == 1)
        self._advance()

    def _read_ahead(self) -> None:
        self._next = self._reader.submit(next, self._stretches, None)

    def _advance(self) -> None:
        assert self._next
        try:
            self.stretch = self._next.result()
        except ItemError as error:
            self.error, self.stretch = error, None
        if self.stretch:
            self._read_ahead()
        else:
            self._next = None

    def whole(self) -> Transcript:
        joined = join(self.parts)
        seconds = self.heard.recording.seconds or joined.duration
        speech = round(joined.speech_seconds, 3)
        return replace(joined, duration=round(seconds, 3), speech_seconds=speech)

    def close(self) -> None:
        self._reader.shutdown(cancel_futures=True)


class _Progress:
    """Says how far a batch is: in sound, in speed, in time that is left."""

    def __init__(self, going: Sequence[_Going], emit: Emit) -> None:
        self._going = going
        self._emit = emit
        self._began = time.monotonic()
        self._total = sum(each.heard.seconds for each in going) or 1.0
        self._past = sum(each.past for each in going)

    def __call__(self, share: float) -> None:
        now = [each.stretch for each in self._going if each.stretch]
        current = share * sum(stretch.end - stretch.start for stretch in now)
        done = min(sum(each.listened for each in self._going) + current, self._total)
        took = time.monotonic() - self._began
        speed = (done - self._past) / took if took > 0 else 0.0
        told = f"{clock(done)} of {clock(self._total)}"
        if speed > 0 and took > 1:
            left = clock((self._total - done) / speed)
            told += f", {speed:.1f} times real time, {left} left"
        self._emit(done / self._total, told)


def clock(seconds: float) -> str:
    """As on a clock: 0:05, 12:30, 1:02:03."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _all_stretches(
    recording: Recording, request: Request, clips: tuple[float, ...], behind: int
) -> Iterator[Stretch]:
    """The stretches of all clips, or of the whole, from sample `behind` on."""
    pairs = _pairs(clips, None) if clips else [(0.0, None)]
    left = [pair for pair in pairs if pair[1] is None or round(pair[1] * RATE) > behind]
    for number, (start, end) in enumerate(left):
        first = max(round(start * RATE), behind)
        blocks = recording.blocks(first / RATE, end)
        for stretch in stretches(blocks, request, start=first):
            yield replace(stretch, last=stretch.last and number == len(left) - 1)


def _pairs(clips: tuple[float, ...], end: float | None) -> list[tuple[float, Any]]:
    """(start, end) of each; the last may be open."""
    bounds: list[Any] = [*clips, end] if len(clips) % 2 else list(clips)
    return list(pairwise(bounds))[::2]


@dataclass(frozen=True)
class _Kept:
    """The result of a stretch that ended at `end` seconds, and when packets in it failed."""

    end: float
    part: Transcript
    damaged: tuple[float, ...]


def _kept(heard: Heard) -> list[_Kept]:
    """What an earlier run has kept of the same work; what is not whole is cut off."""
    if heard.keep is None:
        return []
    found: list[_Kept] = []
    try:
        head, *lines = heard.keep.read_bytes().split(b"\n")[:-1]  # the last one was cut off
        if json.loads(head) != {"of": heard.identity, "as": SCHEMA}:
            return []
        whole = len(head) + 1
        for line in lines:
            value = json.loads(line)
            part = Transcript.from_json(value["transcript"])
            damaged = tuple(map(float, value.get("damaged", ())))
            found.append(_Kept(float(value["end"]), part, damaged))
            whole += len(line) + 1
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass  # of what came before it is well
    if found:
        os.truncate(heard.keep, whole)
    return found


def _keep(heard: Heard, stretch: Stretch, part: Transcript, new: bool) -> None:
    """Keep the result of one stretch. OSError if the disk says no."""
    if heard.keep is None:
        return
    heard.keep.parent.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = [{"of": heard.identity, "as": SCHEMA}] if new else []
    damaged = sorted(t for t in heard.recording.damaged if stretch.start <= t < stretch.end)
    lines.append({"end": stretch.end, "damaged": damaged, "transcript": part.to_json()})
    with heard.keep.open("wb" if new else "ab") as file:
        file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        file.flush()
        os.fsync(file.fileno())
