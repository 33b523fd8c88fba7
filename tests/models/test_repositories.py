"""Whole repositories of the hub, against a server that speaks its protocol: listed once, pinned to
a commit, fetched as a folder of diffusers."""

import json
import os
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import pytest

from mediakit.models import trust, upkeep
from mediakit.models.catalog import find
from mediakit.models.folders import read_folder
from mediakit.models.store import Store

from .diffusers_folder import folder, weights
from .loopback import COMMIT, Page, Web

REPOSITORY = "someone/pictures"
REFERENCE = f"hf:{REPOSITORY}@main"
HALF = "unet/diffusion_pytorch_model.fp16.safetensors"
FILES = folder({HALF: weights("unet", "float16")})
TAKEN = set(FILES) - {"unet/diffusion_pytorch_model.safetensors"}
OTHER = "f" * 40
# The hub's library reads its settings when it is imported: each pull is a process of its own.
PULL = """
import json, sys
from mediakit.errors import UserError
from mediakit.models.catalog import find
from mediakit.models.folders import read_folder
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
    served.serve_hub_repository(REPOSITORY, FILES | {"README.md": b"# Pictures"})
    yield served
    served.close()


def start(model: str, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", "-c", PULL, model, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def result(pulling: subprocess.Popen[str]) -> dict[str, object]:
    out, err = pulling.communicate(timeout=60)
    assert err == ""
    found: dict[str, object] = json.loads(out)
    return found


def pull(model: str = REFERENCE, *more: str) -> dict[str, object]:
    return result(start(model, *more))


def models(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    code = "from mediakit.cli.app import main; main()"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code, "models", *arguments],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert ran.returncode == status, ran.stderr
    return ran


def files(path: Path) -> dict[str, bytes]:
    """What the store holds in a model's folder, less its own notes."""
    found = [p for p in path.rglob("*") if p.is_file() and p.suffix not in (".stamp", ".lock")]
    return {p.relative_to(path).as_posix(): p.read_bytes() for p in found if p.name != ".lock"}


def test_a_repository_becomes_a_folder_of_diffusers(hub, tmp_path):
    first = pull()
    path = Path(str(first["path"]))
    assert path == tmp_path / "models" / ".references" / "hf%3Asomeone%2Fpictures@main"
    assert files(path) == {name: FILES[name] for name in TAKEN}
    assert (path / HALF).stat().st_nlink == 2  # the hub's cache and ours are one copy
    told = {what for what, _, _ in first["told"]}
    assert {"unet/config.json", HALF} <= told
    asked = len(hub.asked)
    assert pull()["path"] == pull(REFERENCE, "offline")["path"] == str(path)
    assert len(hub.asked) == asked
    spec = Store().pin(find(REFERENCE))
    assert spec.pinned and spec.is_folder and spec.size == sum(len(FILES[n]) for n in TAKEN)
    by_name = {file.name: file for file in spec.files}
    assert by_name[HALF].sha256 == sha256(FILES[HALF]).hexdigest()
    assert by_name[HALF].sources == (f"hf:{REPOSITORY}@{COMMIT}/{HALF}",)
    assert find(f"hf:{REPOSITORY}") == find(f"hf:{REPOSITORY}/") == find(REFERENCE)


def test_the_commit_of_the_first_pull_stays(hub, tmp_path):
    path = Path(str(pull()["path"]))
    newer = FILES | {"unet/config.json": b'{"newer": true}', HALF: weights("better", "float16")}
    hub.serve_hub_repository(REPOSITORY, newer, OTHER)
    (path / HALF).unlink()
    assert Path(str(pull()["path"])) == path
    assert files(path) == {name: FILES[name] for name in TAKEN}
    removed = models("rm", "--forget", REFERENCE)
    assert "freed (10 files)" in removed.stdout
    assert not path.exists()
    pull()
    assert files(path) == {name: newer[name] for name in TAKEN}
    assert json.loads(models("show", "--json", REFERENCE).stdout)["files"][0]["sources"] == [
        f"hf:{REPOSITORY}@{OTHER}/model_index.json"
    ]


def test_what_a_newer_entry_does_not_have_is_swept_away(hub, tmp_path):
    config = tmp_path / "config" / "mediakit"
    config.mkdir(parents=True)

    def entry(commit):
        text = f"mine: {{licence: MIT, repository: 'hf:{REPOSITORY}@{commit}'}}\n"
        (config / "models.yaml").write_text(text)

    entry(COMMIT)
    path = Path(str(pull("mine")["path"]))
    (path / "notes.txt").write_text("the user's")
    pickled = {**FILES, HALF: None, "unet/diffusion_pytorch_model.safetensors": None,
               "unet/diffusion_pytorch_model.bin": b"pickle"}  # fmt: skip
    newer = {name: data for name, data in pickled.items() if data is not None}
    hub.serve_hub_repository(REPOSITORY, newer, OTHER)
    entry(OTHER)
    pull("mine")
    assert files(path) == newer | {"notes.txt": b"the user's"}


