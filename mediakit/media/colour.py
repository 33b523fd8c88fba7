"""What colour profiles mean for pixels: conversion to sRGB, and what CMYK becomes."""

import io
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms

from mediakit.media import vips
from mediakit.media.pixels import Picture, Pixels, highest, to_grey

_Unusable = (vips.Error, ImageCms.PyCMSError)
_GREYS = np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[np.newaxis, :, np.newaxis], 3, 2)
_STEPS = np.linspace(0, 255, 6).astype(np.uint8)
_COLOURS = np.stack(np.meshgrid(_STEPS, _STEPS, _STEPS), -1).reshape(1, -1, 3)
_DAMAGED = "the colour profile is damaged and was left out"


def in_srgb(picture: Picture) -> Picture:
    """The picture converted through its profile to sRGB, whose profile it then has.

    Grey stays grey, without a profile; a picture without one is taken for sRGB already. Alpha is
    not touched. A profile that can't be used is left out, with a warning.
    """
    if picture.icc is None or _changes_nothing(picture.icc, _COLOURS):
        return picture
    colours = picture.pixels[..., : 3 if picture.pixels.shape[2] == 4 else None]
    try:
        made = _convert(colours, picture.icc)
    except _Unusable:
        return replace(picture, icc=None, warnings=[*picture.warnings, _DAMAGED])
    if picture.pixels.shape[2] == 1:
        return replace(picture, pixels=to_grey(made), icc=None)
    if picture.pixels.shape[2] == 4:
        made = np.dstack([made, picture.pixels[..., 3:]])
    return replace(picture, pixels=made, icc=vips.srgb_profile())


def from_cmyk(ink: Pixels, profile: bytes | None, notes: list[str]) -> tuple[Pixels, bytes | None]:
    """H x W x 4 of ink (0: none) to RGB, and the profile that it has then.

    Without a usable profile by the plain rule, which Pillow has too: brightness is what the ink
    leaves over.
    """
    if profile and profile[16:20] == b"CMYK":
        try:
            return _convert(ink, profile, "cmyk"), vips.srgb_profile()
        except _Unusable:
            notes.append(_DAMAGED)
    notes.append("CMYK without a profile: colours are approximate")
    most = highest(ink)
    made = np.empty((*ink.shape[:2], 3), ink.dtype)
    for top in range(0, len(ink), 256):
        left = most - ink[top : top + 256].astype(np.uint64)
        made[top : top + 256] = (left[..., :3] * left[..., 3:] + most // 2) // most
    return made, None


def fitted(pixels: Pixels, profile: bytes | None, notes: list[str]) -> tuple[Pixels, bytes | None]:
    """Pixels and profile that speak of the same kind of colours.

    Grey whose profile is for RGB becomes RGB, or its tones would change; but not for those,
    such as sRGB's, without which grey looks the same.
    """
    if profile is None:
        return pixels, None
    space, grey = profile[16:20], pixels.shape[2] == 1
    if space == (b"GRAY" if grey else b"RGB "):
        return pixels, profile
    if grey and space == b"RGB ":
        if _changes_nothing(profile, _GREYS):
            return pixels, None
        return np.repeat(pixels, 3, axis=2), profile
    notes.append(f"the colour profile is for {space.decode('latin-1').strip()}: left out")
    return pixels, None


def _changes_nothing(profile: bytes, colours: NDArray[np.uint8]) -> bool:
    """Whether sRGB means the same by all these RGB colours, by trying."""
    if profile[16:20] != b"RGB ":
        return False
    try:
        made = _convert(colours, profile)
    except _Unusable:
        return False
    return int(np.abs(made.astype(int) - colours).max()) <= 1


def _convert(pixels: Pixels, profile: bytes, space: str = "") -> Pixels:
    """Raises one of _Unusable; libvips alone would take its own profile for a damaged one."""
    mode = "CMYK" if space else "L" if pixels.shape[2] == 1 else "RGB"
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    ImageCms.buildTransform(opened, ImageCms.createProfile("sRGB"), mode, "RGB")
    return vips.convert(pixels, profile, space)
