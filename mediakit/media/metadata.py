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
    return exif_block.without_note(block)


def xmp(info: Info) -> bytes | None:
    packet = info.get("xmp") or info.get("XML:com.adobe.xmp")
    if isinstance(packet, str):
        packet = packet.encode()
    return packet if isinstance(packet, bytes) and packet else None


def icc(profile: object, notes: list[str]) -> bytes | None:
    """The colour profile, if it is one (ICC.1:2022, 7.2)."""
    if not isinstance(profile, bytes) or not profile:
        return None
    if len(profile) < 128 or profile[36:40] != b"acsp":
        notes.append("the colour profile is damaged and was left out")
        return None
    return profile


def resolution(image: Image.Image) -> tuple[tuple[float, float] | None, str]:
    """Pixels an inch, and the unit that the file counts in; for none, only their ratio counts."""
    info = image.info
    unit = "inch"
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        unit = {1: "none", 3: "cm"}.get(tags.get(296, 2), "inch")
        if 282 not in tags or 283 not in tags:  # for which Pillow says 1
            return None, "inch"
        if unit == "none":
            return dpi((tags.get(282), tags.get(283))), unit
    elif "dpi" not in info and info.get("jfif_unit") == 0 and info["jfif_density"] != (1, 1):
        return dpi(info["jfif_density"]), "none"
    elif "aspect" in info:  # of a PNG
        return dpi(info["aspect"]), "none"
    elif info.get("jfif_unit") == 2:
        unit = "cm"
    return dpi(info.get("dpi")), unit


def dpi(value: object) -> tuple[float, float] | None:
    try:
        across, down = (float(v) for v in value)  # type: ignore[attr-defined]
    except (TypeError, ValueError, ZeroDivisionError):
        return None
    sane = all(math.isfinite(v) and 1 <= v <= 65535 for v in (across, down))
    return (across, down) if sane else None


def comment(info: Info) -> str | None:
    """The comment of a JPEG or GIF, whatever bytes it is."""
    found = info.get("comment")
    if not isinstance(found, bytes) or not found.strip(b"\0 "):
        return None
    try:
        return found.decode()
    except UnicodeDecodeError:
        return found.decode("latin-1")


def text(image: Image.Image) -> tuple[tuple[str, str], ...]:
    """The text entries of a PNG, without those that are EXIF or XMP, or mediakit's own record."""
    entries = getattr(image, "text", None) if image.format == "PNG" else None
    return tuple(
        (str(key), str(value))
        for key, value in (entries or {}).items()
        if not key.startswith(("Raw profile type", "XML:")) and key != "mediakit"
    )


def true_exif(exif: bytes | None, width: int, height: int) -> bytes | None:
    """The block with the size that the written picture has."""
    return exif_block.with_size(exif, width, height) if exif else None


def exif_tags(exif: bytes | None) -> Image.Exif:
    """EXIF as a TIFF holds it: its first directory is the file's own, without how it is stored."""
    tags = Image.Exif()
    tags.load(exif or b"")
    for tag in list(tags):
        if tag in exif_block.STRUCTURAL:
            del tags[tag]
    return tags
