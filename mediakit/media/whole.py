"""Formats whose encoders want the picture as a whole: webp, avif, jxl, through Pillow."""

import importlib.util
import io
from collections.abc import Callable
from typing import IO, Any, TypeVar, cast

from PIL import features

from mediakit.errors import ItemError
from mediakit.media.pixels import Pixels, to_image

_PILLOW = {"webp": "WEBP", "avif": "AVIF", "jxl": "JXL"}
LOSSLESS: dict[str, dict[str, Any]] = {
    # quality is how hard webp tries here; `exact` keeps what lies under transparency
    # (2048x2048 photo: 0.25 s and 4.8 MB; at method 2 1.7 s and 4.2 MB; PNG 0.5 s and 5.1 MB)
    "webp": {"lossless": True, "quality": 20, "method": 0, "exact": True},
    "jxl": {"lossless": True, "effort": 3},
}
# avif's speed 8 takes 0.6 s for that photo, 6 1.5 s for 8 % less, 10 0.2 s for 5 % more
LOSSY: dict[str, dict[str, Any]] = {
    "webp": {"method": 4},
    "avif": {"speed": 8},
    "jxl": {"effort": 4},
}
_CODECS = {"jxl": "pillow_jxl"}  # format -> the module that brings it to Pillow
_T = TypeVar("_T")


def has_codec(format: str) -> bool:
    """Whether files of that format can be read and written here; what Pillow needs is loaded."""
    if format == "avif":
        return bool(features.check("avif"))
    module = _CODECS.get(format)
    if module and importlib.util.find_spec(module):
        importlib.import_module(module)
        return True
    return module is None


def check_codec(format: str) -> None:
    """Raises ItemError(missing_codec)."""
    if not has_codec(format):
        package = "pillow-jxl-plugin" if format == "jxl" else "a Pillow that has it"
        raise ItemError(
            "missing_codec", f"there is no codec for {format} here; pip install {package}"
        )


def write(pixels: Pixels, file: IO[bytes], format: str, options: dict[str, Any]) -> str:
    """The reason why Pillow could not, or ""; an OSError of the file comes out as it is."""
    sink = Sink(file)
    given = {key: value for key, value in options.items() if value is not None}
    reason = ""
    try:
        to_image(pixels).save(cast(IO[bytes], sink), _PILLOW[format], **given)
    except MemoryError:
        raise
    except Exception as error:  # an encoder's complaint may be of any kind
        reason = str(error) or type(error).__name__
    if sink.fault is not None:
        raise sink.fault
    return reason


class Sink(io.RawIOBase):
    """A file without a descriptor, so that Pillow writes through Python.

    With one, its encoders report a full disk as "encoder error -2" and the errno is lost; here
    the first OSError is kept.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.fault: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        return self._keeping_the_fault(lambda: self.file.write(data))

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._keeping_the_fault(lambda: self.file.seek(offset, whence))

    def tell(self) -> int:
        return self.file.tell()

    def flush(self) -> None:
        if not self.file.closed:
            self._keeping_the_fault(self.file.flush)

    def _keeping_the_fault(self, act: Callable[[], _T]) -> _T:
        try:
            return act()
        except OSError as error:
            self.fault = self.fault or error
            raise
