"""https and http sources against a real server: resumed, verified, told apart from walls."""

import os
import signal
import socket
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from mediakit.errors import UserError
from mediakit.models import web
from mediakit.models.spec import ModelFile, ModelSpec
from mediakit.models.store import Store

from .loopback import Page, Web
from .tls import secure

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
PULL = """
import sys, pathlib
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
print(Store(pathlib.Path(sys.argv[1])).pull(ModelSpec.model_validate_json(sys.argv[2])))
"""


@pytest.fixture
def site(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(web, "PAUSES", (0.01, 0.01, 0.01))
    served = Web()
    yield served
    served.close()


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "models")


@pytest.fixture
def spec(site, spec_of) -> ModelSpec:
    """A model whose only source is /a.pth of the site."""
    return at(spec_of({"a.pth": WEIGHTS}), f"{site.url}/a.pth")


def at(spec: ModelSpec, *sources: str, **changes: object) -> ModelSpec:
    (file,) = spec.files
    file = ModelFile.model_validate({**dict(file), "sources": sources, **changes})
    return spec.model_copy(update={"files": (file,)})


def left(store: Store) -> list[str]:
    folder = store.root / "demo"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def refusal(store: Store, spec: ModelSpec, code: str = "model_unavailable") -> str:
    with pytest.raises(UserError) as error:
        store.pull(spec)
    assert error.value.code == code
    assert error.value.message.isprintable()
    assert not (store.root / "demo" / "a.pth").exists()
    return error.value.message


def start_pull(store: Store, spec: ModelSpec) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PULL, str(store.root), spec.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_a_file_comes_whole_and_tells_how_much(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS)
    told = []
    path = store.pull(spec, lambda *what: told.append(what))
    assert path.read_bytes() == WEIGHTS
    assert left(store) == [".lock", "a.pth", "a.pth.stamp"]
    assert told[-1] == ("a.pth", 1048576, 1048576)
    assert {what for what, _, _ in told} == {"a.pth"}
    assert [done for _, done, _ in told] == sorted(done for _, done, _ in told)
    assert store.pull(spec) == path
    assert len(site.asked) == 1


def test_a_connection_that_breaks_is_gone_on_with(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS, cut=300_000)
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert site.gets("/a.pth") == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert site.sent == len(WEIGHTS)  # not one byte twice


def test_without_ranges_it_begins_again(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS, cut=300_000, cuts=2, ranges=False)
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert len(site.gets("/a.pth")) == 3


def test_without_a_validator_it_begins_again(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS, cut=300_000, cuts=1, etag=False)
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert site.gets("/a.pth") == [None, None]


def test_what_a_run_left_the_next_goes_on_with(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS, cut=400_000, cuts=1)
    pauses, web.PAUSES = web.PAUSES, ()  # one try a run
    try:
        assert "127.0.0.1 broke off the connection" in refusal(store, spec)
        assert left(store) == [
            ".lock",
            "part-files/a.pth.partial",
            "part-files/a.pth.partial.json",
        ]
        assert store.pull(spec).read_bytes() == WEIGHTS
    finally:
        web.PAUSES = pauses
    assert site.gets("/a.pth") == [None, "bytes=400000-"]
    assert left(store) == [".lock", "a.pth", "a.pth.stamp"]


def test_a_killed_pull_is_gone_on_with(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS)
    site.hold.clear()
    pull = start_pull(store, spec)
    assert site.begun.wait(30)
    partial = store.root / "demo" / "part-files" / "a.pth.partial"
    limit = time.monotonic() + 20
    while not (partial.exists() and partial.stat().st_size) and time.monotonic() < limit:
        time.sleep(0.02)
    os.kill(pull.pid, signal.SIGKILL)
    pull.communicate(timeout=30)
    had = partial.stat().st_size
    site.hold.set()
    assert store.path(spec) is None
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert site.gets("/a.pth") == [None, f"bytes={had}-"]


def test_a_file_that_changed_meanwhile_begins_again(site, store, spec_of):
    old, new = WEIGHTS, WEIGHTS[::-1]
    spec = at(spec_of({"a.pth": new}), f"{site.url}/a.pth")
    site.pages["/a.pth"] = Page(old, cut=400_000)
    pauses, web.PAUSES = web.PAUSES, ()
    try:
        refusal(store, spec)
        site.pages["/a.pth"] = Page(new)
        assert store.pull(spec).read_bytes() == new
    finally:
        web.PAUSES = pauses


