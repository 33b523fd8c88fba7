"""Which file of a directory is the mask of a picture."""

import os
import re
import unicodedata
from collections.abc import Iterator

from mediakit.errors import ItemError, show
from mediakit.media.formats import READABLE

_MARK = re.compile(r"[._-]mask$", re.IGNORECASE)


class MaskFolder:
    """Masks below a directory, in the tree that the pictures have below theirs.

    Of a.jpg: a.jpg itself; else a.jpg.png; else a.png, or any other picture format. The names
    may also end in _mask, -mask or .mask before the suffix: a_mask.png; beside the pictures they
    must. Each directory is listed once; capitals don't count.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._folders: dict[str, dict[str, list[str]]] = {}

    def find(self, relative: str, path: str) -> str:
        """The mask of the picture at `path`, which is `relative` to where the pictures are.

        A picture is never its own mask: both may lie in one directory. ItemError: missing_mask,
        ambiguous_mask.
        """
        below, name = os.path.split(relative)
        folder = os.path.join(self.root, below)
        stem = os.path.splitext(name)[0]
        listed = self._list(folder)
        marked_only = _same(folder, os.path.dirname(path) or ".")  # the others are pictures
        full = listed.get(_key(name), [])
        for names in (
            [other for other in full if other == name],
            [other for other in full if _key(other) == _key(name)],
            full,
            [other for other in listed.get(_key(stem), ()) if not marked_only or is_mask(other)],
        ):
            found = [os.path.join(folder, other) for other in names]
            found = [other for other in found if not _same(other, path)]
            if len(found) == 1:
                return found[0]
            if found:
                raise ItemError(
                    "ambiguous_mask",
                    f"{show(path)} has several masks: {show(found[0])} and {show(found[1])}; "
                    "leave one of them there",
                )
        raise ItemError(
            "missing_mask",
            f"{show(path)} has no mask in {show(folder)}; name it {show(stem)}.png or "
            f"{show(stem)}_mask.png",
        )

    def masks_another(self, relative: str, path: str) -> bool:
        """Whether the picture at `path` is a mask itself: that of one beside it."""
        below, name = os.path.split(relative)
        folder = os.path.join(self.root, below)
        if not is_mask(name) or not _same(folder, os.path.dirname(path) or "."):
            return False
        bare = _key(_MARK.sub("", os.path.splitext(name)[0]))
        return any(not is_mask(other) for other in self._list(folder).get(bare, ()))

    def _list(self, folder: str) -> dict[str, list[str]]:
        """Names of pictures by all that they may be the mask of."""
        known = self._folders.get(folder)
        if known is None:
            known = {}
            try:
                names = sorted(os.listdir(folder))
            except OSError:  # of what is not there no mask is found, and the message names it
                names = []
            for name in names:
                for key in _keys(name):
                    known.setdefault(key, []).append(name)
            self._folders[folder] = known
        return known


def is_mask(name: str) -> bool:
    """Whether a file of that name says itself that it is a mask: a_mask.png."""
    return bool(_MARK.search(os.path.splitext(name)[0]))


def _keys(name: str) -> Iterator[str]:
    stem, suffix = os.path.splitext(name)
    if name.startswith(".") or suffix.lower() not in READABLE:
        return
    yield _key(name)
    yield _key(stem)
    if (bare := _MARK.sub("", stem)) not in ("", stem):
        yield _key(bare)


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _same(one: str, other: str) -> bool:
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False
