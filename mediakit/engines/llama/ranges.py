"""Ranges of numbers as GBNF, digit by digit."""

import math
from itertools import pairwise

LARGEST = 10**20 - 1  # more digits than 64 bits hold
_ZEROS = '("." "0"{1,20})?'
_FRACTION = '("." [0-9]{1,20})?'
_GREATER = '([eE] "+"? [0-9]{1,2})?'


def integers(least: float | None, most: float | None) -> str | None:
    """The whole numbers from `least` to `most`, neither beyond LARGEST; None if there is none."""
    low = -LARGEST if least is None else math.ceil(least)
    high = LARGEST if most is None else math.floor(most)
    found = []
    if low < 0 and low <= high:
        found += [f'"-" ({_magnitudes(max(1, -high), -low)})']
    if high >= 0 and low <= high:
        found += [_magnitudes(max(low, 0), high)]
    return " | ".join(found) or None


def decimals(least: float | None, most: float | None, above: bool, below: bool) -> str | None:
    """Numbers from `least` to `most`, neither beyond LARGEST, without the former if `above`, the
    latter if `below`; None if there is none. A bound with a fraction lets in all up to the next
    whole number."""
    if least is not None and most is not None and least > most:
        return None
    found = []
    if least is None or least < 0:
        nearest = max(-(most or 0), 0)
        size = _sizes(nearest, least and -least, below and (most or 0) <= 0, above)
        found += [f'"-" ({size})'] if size else []
    if most is None or most >= 0:
        size = _sizes(max(least or 0, 0), most, above and (least or 0) >= 0, below)
        found += [size] if size else []
    return " | ".join(found) or None


def _sizes(least: float, most: float | None, above: bool, below: bool) -> str | None:
    """As decimals, for numbers without a sign."""
    first, last = math.floor(least), LARGEST if most is None else math.ceil(most)
    found = []
    if above and first == least:
        if first < last:
            found.append(f'"{first}." [0-9]{{0,19}} [1-9]')
        first += 1
    if most is None:
        return " | ".join([*found, f"({_magnitudes(first, last)}) {_FRACTION} {_GREATER}"])
    if first < last:
        found.append(f"({_magnitudes(first, last - 1)}) {_FRACTION}")
    if first <= last == most and not below:
        found.append(f'"{last}" {_ZEROS}')
    return " | ".join(found) or None


def _magnitudes(low: int, high: int) -> str:
    """The numbers from low to high, neither with a sign: those of each count of digits apart."""
    first, last = len(str(low)), len(str(high))
    if low == 10 ** (first - 1) and high == 10**last - 1:
        return f"[1-9] [0-9]{{{first - 1},{last - 1}}}"
    if low == 0 and high == 10**last - 1 and last > 1:
        return f'"0" | [1-9] [0-9]{{0,{last - 1}}}'
    starts = [low, *(10**n for n in range(first, last)), high + 1]
    spans = [(str(start), str(end - 1)) for start, end in pairwise(starts)]
    return " | ".join(each for start, end in spans for each in _span(start, end))


def _span(low: str, high: str) -> list[str]:
    """From low to high, which have as many digits."""
    if low == high:
        return [f'"{low}"']
    rest = len(low) - 1
    if set(low[1:]) <= {"0"} and set(high[1:]) <= {"9"}:
        return [f"[{low[0]}-{high[0]}]" + (f" [0-9]{{{rest}}}" if rest else "")]
    if low[0] == high[0]:
        return [f'"{low[0]}" ({" | ".join(_span(low[1:], high[1:]))})']
    found = []
    if low[1:].strip("0"):
        found.append(f'"{low[0]}" ({" | ".join(_span(low[1:], "9" * rest))})')
        low = str(int(low[0]) + 1) + "0" * rest
    top = None
    if high[1:].strip("9"):
        top = f'"{high[0]}" ({" | ".join(_span("0" * rest, high[1:]))})'
        high = str(int(high[0]) - 1) + "9" * rest
    if low <= high:
        found += _span(low, high)
    return [*found, top] if top else found