def test_a_partial_longer_than_the_file_begins_again(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS)
    parts = store.root / "demo" / "part-files"
    parts.mkdir(parents=True)
    (parts / "a.pth.partial").write_bytes(WEIGHTS + b"more")
    tag = sha256(WEIGHTS).hexdigest()
    (parts / "a.pth.partial.json").write_text(
        f'{{"place": "{site.url}/a.pth", "validator": "\\"{tag}\\""}}'
    )
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert site.gets("/a.pth") == [f"bytes={len(WEIGHTS) + 4}-", None]


def test_a_busy_server_is_asked_again(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS, busy=2)
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert len(site.gets("/a.pth")) == 3
    site.pages["/a.pth"] = Page(b"", 503)
    (store.root / "demo" / "a.pth").unlink()
    assert "127.0.0.1 is busy or broken (503)" in refusal(store, spec)
    assert len(site.gets("/a.pth")) == 3 + 4


def test_a_slow_server_is_waited_for(site, store, spec, monkeypatch):
    site.pages["/a.pth"] = Page(WEIGHTS, pause=0.02)
    monkeypatch.setattr(web, "TIMEOUT", 0.5)
    assert store.pull(spec).read_bytes() == WEIGHTS


def test_a_server_that_falls_silent(site, store, spec, monkeypatch):
    site.pages["/a.pth"] = Page(WEIGHTS)
    site.hold.clear()
    monkeypatch.setattr(web, "TIMEOUT", 0.2)
    monkeypatch.setattr(web, "PAUSES", ())
    assert "127.0.0.1 sent nothing for 0.2 s" in refusal(store, spec)
    site.hold.set()
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert site.gets("/a.pth")[1] is not None  # the rest only


@pytest.mark.parametrize(
    ("page", "said"),
    [
        (Page(b"no", 404), "127.0.0.1 does not have it (404)"),
        (Page(b"no", 401), "127.0.0.1 wants a login (401)"),
        (Page(b"no", 403), "127.0.0.1 refuses it, perhaps without a login (403)"),
        (Page(b"no", 418), "127.0.0.1 answers 418"),
        (Page(b"<p>Log in", kind="text/html; charset=utf-8"), "answers with a web page"),
        (Page(b" <!DOCTYPE html><p>Log in", length=False), "answers with a web page"),
        (Page(WEIGHTS, headers={"Content-Encoding": "gzip"}), "sends the file in another encoding"),
        (Page(WEIGHTS[:-1]), "has another file there: 1048575 bytes, not 1048576"),
    ],
)
def test_what_is_not_the_file_is_told_in_a_word(site, store, spec, page, said):
    site.pages["/a.pth"] = page
    message = refusal(store, spec)
    assert said in message
    assert f"put a.pth into {store.root / 'demo'}" in message
    assert len(site.asked) == 1
    assert left(store) == [".lock"]


def test_wrong_bytes_leave_nothing(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS[::-1])
    message = refusal(store, spec, "digest_mismatch")
    assert "demo: a.pth is not the file that the catalog names" in message
    assert sha256(WEIGHTS[::-1]).hexdigest() in message
    assert left(store) == [".lock"]


def test_more_bytes_than_there_should_be_are_not_read(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS * 64, length=False, etag=False)
    assert "expected 1048576 bytes, found more" in refusal(store, spec, "digest_mismatch")
    assert site.sent < 32 * len(WEIGHTS)


def test_the_next_address_is_asked(site, store, spec):
    site.pages["/b.pth"] = Page(WEIGHTS)
    spec = at(spec, f"{site.url}/a.pth", f"{site.url}/b.pth")
    assert store.pull(spec).read_bytes() == WEIGHTS


def test_redirects_are_followed(site, store, spec):
    site.pages["/a.pth"] = Page(b"", goto=f"{site.url}/real.pth")
    site.pages["/real.pth"] = Page(WEIGHTS, cut=700_000)
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert site.gets("/real.pth") == [None, "bytes=700000-"]


