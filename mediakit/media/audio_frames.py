"""What comes out of a file's audio stream: decoded frames with their times, and the damage."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Discard

from mediakit.media.audio_timeline import Timed


@dataclass(slots=True)
class Damage:
    """What could not be decoded, in seconds of the recording.

    `times` are those of the packets that failed; `end` is that of the last packet there is, good
    or bad.
    """

    times: list[float] = field(default_factory=list)
    end: float = 0.0
    encrypted: bool = False

    def note(self, at: float, encrypted: bool) -> None:
        self.times.append(at)
        self.encrypted |= encrypted


def zero_of(container: InputContainer) -> float:
    """The timestamp at which players begin: the first of any stream's; cover art has none."""
    starts = [
        float(stream.start_time * stream.time_base)
        for stream in (*container.streams.audio, *container.streams.video)
        if stream.start_time is not None
        and stream.time_base is not None
        and "attached_pic" not in (stream.disposition.name or "")
    ]
    # a little below 0: samples before the beginning, which decoders leave out
    return max(min(starts, default=0.0), 0.0)


def leave_out_others(container: InputContainer, stream: AudioStream) -> None:
    """Packets of other streams are not read, where the format allows that."""
    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all


def sought(container: InputContainer, stream: AudioStream, seconds: float) -> bool:
    """Whether reading goes on at a packet at or before that time after `zero_of`, or nearly so."""
    time = seconds + zero_of(container)
    try:
        container.seek(int(time / (stream.time_base or 1)), stream=stream)
    except av.FFmpegError:
        return False
    return True


def frames(container: InputContainer, stream: AudioStream, damage: Damage) -> Iterator[Timed]:
    """Decoded frames from where the container is, with their times after `zero_of`; what is
    damaged is left out and noted."""
    zero, base = zero_of(container), float(stream.time_base or 0)
    for packet in _packets(container, stream, damage):
        time = 0.0
        if packet.pts is not None:
            time = packet.pts * base - zero
            damage.end = max(damage.end, time + (packet.duration or 0) * base)
        try:
            decoded = packet.decode()
        except av.EOFError:
            continue
        except av.FFmpegError:
            damage.note(time or damage.end, packet.has_sidedata("encryption_info"))
            continue
        for frame in decoded:
            moment = frame.time
            yield None if moment is None else moment - zero, frame


def last_end(container: InputContainer, stream: AudioStream) -> float:
    """Where the last packet that can be read ends, in seconds after `zero_of`."""
    zero, base = zero_of(container), float(stream.time_base or 0)
    end = 0.0
    for packet in _packets(container, stream, Damage()):
        if packet.pts is not None:
            end = max(end, (packet.pts + (packet.duration or 0)) * base - zero)
    return end


def _packets(
    container: InputContainer, stream: AudioStream, damage: Damage
) -> Iterator["av.Packet[AudioStream]"]:
    """Up to the end, or to where the file is so damaged that it can't be read on."""
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except av.FFmpegError:
            damage.note(damage.end, False)
            return
        if packet is None:
            return
        yield packet
