"""What a text file of prompts says: one a line, `#` comments, blank lines passed over."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from mediakit.errors import ItemError, show

_BOM = b"\xef\xbb\xbf"
LONGEST = 1 << 20  # bytes of a line


@dataclass(frozen=True, slots=True)
class Listed:
    """A prompt and the line that it stands in (`prompts.txt:7`); `error` if that can't be read,
    and `text` is empty then."""

    text: str
    where: str
    error: ItemError | None = None


def listed(lines: Iterable[bytes], origin: str) -> Iterator[Listed]:
    """The prompts in lines of UTF-8 (a byte order mark and CRLF do no harm); blanks around a
    prompt are no part of it. A line that begins with `\\#` is a prompt that begins with `#`."""
    for number, line in enumerate(lines, 1):
        where = f"{origin}:{number}"
        if number == 1:
            line = line.removeprefix(_BOM)
        try:
            text = _text(line)
        except ValueError as e:
            yield Listed("", where, ItemError("bad_row", f"{show(where)}: {e}"))
            continue
        if text and not text.startswith("#"):
            yield Listed(text[1:] if text.startswith("\\#") else text, where)


def _text(line: bytes) -> str:
    if len(line) > LONGEST:
        raise ValueError("more than 1 MiB in a line; is this a list of prompts?")
    if b"\0" in line:
        raise ValueError("a NUL byte; is this a list of prompts?")
    try:
        return line.decode().strip()
    except UnicodeDecodeError as e:
        raise ValueError(f"byte {e.start + 1} is not UTF-8; save the list as that") from None
