"""The process that renders a model's chat template: what a template may use, and how much of it.

Run by renderer.py as a script of its own, with the folders of jinja2 and markupsafe as arguments;
it imports nothing of mediakit. Frames are 8 bytes of length and JSON: first {"template", "limits"},
then {"variables"} each; answered by {"text"} or {"error": KIND, "message"}.
"""

import codecs
import contextlib
import datetime
import json
import os
import struct
import sys
import time
from typing import Any

sys.path.extend(sys.argv[1:])

import jinja2.debug  # noqa: F401  (imported by jinja2 when a template fails, as is ...
from jinja2 import TemplateSyntaxError, nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

codecs.lookup("unicode_escape")  # ... when it reads a string: too late, no file can be opened then

# A prompt must be the same tomorrow: templates that ask for the day get the one that Llama 3's
# own template falls back to where there is no clock.
TODAY = datetime.datetime(2024, 7, 26)


class Refused(Exception):
    """The template called raise_exception: these messages are not for this model."""


class Unreadable(Exception):
    """The template is no template."""


class GenerationTag(Extension):
    """{% generation %} marks what a trainer learns from; here it is only what is inside."""

    tags = {"generation"}  # noqa: RUF012  (jinja2's own form)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def environment() -> ImmutableSandboxedEnvironment:
    """What transformers gives a chat template (utils/chat_template_utils.py), without a clock and
    without chance."""
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
    )
    env.filters["tojson"] = _to_json
    env.globals |= {"raise_exception": _refuse, "strftime_now": TODAY.strftime}
    del env.globals["lipsum"], env.filters["random"]
    return env


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Unlike jinja2's filter it escapes no HTML."""
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def _refuse(message: object = "") -> None:
    raise Refused(str(message))


class Renderer:
    """One template, compiled when it is first asked for."""

    def __init__(self, template: str, limits: dict[str, int]) -> None:
        self._limits = limits
        spend(limits["cpu_seconds"])
        try:
            self._template = environment().from_string(template)
        except TemplateSyntaxError as error:
            raise Unreadable(f"line {error.lineno}: {error.message}") from None
        except Exception as error:  # from the parser or the compiler, on what they can't take
            raise Unreadable(f"{type(error).__name__}: {error}") from None

    def render(self, variables: dict[str, Any]) -> str:
        spend(self._limits["cpu_seconds"])
        room = self._limits["characters"]
        pieces = []
        for piece in self._template.generate(**variables):
            room -= len(piece)
            if room < 0:
                raise OverflowError(f"it wrote more than {self._limits['characters']} characters")
            pieces.append(piece)
        return "".join(pieces)


def confine(memory_bytes: int) -> None:
    """No new file, no process, no byte into a file, and no more memory than that. Systems that
    lack a limit (Windows all of them) are left with jinja2's sandbox and the parent's clock."""
    try:
        import resource
    except ImportError:
        return
    limits = {"AS": memory_bytes, "FSIZE": 0, "NPROC": 0, "CORE": 0, "NOFILE": 0}
    for name, most in limits.items():
        with contextlib.suppress(AttributeError, ValueError, OSError):
            resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))


def spend(cpu_seconds: int) -> None:
    """The process is killed after so much more work, even where its parent is gone."""
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        until = int(time.process_time()) + cpu_seconds + 1
        resource.setrlimit(resource.RLIMIT_CPU, (until, resource.RLIM_INFINITY))


def answer(renderer: Renderer, variables: dict[str, Any]) -> dict[str, str]:
    try:
        return {"text": renderer.render(variables)}
    except Refused as error:
        return {"error": "refused", "message": str(error)}
    except MemoryError:
        return {"error": "limit", "message": "it needs too much memory"}
    except RecursionError:
        return {"error": "limit", "message": "it calls itself without end"}
    except OverflowError as error:
        return {"error": "limit", "message": str(error)}
    except Exception as error:
        return {"error": "broken", "message": f"{type(error).__name__}: {error}"}


def main() -> None:
    first = receive()
    if first is None:
        return
    confine(first["limits"]["memory_bytes"])
    try:
        renderer = Renderer(first["template"], first["limits"])
    except Unreadable as error:
        send({"error": "syntax", "message": str(error)})
        return
    send({"text": ""})
    while (request := receive()) is not None:
        send(answer(renderer, request["variables"]))


def receive() -> dict[str, Any] | None:
    """The next frame, or None when the parent is gone or has nothing more to ask."""
    head = _read(8)
    if len(head) < 8:
        return None
    (length,) = struct.unpack(">Q", head)
    body = _read(length)
    if len(body) < length:
        return None
    frame: dict[str, Any] = json.loads(body.decode("utf-8", "surrogatepass"))
    return frame


def _read(length: int) -> bytes:
    out = bytearray()
    while len(out) < length:
        piece = os.read(0, min(length - len(out), 1 << 20))
        if not piece:
            break
        out += piece
    return bytes(out)


def send(frame: dict[str, str]) -> None:
    text = json.dumps(frame, ensure_ascii=False).encode("utf-8", "surrogatepass")
    body = memoryview(struct.pack(">Q", len(text)) + text)
    while body:
        body = body[os.write(1, body) :]


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        main()
