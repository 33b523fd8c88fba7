"""What a reasoning model says to itself, apart from its answer."""

# what begins thoughts -> what ends them; gpt-oss names the channel of all that it says
_MARKS = {
    "<think>": "</think>",
    "<|channel|>analysis<|message|>": "<|end|><|start|>assistant<|channel|>final<|message|>",
}
_ANSWER = "<|channel|>final<|message|>"  # before an answer without thoughts


class Thinking:
    """Parts a text that comes in pieces into `thought` and answer; spaces around thoughts go."""

    def __init__(self) -> None:
        self.thought = ""
        self._rest = ""  # what may yet become a mark
        self._end = ""  # the mark that ends the thought which it is in
        self._begun = False  # the answer has

    def answer(self, piece: str, last: bool = False) -> str:
        """What of the text so far is answer, and was not given before; `last`: no more comes."""
        self._rest += piece
        given = ""
        while True:
            marks = [self._end] if self._end else [*_MARKS, _ANSWER]
            places = [(at, mark) for mark in marks if (at := self._rest.find(mark)) >= 0]
            if not places:
                break
            at, mark = min(places)
            given += self._take(self._rest[:at])
            self._end = _MARKS.get(mark, "")
            self._rest = self._rest[at + len(mark) :]
        keep = 0 if last else max(_overlap(self._rest, mark) for mark in marks)
        whole = self._rest[: len(self._rest) - keep]
        self._rest = self._rest[len(self._rest) - keep :]
        return given + self._take(whole)

    def _take(self, text: str) -> str:
        if self._end:
            self.thought += text
            return ""
        if not self._begun:
            text = text.lstrip()
            self._begun = bool(text)
        return text


def _overlap(text: str, mark: str) -> int:
    """How many characters at the end of the text may be the beginning of the mark."""
    return next(n for n in range(min(len(text), len(mark) - 1), -1, -1) if text.endswith(mark[:n]))
