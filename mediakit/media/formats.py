"""Which picture formats there are, by suffix; known without importing Pillow."""

# suffix -> format that can be read; for walks over directories (files named by hand are tried
# whatever their name)
READABLE = {
    ".jpg": "jpg",
    ".jpeg": "jpg",
    ".png": "png",
    ".webp": "webp",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".bmp": "bmp",
    ".gif": "gif",
    ".avif": "avif",
    ".jxl": "jxl",
    ".apng": "png",
}
# suffix -> format that can be written
WRITABLE = dict(READABLE)
OPAQUE = ("jpg", "bmp")  # that can't hold transparency
# formats with a quality to choose; the others lose nothing
LOSSY = ("jpg", "webp", "avif", "jxl")
COMPRESSED = ("png", "tiff")  # with a level to choose
LOSSLESS = ("webp", "avif", "jxl")  # that can be told to lose nothing
SUBSAMPLED = ("jpg", "avif")
# that hold several frames
ANIMATED = ("gif", "webp", "png")
MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "tiff": "image/tiff",
    "bmp": "image/bmp",
    "gif": "image/gif",
    "avif": "image/avif",
    "jxl": "image/jxl",
}
# What files of these formats begin with (TIFF with + is BigTIFF); RIFF and ISO files say more at
# byte 8.
_MAGIC = {
    b"\xff\xd8\xff": ".jpg",
    b"\x89PNG\r\n\x1a\n": ".png",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"II+\0": ".tif",
    b"MM\0+": ".tif",
    b"BM": ".bmp",
    b"GIF87a": ".gif",
    b"GIF89a": ".gif",
    b"\xff\x0a": ".jxl",
    b"\0\0\0\x0cJXL ": ".jxl",
}


def sniff(head: bytes) -> str:
    """The suffix of a picture that begins so; empty for what is no picture."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    if head[4:8] == b"ftyp" and b"avi" in head[8:40]:  # the main brand, or a compatible one
        return ".avif"
    return next((suffix for magic, suffix in _MAGIC.items() if head.startswith(magic)), "")


def suffix_of(name: str) -> str:
    """The suffix of a file name in lower case, with its dot."""
    dot = name.rfind(".")
    return name[dot:].lower() if dot > max(name.rfind("/"), 0) else ""
