"""Which metadata of an opened file is sound enough to travel with its pixels."""

import math

from PIL import Image

from mediakit.media import exif as exif_block

Info = dict[str | tuple[int, int], object]


def tiff_exif(image: Image.Image) -> bytes | None:
    """A TIFF's own tags as an EXIF block, without those that say how it stores its pixels."""
    try:
        tags = Image.Exif()  # a copy: Pillow turns the pixels by the original
        tags.load(image.getexif().tobytes())
        for tag in list(tags):
            if tag in exif_block.STRUCTURAL or tag == exif_block.ORIENTATION:
                del tags[tag]
        return exif_block.without_prefix(tags.tobytes()) if len(tags) else None
    except Exception:  # as with pixels, but here the picture is not lost
        return None


def exif(info: Info, notes: list[str]) -> bytes | None:
    block = info.get("exif")
    text = info.get("Raw profile type exif")  # how older programs put it into PNG
    if not isinstance(block, bytes) and isinstance(text, str):
        try:
            block = bytes.fromhex("".join(text.split("\n")[3:]))
        except ValueError:
            block = b"damaged"
    if not isinstance(block, bytes) or not exif_block.without_prefix(block):
        return None
    block = exif_block.without_prefix(block)
    if not exif_block.is_sound(block):
        notes.append("the EXIF data is damaged and was left out")
        return None
    return block


def xmp(info: Info) -> bytes | None:
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp")
    if isinstance(packet, str):
        packet = packet.encode()
    return packet if isinstance(packet, bytes) and packet else None


def icc(profile: object, mode: str, notes: list[str]) -> bytes | None:
    """The colour profile, if it is one and speaks of this kind of pixels (ICC.1:2022, 7.2)."""
    if not isinstance(profile, bytes) or not profile:
        return None
    if len(profile) < 128 or profile[36:40] != b"acsp":
        notes.append("the colour profile is damaged and was left out")
        return None
    space = profile[16:20]
    if space not in ((b"GRAY",) if mode == "L" else (b"RGB ",)):
        notes.append(f"the colour profile is for {space.decode('latin-1').strip()}: left out")
        return None
    return profile


def dpi(value: object) -> tuple[float, float] | None:
    try:
        across, down = (float(v) for v in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    sane = all(math.isfinite(v) and 1 <= v <= 65535 for v in (across, down))
    return (across, down) if sane else None
