"""A small web server on the loopback: ranges, cuts, wrong bytes, slowness, walls, and a hub."""

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Page:
    """What an address answers."""

    data: bytes
    status: int = 200
    kind: str = "application/octet-stream"
    ranges: bool = True
    etag: bool = True
    length: bool = True  # says how long it is
    cut: int | None = None  # each connection ends after so many bytes
    cuts: int = 1000  # how many connections do
    busy: int = 0  # so many answers of 503 come first
    pause: float = 0.0  # seconds before each 64 KiB
    goto: str | None = None
    headers: dict[str, str] = field(default_factory=dict)


class Web:
    def __init__(self) -> None:
        self.pages: dict[str, Page] = {}
        self.asked: list[tuple[str, str, str | None]] = []  # method, path, Range
        self.sent = 0
        self.hold = threading.Event()
        self.hold.set()
        self.begun = threading.Event()
        web = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                web.answer(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        path = unquote(urlsplit(request.path).path)
        wanted = request.headers.get("Range")
        self.asked.append((request.command, path, wanted))
        page = self.pages.get(path, Page(b"nothing here", 404, "text/plain"))
        if page.busy and request.command == "GET":
            page.busy -= 1
            page = Page(b"", 503)
        tag = f'"{sha256(page.data).hexdigest()}"'
        first = 0
        if_range = request.headers.get("If-Range") in (None, tag)
        if wanted and if_range and page.ranges and page.status == 200:
            first = int(wanted.removeprefix("bytes=").rstrip("-"))
        if first and first >= len(page.data):
            page = Page(b"", 416)
        try:
            self._send(request, page, first, tag)
        except OSError:  # the client has gone
            request.close_connection = True

    def _send(self, request: BaseHTTPRequestHandler, page: Page, first: int, tag: str) -> None:
        status = 302 if page.goto else 206 if first else page.status
        request.send_response(status)
        body = b"" if page.goto else page.data[first:]
        if page.goto:
            request.send_header("Location", page.goto)
        if page.etag:
            request.send_header("ETag", tag)
        if first:
            span = f"bytes {first}-{len(page.data) - 1}/{len(page.data)}"
            request.send_header("Content-Range", span)
        if page.length or page.goto:
            request.send_header("Content-Length", str(len(body)))
        request.send_header("Content-Type", page.kind)
        for name, value in page.headers.items():
            request.send_header(name, value)
        request.end_headers()
        if request.command == "HEAD":
            return
        ends = len(body)
        if page.cut is not None and page.cuts > 0 and body:
            page.cuts -= 1
            ends = min(ends, page.cut)
        for place in range(0, ends, 1 << 16):
            if page.pause:
                time.sleep(page.pause)
            block = body[place : min(place + (1 << 16), ends)]
            request.wfile.write(block)
            request.wfile.flush()
            self.sent += len(block)
            self.begun.set()
            self.hold.wait(30)
        if ends < len(body):
            request.close_connection = True

    def gets(self, path: str) -> list[str | None]:
        """The Range of each GET of `path`."""
        return [wanted for method, at, wanted in self.asked if (method, at) == ("GET", path)]

    def close(self) -> None:
        self.hold.set()
        self.server.shutdown()
        self.server.server_close()

    def serve_hub_file(
        self, repository: str, name: str, data: bytes, refused: Callable[[], Page] | None = None
    ) -> str:
        """`name` of the hub's repository at `main` and COMMIT; the address of its GET."""
        page = refused() if refused else Page(data, headers={"X-Repo-Commit": COMMIT})
        for revision in ("main", COMMIT):
            self.pages[f"/{repository}/resolve/{revision}/{name}"] = page
        return f"/{repository}/resolve/main/{name}"

    def serve_hub_repository(
        self, repository: str, files: Mapping[str, bytes], commit: str = COMMIT
    ) -> None:
        """A whole repository, as the hub's API lists it at `main` and `commit`; of weights (files
        that git keeps elsewhere) it tells the digest."""
        listed = [
            {
                "rfilename": name,
                "size": len(data),
                "blobId": "0",
                **self._kept_elsewhere(name, data),
            }
            for name, data in files.items()
        ]
        answer = {"id": repository, "sha": commit, "siblings": listed, "tags": [], "downloads": 0}
        for revision in ("main", commit):
            api = Page(json.dumps(answer).encode(), kind="application/json")
            self.pages[f"/api/models/{repository}/revision/{revision}"] = api
        for name, data in files.items():
            page = Page(data, headers={"X-Repo-Commit": commit})
            self.pages[f"/{repository}/resolve/{commit}/{name}"] = page

    def _kept_elsewhere(self, name: str, data: bytes) -> dict[str, object]:
        if not name.endswith((".safetensors", ".bin")):
            return {}
        digest = sha256(data).hexdigest()
        return {"lfs": {"sha256": digest, "size": len(data), "pointerSize": 135}}
