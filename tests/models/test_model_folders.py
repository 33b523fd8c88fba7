"""Models that are folders: the user's own, entries of many files, and what ships with mediakit."""

import os
import shutil
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from mediakit.errors import UserError
from mediakit.models import store as stores
from mediakit.models import upkeep, web
from mediakit.models.catalog import find, known, user_file
from mediakit.models.engines import DIFFUSION_ENGINE
from mediakit.models.sources import PACKAGE
from mediakit.models.spec import ModelFile, ModelSpec
from mediakit.models.store import Store

from .diffusers_folder import folder, weights
from .loopback import Page, Web

# Ends the process at the first socket that could leave the machine, or look up a name.
NO_SOCKETS = """
import os, socket, sys
def stop(event, arguments):
    opened = event == "socket.__new__" and arguments[1] in (socket.AF_INET, socket.AF_INET6)
    if opened or event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        os.write(2, f"opened a socket: {event}\\n".encode())
        os._exit(97)
sys.addaudithook(stop)
from mediakit.cli.app import main
main()
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDIAKIT_CACHE", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path


@pytest.fixture
def store():
    return Store(offline=True)


def write(path: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


def models(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    """`mediakit models ...` in a process that may open no socket."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NO_SOCKETS, "models", *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == status, ran.stderr
    return ran


def test_a_folder_of_the_users(home, store):
    path = write(home / "mine", folder({"README.md": b"", "unet/old.ckpt": b"pickle"}))
    spec = find(str(path))
    assert (spec.name, spec.revision) == (str(path), "local")
    assert (spec.tasks, spec.engine) == (
        ("generate", "img2img", "inpaint"), DIFFUSION_ENGINE,
    )  # fmt: skip
    assert {file.name for file in spec.files} == folder().keys()
    assert spec.size == sum(map(len, folder().values()))
    assert store.pull(spec) == store.path(spec) == path
    assert store.files(spec) == (path,)
    assert upkeep.remove(store, spec) == upkeep.Removed((), 0, ())
    assert store.keep(spec, path / "unet" / "diffusion_pytorch_model.safetensors", print) is None
    moved = shutil.copytree(path, home / "elsewhere")
    assert find(str(moved)).sha256 == spec.sha256
    (moved / "scheduler" / "scheduler_config.json").write_bytes(b'{"_class_name": "Other"}')
    assert find(str(moved)).sha256 != spec.sha256
    (path / "vae" / "config.json").unlink()
    assert store.path(spec) is None
    with pytest.raises(UserError, match=r"vae/config\.json is no longer there"):
        store.pull(spec)


def test_a_folder_that_lacks_a_component(home):
    path = write(
        home / "mine", folder({"tokenizer/vocab.json": None, "tokenizer/merges.txt": None})
    )
    with pytest.raises(UserError, match="names tokenizer, but tokenizer/ has no files") as error:
        find(str(path))
    assert error.value.code == "missing_component"


def test_pointers_and_pages_in_a_folder_are_no_weights(home, store):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"
    path = write(home / "mine", folder({"unet/diffusion_pytorch_model.safetensors": pointer}))
    with pytest.raises(UserError, match="is a Git LFS pointer") as error:
        store.pull(find(str(path)))
    assert error.value.code == "bad_weights"
    assert "unet/diffusion_pytorch_model.safetensors" in error.value.message


def test_an_unchanged_folder_is_not_read_again(home):
    path = write(home / "mine", folder())
    big = path / "unet" / "diffusion_pytorch_model.safetensors"
    os.utime(big, ns=(5, 5))
    before = find(str(path)).sha256
    big.write_bytes(big.read_bytes()[:-1] + b"!")  # a change that size and time do not show
    os.utime(big, ns=(5, 5))
    assert find(str(path)).sha256 == before
    other = big.with_name("other")
    other.write_bytes(big.read_bytes())
    os.utime(other, ns=(5, 5))
    other.replace(big)  # another file with the same size and time, under the same name
    assert find(str(path)).sha256 != before


