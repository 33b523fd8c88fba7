"""Models of the user's own through the real command: pinned, blended, kept, refused."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

torch = pytest.importorskip("torch")
from safetensors.torch import save_file  # noqa: E402
from spandrel.architectures.Compact.__arch.SRVGG import SRVGGNetCompact  # noqa: E402
from spandrel.architectures.GFPGAN import GFPGAN  # noqa: E402

from tests.models.conftest import compact  # noqa: E402
from tests.models.loopback import Page, Web  # noqa: E402
from tests.models.tls import secure  # noqa: E402


@pytest.fixture(autouse=True)
def models(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model cache."""
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDIAKIT_CACHE", str(home.parent / "models"))
    Image.radial_gradient("L").resize((24, 20)).convert("RGB").save("a.png")
    return home.parent / "models"


@pytest.fixture
def site(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    served = Web()
    monkeypatch.setenv("SSL_CERT_FILE", str(secure(served, home.parent)))
    yield served
    served.close()


def state(seed: int, scale: int = 2) -> dict[str, Any]:
    torch.manual_seed(seed)
    found: dict[str, Any] = SRVGGNetCompact(num_feat=8, num_conv=1, upscale=scale).state_dict()
    return found


def pth(seed: int) -> bytes:
    file = BytesIO()
    torch.save({"params": state(seed)}, file)
    return file.getvalue()


def enter(home: Path, **entries: dict[str, Any]) -> None:
    folder = home.parent / "home" / "config" / "mediakit"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "models.yaml").write_text(yaml.safe_dump(entries))


@pytest.mark.parametrize("named", ["entry", "address"])
def test_without_a_digest_the_file_that_came_is_what_counts(
    mediakit: Any, home: Path, site: Web, models: Path, named: str
) -> None:
    enter(home, mine={"files": [{"name": "a.pth", "sources": [f"{site.url}/a.pth"]}]})
    model = "mine" if named == "entry" else f"{site.url}/a.pth"
    site.pages["/a.pth"] = Page(pth(1))
    command = ["upscale", "a.png", "-o", "out", "--json", "--model", model]
    assert mediakit(*command, "--dry-run").records[0]["status"] == "planned"
    assert site.asked == []
    first = mediakit(*command)
    (record,) = first.records
    assert record["models"][0]["sha256"] == sha256(pth(1)).hexdigest()
    assert b"fetching" not in first.err
    before = Path("out/a.png").read_bytes()
    for more in ((), ("--offline",), ("--dry-run",)):
        assert mediakit(*command, *more).records[0]["status"] == "skipped"
    assert site.gets("/a.pth") == [None]

    site.pages["/a.pth"] = Page(pth(2))
    assert mediakit(*command).records[0]["status"] == "skipped"
    mediakit("models", "rm", "--forget", model)
    (record,) = mediakit(*command).records
    assert record["status"] == "done"
    assert record["models"][0]["sha256"] == sha256(pth(2)).hexdigest()
    assert Path("out/a.png").read_bytes() != before


