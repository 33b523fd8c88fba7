"""What of a prompt weighs how much, in the form of A1111, and which prompts need no such care."""

import re
from dataclasses import dataclass

_STRONGER, _WEAKER = 1.1, 1 / 1.1
# escaped brackets; a weight that closes; brackets; anything else (A1111's prompt_parser)
_TOKEN = re.compile(r"\\[\\()\[\]]|:\s*([+-]?\d*\.?\d+)\s*\)|[()\[\]]|[^\\()\[\]:]+|[:\\]")


@dataclass(frozen=True)
class Piece:
    text: str
    weight: float


def pieces(prompt: str) -> list[Piece]:
    """(word:1.3), (word) = 1.1, [word] = 1 / 1.1, nested ones multiplied; \\( is a bracket itself.

    A bracket that nothing closes counts to the end, as in A1111. Neighbours of one weight are
    joined; what is only spaces is left out unless it is all there is.
    """
    found: list[list[str | float]] = []
    round_, square = [], []
    for match in _TOKEN.finditer(prompt):
        text, weight = match.group(), match.group(1)
        if len(text) == 2 and text[0] == "\\":
            found.append([text[1], 1.0])
        elif text == "(":
            round_.append(len(found))
        elif text == "[":
            square.append(len(found))
        elif weight is not None and round_:
            _multiply(found, round_.pop(), float(weight))
        elif text == ")" and round_:
            _multiply(found, round_.pop(), _STRONGER)
        elif text == "]" and square:
            _multiply(found, square.pop(), _WEAKER)
        else:
            found.append([text, 1.0])
    for start in round_:
        _multiply(found, start, _STRONGER)
    for start in square:
        _multiply(found, start, _WEAKER)
    return _joined(found)


def is_plain(found: list[Piece]) -> bool:
    return all(piece.weight == 1.0 for piece in found)


def text_of(found: list[Piece]) -> str:
    return "".join(piece.text for piece in found)


def _multiply(found: list[list[str | float]], start: int, weight: float) -> None:
    for entry in found[start:]:
        entry[1] = float(entry[1]) * weight


def _joined(found: list[list[str | float]]) -> list[Piece]:
    joined: list[Piece] = []
    for text, weight in found:
        weight = round(float(weight), 6)  # 1.1 / 1.1 is 1
        if joined and joined[-1].weight == weight:
            joined[-1] = Piece(joined[-1].text + str(text), weight)
        else:
            joined.append(Piece(str(text), weight))
    kept = [piece for piece in joined if piece.text.strip()]
    return kept if len(kept) < len(joined) and kept and not is_plain(joined) else joined