def test_a_folder_hides_no_name_of_the_catalog(home, monkeypatch):
    monkeypatch.chdir(home)
    write(home / "sdxl", folder())
    assert find("sdxl") == known()["sdxl"]
    assert find("./sdxl").local == home / "sdxl"
    write(home / "own-model", folder())
    assert find("own-model").local == home / "own-model"


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setattr(web, "PAUSES", (0.01,))
    served = Web()
    yield served
    served.close()


def served_folder(site: Web, files: dict[str, bytes], spec_of) -> ModelSpec:
    spec = spec_of(files)
    entries = []
    for file in spec.files:
        site.pages[f"/{file.name}"] = Page(files[file.name])
        entries.append({**dict(file), "sources": (f"{site.url}/{file.name}",)})
    return ModelSpec.model_validate({**dict(spec), "files": entries})


def left(path: Path) -> list[str]:
    return sorted(p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file())


def test_an_entry_may_be_a_folder(site, spec_of):
    store = Store()
    files = folder()
    spec = served_folder(site, files, spec_of)
    path = store.pull(spec)
    assert path == store.root / "demo"
    assert store.files(spec) == (path,)
    stamps = [f"{name}.stamp" for name in files]
    assert left(path) == sorted([".lock", *files, *stamps])
    assert [verdict.name for verdict in upkeep.verify(store, spec)] == list(files)
    (path / "vae" / "config.json").write_bytes(b"other")
    assert store.path(spec) is None
    assert store.pull(spec) == path
    assert len(site.gets("/vae/config.json")) == 2
    assert len(site.gets("/unet/config.json")) == 1
    (path / "unet" / "note.txt").write_text("the user's")
    removed = upkeep.remove(store, spec)
    assert (len(removed.files), removed.left) == (len(files), ())
    assert removed.freed == sum(map(len, files.values()))
    assert left(path) == [".lock", "unet/note.txt"]
    assert not (path / "vae").exists()


def test_a_file_in_a_folder_is_gone_on_with(site, spec_of):
    store = Store()
    big = "unet/diffusion_pytorch_model.safetensors"
    files = folder({big: weights("unet") * 200})
    spec = served_folder(site, files, spec_of)
    site.pages[f"/{big}"].cut = 100_000
    site.pages[f"/{big}"].cuts = 1
    pauses, web.PAUSES = web.PAUSES, ()  # one try a run
    with pytest.raises(UserError, match="broke off the connection"):
        store.pull(spec)
    assert "part-files/unet%2Fdiffusion_pytorch_model.safetensors.partial" in left(
        store.root / "demo"
    )
    web.PAUSES = pauses
    store.pull(spec)
    assert (store.root / "demo" / big).read_bytes() == files[big]
    assert site.gets(f"/{big}") == [None, "bytes=100000-"]


@pytest.fixture
def shipped(home, spec_of, monkeypatch) -> ModelSpec:
    """A model that ships in a package of the test's own."""
    package = home / "package"
    write(package / "models" / "shipped" / "tiny", folder())
    monkeypatch.setattr(stores, "PACKAGE", package)
    files = [
        {**dict(file), "sources": (f"package:models/shipped/tiny/{file.name}",)}
        for file in spec_of(folder(), name="tiny").files
    ]
    return ModelSpec.model_validate({**dict(spec_of(folder(), name="tiny")), "files": files})


def test_what_ships_is_used_where_it_is(home, store, shipped):
    path = home / "package" / "models" / "shipped" / "tiny"
    before = left(path)
    assert store.pull(shipped) == store.path(shipped) == path
    assert left(path) == before  # nothing is written beside it
    assert not (store.root / "tiny").exists()
    assert all(verdict.right for verdict in upkeep.verify(store, shipped))
    assert len(upkeep.on_disk(store, shipped)) == len(folder())
    removed = upkeep.remove(store, shipped)
    assert (removed.files, removed.freed) == ((), 0)
    assert left(path) == before


