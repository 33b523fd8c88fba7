"""hf: sources through the hub's own library, against a server that speaks its protocol."""

import json
import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from mediakit.models.catalog import find
from mediakit.models.store import Store

from .loopback import Page, Web

WEIGHTS = bytes(range(256)) * 8192  # 2 MiB
REPOSITORY = "someone/upscalers"
REFERENCE = f"hf:{REPOSITORY}@main/net.pth"
# The hub's library reads its settings when it is imported: each pull is a process of its own.
PULL = """
import json, sys
from mediakit.errors import UserError
from mediakit.models.catalog import find
from mediakit.models.store import Store
told = []
try:
    store = Store(offline="offline" in sys.argv)
    path = store.pull(find(sys.argv[1]), lambda *what: told.append(what))
    print(json.dumps({"path": str(path), "told": told}))
except UserError as error:
    print(json.dumps({"code": error.code, "said": error.message}))
"""


@pytest.fixture
def hub(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    served = Web()
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("MEDIAKIT_CACHE", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    yield served
    served.close()


def pull(model: str = REFERENCE, *more: str, **variables: str) -> dict[str, object]:
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PULL, model, *more],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stderr == ""
    found: dict[str, object] = json.loads(ran.stdout)
    return found


def test_a_reference_is_pulled_once_and_then_needs_no_network(hub, tmp_path):
    at = hub.serve_hub_file(REPOSITORY, "net.pth", WEIGHTS)
    first = pull()
    path = Path(str(first["path"]))
    assert path.read_bytes() == WEIGHTS
    assert path.is_relative_to(tmp_path / "models")
    assert list(first["told"])[-1] == ["hf:someone/upscalers@main/net.pth", 2097152, 2097152]
    asked = len(hub.asked)
    assert pull()["path"] == str(path)
    assert len(hub.asked) == asked
    assert hub.gets(at) == [None]
    spec = Store(tmp_path / "models").pin(find(REFERENCE))
    assert spec.sha256 == sha256(WEIGHTS).hexdigest()
    assert find(f"hf:{REPOSITORY}/net.pth").name == REFERENCE


def test_what_the_hubs_own_cache_has_needs_no_network(hub, tmp_path):
    hub.serve_hub_file(REPOSITORY, "net.pth", WEIGHTS)
    path = Path(str(pull()["path"]))
    assert path.stat().st_nlink == 2  # the hub's cache and ours are one copy
    path.unlink()
    asked = len(hub.asked)
    assert Path(str(pull(REFERENCE, "offline")["path"])).read_bytes() == WEIGHTS
    path.unlink()
    assert Path(str(pull(HF_HUB_OFFLINE="1")["path"])).read_bytes() == WEIGHTS
    assert len(hub.asked) == asked


def test_a_broken_connection_is_gone_on_with(hub):
    large = WEIGHTS * 6  # the library writes 10 MiB at a time
    hub.serve_hub_file(REPOSITORY, "net.pth", large)
    for page in hub.pages.values():
        page.cut, page.cuts = 11 << 20, 1
    assert Path(str(pull()["path"])).read_bytes() == large
    (rest,) = [wanted for method, _, wanted in hub.asked if method == "GET" and wanted]
    assert rest == f"bytes={10 << 20}-"


def test_later_downloads_must_match_the_first(hub, tmp_path):
    hub.serve_hub_file(REPOSITORY, "net.pth", WEIGHTS)
    Path(str(pull()["path"])).unlink()
    hub.serve_hub_file(REPOSITORY, "net.pth", WEIGHTS[::-1])
    again = pull(HF_HOME=str(tmp_path / "other"))
    assert again["code"] == "digest_mismatch"
    assert "weights.pth is not the file that came the first time" in str(again["said"])
    assert f"`mediakit models rm --forget {REFERENCE}`" in str(again["said"])


def wall(status: int, code: str) -> Page:
    return Page(b"{}", status, "application/json", headers={"X-Error-Code": code} if code else {})


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "GatedRepo", "the hub gives someone/upscalers only after a login; accept its"),
        (401, "RepoNotFound", "the hub has no someone/upscalers, or shows it only after a login"),
        (404, "RepoNotFound", "the hub has no someone/upscalers"),
        (404, "RevisionNotFound", "someone/upscalers on the hub has no revision main"),
        (404, "EntryNotFound", "someone/upscalers on the hub has no file net.pth"),
        (403, "", "the hub refuses someone/upscalers (403)"),
    ],
)
def test_refusals_are_told_in_a_word(hub, tmp_path, status, code, said):
    hub.serve_hub_file(REPOSITORY, "net.pth", b"", lambda: wall(status, code))
    told = pull(HF_HUB_ETAG_TIMEOUT="2")
    assert told["code"] == "model_unavailable"
    assert said in str(told["said"])
    assert "http" not in str(told["said"])
    assert list((tmp_path / "models").rglob("weights*")) == []


def test_a_hub_that_may_not_be_asked(hub):
    told = pull(HF_HUB_OFFLINE="1")
    assert told["code"] == "model_unavailable"
    assert "the hub can't be reached, and its cache has no net.pth" in str(told["said"])
    assert hub.asked == []


def test_offline_says_how_to_fetch_it(hub):
    told = pull(REFERENCE, "offline")
    assert told["code"] == "offline"
    assert f"run `mediakit models pull {REFERENCE}` once" in str(told["said"])
    assert hub.asked == []