def test_two_processes_fetch_once(hub):
    hub.hold.clear()
    pulls = [start(REFERENCE) for _ in range(2)]
    assert hub.begun.wait(30)
    time.sleep(0.7)  # the other one is at the lock by now, or asks too
    hub.hold.set()
    paths = {str(result(pulling)["path"]) for pulling in pulls}
    assert len(paths) == 1
    assert len(hub.gets(f"/api/models/{REPOSITORY}/revision/main")) == 1
    for name in TAKEN:
        assert len(hub.gets(f"/{REPOSITORY}/resolve/{COMMIT}/{name}")) == 1


def test_a_pull_that_broke_off_is_gone_on_with(hub):
    page = hub.pages[f"/{REPOSITORY}/resolve/{COMMIT}/vae/config.json"]
    hub.pages[f"/{REPOSITORY}/resolve/{COMMIT}/vae/config.json"] = Page(b"", 403)
    broken = pull()
    assert broken["code"] == "model_unavailable"
    assert f"{REFERENCE} could not be fetched: the hub refuses {REPOSITORY} (403)" in str(
        broken["said"]
    )
    assert Store().path(find(REFERENCE)) is None
    hub.pages[f"/{REPOSITORY}/resolve/{COMMIT}/vae/config.json"] = page
    hub.asked.clear()
    assert files(Path(str(pull()["path"]))) == {name: FILES[name] for name in TAKEN}
    again = {path for method, path, _ in hub.asked if method == "GET" and REPOSITORY in path}
    assert again == {f"/{REPOSITORY}/resolve/{COMMIT}/vae/config.json"}


def test_bytes_that_are_not_those_the_hub_listed(hub):
    hub.pages[f"/{REPOSITORY}/resolve/{COMMIT}/{HALF}"].data = weights("bad!", "float16")
    told = pull()
    assert told["code"] == "digest_mismatch"
    assert f"{REFERENCE}: {HALF} is not the file" in str(told["said"])
    assert Store().path(find(REFERENCE)) is None


def test_what_the_hubs_own_cache_has_needs_no_network(hub, tmp_path):
    first = Path(str(pull()["path"]))
    other = {"MEDIAKIT_CACHE": str(tmp_path / "other")}
    references = tmp_path / "hf" / "hub" / "models--someone--pictures" / "refs"
    references.mkdir(exist_ok=True)
    (references / "main").write_text(COMMIT)  # as programs do that ask for main
    hub.asked.clear()
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PULL, REFERENCE, "offline"],
        env={**os.environ, **other}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    again = Path(json.loads(ran.stdout)["path"])
    assert again.is_relative_to(tmp_path / "other")
    assert files(again) == files(first)
    assert hub.asked == []


def test_offline_says_how_to_fetch_it(hub):
    told = pull(REFERENCE, "offline")
    assert told["code"] == "offline"
    assert f"run `mediakit models pull {REFERENCE}` once" in str(told["said"])
    assert hub.asked == []


@pytest.mark.parametrize(
    ("status", "code", "said"),
    [
        (401, "GatedRepo", "only after a login; accept its licence on its page, then run `hf auth"),
        (403, "GatedRepo", "only after a login; accept its licence on its page, then run `hf auth"),
        (401, "", "refuses someone/pictures (401); accept its licence on its page, then run"),
        (404, "RevisionNotFound", "someone/pictures on the hub has no revision main"),
    ],
)
def test_refusals_of_the_list_are_told_in_a_word(hub, status, code, said):
    headers = {"X-Error-Code": code} if code else {}
    page = Page(b"{}", status, "application/json", headers=headers)
    hub.pages[f"/api/models/{REPOSITORY}/revision/main"] = page
    told = pull()
    assert told["code"] == "model_unavailable"
    assert said in str(told["said"])
    assert "http" not in str(told["said"])


def test_a_gate_before_the_files(hub):
    for name in TAKEN:
        wall = Page(b"{}", 403, "application/json", headers={"X-Error-Code": "GatedRepo"})
        hub.pages[f"/{REPOSITORY}/resolve/{COMMIT}/{name}"] = wall
    told = pull()
    assert told["code"] == "model_unavailable"
    assert "accept its licence on its page, then run `hf auth login`" in str(told["said"])


