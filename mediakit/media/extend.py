"""By how much a picture is extended; the options are understood without any picture."""

import re
from dataclasses import dataclass
from math import ceil

from mediakit.errors import ItemError, show
from mediakit.media.sizes import too_large

_SIDES = ("left", "top", "right", "bottom")
_NEARLY = 2  # pixels that a picture may lack to proportions it is said to have


@dataclass(frozen=True)
class Margins:
    """Pixels that are added to each side."""

    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    def __bool__(self) -> bool:
        return any((self.left, self.top, self.right, self.bottom))

    def around(self, width: int, height: int) -> tuple[int, int]:
        """The size of the extended picture."""
        return width + self.left + self.right, height + self.top + self.bottom


@dataclass(frozen=True)
class Extend:
    """Lengths in pixels, or shares (of the width for left and right, of the height for top and
    bottom) where `percent` names the side."""

    lengths: tuple[tuple[str, float], ...]
    percent: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Extend":
        """ "left=128,right=10%", or "64" for all sides. ValueError says what is wrong."""
        lengths, percent = {}, set()
        given = [f"{side}={text.strip()}" for side in _SIDES] if "=" not in text else None
        for part in given or text.split(","):
            match = re.fullmatch(r"\s*(\w+)\s*=\s*(\d+(?:\.\d+)?)\s*(px|%|)\s*", part)
            if not match or match[1] not in _SIDES or (not match[3] and "." in match[2]):
                raise ValueError(
                    "expected sides with pixels or percent, such as left=128,right=128 or top=25%"
                )
            if match[1] in lengths:
                raise ValueError(f"{match[1]} is given twice")
            lengths[match[1]] = float(match[2])
            if match[3] == "%":
                percent.add(match[1])
        if not any(lengths.values()):
            raise ValueError("extends no side; give one of them more than 0")
        return cls(tuple(lengths.items()), frozenset(percent))

    def margins(self, width: int, height: int, name: str) -> Margins:
        """For a picture of that size. ItemError(too_large) for more than 16 times a side."""
        found = {}
        for side, length in self.lengths:
            whole = width if side in ("left", "right") else height
            found[side] = round(whole * length / 100 if side in self.percent else length)
        return _checked(Margins(**found), width, height, name)


@dataclass(frozen=True)
class ExtendTo:
    """Proportions (16:9), or a size in pixels where `exact`; the picture comes to the middle."""

    width: float
    height: float
    exact: bool

    @classmethod
    def parse(cls, text: str) -> "ExtendTo":
        """ "16:9" or "2000x1500". ValueError says what is wrong."""
        number = r"(\d+(?:\.\d+)?)"
        match = re.fullmatch(rf"\s*{number}\s*([:/x×])\s*{number}\s*", text)
        if not match or not float(match[1]) or not float(match[3]):
            raise ValueError("expected proportions such as 16:9, or a size such as 2000x1500")
        exact = match[2] in "x×"
        if exact and "." in match[1] + match[3]:
            raise ValueError("expected whole pixels, such as 2000x1500")
        return cls(float(match[1]), float(match[3]), exact)

    def margins(self, width: int, height: int, name: str) -> Margins:
        """None at all (all 0) for a picture that has these proportions already.

        ItemError: cannot_extend for one that is larger than the size, too_large.
        """
        if self.exact:
            wide, tall = int(self.width), int(self.height)
            if width > wide or height > tall:
                raise ItemError(
                    "cannot_extend",
                    f"{show(name)} has {width}x{height} pixels and can't be extended to "
                    f"{wide}x{tall}; ask for more, or make it smaller first",
                )
        else:
            wide = max(width, ceil(height * self.width / self.height))
            tall = max(height, ceil(width * self.height / self.width))
            if wide - width + tall - height < _NEARLY:
                return Margins()
        left, top = (wide - width) // 2, (tall - height) // 2
        found = Margins(left, top, wide - width - left, tall - height - top)
        return _checked(found, width, height, name)


def _checked(margins: Margins, width: int, height: int, name: str) -> Margins:
    size = margins.around(width, height)
    if too_large((width, height), size):
        raise ItemError(
            "too_large",
            f"{show(name)} would become {size[0]}x{size[1]} pixels, more than 16 times longer; "
            "extend it by less",
        )
    return margins
