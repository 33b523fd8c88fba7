"""The sound of a recording: what streams a file has, and their samples as speech models hear."""

from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer

from mediakit.errors import ItemError, show
from mediakit.media import audio_frames
from mediakit.media.audio_cut import missing_bytes
from mediakit.media.audio_facts import AudioFacts, Track, facts_of, seconds_of
from mediakit.media.audio_formats import SUFFIXES, sniff
from mediakit.media.audio_frames import Damage
from mediakit.media.audio_mix import Samples
from mediakit.media.audio_opening import Source, cut_off, opened
from mediakit.media.audio_timeline import RATE, Clock, Timed, sixteen_khz

__all__ = ["RATE", "SUFFIXES", "AudioFacts", "Recording", "Track", "probe", "sniff"]

_BLOCK = 30 * RATE
_PREROLL = 1.0  # seconds that decoders are given to settle after a jump; Opus wants 0.08
# What may lack of the promised length without a word: seconds, and the share of it
_SHORT, _SHORT_SHARE = 1.0, 0.01
# flags of ffmpeg's readers (avformat.h): times may jump; times are counted, but FLAC's are its own
_GENERIC_INDEX, _TS_DISCONT = 0x100, 0x200
_ENCRYPTED = ("enca", "drms", "drmi")  # sample entries of protected MP4


def probe(source: Source, name: str = "") -> AudioFacts:
    """What a file (a path, or its bytes) says of its sound; `name` is for messages.

    Raises ItemError as `opened` does.
    """
    with opened(source, _called(source, name)) as (container, _):
        return facts_of(container)