@pytest.mark.parametrize(
    ("goto", "said"),
    [
        ("ftp://127.0.0.1/a.pth", "127.0.0.1 redirects to ftp:, not https"),
        ("file:///etc/passwd", "127.0.0.1 redirects to nothing that can be fetched"),
        ("/a.pth", "127.0.0.1 redirects to nothing that can be fetched"),
    ],
)
def test_redirects_elsewhere_are_refused(site, store, spec, goto, said):
    site.pages["/a.pth"] = Page(b"", goto=goto)
    assert said in refusal(store, spec)


def test_a_server_that_is_not_there(store, spec_of):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        address = f"http://127.0.0.1:{taken.getsockname()[1]}/a.pth"
        message = refusal(store, at(spec_of({"a.pth": WEIGHTS}), address))
    assert "127.0.0.1 can't be reached; check the network" in message


def test_two_processes_fetch_once(site, store, spec):
    site.pages["/a.pth"] = Page(WEIGHTS)
    site.hold.clear()
    pulls = [start_pull(store, spec) for _ in range(2)]
    assert site.begun.wait(30)
    time.sleep(0.7)  # the other one is at the lock by now, or asks too
    site.hold.set()
    for pull in pulls:
        out, _ = pull.communicate(timeout=60)
        assert (pull.returncode, out.strip()) == (0, str(store.root / "demo" / "a.pth"))
    assert len(site.asked) == 1


def test_http_without_a_digest_is_refused(spec):
    with pytest.raises(ValueError, match="can be changed on its way; give its sha256, or https"):
        at(spec, "http://example.org/a.pth", sha256=None)


@pytest.fixture
def tls(site, tmp_path, monkeypatch) -> Web:
    """The site with a certificate of its own; trusted by those who read `certificate.pem`."""
    secure(site, tmp_path)
    return site


def test_a_certificate_that_is_not_trusted(tls, store, spec_of):
    tls.pages["/a.pth"] = Page(WEIGHTS)
    message = refusal(store, at(spec_of({"a.pth": WEIGHTS}), f"{tls.url}/a.pth"))
    assert "127.0.0.1 shows a certificate that is not trusted; set SSL_CERT_FILE" in message


def test_the_first_download_is_trusted_and_the_next_must_match(
    tls, store, spec_of, tmp_path, monkeypatch
):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    spec = at(spec_of({"a.pth": WEIGHTS}), f"{tls.url}/a.pth", sha256=None, size=None)
    tls.pages["/a.pth"] = Page(WEIGHTS)
    assert not spec.pinned
    pinned = store.pin(spec)
    assert pinned.sha256 == sha256(WEIGHTS).hexdigest()
    assert pinned.size == len(WEIGHTS)
    assert Store(store.root, offline=True).pin(spec) == pinned
    path = store.pull(spec)
    path.unlink()
    tls.pages["/a.pth"] = Page(WEIGHTS[::-1])
    message = refusal(store, spec, "digest_mismatch")
    assert "demo: a.pth is not the file that came the first time" in message
    assert "run `mediakit models rm --forget demo`" in message


def test_https_never_leads_to_http(tls, store, spec_of, tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "certificate.pem"))
    tls.pages["/a.pth"] = Page(b"", goto="http://127.0.0.1:9/a.pth")
    message = refusal(store, at(spec_of({"a.pth": WEIGHTS}), f"{tls.url}/a.pth"))
    assert "127.0.0.1 redirects to http:, not https" in message


def test_a_path_and_a_file_of_the_package_are_sources(store, spec_of, tmp_path):
    here = tmp_path / "here.pth"
    here.write_bytes(WEIGHTS)
    spec = at(spec_of({"a.pth": WEIGHTS}), "package:models/nothing.pth", str(here))
    offline = Store(store.root, offline=True)
    path = offline.pull(spec)
    assert path.read_bytes() == WEIGHTS
    assert path.stat().st_ino != here.stat().st_ino  # the user may change theirs
    data = Path(web.__file__).read_bytes()
    shipped = at(spec_of({"b.py": data}, name="shipped"), "package:models/web.py")
    assert offline.pull(shipped).read_bytes() == data
