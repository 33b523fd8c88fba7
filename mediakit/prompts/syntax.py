"""Where a prompt's alternatives begin and end, what is only text, and how to say what is wrong."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from typing import Literal

from mediakit.errors import ItemError, show

DEEPEST = 20  # braces in braces, and wildcards in wildcards
# what a backslash makes plain; kept in the prompt, so that expanding it again changes nothing
_ESCAPED = re.compile(r"\\([{}|$%_])")
# names have no blanks at their ends: `a_b__c __colour__` holds one wildcard
_NAME = r"__(?=[^\W_]|[*~!@])((?:(?!__)[^{}|$%#,;\n])+)(?<!\s)__"
_SYNTAX = re.compile(r"\\[{}|$%_]|\$\$|\$\{|%\{|[{}]|" + _NAME)
# What dynamicprompts takes for its own though it is text: it has no escapes, and comments begin
# anywhere with #, // or /*. (A tab becomes eight blanks.)
_FOREIGN = re.compile(r"\\[{}|$%_]|\$\$|__|//|/\*|[#$%\t]")
_WILDCARD = re.compile(_NAME)
_OPEN_BOUND = re.compile(
    r"(\{\s*\d+-)\$\$"
)  # `{2-$$`: for one wildcard, the library reads `{1-2$$`
_HIDDEN = 0xF0000  # plane 15 is for private use: in no prompt
_MANY = 10**6  # more than any group has options
_QUOTED = 60  # characters of a prompt in a message


@dataclass(frozen=True)
class Piece:
    """A stretch of a prompt: plain text, a group in braces, or the name of a wildcard."""

    kind: Literal["text", "group", "wildcard"]
    text: str
    at: int  # of its first character in the prompt


def has_alternatives(prompt: str) -> bool:
    """Whether a brace or `__name__` stands in it unescaped; all else is plain text."""
    return any(match[0] != "$$" and match[0][0] != "\\" for match in _SYNTAX.finditer(prompt))


def literal(prompt: str) -> str:
    """The prompt as a text encoder reads it: `\\{` is `{`. Escaped parentheses are left alone."""
    return _ESCAPED.sub(r"\1", prompt)


def settled(text: str) -> str:
    """A text that was chosen, such that choosing again leaves it alone: what has become syntax
    only because texts met (`{_|x}_y__`) is escaped."""
    if not has_alternatives(text):
        return text
    return _SYNTAX.sub(lambda m: m[0] if m[0] == "$$" or m[0][0] == "\\" else f"\\{m[0]}", text)


def pieces(prompt: str) -> Iterator[Piece]:
    """A prompt taken apart. ItemError bad_prompt for braces that don't pair, and for parts of
    dynamicprompts' language that mediakit leaves out: variables, wrapping, chosen samplers."""
    done = 0
    open_braces: list[int] = []
    for match in _SYNTAX.finditer(prompt):
        token, at = match[0], match.start()
        _check(prompt, token, at)
        if token == "{":
            if not open_braces:
                yield Piece("text", prompt[done:at], done)
                done = at
            open_braces.append(at)
            if len(open_braces) > DEEPEST:
                raise bad_prompt(prompt, at, f"braces are nested more than {DEEPEST} deep")
        elif token == "}":
            if not open_braces:
                raise bad_prompt(prompt, at, "} closes nothing; write \\} for a plain brace")
            if open_braces.pop() == done and not open_braces:
                yield Piece("group", prompt[done : at + 1], done)
                done = at + 1
        elif match[1] is not None and not open_braces:
            yield Piece("text", prompt[done:at], done)
            yield Piece("wildcard", match[1], at)
            done = match.end()
    if open_braces:
        raise bad_prompt(prompt, open_braces[-1], "{ is never closed; write \\{ for a plain brace")
    yield Piece("text", prompt[done:], done)


def _check(prompt: str, token: str, at: int) -> None:
    if token in ("${", "%{"):
        kind = "variables" if token == "${" else "wrapping"
        raise bad_prompt(
            prompt, at, f"{kind} {token}...}} can't be used; \\{token} begins plain alternatives"
        )
    sampler = prompt[at + len("{") :] if token == "{" else token[len("__") :]
    if token[0] in "{_" and sampler[:1] in ("!", "~", "@"):
        raise bad_prompt(
            prompt, at, f"{token[:2] if token[0] == '_' else '{'}{sampler[0]} can't be used: "
            "--combinations chooses for the whole prompt",
        )  # fmt: skip


def hidden(group: str) -> str:
    """A group whose plain text dynamicprompts can't take for its own; `shown` undoes it."""
    kept = {match.start() for match in _WILDCARD.finditer(group)}
    kept |= {match.end() - 2 for match in _WILDCARD.finditer(group)}

    def hide(match: re.Match[str]) -> str:
        if match[0] == "$$" or match.start() in kept:
            return match[0]
        return "".join(chr(ord(c) + _HIDDEN) for c in match[0])

    return _OPEN_BOUND.sub(rf"\g<1>{_MANY}$$", _FOREIGN.sub(hide, group))


def shown(text: str) -> str:
    return "".join(chr(ord(c) - _HIDDEN) if ord(c) >= _HIDDEN else c for c in text)


def bad_prompt(prompt: str, at: int, cause: str) -> ItemError:
    """An error at character `at` (from 0) of a prompt, which is quoted around that place."""
    begin = max(0, min(at - _QUOTED // 2, len(prompt) - _QUOTED))
    quoted = prompt[begin : begin + _QUOTED]
    before, after = "..." * (begin > 0), "..." * (begin + _QUOTED < len(prompt))
    lines = list(accumulate((len(line) + 1 for line in prompt.split("\n")), initial=0))
    line = bisect_right(lines, at)
    place = f"character {at - lines[line - 1] + 1}" + (f" of line {line}" if line > 1 else "")
    return ItemError("bad_prompt", f"'{before}{show(quoted)}{after}', {place}: {cause}")
