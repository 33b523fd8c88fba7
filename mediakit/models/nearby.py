"""How a file that is on this machine already is got: one that ships in mediakit, or a path."""

import errno
import shutil
from pathlib import Path

from mediakit.errors import show
from mediakit.models.sources import PACKAGE, Request, Unfetched

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def fetch(request: Request) -> None:
    """Copy the file. Raises Unfetched, and OSError where there is no room for the copy."""
    place = request.place
    if place.startswith("package:"):
        path = PACKAGE / place.removeprefix("package:")
    else:
        path = Path(place).expanduser()
    try:
        shutil.copyfile(path, request.targets[""])
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise
        raise Unfetched(f"{show(path)}: {error.strerror or error}") from None
