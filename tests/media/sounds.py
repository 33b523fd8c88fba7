"""Sound files of all kinds, made with PyAV and numpy out of tones and a little real speech."""

import struct
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

SPEECH = Path(__file__).parents[1] / "data" / "speech"
CLIP = SPEECH / "sense-and-sensibility-0930.flac"
Samples = NDArray[Any]


def tone(frequency: float, seconds: float, rate: int = 16_000, level: float = 0.5) -> Samples:
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def sweep(seconds: float, rate: int = 16_000) -> Samples:
    """Each moment of it sounds like no other: 200 Hz and 20 Hz more a second."""
    t = np.arange(round(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * (200 + 10 * t) * t)


def speech() -> Samples:
    """Some words, 16,000 Hz, one channel."""
    with av.open(str(CLIP)) as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    return np.concatenate(frames) / 32768


def frequency(samples: Samples, rate: int = 16_000) -> float:
    """The loudest one, Hz."""
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


def level(samples: Samples) -> float:
    """The amplitude of a tone."""
    return float(np.sqrt(2 * np.mean(np.square(samples, dtype=np.float64))))


def wav(channels: Any, rate: int = 16_000, mask: int | None = None) -> bytes:
    """16 bits; `mask` says which loudspeakers the channels are for."""
    samples = np.atleast_2d(channels)
    count = len(samples)
    data = np.round(samples.T * 32767).astype("<i2").tobytes()
    head = struct.pack("<HHIIHH", 1, count, rate, rate * count * 2, count * 2, 16)
    if mask is not None:
        guid = bytes.fromhex("0100000000001000800000aa00389b71")
        head = b"\xfe\xff" + head[2:] + struct.pack("<HHI", 22, 16, mask) + guid
    chunks = b"fmt " + struct.pack("<I", len(head)) + head + b"data" + struct.pack("<I", len(data))
    return b"RIFF" + struct.pack("<I", 4 + len(chunks) + len(data)) + b"WAVE" + chunks + data


class Maker:
    """A file in the making: streams first, then what they hold."""

    def __init__(self, format: str, **options: str) -> None:
        # in a folder, as MP4 with its index in front is made of a file that is there
        self._folder = tempfile.TemporaryDirectory()
        self._path = Path(self._folder.name) / "made"
        self._container = av.open(str(self._path), "w", format=format, options=options)

    def sound(self, codec: str, rate: int, layout: str = "mono", **tags: str) -> Any:
        stream = self._container.add_stream(codec, rate=rate, layout=layout)
        stream.metadata.update(tags)
        return stream

    def picture(self, cover: bool = False) -> Any:
        stream = self._container.add_stream("mjpeg" if cover else "mpeg4", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuvj420p" if cover else "yuv420p"
        if cover:
            stream.disposition = Disposition.attached_pic
        return stream

    def say(self, stream: Any, samples: Any, at: float = 0.0, rate: int | None = None) -> None:
        """Channels x N, from the second `at` on."""
        coder = stream.codec_context
        source = av.AudioFrame.from_ndarray(
            np.atleast_2d(samples).astype(np.float32), "fltp", coder.layout
        )
        source.rate = rate or coder.sample_rate
        queue = av.AudioFifo()
        resampler = av.AudioResampler(coder.format, coder.layout, coder.sample_rate)
        for frame in (*resampler.resample(source), *resampler.resample(None)):
            frame.pts = None
            queue.write(frame)
        begin = round(at * coder.sample_rate)
        for frame in queue.read_many(coder.frame_size or 1024, partial=True):
            frame.pts, frame.time_base = begin, Fraction(1, coder.sample_rate)
            begin += frame.samples
            self._container.mux(stream.encode(frame))

    def show(self, stream: Any, seconds: float) -> None:
        for number in range(max(round(seconds * 25), 1)):
            grey = np.full((32, 32, 3), number % 256, np.uint8)
            frame = av.VideoFrame.from_ndarray(grey, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            self._container.mux(stream.encode(frame))

    def made(self) -> bytes:
        for stream in self._container.streams:
            if stream.codec_context.is_open:
                self._container.mux(stream.encode(None))
        self._container.close()
        with self._folder:
            return self._path.read_bytes()


def encoded(
    format: str, codec: str, samples: Any, rate: int = 16_000, layout: str = "mono"
) -> bytes:
    """One stream; `samples` are channels x N at `rate`."""
    maker = Maker(format)
    maker.say(maker.sound(codec, rate, layout), samples)
    return maker.made()


def placed(
    format: str,
    codec: str,
    parts: Sequence[tuple[float, Samples]],
    video: float = 0.0,
    **options: str,
) -> bytes:
    """Parts of one channel, 16 kHz, each from its second on, beside `video` seconds of pictures."""
    maker = Maker(format, **options)
    screen = maker.picture() if video else None
    stream = maker.sound(codec, 16_000)
    if screen:
        maker.show(screen, video)
    for at, samples in parts:
        maker.say(stream, samples, at)
    return maker.made()
