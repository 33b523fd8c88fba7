"""How a file is got from an https address: goes on where it was cut off, never takes a web page
for a model.

urllib is enough for one stream of bytes, knows proxies and the system's certificates, and costs
no dependency; what it lacks (resuming, retries, refusing to leave https) is here.
"""

import http.client
import json
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import mediakit
from mediakit.models.sources import Request, Unfetched

TIMEOUT = 30.0  # seconds without a byte
PAUSES = (1.0, 3.0, 10.0)  # seconds to wait after each try in a row that brought nothing new
_BLOCK = 1 << 18
_BUSY = (408, 425, 429, 500, 502, 503, 504)
_WHY = {
    401: "wants a login (401)",
    403: "refuses it, perhaps without a login (403)",
    404: "does not have it (404)",
    410: "does not have it any more (410)",
}


class _CutOff(Exception):
    """Worth another try."""


class _Stale(_CutOff):
    """Worth another try, from the first byte."""


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Redirects lead to https, or from http to http; never to ftp or from https to http."""

    def redirect_request(self, req: Any, fp: Any, *rest: Any) -> Any:
        scheme = urlsplit(rest[-1]).scheme
        if scheme != "https" and not (scheme == "http" and req.type == "http"):
            raise Unfetched(f"{urlsplit(req.full_url).hostname} redirects to {scheme}:, not https")
        return super().redirect_request(req, fp, *rest)


def fetch(request: Request) -> None:
    """Download the file; what came of it before a cut is kept beside the target.

    Raises Unfetched, and OSError from the disk.
    """
    target = request.targets[""]
    partial = target.with_name(target.name + ".partial")
    pauses = iter(PAUSES)
    while True:
        before = _size(partial)
        try:
            _go_on(request, partial)
            break
        except _CutOff as error:
            if isinstance(error, _Stale):
                partial.unlink(missing_ok=True)
            if _size(partial) > before:
                pauses = iter(PAUSES)
            pause = next(pauses, None)
            if pause is None:
                raise Unfetched(f"{_host(request.place)} {error}") from None
            time.sleep(pause)
    partial.replace(target)
    _state(partial).unlink(missing_ok=True)


def _go_on(request: Request, partial: Path) -> None:
    """One connection: all that is missing, or _CutOff."""
    headers = {"User-Agent": f"mediakit/{mediakit.__version__}", "Accept-Encoding": "identity"}
    have, validator = _size(partial), _validator(partial, request.place)
    if have and validator:
        headers |= {"Range": f"bytes={have}-", "If-Range": validator}
    with _told(request.place):
        opener = urllib.request.build_opener(_NoDowngrade)
        asked = urllib.request.Request(request.place, headers=headers)
        response = opener.open(asked, timeout=TIMEOUT)
    with response:
        start, total = _span(response, have)
        _check(request, response, total)
        _remember(partial, request.place, response)
        with partial.open("r+b" if start else "wb") as file:
            file.seek(start)
            file.truncate()
            _receive(request, response, file, total)


def _receive(request: Request, response: Any, file: Any, total: int | None) -> None:
    done = file.tell()
    size = request.sizes[""]
    request.progress(done, total or size)
    while True:
        with _told(request.place):
            block = response.read1(_BLOCK)
        if not block:
            break
        if done == 0 and _is_page(block):
            raise _page(request)
        file.write(block)
        done += len(block)
        request.progress(done, total or size)
        if size is not None and done > size:
            return  # not the file that is wanted: whoever compares will say so
    if total is not None and done < total:
        raise _CutOff("broke off the connection")


def _span(response: Any, have: int) -> tuple[int, int | None]:
    """(first byte that comes, bytes of the whole file or None)."""
    if response.status == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        if not match or int(match[1]) != have:
            raise _Stale("sends another part than was asked for")
        return have, None if match[2] == "*" else int(match[2])
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdigit() else None


def _check(request: Request, response: Any, total: int | None) -> None:
    size = request.sizes[""]
    if response.headers.get_content_type() in ("text/html", "application/xhtml+xml"):
        raise _page(request)
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Unfetched(f"{_host(request.place)} sends the file in another encoding")
    if size is not None and total is not None and size != total:
        raise Unfetched(f"{_host(request.place)} has another file there: {total} bytes, not {size}")


def _is_page(block: bytes) -> bool:
    return block[:256].lstrip().lower().startswith((b"<!doctype html", b"<html"))


def _page(request: Request) -> Unfetched:
    return Unfetched(
        f"{_host(request.place)} answers with a web page instead of the file (a login, perhaps)"
    )


@contextmanager
def _told(place: str) -> Iterator[None]:
    """What the network raises becomes _CutOff (try again) or Unfetched."""
    host = _host(place)
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in _BUSY:
            raise _CutOff(f"is busy or broken ({error.code})") from None
        if error.code == 416:  # what is here is longer than the file there: begin anew
            raise _Stale("has less of it than has come already (416)") from None
        if 300 <= error.code < 400:  # in a circle, or to file:
            raise Unfetched(f"{host} redirects to nothing that can be fetched") from None
        raise Unfetched(f"{host} {_WHY.get(error.code, f'answers {error.code}')}") from None
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLError):
            raise Unfetched(
                f"{host} shows a certificate that is not trusted",
                "set SSL_CERT_FILE if your network has certificates of its own",
            ) from None
        if isinstance(error.reason, TimeoutError):
            raise _CutOff("can't be reached (no answer in time)") from None
        raise Unfetched(f"{host} can't be reached") from None
    except TimeoutError:
        raise _CutOff(f"sent nothing for {TIMEOUT:g} s") from None
    except (OSError, http.client.HTTPException):
        raise _CutOff("broke off the connection") from None


def _host(place: str) -> str:
    return urlsplit(place).hostname or "the server"


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _state(partial: Path) -> Path:
    return partial.with_name(partial.name + ".json")


def _remember(partial: Path, place: str, response: Any) -> None:
    """What tells whether the rest belongs to what is here (RFC 9110, 13.1.5: no weak tags)."""
    tag = response.headers.get("ETag", "")
    validator = tag if tag.startswith('"') else response.headers.get("Last-Modified")
    _state(partial).write_text(json.dumps({"place": place, "validator": validator}))


def _validator(partial: Path, place: str) -> str | None:
    try:
        state = json.loads(_state(partial).read_bytes())
        return str(state["validator"]) if state["place"] == place and state["validator"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
