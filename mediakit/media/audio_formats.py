"""Which files hold sound, by suffix and by their first bytes; known without importing PyAV."""

import struct

_SOUNDS = (
    ".aac .ac3 .aif .aifc .aiff .amr .ape .au .awb .caf .dts .eac3 .flac .gsm .m4a .m4b .m4r .mka "
    ".mp2 .mp3 .mpc .oga .ogg .opus .snd .spx .tta .w64 .wav .wave .weba .wma .wv"
)
_VIDEOS = (
    ".3g2 .3gp .asf .avi .f4v .flv .m2t .m2ts .m2v .m4v .mkv .mov .mp4 .mpe .mpeg .mpg .mts .mxf "
    ".ogm .ogv .qt .rm .rmvb .ts .vob .webm .wmv .wtv"
)
# what a directory yields; files named by hand are tried whatever their name
SUFFIXES = frozenset(_SOUNDS.split() + _VIDEOS.split())

_MAGIC = {
    b"ID3": ".mp3",
    b"fLaC": ".flac",
    b"caff": ".caf",
    b".snd": ".au",
    b"#!AMR": ".amr",
    b"FLV\x01": ".flv",
    b"MAC ": ".ape",
    b"wvpk": ".wv",
    b"TTA1": ".tta",
    b"MPCK": ".mpc",
    b"MP+": ".mpc",
    b".RMF": ".rm",
    b"riff\x2e\x91\xcf\x11": ".w64",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": ".wma",
    b"\x0b\x77": ".ac3",
    b"\x7f\xfe\x80\x01": ".dts",
    b"\0\0\x01\xba": ".mpg",
    b"\0\0\x01\xb3": ".mpg",
    b"\x06\x0e\x2b\x34": ".mxf",
}
_FORMS = {b"WAVE": ".wav", b"AVI ": ".avi", b"AIFF": ".aiff", b"AIFC": ".aiff"}
# major brands of ISO files (https://mp4ra.org/registered-types/brands) that are not plain .mp4
_BRANDS = {b"M4A ": ".m4a", b"M4B ": ".m4b", b"qt  ": ".mov"}
_STILL = (b"avif", b"avis", b"heic", b"heix", b"mif1", b"msf1", b"crx ", b"jxl ")
_OLD_QUICKTIME = (b"moov", b"mdat", b"wide", b"pnot")


def sniff(head: bytes) -> str:
    """The suffix of a sound or video that begins so; empty for anything else."""
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM"):
        return _FORMS.get(head[8:12], "")
    if head[:4] == b"OggS":
        return _ogg(head)
    if head[4:8] == b"ftyp":
        return _iso(head[8:12])
    if head[4:8] in _OLD_QUICKTIME:
        return ".mov"
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return ".webm" if b"webm" in head[:64] else ".mkv"
    for length, at, suffix in ((188, 0, ".ts"), (192, 4, ".m2ts")):
        if head[at : at + 2 * length + 1 : length] == b"GGG":  # the sync byte 0x47
            return suffix
    known = (suffix for magic, suffix in _MAGIC.items() if head.startswith(magic))
    return next(known, "") or _mpeg_audio(head)


def _ogg(head: bytes) -> str:
    if b"OpusHead" in head[:64]:
        return ".opus"
    return ".ogv" if b"\x80theora" in head[:64] else ".ogg"


def _iso(brand: bytes) -> str:
    if brand in _STILL:
        return ""
    if brand[:3] in (b"3gp", b"3g2"):
        return "." + brand[:3].decode()
    return _BRANDS.get(brand, ".mp4")


def _mpeg_audio(head: bytes) -> str:
    """By the fields of a frame's header, which rule out text in UTF-16 and JPEG."""
    if len(head) < 4 or head[0] != 0xFF:
        return ""
    (word,) = struct.unpack_from(">H", head)
    if word & 0xFFF6 == 0xFFF0:
        return ".aac"
    layer, bitrate, rate = word >> 1 & 3, head[2] >> 4, head[2] >> 2 & 3
    if word & 0xFFE0 != 0xFFE0 or word >> 3 & 3 == 1 or bitrate in (0, 15) or rate == 3:
        return ""
    return {1: ".mp3", 2: ".mp2"}.get(layer, "")
