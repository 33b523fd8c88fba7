"""What a caption is as text: its words, the stock phrases that say nothing, and how it is put into
what a file holds already."""

import re
from collections.abc import Collection

# What captioning models begin with whatever they see; `--strip` takes it off. "arafed" is a word
# that BLIP made up.
STOCK = (
    "an image of",
    "a picture of",
    "a photo of",
    "a photograph of",
    "a photography of",
    "a close up of",
    "a close-up of",
    "this is",
    "there is",
    "there are",
    "the image shows",
    "the image features",
    "the image depicts",
    "the image is of",
    "the picture shows",
    "the photo shows",
    "in this image",
    "in this picture",
    "we can see",
    "arafed image of",
    "arafed",
    "araffe",
    "araffed",
    "arafe",
)


def stripped(text: str, phrases: Collection[str]) -> str:
    """The text without the phrases it begins with, one behind the other, however they are written;
    single spaces."""
    text = " ".join(text.split())
    longest_first = sorted(map(str.lower, phrases), key=len, reverse=True)
    while True:
        lower = text.lower()
        found = next((p for p in longest_first if re.match(re.escape(p) + r"\b", lower)), None)
        if found is None:
            return text
        text = text[len(found) :].lstrip(" ,:")


def word_count(text: str, phrases: Collection[str] = ()) -> int:
    """The words of a text that is being written, of those that will stay: what may become one of
    the phrases is not counted yet."""
    rest = stripped(text, phrases)
    lower = rest.lower()
    if lower and any(p.lower().startswith(lower) for p in phrases):
        return 0
    return len(rest.split())


def first_words(text: str, most: int | None) -> str:
    return text if most is None else " ".join(text.split()[:most])


def joined(held: str, text: str, separator: str, earlier: str | None = None) -> str | None:
    """What a file holds with the text behind it, once.

    `earlier` is what was put there before: the text takes its place, and whatever stands around
    it stays. None if the file does not hold that any more.
    """
    held = held.strip("\r\n")
    if earlier is not None:
        at = _last(held, earlier)
        return None if at < 0 else held[:at] + text + held[at + len(earlier) :]
    if not held.strip():
        return text
    return held if held == text or held.endswith(separator + text) else held + separator + text


def _last(held: str, part: str) -> int:
    """Where the part stands last as words of its own; -1 if nowhere."""
    found = list(re.finditer(rf"(?<!\w){re.escape(part)}(?!\w)", held))
    return found[-1].start() if found and part else -1