def test_rows_that_name_one_missing_address_ask_for_it_once(
    mediakit: Any, home: Path, site: Web, put: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put("b.png", "c.png")
    rows = "".join(f"{name},{site.url}/no.pth\n" for name in ("b.png", "c.png"))
    Path("l.csv").write_text("input,model\n" + rows)
    save_file(state(1), "net.safetensors")
    command = ["upscale", "a.png", "--from", "l.csv", "-o", "out", "--model", "./net.safetensors"]
    result = mediakit(*command, "--json", status=1)
    assert sorted(r["status"] for r in result.records) == ["done", "failed", "failed"]
    codes = [r["error"]["code"] for r in result.records if r["error"]]
    assert codes == ["model_unavailable"] * 2
    assert site.gets("/no.pth") == [None]


def test_two_files_are_blended_kept_and_loaded_from_what_was_kept(
    mediakit: Any, home: Path, models: Path
) -> None:
    digests = []
    for seed, name in ((1, "strong.pth"), (2, "weak.pth")):
        Path(name).write_bytes(pth(seed))
        save_file(state(seed), f"{name}.safetensors")
        digests.append(sha256(pth(seed)).hexdigest())
    files = [
        {"name": name, "sha256": digest, "sources": [str(home / name)]}
        for name, digest in zip(("strong.pth", "weak.pth"), digests, strict=True)
    ]
    enter(home, mine={"files": files, "blend": "denoise", "tasks": ["upscale"]})

    def made(model: str, *more: str, out: str = "out") -> bytes:
        command = ("upscale", "a.png", "-o", f"{out}.png", "--force", "--model", model, *more)
        mediakit(*command)
        with Image.open(f"{out}.png") as picture:
            return picture.tobytes()

    by_share = {share: made("mine", "--denoise", share) for share in ("0", "0.5", "1")}
    assert len(set(by_share.values())) == 3
    assert by_share["1"] == made("./strong.pth.safetensors")
    assert by_share["0"] == made("./weak.pth.safetensors")

    kept = [models / "mine" / f"{digest[:16]}.safetensors" for digest in digests]
    assert all(path.is_file() for path in kept)
    from mediakit.models.catalog import find
    from mediakit.models.store import Store

    assert Store().files(find("mine")) == tuple(kept)
    originals = [models / "mine" / file["name"] for file in files]
    verified = mediakit("models", "verify", "mine").lines
    assert verified == [f"mine: {path.name} is right" for path in (*originals, *kept)]
    assert loads_of(mediakit, "mine", originals) == by_share["0.5"]
    for path in kept:
        path.rename(path.with_suffix(".aside"))
    with pytest.raises(AssertionError, match="97, not 0"):  # the guard guards
        loads_of(mediakit, "mine", originals)
    for path in kept:
        path.with_suffix(".aside").rename(path)
    total = sum(path.stat().st_size for path in (*originals, *kept))
    assert mediakit("models", "rm", "mine").lines == [f"mine: {total / 1e3:.1f} kB freed (4 files)"]
    assert not (models / "mine").exists()


def loads_of(mediakit: Any, model: str, never: list[Path]) -> bytes:
    """The picture of another process, which is ended if it hands one of these to torch."""
    Path("sitecustomize.py").write_text(
        "import os, sys\n"
        f"never = {[str(path) for path in never]!r}\n"
        "def look(event, args):\n"
        "    if event == 'open' and str(args[0]) in never:\n"
        "        os._exit(97)\n"
        "sys.addaudithook(look)\n"
    )
    mediakit.process(
        "upscale", "a.png", "-o", "kept.png", "--force", "--model", model, "--denoise", "0.5",
        env={"PYTHONPATH": str(Path.cwd()), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    with Image.open("kept.png") as picture:
        return picture.tobytes()


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"tasks": ["upscal"]}, "mine.tasks: there is no task 'upscal'; did you mean upscale?"),
        ({"defaults": {"upscal": {}}}, "mine.defaults: there is no task 'upscal'"),
    ],
)
def test_an_entry_for_a_task_there_is_none_of(
    mediakit: Any, home: Path, entry: dict[str, Any], said: str
) -> None:
    Path("a.pth").write_bytes(pth(1))
    enter(home, mine={"files": [{"name": "a.pth", "sources": [str(home / "a.pth")]}], **entry})
    for command in (("list",), ("show", "mine"), ("pull", "mine")):
        result = mediakit("models", *command, status=2)
        assert said in result.stderr
        assert result.errors == ["bad_model_entry"]
    assert mediakit("upscale", "a.png", "-o", "out", "--model", "mine", status=2).errors == [
        "wrong_model" if "tasks" in entry else "bad_model_entry"
    ]


def face_net(path: Path) -> None:
    """A GFPGAN of zeros: each tensor is one number, repeated."""
    with torch.device("meta"):
        net = GFPGAN(
            out_size=512, num_style_feat=512, channel_multiplier=2, decoder_load_path=None,
            fix_decoder=False, num_mlp=8, input_is_latent=True, different_w=True, narrow=1,
            sft_half=True,
        )  # fmt: skip
    zeros = {n: torch.zeros(()).expand(v.shape) for n, v in net.state_dict().items()}
    torch.save({"params_ema": zeros}, path)


