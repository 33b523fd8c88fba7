"""Pictures that move: their frames and timing, out of GIF, WebP and APNG."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from mediakit.errors import ItemError, show
from mediakit.media import exif as exif_block
from mediakit.media import metadata
from mediakit.media.formats import ANIMATED
from mediakit.media.pixels import Picture, Pixels, from_image
from mediakit.media.reading import FORMATS, frame_count, opened, read_picture, too_many

_TENTH = 100  # milliseconds; what browsers take for frames of 10 or less


@dataclass(frozen=True)
class Animation:
    """Frames as they are seen (disposal and blending done), all of one size.

    `about` is the first frame with the file's metadata. `durations` are in milliseconds, one a
    frame; `plays` says how often it is shown, 0 for ever. The file's bytes are kept, not the
    frames: `frames` decodes them anew.
    """

    about: Picture
    durations: tuple[int, ...]
    plays: int
    data: bytes
    name: str

    @property
    def count(self) -> int:
        return len(self.durations)

    @property
    def nbytes(self) -> int:
        return len(self.data) + self.about.nbytes

    @property
    def channels(self) -> int:
        return int(self.about.pixels.shape[2])

    def frames(self) -> Iterator[Pixels]:
        """H x W x C, uint8, C = 3 or 4 for all; raises ItemError(corrupt)."""
        most = self.about.width * self.about.height
        with opened(self.data, self.name, most) as image:
            for frame in _frames(image):
                yield from_image(frame.convert("RGB" if self.channels == 3 else "RGBA"))


def read_media(data: bytes, name: str, max_pixels: int) -> "Picture | Animation":
    """A picture, or an animation where the file has several frames. Errors of both."""
    with opened(data, name, max_pixels) as image:
        moving = FORMATS[str(image.format)] in ANIMATED and frame_count(image) > 1
    if moving:
        return read_frames(data, name, max_pixels)
    return read_picture(data, name, max_pixels)


def read_frames(data: bytes, name: str, max_pixels: int) -> Animation:
    """An animated GIF, WebP or PNG; all of it is decoded once, to see that it is whole.

    `max_pixels` is for all frames together. Raises ItemError: those of `read_picture`, and
    unsupported_format for a file that has one frame.
    """
    with opened(data, name, max_pixels) as image:
        format, count = FORMATS[str(image.format)], frame_count(image)
        if format not in ANIMATED or count < 2:
            raise ItemError("unsupported_format", f"{show(name)} is not an animation")
        if image.width * image.height * count > max_pixels:
            raise too_many(show(name), image.width * image.height * count, max_pixels)
        durations, first, see_through = [], None, False
        for frame in _frames(image):
            durations.append(_duration(frame))
            seen = frame.convert("RGBA")
            see_through = see_through or seen.getchannel("A").getextrema() != (255, 255)
            first = first or seen
        assert first is not None
        return Animation(
            about=_about(image, first.convert("RGBA" if see_through else "RGB"), format),
            durations=tuple(durations),
            plays=_plays(image, format),
            data=data,
            name=name,
        )


def _frames(image: Image.Image) -> Iterator[Image.Image]:
    """Each frame, decoded; not the still picture that some APNG files show elsewhere."""
    for index in range(bool(image.info.get("default_image")), frame_count(image)):
        image.seek(index)
        image.load()
        yield image


def _duration(frame: Image.Image) -> int:
    value: Any = frame.info.get("duration", 0)
    return int(min(max(float(value), 0), 655_350)) or _TENTH


def _plays(image: Image.Image, format: str) -> int:
    loop: Any = image.info.get("loop")
    if format == "gif":  # counts repetitions, and has nothing for "once"
        return 1 if loop is None else loop + 1 if loop else 0
    return int(loop or 0)


def _about(image: Image.Image, first: Image.Image, format: str) -> Picture:
    notes: list[str] = []
    exif, xmp = metadata.exif(image.info, notes), metadata.xmp(image.info)
    profile = metadata.icc(image.info.get("icc_profile"), notes)
    if profile and profile[16:20] != b"RGB ":
        notes.append("the colour profile is not for RGB: left out")
        profile = None
    return Picture(
        pixels=np.asarray(first),
        format=format,
        icc=profile,
        exif=exif_block.upright(exif) if exif else None,
        xmp=exif_block.upright_xmp(xmp) if xmp else None,
        warnings=notes,
        comment=metadata.comment(image.info),
        text=metadata.text(image),
    )
