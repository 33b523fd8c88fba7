"""Where decoded sound lies in time: gaps become silence, overlaps are dropped, so that what is
heard at a moment of the file's playback is at that moment of the samples."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import av
import numpy as np
from av.audio.fifo import AudioFifo

from mediakit.media.audio_mix import Downmix, Samples

RATE = 16_000  # Hz, which speech models hear
# seconds by which timestamps may be off: Matroska rounds them to milliseconds, recorders jitter
_TOLERANCE = 0.05
# seconds; a jump further back, or in a broadcast further ahead, is a clock that began anew
# (ffmpeg's -dts_delta_threshold)
_RESET = 10.0
_LONGEST_GAP = 3600.0  # seconds, where the recording's length is not known
_VALUES = 2**17  # samples of all channels that are mixed at once: what a cache holds
# format -> what to subtract, what to divide by
_SCALES = {"u8": (128, 2**7), "s16": (0, 2**15), "s32": (0, 2**31), "flt": (0, 1), "dbl": (0, 1)}


@dataclass(slots=True)
class Clock:
    """Tells for each frame by how much it lies apart from those before it.

    `reached` is the second up to which sound was handed on, `end` the recording's if known;
    `broadcast` formats may start their clock anew at any time; `counted` ones have no clock at all:
    their times are ffmpeg's guess, which is wrong where the rate changes.
    """

    reached: float
    end: float | None = None
    broadcast: bool = False
    counted: bool = False
    _position: float = 0.0
    _shift: float = 0.0
    _begun: bool = False

    def place(self, time: float | None, seconds: float) -> tuple[float, float]:
        """Seconds of silence to insert before a frame, and seconds to drop from its front.

        `time` is its timestamp, None if it has none, `seconds` its length.
        """
        if self.counted and self._begun:
            time = None
        jump = 0.0 if time is None else time + self._shift - self._position
        if not self._begun:
            self._begin(time)
        elif -_TOLERANCE <= jump <= _TOLERANCE:
            if self._position == self.reached:  # as nearly always
                self._position = self.reached = self.reached + seconds
                return 0.0, 0.0
        elif self._began_anew(jump):
            self._shift -= jump
        else:
            self._position += jump
        silence = max(self._position - self.reached, 0.0)
        drop = min(max(self.reached - self._position, 0.0), seconds)
        self._position += seconds
        self.reached = max(self.reached, self._position)
        return silence, drop

    def _begin(self, time: float | None) -> None:
        self._begun = True
        self._position = self.reached if time is None else time
        if self._position - self.reached > self._longest_gap():
            self._shift = self.reached - self._position
            self._position = self.reached

    def _began_anew(self, jump: float) -> bool:
        return jump < -_RESET or jump > self._longest_gap() or (self.broadcast and jump > _RESET)

    def _longest_gap(self) -> float:
        return _LONGEST_GAP if self.end is None else max(self.end - self.reached, 0.0) + _RESET


Timed = tuple[float | None, av.AudioFrame]


def sixteen_khz(frames: Iterable[Timed], clock: Clock) -> Iterator[Samples]:
    """Pieces of one channel at RATE, in order, without a gap: of any length."""
    resampler: av.AudioResampler | None = None
    current = RATE
    for rate, piece in _mono(frames, clock):
        if rate != current:
            yield from _out_of(resampler, None)
            resampler = None
            if rate != RATE:
                resampler = av.AudioResampler("flt", "mono", RATE)
            current = rate
        if resampler is None:
            yield piece
        else:
            frame = av.AudioFrame.from_ndarray(piece[np.newaxis], "flt", "mono")
            frame.rate = rate
            yield from _out_of(resampler, frame)
    yield from _out_of(resampler, None)


def _out_of(resampler: av.AudioResampler | None, frame: av.AudioFrame | None) -> Iterator[Samples]:
    if resampler is not None:
        for made in resampler.resample(frame):
            yield made.to_ndarray()[0]


def _mono(frames: Iterable[Timed], clock: Clock) -> Iterator[tuple[int, Samples]]:
    """The rate of each piece, and its samples."""
    gathered: _Gathered | None = None
    for time, frame in frames:
        if gathered is None or not gathered.takes(frame):
            if gathered:
                yield from gathered.flush()
            gathered = _Gathered(frame)
        rate = frame.sample_rate
        silence, drop = clock.place(time, frame.samples / rate)
        dropped = round(drop * rate)
        if silence * rate >= 1:
            yield from gathered.flush()
            yield from _silence(round(silence * rate), rate)
        if dropped >= frame.samples:
            continue
        if dropped:
            yield from gathered.flush()
        if gathered.add(frame) or dropped:
            yield from gathered.flush(dropped)
    if gathered:
        yield from gathered.flush()


def _silence(samples: int, rate: int) -> Iterator[tuple[int, Samples]]:
    for at in range(0, samples, _VALUES):
        yield rate, np.zeros(min(_VALUES, samples - at), np.float32)


class _Gathered:
    """Frames of one kind that lie behind each other, until there are enough to work on."""

    def __init__(self, frame: av.AudioFrame) -> None:
        self._format = frame.format.name
        self._rate = frame.sample_rate
        self._channels = frame.layout.nb_channels
        self._mix = Downmix([each.name for each in frame.layout.channels], self._rate)
        self._room = _VALUES  # this code runs for every 20 ms of sound
        self._fifo = AudioFifo()
        self._to_float: av.AudioResampler | None = None
        if frame.format.packed.name not in _SCALES:  # such as 64-bit integers
            self._to_float = av.AudioResampler("dblp", frame.layout, self._rate)

    def takes(self, frame: av.AudioFrame) -> bool:
        return (
            frame.sample_rate == self._rate
            and frame.layout.nb_channels == self._channels
            and frame.format.name == self._format
        )

    def add(self, frame: av.AudioFrame) -> bool:
        """Whether that is enough."""
        frames = self._to_float.resample(frame) if self._to_float else (frame,)
        for each in frames:
            each.pts = None  # the queue would insist on times of its own
            self._fifo.write(each)
            self._room -= each.samples * self._channels
        return self._room <= 0

    def flush(self, drop: int = 0) -> Iterator[tuple[int, Samples]]:
        """What was gathered, without its first `drop` samples."""
        frame = self._fifo.read()
        self._room = _VALUES
        if frame is not None:
            yield self._rate, self._mix(_floats(frame)[:, drop:])


def _floats(frame: av.AudioFrame) -> Samples:
    """C x N, -1 to 1 for whole numbers; what is no number becomes silence."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, frame.layout.nb_channels).T
    zero, full = _SCALES[frame.format.packed.name]
    floats: Samples = values.astype(np.float32, copy=False)
    if zero:
        floats -= zero
    if full != 1:
        floats *= np.float32(1 / full)
    elif not np.isfinite(floats.sum()):
        floats = np.nan_to_num(floats, nan=0, posinf=1, neginf=-1)
    return floats
