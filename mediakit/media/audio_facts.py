"""What a file says of its sound: streams, their tags and lengths."""

from dataclasses import dataclass

from av.audio.stream import AudioStream
from av.container import InputContainer

from mediakit.media.audio_frames import zero_of


@dataclass(frozen=True, slots=True)
class Track:
    """One audio stream. `index` counts audio streams from 0; `codec` is ffmpeg's name, empty for
    one that it does not know; `language` is the tag as written, such as "eng", or empty."""

    index: int
    codec: str
    channels: int
    rate: int
    language: str
    title: str


@dataclass(frozen=True, slots=True)
class AudioFacts:
    """`seconds` is as the file says, None where it does not; `format` is ffmpeg's name."""

    seconds: float | None
    tracks: tuple[Track, ...]
    format: str


def facts_of(container: InputContainer) -> AudioFacts:
    return AudioFacts(
        None if container.duration is None else container.duration / 1e6,
        tuple(_track(index, each) for index, each in enumerate(container.streams.audio)),
        container.format.name,
    )


def _track(index: int, stream: AudioStream) -> Track:
    tags, codec = stream.metadata, stream.codec_context
    language = tags.get("language", "")
    return Track(
        index,
        codec.name if codec else "",
        codec.channels if codec else 0,
        codec.sample_rate if codec else 0,
        "" if language == "und" else language,
        tags.get("title", ""),
    )


def seconds_of(container: InputContainer, stream: AudioStream) -> float | None:
    """Where the stream ends, in seconds of playback."""
    if stream.duration is None or stream.time_base is None:
        return None
    last = (stream.start_time or 0) + stream.duration
    return float(last * stream.time_base) - zero_of(container)
