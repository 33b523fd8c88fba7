"""A prompt from a template: the columns of a row, or a text, in the places that name them."""

import re
from collections.abc import Mapping

from mediakit.errors import ItemError, show

# {name}, and {{ and }} for braces; any other brace stays, so that JSON may stand in a template
_PLACE = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w .-]*)\}")


def names(template: str) -> list[str]:
    """The columns that a template uses, in order, each once."""
    return list(dict.fromkeys(m[1] for m in _PLACE.finditer(template) if m[1]))


def fill(template: str, columns: Mapping[str, object]) -> str:
    """The template with its places filled in.

    ItemError bad_prompt for a place that no column fills, no_prompt if all of them are blank.
    """
    used = names(template)
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

    return _PLACE.sub(lambda m: m[0][0] if m[1] is None else said[m[1]], template)
