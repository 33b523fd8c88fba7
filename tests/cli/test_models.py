"""`mediakit models` as a person and a script see it, with a real server on the loopback."""

import json
import os
import pty
import re
import subprocess
import sys
import threading
from hashlib import sha256
from pathlib import Path

import pytest
from PIL import Image

from tests.models.conftest import compact
from tests.models.loopback import Page, Web

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB
DIGEST = sha256(WEIGHTS).hexdigest()
MAIN = "from mediakit.cli.app import main; main()"
# Ends the process at the first socket that could leave the machine, or look up a name.
NO_SOCKETS = """
import os, socket, sys
def stop(event, arguments):
    opened = event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6)
    if opened or event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        os.write(2, f"opened a socket: {event}\\n".encode())
        os._exit(97)
sys.addaudithook(stop)
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDIAKIT_CACHE", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def site(home):
    """A server with /a.pth, and an entry `mine` in models.yaml that names it."""
    served = Web()
    served.pages["/a.pth"] = Page(WEIGHTS)
    (home / "config" / "mediakit").mkdir(parents=True)
    (home / "config" / "mediakit" / "models.yaml").write_text(
        f"mine: {{licence: CC0-1.0, tasks: [upscale], files: [{{name: a.pth, sha256: {DIGEST}, "
        f'sources: ["{served.url}/a.pth"]}}]}}\n'
    )
    yield served
    served.close()


def own(ran):
    """Its output without what is said of the models that ship with mediakit."""
    return "".join(line for line in ran.stdout.splitlines(True) if "starter-" not in line)


def run(*arguments: str, status: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    ran = subprocess.run(
        [sys.executable, "-c", MAIN, *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == status, ran.stderr
    return ran


def models(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    return run("models", *arguments, status=status)


def test_from_nothing_to_a_model_and_back(site, home):
    path = home / "models" / "mine" / "a.pth"
    assert models("path", "mine", status=2).stderr.endswith("[offline]\n")
    assert own(models("list", "--here")) == ""
    assert models("pull", "mine").stderr == f"fetching a.pth (1.0 MB)\nmine: {path}\n"
    assert path.read_bytes() == WEIGHTS
    assert models("path", "mine").stdout == f"{path}\n"
    assert own(models("verify")) == "mine: a.pth is right\n"
    line = own(models("list", "--here"))
    assert re.match(r"mine +here +-  CC0-1.0 +upscale: A model of your own.\n", line)
    found = json.loads(own(models("list", "--here", "--json")))
    assert (found["name"], found["path"], found["bytes_on_disk"]) == ("mine", str(path), 1 << 20)
    assert (found["licence"], found["sha256"], found["tasks"]) == ("CC0-1.0", DIGEST, ["upscale"])
    assert models("rm", "mine").stdout == "mine: 1.0 MB freed (1 files)\n"
    assert not path.parent.exists()
    assert models("rm", "mine").stderr == "mine: nothing of it to remove\n"


def test_list_and_show_say_what_there_is(home):
    listed = models("list", "--task", "upscale").stdout
    assert re.search(r"^swinir-real-l-x4 +142\.5 MB  Apache-2\.0 +upscale: ", listed, re.M)
    assert "yunet" not in listed
    shown = models("show", "realesr-general-x4v3").stdout
    for fact in ("BSD-3-Clause", "scale 4, denoise 0.5", "realesr-general-wdn-x4v3.pth",
                 "1641f8c4464b9f097c9fdda5589273713f67cf59f3d909e0bd688f0cee269dca",
                 "/v0.2.5.0/realesr-general-x4v3.pth"):  # fmt: skip
        assert fact in shown
    facts = json.loads(models("show", "RealESRGAN_x2plus", "--json").stdout)
    assert (facts["name"], facts["bytes"]) == ("realesrgan-x2plus", 67061725)
    assert facts["files"][0]["name"] == "RealESRGAN_x2plus.pth"


def test_a_wrong_file_is_found_named_and_fetched_again(site, home):
    models("pull", "mine")
    path = home / "models" / "mine" / "a.pth"
    before = path.stat()
    path.write_bytes(WEIGHTS[::-1])
    os.utime(path, ns=(before.st_mtime_ns, before.st_mtime_ns))
    wrong = models("verify", status=1)
    found = sha256(WEIGHTS[::-1]).hexdigest()
    assert wrong.stderr == (
        f"mine: {path} is wrong: expected sha256 {DIGEST}, found {found}; "
        "run `mediakit models pull mine`\n"
    )
    line = json.loads(models("verify", "mine", "--json", status=1).stdout)
    assert (line["state"], line["expected"], line["found"]) == ("wrong", DIGEST, found)
    models("pull", "mine", "-q")
    assert models("verify", "-q").stdout == ""
    assert path.read_bytes() == WEIGHTS


def test_verifying_what_is_not_here(home):
    ran = models("verify", "yunet", status=2)
    assert "run `mediakit models pull yunet` [model_unavailable]" in ran.stderr
    assert own(models("verify")) == ""


def test_wrong_bytes_are_named_and_leave_nothing(site, home):
    site.pages["/a.pth"] = Page(WEIGHTS[::-1])
    ran = models("pull", "mine", status=2)
    fetching, line = ran.stderr.splitlines()
    assert fetching == "fetching a.pth (1.0 MB)"
    assert line.startswith("mediakit: mine: a.pth is not the file")
    assert line.endswith("[digest_mismatch]")
    assert [path.name for path in (home / "models").rglob("*") if path.is_file()] == [".lock"]


def test_a_misspelt_key_names_file_entry_and_key(site, home):
    path = home / "config" / "mediakit" / "models.yaml"
    path.write_text("mine: {licens: MIT, files: []}\n")
    ran = models("list", status=2)
    assert f"{path}: mine.licens: no such key; correct the file [bad_model_entry]" in ran.stderr


def test_rm_leaves_what_it_did_not_fetch(site, home):
    folder = home / "models" / "mine"
    folder.mkdir(parents=True)
    (folder / "a.pth").write_bytes(WEIGHTS)
    models("pull", "mine")
    ran = models("rm", "mine")
    assert ran.stderr == (
        f"mine: nothing of it to remove\nleft, as mediakit did not fetch it: {folder / 'a.pth'}\n"
    )
    assert (folder / "a.pth").read_bytes() == WEIGHTS


def test_a_terminal_sees_rate_and_time_left(site, home):
    site.pages["/a.pth"] = Page(WEIGHTS * 2, pause=0.05)
    digest = sha256(WEIGHTS * 2).hexdigest()
    entry = home / "config" / "mediakit" / "models.yaml"
    entry.write_text(entry.read_text().replace(DIGEST, digest))
    ours, theirs = pty.openpty()
    seen: list[bytes] = []

    def read() -> None:
        try:
            while block := os.read(ours, 65536):
                seen.append(block)
        except OSError:  # the other end was closed
            pass

    reader = threading.Thread(target=read)
    reader.start()
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    ran = subprocess.run(
        [sys.executable, "-c", MAIN, "models", "pull", "mine"],
        env=variables, stdout=subprocess.PIPE, stderr=theirs, timeout=60,
    )  # fmt: skip
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    text = b"".join(seen).decode()
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert "a.pth" in text
    assert re.search(r"\d\.\d/2\.1 MB", text)
    assert re.search(r"\d MB/s", text)
    assert re.search(r"\d:\d\d:\d\d", text)
    assert "mine: " in text


@pytest.fixture
def no_sockets(home, monkeypatch):
    (home / "site").mkdir()
    (home / "site" / "sitecustomize.py").write_text(NO_SOCKETS)
    places = [str(home / "site"), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(places))
    Image.new("RGB", (8, 8), (200, 30, 60)).save("a.png")


def test_the_guard_against_sockets_works(no_sockets, site):
    assert "opened a socket" in models("pull", "mine", status=97).stderr


@pytest.mark.parametrize(
    "model", ["mine", "hf:a/b@main/net.pth", "https://example.org/net.pth", "realesrgan-x4plus"]
)
def test_offline_opens_no_socket_for_a_missing_model(no_sockets, site, model):
    ran = run("upscale", "a.png", "-o", "out", "--offline", "--model", model, status=2)
    assert "[offline]" in ran.stderr
    assert f"run `mediakit models pull {model}` once" in ran.stderr
    assert not Path("out/a.png").exists()
    assert site.asked == []


def test_offline_opens_no_socket_for_a_model_that_is_here(no_sockets):
    param, _ = compact().write(Path.cwd())
    run("upscale", "a.png", "-o", "out", "--offline", "--model", str(param))
    with Image.open("out/a.png") as made:
        assert made.size == (16, 16)
    for command in (("list",), ("show", "yunet"), ("path", str(param)), ("verify",)):
        models(*command)