class Recording:
    """The sound of a file, a path or its bytes, of the audio stream numbered `stream` from 0, or
    of the one that players take; the file is opened anew for each pass.

    `facts` is what the file says, `track` the stream, and `damaged` the seconds of all packets
    that could not be decoded so far. Raises ItemError: those of `opened`, no_audio,
    missing_codec, truncated.
    """

    def __init__(self, source: Source, stream: int | None = None, name: str = "") -> None:
        self.source, self.name = source, _called(source, name)
        self.damaged: frozenset[float] = frozenset()
        self._measured: float | None = None
        with opened(source, self.name) as (container, file):
            self.facts = facts_of(container)
            found = self._choose(container, stream)
            self.track = self.facts.tracks[container.streams.audio.index(found)]
            self._check_codec(found)
            self._seconds = seconds_of(container, found) or self.facts.seconds
            flags = container.format.flags
            self._broadcast = bool(flags & _TS_DISCONT)
            self._counted = flags & (_TS_DISCONT | _GENERIC_INDEX) == _GENERIC_INDEX and (
                self.facts.format != "flac"
            )
            audio_frames.leave_out_others(container, found)
            self._check_end(container, found, missing_bytes(file) / (container.size or 1))

    @property
    def seconds(self) -> float | None:
        """The length as far as it is known: what a pass to the end measured, else what the file
        says, or ffmpeg's guess by its size; None for one of unknown length."""
        return self._seconds if self._measured is None else self._measured

    @property
    def warnings(self) -> list[str]:
        """What was found damaged so far."""
        if not self.damaged:
            return []
        first, count = min(self.damaged), len(self.damaged)
        if self._measured is not None and first > self._measured - 0.2:
            return [f"its end, at {self._measured:.1f} s, is damaged: it may be cut off"]
        packets = f"{count} packets" if count > 1 else "one packet"
        return [f"damaged at {first:.1f} s: {packets} of sound could not be decoded"]

    def blocks(self, start: float = 0.0, end: float | None = None) -> Iterator[Samples]:
        """The samples from second `start` up to `end`: float32, one channel, RATE, -1 to 1, in
        blocks of 30 s but for the last; memory does not grow with the length.

        Times are those of the file's playback: gaps are silence. Raises ItemError: those of
        `opened`, truncated, no_audio, unsupported_format.
        """
        damage = Damage()
        clock = Clock(start, self._seconds, self._broadcast, self._counted)
        most = None if end is None else max(round((end - start) * RATE), 0)
        made = 0
        with closing(self._frames(start, damage)) as frames:
            for block in _blocks(sixteen_khz(frames, clock), most):
                made += len(block)
                self._note(start, damage)
                yield block
        self._note(start, damage)
        if most is None or made < most:
            self._finish(start, made, damage)

    def _frames(self, start: float, damage: Damage) -> Generator[Timed]:
        """From `start` or before it; from the beginning where the file can't be read from there."""
        if start > 2 * _PREROLL and not self._broadcast:
            with opened(self.source, self.name) as (container, _):
                stream = self._stream(container)
                if audio_frames.sought(container, stream, start - _PREROLL):
                    found = audio_frames.frames(container, stream, damage)
                    first = next(found, None)
                    if first and first[0] is not None and first[0] <= start:
                        yield first
                        yield from found
                        return
        with opened(self.source, self.name) as (container, _):
            yield from audio_frames.frames(container, self._stream(container), damage)

    def _stream(self, container: InputContainer) -> AudioStream:
        stream = container.streams.audio[self.track.index]
        audio_frames.leave_out_others(container, stream)
        return stream

    def _choose(self, container: InputContainer, stream: int | None) -> AudioStream:
        streams, name = container.streams.audio, show(self.name)
        if not streams:
            kinds = {each.type for each in container.streams}
            what = " and ".join(sorted(kinds & {"video", "subtitle"})) or "no stream"
            raise ItemError("no_audio", f"{name} has no sound: it holds {what} only")
        if stream is None:
            best = container.streams.best("audio")
            return best if isinstance(best, AudioStream) else streams[0]
        if not 0 <= stream < len(streams):
            count = "1 audio stream" if len(streams) == 1 else f"{len(streams)} audio streams"
            raise ItemError(
                "no_audio", f"{name} has {count}, none with the number {stream}: they count from 0"
            )
        return streams[stream]

    def _check_codec(self, stream: AudioStream) -> None:
        if stream.codec_context is not None and stream.codec_tag in _ENCRYPTED:
            raise self._is_encrypted()
        if stream.codec_context is None:
            raise ItemError(
                "missing_codec",
                f"{show(self.name)}: its sound is in a codec that is not known; convert it first",
            )

    def _is_encrypted(self) -> ItemError:
        return ItemError(
            "unsupported_format", f"{show(self.name)} is encrypted; use a copy without protection"
        )

    def _check_end(self, container: InputContainer, stream: AudioStream, lacks: float) -> None:
        """truncated, if the stream's packets end before its length; `lacks` is how many bytes are
        missing for each that is there. FLAC tells no bytes, but its reader finds the end fast."""
        said = self._seconds
        if not lacks and (
            self.facts.format != "flac"
            or not said
            or not audio_frames.sought(container, stream, said - _SHORT)
        ):
            return
        end = audio_frames.last_end(container, stream)
        end = min(end, said or end)
        if self.facts.format == "ogg":  # tells no length at all
            raise cut_off(self.name, end, None)
        total = said if said and said > end + _SHORT else end * (1 + lacks)
        if _is_short(end, total):
            raise cut_off(self.name, end, total)

    def _note(self, start: float, damage: Damage) -> None:
        """What failed from `start` on; before it, decoders may lack what came before."""
        # a new set: other threads read it
        self.damaged |= {time for time in damage.times if time >= start}

    def _finish(self, start: float, made: int, damage: Damage) -> None:
        """What is known at the end of the file."""
        name, reached = show(self.name), start + made / RATE
        if damage.times:
            if damage.encrypted:
                raise self._is_encrypted()
            if not made and not start:
                raise ItemError("corrupt", f"{name} is damaged: nothing of it can be decoded")
            if _is_short(reached, damage.end):
                raise cut_off(self.name, reached, damage.end)
        if not made and not start:
            raise ItemError("no_audio", f"{name} has no sound: its audio stream is empty")
        if made:
            self._measured = reached


def _called(source: Source, name: str) -> str:
    return name or (source if isinstance(source, str) else "the recording")


def _is_short(end: float, total: float) -> bool:
    return total - end > max(_SHORT, _SHORT_SHARE * total)


def _blocks(pieces: Iterator[Samples], most: int | None) -> Iterator[Samples]:
    """Pieces of any length as blocks, `most` samples in all."""
    held: list[Samples] = []
    count = 0
    for piece in pieces:
        held.append(piece)
        count += len(piece)
        while count >= (size := _BLOCK if most is None else min(_BLOCK, most)) and size:
            joined = np.concatenate(held)
            yield np.clip(joined[:size], -1, 1)
            held, count = [joined[size:]], count - size
            most = None if most is None else most - size
        if most == 0:
            return
    if count:
        yield np.clip(np.concatenate(held), -1, 1)
