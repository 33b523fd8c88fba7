"""A prompt from a template: the columns of a row, or a text, in the places that name them."""

import re
from collections.abc import Collection, Mapping

from mediakit.errors import ItemError, show

# {name}, and {{ and }} for braces
_PLACE = re.compile(r"\{\{|\}\}|\{([^{}]+)\}")
_NAME = re.compile(r"\w[\w .-]*")  # what looks like a column; JSON may stand in a template


def names(template: str, columns: Collection[str] = ()) -> list[str]:
    """The columns that a template uses, in order, each once: those that look like one, and those
    of `columns` whatever they are called."""
    found = (m[1] for m in _PLACE.finditer(template))
    return list(dict.fromkeys(n for n in found if n and (n in columns or _NAME.fullmatch(n))))


def fill(template: str, columns: Mapping[str, object]) -> str:
    """The template with its places filled in.

    ItemError bad_prompt for a place that no column fills, no_prompt if all of them are blank.
    """
    used = names(template, columns)
    for name in used:
        if name not in columns:
            known = ", ".join(columns) or "none"
            raise ItemError(
                "bad_prompt",
                f"the template's {{{show(name)}}} is no column; there are: {show(known)}; "
                f"{{{{{show(name)}}}}} is that text in braces",
            )
    said = {name: "" if columns[name] is None else str(columns[name]) for name in used}
    if used and not any(map(str.strip, said.values())):
        raise ItemError(
            "no_prompt", f"the columns of the template are empty ({', '.join(map(show, used))})"
        )

    def place(match: re.Match[str]) -> str:
        return match[0][0] if match[1] is None else said.get(match[1], match[0])

    return _PLACE.sub(place, template)