def test_a_repository_that_lacks_a_component(hub):
    without = {name: data for name, data in FILES.items() if not name.startswith("vae/")}
    hub.serve_hub_repository(REPOSITORY, without)
    told = pull()
    assert told["code"] == "missing_component"
    assert f"{REFERENCE}: model_index.json names vae" in str(told["said"])


@pytest.mark.parametrize(
    ("held", "taken"),
    [
        ({"pytorch_lora_weights.safetensors": 1, "image.safetensors": 2},
         "pytorch_lora_weights.safetensors"),
        ({"net.safetensors": 1, "net.ckpt": 2, "my net.safetensors": 3}, "net.safetensors"),
        ({"deep/net.safetensors": 1, "../x.safetensors": 2}, "deep/net.safetensors"),
        ({"learned_embeds.bin": 1, "token_identifier.txt": 2}, "learned_embeds.bin"),
    ],
)  # fmt: skip
def test_a_repository_of_one_file(hub, held, taken):
    data = {name: weights(name) for name in held}
    hub.serve_hub_repository(REPOSITORY, data)
    path = Path(str(pull()["path"]))
    assert (path.name, path.read_bytes()) == (Path(taken).name, data[taken])
    assert models("path", REFERENCE).stdout == f"{path}\n"


def test_a_vae_of_its_own(hub):
    half = "diffusion_pytorch_model.fp16.safetensors"
    held = {"config.json": b"{}", half: weights("half"), "README.md": b"",
            "diffusion_pytorch_model.safetensors": weights("vae")}  # fmt: skip
    hub.serve_hub_repository(REPOSITORY, held)
    assert files(Path(str(pull()["path"]))).keys() == {"config.json", half}


@pytest.mark.parametrize(
    ("held", "said"),
    [
        ({"b.safetensors": b"b", "a.safetensors": b"a"},
         "it holds 2 files of weights (a.safetensors, b.safetensors); name one: "
         "hf:someone/pictures/a.safetensors"),
        ({"README.md": b""}, "it holds no weights"),
    ],
)  # fmt: skip
def test_a_repository_that_is_no_model(hub, held, said):
    hub.serve_hub_repository(REPOSITORY, held)
    told = pull()
    assert told["code"] == "unknown_model"
    assert said in str(told["said"])


def test_the_commands_know_it(hub, tmp_path):
    assert models("show", REFERENCE).stdout.count("recorded when they are first fetched") == 1
    path = models("pull", REFERENCE).stderr.split(": ")[1].strip()
    (line,) = (ln for ln in models("list", "--here").stdout.splitlines() if REFERENCE in ln)
    assert line.startswith(f"{REFERENCE}  here")
    verdicts = models("verify", REFERENCE).stdout.splitlines()
    assert f"{REFERENCE}: unet/config.json is right" in verdicts and len(verdicts) == len(TAKEN)
    config = Path(path) / "unet" / "config.json"
    before = config.stat()
    config.unlink()
    config.write_bytes(b"x" * before.st_size)
    os.utime(config, ns=(before.st_mtime_ns, before.st_mtime_ns))
    wrong = models("verify", REFERENCE, status=1)
    assert f"{config} is wrong" in wrong.stderr
    models("pull", "-q", REFERENCE)
    assert config.read_bytes() == FILES["unet/config.json"]
    entry = models("entry", REFERENCE, "--name", "mine").stdout
    written = tmp_path / "config" / "mediakit" / "models.yaml"
    written.parent.mkdir(parents=True)
    written.write_text(entry)
    assert find("mine").pinned
    assert find("mine").sha256 == trust.fill(find(REFERENCE), Store().root).sha256
    removed = upkeep.remove(Store(), find(REFERENCE))
    assert len(removed.files) == len(TAKEN) and removed.left == ()
    assert not Path(path).exists()


def test_diffusers_loads_the_folder_without_a_network(hub, tmp_path):
    torch = pytest.importorskip("torch")
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    net = diffusers.UNet2DModel(
        sample_size=8, block_out_channels=(8,), norm_num_groups=4, layers_per_block=1,
        down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
    )  # fmt: skip
    made = tmp_path / "made"
    diffusers.DDPMPipeline(net, diffusers.DDPMScheduler()).save_pretrained(made, variant="fp16")
    held = {p.relative_to(made).as_posix(): p.read_bytes() for p in made.rglob("*") if p.is_file()}
    hub.serve_hub_repository(REPOSITORY, held)
    path = Path(str(pull()["path"]))
    assert files(path) == held
    loaded = diffusers.DDPMPipeline.from_pretrained(
        path, variant=read_folder(path).variant, local_files_only=True
    )
    for name, value in net.state_dict().items():
        assert torch.equal(loaded.unet.state_dict()[name], value)
