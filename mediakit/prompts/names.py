"""What a picture is called by its prompt, on any file system."""

import re
import unicodedata

from mediakit.prompts.syntax import literal

LONGEST = 48  # characters of a slug
_BYTES = 120  # of a slug in UTF-8: with seed, hash and suffix far from the 255 of file systems
_SHORTEST = 24  # cutting at a word leaves at least so much
_NETWORK = re.compile(r"<\w+:[^<>]*>")  # <lora:name:0.8>
_WEIGHT = re.compile(r":\s*\d*\.?\d+\s*(?=[)\]])")  # of (word:1.3)
EMPTY = "picture"  # for a prompt without a letter


def slug(prompt: str) -> str:
    """The prompt's words in lower case with hyphens between, as far as they fit.

    Letters and digits of all scripts (NFC), nothing that a shell, a URL or Windows minds.
    """
    text = unicodedata.normalize("NFC", _words(prompt)).lower()
    text = unicodedata.normalize("NFC", text)  # lower() takes some letters apart
    kept = "".join(c if _is_kept(c) else " " for c in text.replace("'", "").replace("’", ""))
    return _cut("-".join(kept.split())) or EMPTY


def _words(prompt: str) -> str:
    return _WEIGHT.sub("", _NETWORK.sub(" ", literal(prompt)))


def _is_kept(c: str) -> bool:
    """Letters, digits, and the marks that belong to letters in many scripts."""
    return c.isalnum() or unicodedata.category(c) in ("Mn", "Mc")


def _cut(text: str) -> str:
    """At a hyphen if there is one in the second half; never between a letter and its marks."""
    end = min(len(text), LONGEST)
    while len(text[:end].encode("utf-8", "replace")) > _BYTES:
        end -= 1
    if end == len(text):
        return text
    hyphen = text.rfind("-", 0, end + 1)
    if hyphen >= min(_SHORTEST, end // 2):
        return text[:hyphen]
    while end > 1 and unicodedata.category(text[end]) in ("Mn", "Mc"):
        end -= 1
    return text[:end]
