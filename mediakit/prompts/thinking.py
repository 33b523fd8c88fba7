"""What a reasoning model says to itself, apart from its answer."""

BEGIN, END = "<think>", "</think>"


class Thinking:
    """Parts a text that comes in pieces into `thought` and answer; spaces around thoughts go."""

    def __init__(self) -> None:
        self.thought = ""
        self._rest = ""  # what may yet become a mark
        self._inside = False
        self._begun = False  # the answer has

    def answer(self, piece: str, last: bool = False) -> str:
        """What of the text so far is answer, and was not given before; `last`: no more comes."""
        self._rest += piece
        given = ""
        while True:
            mark = END if self._inside else BEGIN
            before, found, after = self._rest.partition(mark)
            if not found:
                break
            given += self._take(before)
            self._inside = not self._inside
            self._rest = after
        keep = 0 if last else _overlap(self._rest, mark)
        whole = self._rest[: len(self._rest) - keep]
        self._rest = self._rest[len(self._rest) - keep :]
        return given + self._take(whole)

    def _take(self, text: str) -> str:
        if self._inside:
            self.thought += text
            return ""
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return text


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of the text may be the beginning of the mark."""
    return next(n for n in range(min(len(text), len(mark) - 1), -1, -1) if text.endswith(mark[:n]))
