"""The prompt of a picture from the text file beside it, as training tools keep captions."""

import os
from pathlib import Path

from mediakit.errors import ItemError, show

LONGEST = 1 << 20  # bytes


def sidecar(picture: str) -> Path:
    """`a.txt` for `a.jpg`; `a.jpg.txt` where only that exists."""
    own = Path(os.path.splitext(picture)[0] + ".txt")
    full = Path(picture + ".txt")
    return full if not os.path.lexists(own) and os.path.lexists(full) else own


def sidecar_prompt(picture: str) -> str:
    """All of the file's text, without the blanks around it. ItemError if there is none."""
    path = sidecar(picture)
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
    except FileNotFoundError:
        raise ItemError(
            "missing_file", f"{show(path)}, the prompt for {show(picture)}, does not exist"
        ) from None
    except OSError as e:
        raise ItemError("unreadable", f"{show(path)} can't be read: {e.strerror}") from None
    if len(data) > LONGEST:
        raise ItemError("bad_prompt", f"{show(path)} is longer than 1 MiB; is this a prompt?")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").strip()
    except UnicodeDecodeError:
        raise ItemError("bad_prompt", f"{show(path)} is not UTF-8 text; save it as that") from None
    if "\0" in text:
        raise ItemError("bad_prompt", f"{show(path)} holds NUL bytes; is this a prompt?")
    if not text:
        raise ItemError("empty_file", f"{show(path)} is empty; write the prompt into it")
    return text