def unknown_net(path: Path) -> None:
    save_file({"layer.weight": torch.zeros(4, 4)}, path)


def damaged(path: Path) -> None:
    save_file(state(1), path)
    path.write_bytes(path.read_bytes()[:-40])


def damaged_pickle(path: Path) -> None:
    path.write_bytes(pth(1)[:-400])


def half_a_pair(path: Path) -> None:
    compact().write(path.parent, path.stem)
    path.with_suffix(".bin").unlink()


def strange_layers(path: Path) -> None:
    net = compact()
    net.add("HardSwish")
    net.write(path.parent, path.stem)


@pytest.mark.parametrize(
    ("name", "write", "code", "said"),
    [
        ("x.safetensors", unknown_net, "bad_weights", "of an architecture that is not known"),
        ("x.safetensors", damaged, "bad_weights", "is damaged"),
        ("x.pth", damaged_pickle, "bad_weights", "is damaged or no weights file"),
        ("x.param", half_a_pair, "bad_weights", "x.bin are not beside it"),
        ("x.param", strange_layers, "bad_weights", "HardSwish"),
    ],
)
@pytest.mark.parametrize("out", ["out", "deep/er/out", "one.png"])
def test_bad_weights_are_told_before_the_first_item(
    mediakit: Any, home: Path, name: str, write: Callable[[Path], None], code: str, said: str,
    out: str,
) -> None:  # fmt: skip
    write(home / name)
    check_told(mediakit, home, name, out, code, said)


def test_a_face_net_is_told_before_the_first_item(mediakit: Any, home: Path) -> None:
    face_net(home / "face.pth")
    said = "is a model for FaceSR, not for upscaling"
    check_told(mediakit, home, "face.pth", "out", "wrong_model", said)


def check_told(mediakit: Any, home: Path, name: str, out: str, code: str, said: str) -> None:
    result = mediakit("upscale", "a.png", "-o", out, "--model", f"./{name}", status=2)
    assert result.stdout == b""
    (line,) = result.stderr.splitlines()
    assert name in line
    assert said in line
    assert result.errors == [code]
    assert not Path(out).exists()
    assert not list(home.parent.rglob(".mediakit"))
    assert not list((home.parent / "home" / "state").rglob("*.jsonl"))


def test_bad_weights_leave_what_was_there(mediakit: Any, home: Path) -> None:
    save_file(state(1), "good.safetensors")
    unknown_net(home / "bad.safetensors")
    good = ["upscale", "a.png", "-o", "out", "--json", "--model", "./good.safetensors"]
    mediakit(*good)
    mediakit("upscale", "a.png", "-o", "out", "--model", "./bad.safetensors", status=2)
    assert mediakit(*good).records[0]["status"] == "skipped"
    Path("mine").mkdir()
    mediakit("upscale", "a.png", "-o", "mine", "--model", "./bad.safetensors", status=2)
    assert list(Path("mine").iterdir()) == []


def test_without_a_terminal_a_download_is_one_line(mediakit: Any, home: Path, site: Web) -> None:
    enter(home, mine={"files": [{"name": "a.pth", "sources": [f"{site.url}/a.pth"]}]})
    site.pages["/a.pth"] = Page(pth(1))
    size = f"{len(pth(1)) / 1e3:.1f} kB"
    pulled = mediakit("models", "pull", "mine").stderr.splitlines()
    assert pulled[0] == f"fetching a.pth ({size})"
    assert len(pulled) == 2
    mediakit("models", "rm", "mine")
    assert mediakit("models", "pull", "-q", "mine").stderr == ""
    mediakit("models", "rm", "mine")
    command = ["upscale", "a.png", "-o", "out", "--force"]
    said = mediakit(*command, "--model", "mine").stderr.splitlines()
    assert said[0] == f"mediakit upscale: fetching a.pth ({size})"
    assert len(said) == 2
    mediakit("models", "rm", "mine")
    assert mediakit(*command, "--model", "mine", "-q").stderr == ""
    address = f"{site.url}/a.pth"
    said = mediakit(*command, "--model", address).stderr.splitlines()
    assert said[0] == f"mediakit upscale: fetching {address} ({size})"
