"""How messages become the tokens of a prompt: their text can't pretend to be a control token."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol

from mediakit.engines.llama.context import Context, Part, Prompt
from mediakit.engines.llama.native import native
from mediakit.engines.llama.request import Request
from mediakit.errors import ItemError, UserError

Warn = Callable[[str], None]
Look = Callable[[bytes], Sequence[int | Part]]  # a picture -> what stands for it

CUT = "\n[...]\n"  # where something was cut out
_LEAST = 32  # tokens that are left of a text
# around a number; code points for private use, so that no text need hold them
_MARK = re.compile("\ue000([0-9]+)\ue001")
_MARKS = re.compile("[\ue000\ue001]")
_SPECIAL = native.LLAMA_TOKEN_ATTR_CONTROL | native.LLAMA_TOKEN_ATTR_UNKNOWN


class Render(Protocol):
    """Makes a text of messages, by the model's template and its own variables."""

    def __call__(
        self, messages: Sequence[Mapping[str, Any]], warn: Warn, /, **variables: Any
    ) -> str: ...


class Prompts:
    """Makes prompts for one model."""

    def __init__(self, context: Context, render: Render, look: Look | None) -> None:
        self._context = context
        self._render = render
        self._look = look
        self._adds_bos = bool(native.llama_vocab_get_add_bos(context.vocab))
        self._bos = int(native.llama_vocab_bos(context.vocab))

    def fit(self, request: Request, room: int, warn: Warn) -> Prompt:
        """The prompt. What is longer than `room` is cut where the request allows it, to what fits;
        ItemError context_too_long if that is not enough."""
        prompt = self._make(request, warn)
        length = full = positions(prompt)
        while request.truncate and length > room:
            request = self._shorten(request, length - room)
            prompt = self._make(request, lambda _: None)
            length = positions(prompt)
        if length < full:
            warn(
                f"{full - length} of the prompt's {full} tokens were cut out of its middle, for "
                f"the context of {self._context.size}"
            )
        return prompt

    def _make(self, request: Request, warn: Warn) -> Prompt:
        if request.raw is not None:
            tokens: Prompt = self._context.tokenize(request.raw, special=True)
        elif any(m.images or self._is_dangerous(m.content) for m in request.messages):
            tokens = self._assembled(request, warn)
        else:
            said = [{"role": m.role, "content": m.content} for m in request.messages]
            text = self._render(said, warn, **request.variables)
            tokens = self._context.tokenize(text, special=True)
        if self._adds_bos and (not tokens or tokens[0] != self._bos):
            return [self._bos, *tokens]
        return tokens

    def _is_dangerous(self, text: str) -> bool:
        """Whether it holds the name of a control token."""
        return any(map(self._context.is_control, self._context.tokenize(text, special=True)))

    def _assembled(self, request: Request, warn: Warn) -> Prompt:
        """With marks in the place of pictures and names of control tokens, until all else has
        become tokens."""
        taken: list[str | bytes] = []
        said = []
        for message in request.messages:
            text = _MARKS.sub("\ufffd", message.content)
            if self._is_dangerous(text):
                text = self._names.sub(lambda match: _mark(taken, match[0]), text)
            marks = "".join(_mark(taken, image) for image in message.images)
            said.append({"role": message.role, "content": marks + text})
        found: list[int | Part] = []
        text = self._render(said, warn, **request.variables)
        for number, piece in enumerate(_MARK.split(text)):
            if number % 2 == 0:
                found += self._context.tokenize(piece, special=True) if piece else ()
            elif int(piece) < len(taken):  # a template may hold anything
                found += self._stands_for(taken[int(piece)])
        return found

    def _stands_for(self, item: str | bytes) -> Sequence[int | Part]:
        if isinstance(item, str):
            return self._context.tokenize(item, special=False)
        if self._look is None:
            raise UserError("usage", "the model sees no pictures; give its --projector, or leave "
                            "--image out")  # fmt: skip
        return self._look(item)

    @cached_property
    def _names(self) -> re.Pattern[str]:
        """What llama.cpp makes a control token of; to find them takes 0.1 s of 150,000 tokens."""
        context = self._context
        names = {
            native.llama_vocab_get_text(context.vocab, token).decode("utf-8", "replace")
            for token in range(context.vocabulary)
            if native.llama_vocab_get_attr(context.vocab, token) & _SPECIAL
        }
        longest_first = sorted(filter(None, names), key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)))

    def _shorten(self, request: Request, excess: int) -> Request:
        """The request with `excess` tokens less in its longest text, or as many as that has."""
        if request.raw is not None:
            return replace(request, raw=self._cut(request.raw, excess))
        # the instructions are kept where there is anything else
        others = [m for m in request.messages if m.role != "system"] or request.messages
        longest = max(others, key=lambda message: len(message.content))
        shorter = replace(longest, content=self._cut(longest.content, excess))
        return replace(
            request, messages=tuple(shorter if m is longest else m for m in request.messages)
        )

    def _cut(self, text: str, excess: int) -> str:
        tokens = self._context.tokenize(text, special=False)
        excess += len(self._context.tokenize(CUT, special=False))
        kept = max(len(tokens) - excess, _LEAST)
        if kept >= len(tokens) - 1:
            raise ItemError(
                "context_too_long",
                f"the prompt does not fit the context of {self._context.size} tokens, however much "
                "is cut; raise --context-length",
            )
        head, tail = tokens[: kept // 2], tokens[len(tokens) - (kept - kept // 2) :]
        return self._text(head) + CUT + self._text(tail)

    def _text(self, tokens: Sequence[int]) -> str:
        # a character that was cut through is left out
        return b"".join(map(self._context.piece, tokens)).decode("utf-8", "ignore")


def positions(prompt: Prompt) -> int:
    """What it takes up in the context, in tokens."""
    return sum(1 if isinstance(item, int) else item.positions for item in prompt)


def _mark(taken: list[str | bytes], item: str | bytes) -> str:
    taken.append(item)
    return f"\ue000{len(taken) - 1}\ue001"