def test_what_ships_must_be_what_it_was(home, store, shipped):
    path = home / "package" / "models" / "shipped" / "tiny" / "vae" / "config.json"
    path.write_bytes(path.read_bytes() + b" ")
    assert store.path(shipped) is None
    with pytest.raises(UserError, match="install mediakit again") as error:
        store.pull(shipped)
    assert error.value.code == "model_unavailable"
    assert [v.name for v in upkeep.verify(store, shipped) if not v.right] == ["vae/config.json"]


@pytest.mark.parametrize("name", [name for name, spec in known().items() if spec.shipped])
def test_every_model_that_ships_is_whole(name, store):
    """The digests of the catalog are those of the files: after training, tools/shipped_entry.py."""
    spec = known()[name]
    assert store.pull(spec) == PACKAGE / str(spec.shipped)
    held = (PACKAGE / str(spec.shipped)).rglob("*")
    found = {p.relative_to(PACKAGE / str(spec.shipped)).as_posix() for p in held if p.is_file()}
    assert {file.name for file in spec.files} <= found


def test_an_entry_is_printed_for_a_folder(home):
    path = write(home / "my model", folder())
    printed = models("entry", str(path)).stdout
    (entry,) = yaml.safe_load(printed).items()
    assert entry[0] == "my-model"
    user_file().parent.mkdir(parents=True)
    user_file().write_text(printed)
    spec = find("my-model")
    assert spec.sha256 == find(str(path)).sha256
    assert spec.files[0].sources == (str(path / "model_index.json"),)
    models("pull", "-q", "my-model")
    assert models("path", "my-model").stdout == f"{home / 'models' / 'my-model'}\n"
    assert models("rm", "my-model").stdout.startswith("my-model: ")
    assert left(path) == sorted(folder())


def test_the_commands_know_a_folder_of_the_users(home):
    path = write(home / "mine", folder())
    assert models("path", str(path)).stdout == f"{path}\n"
    shown = models("show", str(path)).stdout
    digest = sha256(folder()["unet/config.json"]).hexdigest()
    assert "unet/config.json" in shown and digest in shown
    assert "is your own file" in models("verify", str(path), status=2).stderr
    assert "nothing of it to remove" in models("rm", str(path)).stderr
    empty = home / "empty"
    empty.mkdir()
    refused = models("show", str(empty), status=2).stderr
    assert "is no folder of a model" in refused and refused.endswith("[unknown_model]\n")


def test_what_is_known_of_a_model_is_shown(home):
    shown = models("show", "flux2-klein").stdout
    for fact in ("1024x1024", "13 GB on a GPU", "16.0 GB", "Apache-2.0", "steps 4"):
        assert fact in shown
    assert "--lora" in models("show", "lcm-lora-sdxl").stdout
    listed = models("list", "--task", "generate").stdout
    assert "--lora of generate, img2img, inpaint: LCM-LoRA" in listed
    assert "sd15-inpainting" not in listed and "\nsdxl " in listed


def test_an_adapter_is_not_taken_for_a_model():
    assert find("lcm-lora-sdxl", kind="lora").files[0].size == 393855224
    with pytest.raises(UserError, match="lcm-lora-sdxl is not for --model but for --lora") as error:
        find("lcm-lora-sdxl", kind="model")
    assert error.value.code == "wrong_model"
    with pytest.raises(UserError, match="sdxl is not for --vae but for --model"):
        find("sdxl", kind="vae")


DIFFUSION = [spec for spec in known().values() if spec.engine == DIFFUSION_ENGINE]


@pytest.mark.parametrize("spec", DIFFUSION, ids=lambda spec: spec.name)
def test_diffusion_entries_tell_what_tasks_need(spec):
    assert spec.family and spec.defaults.keys() == set(spec.tasks)
    assert spec.kind != "model" or spec.native_side
    for task, own in spec.defaults.items():
        assert own["steps"] >= 1 and own["guidance_scale"] >= 0
        assert spec.kind != "model" or ("width" in own) == (task == "generate")
        assert own.get("width") in (None, spec.native_side)


def test_relative_names_need_a_digest_or_a_source():
    with pytest.raises(ValueError, match="needs a sha256 or sources"):
        ModelFile(name="unet/config.json")
