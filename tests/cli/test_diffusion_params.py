"""What Params of the diffusion tasks come to: those nobody named, those of rows, and of files."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
from engines.diffusion import nets, single_files  # noqa: E402
from PIL import Image  # noqa: E402

from mediakit.tasks import diffusion_values  # noqa: E402

# what diffusers does with numpy is its own to mend
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore::FutureWarning:diffusers"),
]
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = nets.sd1(tmp_path_factory.mktemp("sd1") / "tiny")
    return folder


@pytest.fixture
def run(mediakit: Any, net: Path) -> Run:
    return lambda task, *args, **more: mediakit(
        task, *args, "--model", net, "--threads", "1", **more
    )


def photo(path: str, size: tuple[int, int] = (64, 64)) -> None:
    Path(path).parent.mkdir(exist_ok=True, parents=True)
    noise = np.random.default_rng(len(path)).integers(0, 256, (*size[::-1], 3), np.uint8)
    Image.fromarray(noise).save(path)


def planned(run: Run, *args: str, **more: Any) -> list[dict[str, Any]]:
    result = run(*args, "--dry-run", "--json", **more)
    return [json.loads(line) for line in result.lines]


# what nobody named


def test_what_nobody_named_is_recorded(run: Run) -> None:
    (record,) = planned(run, "generate", "a cat")
    own = {"steps": 30, "guidance_scale": 7.5, "width": 64, "height": 64}
    assert {name: record["params"][name] for name in own} == own
    assert own.keys() <= set(record["given"])
    (record,) = planned(run, "generate", "a cat", "--width", "32")
    assert (record["params"]["width"], record["params"]["height"]) == (32, 64)
    photo("a.png")
    (record,) = planned(run, "img2img", "a.png", "--prompt", "x", "-o", "out")
    assert (record["params"]["guidance_scale"], record["params"]["width"]) == (7.5, None)


def test_what_an_entry_names_stays_its_own(mediakit: Any) -> None:
    result = mediakit("generate", "a cat", "--model", "sd15", "--dry-run", "--json")
    record = json.loads(result.lines[0])
    assert (record["params"]["steps"], record["params"]["width"]) == (50, 512)
    assert not {"steps", "guidance_scale", "width"} & set(record["given"])


@pytest.mark.parametrize(
    ("task", "model", "strength", "own"),
    [("img2img", "sd-turbo", 0.5, True), ("img2img", "z-image-turbo", 0.6, True),
     ("inpaint", "sdxl-inpainting", 0.99, True), ("img2img", "sd15", 0.55, False),
     ("inpaint", "sd15", 1.0, False)],
)  # fmt: skip
def test_strength_is_the_models_own(
    mediakit: Any, task: str, model: str, strength: float, own: bool
) -> None:
    photo("a.png")
    mask = ("--mask", "a.png") if task == "inpaint" else ()
    command = (task, "a.png", *mask, "--prompt", "x", "-o", "out", "--model", model)
    for told in ((), ("--strength", "0.3")):
        (line,) = mediakit(*command, *told, "--dry-run", "--json").lines
        record = json.loads(line)
        assert record["params"]["strength"] == (0.3 if told else strength)
        assert ("strength" in record["given"]) == (bool(told) or not own)


def test_strength_that_nobody_names_is_the_usual_one(run: Run) -> None:
    photo("a.png")
    command = ("img2img", "a.png", "--prompt", "x", "--steps", "4", "--exact", "--name")
    (usual,) = run(*command, "1.png", "-o", "a").lines
    (named,) = run(*command, "1.png", "-o", "b", "--strength", "0.55").lines
    assert Path(usual).read_bytes() == Path(named).read_bytes()


@pytest.mark.parametrize("source", ["a.png", "r.jsonl"])
def test_replay_does_not_depend_on_what_is_usual_now(
    run: Run, mediakit: Any, net: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    made = run("generate", "a cat", "-o", "a.png", "--exact", "--seed", "3", "--json")
    Path("r.jsonl").write_bytes(made.stdout)
    monkeypatch.setattr(diffusion_values, "GUIDANCE", 2.0)
    monkeypatch.setattr(diffusion_values, "STEPS", 4)
    (other,) = run("generate", "a cat", "-o", "b.png", "--exact", "--seed", "3").lines
    again = mediakit("replay", source, "-o", "again", "--exact", "--model", net, "--json")
    before = Path("a.png").read_bytes()
    assert Path(again.records[0]["outputs"][0]).read_bytes() == before
    assert Path(other).read_bytes() != before


def test_a_replayed_picture_is_the_same_item(run: Run, mediakit: Any, net: Path) -> None:
    (made,) = run("generate", "a cat", "-o", "out", "--steps", "2").lines
    (again,) = mediakit("replay", made, "-o", "out", "--model", net, "--json").records
    assert (again["outputs"], again["status"]) == ([made], "skipped")


def test_of_a_model_that_comes_during_the_run_too(net: Path, home: Path) -> None:
    """As of a row that names one at the hub: nothing is known of it when the row is planned."""
    from mediakit.batch.item import Item, Recipe
    from mediakit.batch.rows import prompt
    from mediakit.device import empty_cache, free_memory
    from mediakit.models.cache import ModelCache
    from mediakit.models.catalog import find
    from mediakit.models.store import Store
    from mediakit.tasks.generate import Generate, GenerateParams

    params = GenerateParams(model=str(net), prompt="x", seed=1, width=32)
    recipe = Recipe(params, ("model", "width"), {"diffusion": find(str(net))}, "")
    item = Item("k", prompt("x"), "a.png", recipe)
    task = Generate(Generate.Execution(), Store(), ModelCache(None, free_memory, empty_cache))
    decoded = task.decode(item)
    assert item.recipe is not None
    made = item.recipe.params.model_dump()
    assert (made["steps"], made["guidance_scale"], made["height"]) == (30, 7.5, 64)
    assert item.recipe.given == ("model", "steps", "guidance_scale", "width", "height")
    asked = decoded.media.request
    assert (asked.steps, asked.guidance_scale, asked.width, asked.height) == (30, 7.5, 32, 64)


# rows


def restyled(run: Run, rows: list[dict[str, Any]], *options: str) -> list[dict[str, Any]]:
    """Records of img2img over rows, of a.png if they name no other."""
    lines = [json.dumps({"input": "a.png", "prompt": "x", "seed": 1, **row}) for row in rows]
    Path("rows.jsonl").write_text("\n".join(lines))
    status = 1 if any("failed" in row for row in rows) else 0
    found: list[dict[str, Any]] = run(
        "img2img", "--from", "rows.jsonl", "-o", "out", "--steps", "2", "--json", *options,
        "--name", "{index}.png", status=status,
    ).records  # fmt: skip
    return found


def sizes(records: list[dict[str, Any]]) -> list[tuple[int, int]]:
    found = []
    for record in records:
        with Image.open(record["outputs"][0]) as picture:
            found.append(picture.size)
    return found


def test_fit_from_rows(run: Run) -> None:
    photo("a.png", (128, 128))
    box: dict[str, Any] = {"width": 64, "height": 96}
    rows = [{"fit": "keep", **box}, {"fit": "stretch", **box}, box]
    assert sizes(restyled(run, rows)) == [(64, 64), (64, 96), (64, 96)]
    assert sizes(restyled(run, [box], "--fit", "keep")) == [(64, 64)]
    Path("rows.csv").write_text("input,prompt,fit,width,height\na.png,x,keep,64,96\n")
    record = run("img2img", "--from", "rows.csv", "-o", "c", "--steps", "2", "--json").records
    assert sizes(record) == [(64, 64)]


@pytest.mark.parametrize(
    ("task", "row", "code", "words"),
    [
        ("img2img", {"fit": "pad"}, "useless_option", "fit does nothing without width and height"),
        ("img2img", {"fit": "pad", "width": 64}, "useless_option", "without width and height"),
        ("img2img", {"icc": "srgb"}, "useless_option", "the result is sRGB"),
        ("img2img", {"fit": "cut"}, "bad_row", "fit: "),
        ("img2img", {"strength": 2}, "bad_row", "strength: "),
        ("img2img", {"mask": "m.png"}, "bad_row", "mask: there is no such option"),
        ("img2img", {"eta": 0.5}, "useless_option", "eta does nothing"),
        ("inpaint", {}, "usage", "nothing to paint"),
        ("inpaint", {"extend": "8", "mask": "m.png"}, "usage", "contradict"),
        ("inpaint", {"extend": "8", "mask_grow": 4}, "useless_option", "without a mask"),
        ("inpaint", {"mask": "m.png", "mask_padding": 9}, "useless_option", "only_masked"),
        ("inpaint", {"mask": "m.png", "mask_fill": "red"}, "bad_row", "original, blur or noise"),
        ("inpaint", {"mask": "none.png"}, "missing_file", "none.png"),
        ("inpaint", {"extend": "sideways"}, "bad_row", "extend: "),
        ("generate", {"background": "red"}, "useless_option", "for generated pictures"),
        ("generate", {"seed": "5..3"}, "bad_row", "seed: "),
    ],
)
def test_what_a_row_says_in_vain_is_its_own_error(
    run: Run, task: str, row: dict[str, Any], code: str, words: str
) -> None:
    photo("a.png")
    Image.new("L", (64, 64), 255).save("m.png")
    own = {"prompt": "x"} if task == "generate" else {"input": "a.png", "prompt": "x"}
    Path("rows.jsonl").write_text(json.dumps(own | row))
    command = (task, "--from", "rows.jsonl", "-o", "out", "--steps", "2", "--json")
    (record,) = run(*command, status=1).records
    assert record["error"]["code"] == code
    assert words in record["error"]["message"]


INPAINTED: dict[str, Any] = {
    "invert_mask": True, "mask_grow": 8, "mask_feather": 0, "only_masked": True,
    "mask_fill": "noise", "strength": 0.6, "scheduler": "euler-a", "clip_skip": 1, "seed": 2,
    "guidance_scale": 3, "negative_prompt": "dogs", "steps": 3, "prompt": "y",
}  # fmt: skip


def test_every_param_of_a_row_counts(run: Run) -> None:
    """In turn, beside a row without it."""
    photo("a.png", (128, 128))
    mask = np.zeros((128, 128), np.uint8)
    mask[8:32, 8:32] = 255
    Image.fromarray(mask).save("m.png")
    own = {"input": "a.png", "mask": "m.png", "prompt": "x", "seed": 1, "strength": 0.9}
    rows = [own, *({**own, name: value} for name, value in INPAINTED.items())]
    Path("rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    lines = run("inpaint", "--from", "rows.jsonl", "-o", "out", "--steps", "2", "--name",
                "{index}.png").lines  # fmt: skip
    pictures = []
    for line in lines:
        with Image.open(line) as picture:
            pictures.append(picture.tobytes())
    for name, other in zip(INPAINTED, pictures[1:], strict=True):
        assert other != pictures[0], name


def test_a_records_own_values_are_not_judged_again(run: Run, mediakit: Any, net: Path) -> None:
    """Presets speak for many commands: what they say in vain is in the record all the same."""
    photo("a.png")
    Path("p.yaml").write_text("img2img: {fit: pad, steps: 2}\n")
    run("img2img", "a.png", "-o", "b.png", "--prompt", "x", "--preset", "./p.yaml")
    assert mediakit("replay", "b.png", "-o", "again", "--model", net).lines == ["again/a.png"]


def test_replayed_pictures_may_be_fitted_otherwise(run: Run, mediakit: Any, net: Path) -> None:
    """Into the sizes that their records hold."""
    photo("a.png", (128, 64))
    command = ("img2img", "a.png", "--prompt", "x", "--steps", "2", "-o")
    run(*command, "b.png", "--width", "64", "--height", "64")
    again = ("replay", "b.png", "--fit", "keep", "--model", net, "-o")
    (made,) = mediakit(*again, "again", "--json").records
    assert sizes([made]) == [(64, 32)] and made["params"]["width"] == 64
    assert run(*command, "c.png", "--fit", "keep", status=2).errors == ["useless_option"]


# masks beside the pictures


def test_masks_beside_pictures_are_not_repainted(run: Run) -> None:
    for name in ("a", "sub/b", "c"):
        photo(f"in/{name}.png")
    for name in ("a_mask.png", "sub/b.mask.png", "c.png-mask.png"):
        Image.new("L", (64, 64), 255).save(f"in/{name}")
    command = ("inpaint", "in", "--mask", "in", "-o", "out", "--prompt", "x", "--steps", "2")
    assert run(*command).lines == ["out/a.png", "out/c.png", "out/sub/b.png"]
    photo("in/d_mask.png")  # of nothing: a picture that has no mask
    failed = run(*command, "--json", status=1).records[-2]
    assert (failed["input"], failed["error"]["code"]) == ("in/d_mask.png", "missing_mask")


# files count by what is in them


@pytest.fixture
def named(run: Run) -> Callable[..., str]:
    """The name of a picture, which has the fingerprint in it."""

    def name(*options: str) -> str:
        (line,) = run("generate", "a moss cat", *options, "-o", "out", "--dry-run").lines
        return str(line)

    return name


def test_adapters_count_by_content(named: Callable[..., str], net: Path) -> None:
    file = single_files.lora(net, "unet", Path("x.safetensors"))
    Path("sub").mkdir()
    Path("sub/y.safetensors").write_bytes(file.read_bytes())
    first = named("--lora", "x.safetensors:0.5")
    for same in ("./x.safetensors:0.5", f"{file.absolute()}:0.50", "sub/y.safetensors:0.5"):
        assert named("--lora", same) == first
    assert len({first, named("--lora", "x.safetensors"), named()}) == 3
    single_files.lora(net, "unet", Path("x.safetensors"), rank=2)
    assert named("--lora", "x.safetensors:0.5") != first


def test_embeddings_count_by_content_and_word(named: Callable[..., str]) -> None:
    state = {"emb_params": torch.ones(1, 32)}
    Path("sub").mkdir()
    for name in ("moss", "sub/moss", "fern"):
        single_files.save(state, Path(f"{name}.safetensors"))
    first = named("--embedding", "moss.safetensors")
    assert named("--embedding", "./sub/moss.safetensors") == first
    assert named("--embedding", "fern.safetensors") != first
    single_files.save({"emb_params": torch.zeros(1, 32)}, Path("moss.safetensors"))
    assert named("--embedding", "moss.safetensors") != first


def test_embeddings_alike_keep_their_own_words(run: Run) -> None:
    state = {"emb_params": torch.full((1, 32), 3.0)}
    for name in ("moss", "fern"):
        single_files.save(state, Path(f"{name}.safetensors"))
    command = ("generate", "a moss fern", "--seed", "1", "--steps", "2")
    (plain,) = run(*command, "-o", "p.png", "--embedding", "moss.safetensors").lines
    both = ("--embedding", "moss.safetensors", "--embedding", "fern.safetensors")
    (made,) = run(*command, "-o", "q.png", *both).lines
    with Image.open(plain) as one, Image.open(made) as other:
        assert one.tobytes() != other.tobytes()


def test_vaes_count_by_content(named: Callable[..., str], net: Path) -> None:
    Path("vae").mkdir()
    for file in (net / "vae").iterdir():
        Path("vae", file.name).write_bytes(file.read_bytes())
    assert named("--vae", "vae") == named("--vae", str(net / "vae")) != named()


# checkpoints in one file


def test_pickles_are_kept_as_safetensors(
    mediakit: Any, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loaded from those when next the same file is given; the picture and its name are the same."""
    root = tmp_path_factory.mktemp("pickle")
    monkeypatch.setenv("MEDIAKIT_CACHE", str(root / "models"))
    file = single_files.single_file(
        nets.sd1(root / "sd1", tokens=49408), "sd1", root / "a.safetensors"
    )
    state = single_files.load_file(file)
    torch.save({"state_dict": state, "epoch": 3}, root / "a.ckpt")
    command = ("generate", "a cat", "--steps", "2", "--width", "64", "--height", "64",
               "--threads", "1", "--exact", "--model")  # fmt: skip
    (first,) = mediakit(*command, root / "a.ckpt", "-o", "first", "--json").records
    (kept,) = (root / "models/.local").glob("*.safetensors")
    assert kept.name == f"{first['models'][0]['sha256'][:16]}.safetensors"
    found = single_files.load_file(kept)
    assert found.keys() == state.keys() and all(found[k].equal(state[k]) for k in state)
    monkeypatch.setattr(torch, "load", None)
    (again,) = mediakit(*command, root / "a.ckpt", "-o", "again", "--json").records
    assert Path(again["outputs"][0]).name == Path(first["outputs"][0]).name
    (twin,) = mediakit(*command, file, "-o", "twin", "--json").records
    pictures = [np.asarray(Image.open(r["outputs"][0])).astype(int) for r in (first, again, twin)]
    assert np.array_equal(pictures[1], pictures[2])
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    with Image.open(again["outputs"][0]) as picture:
        assert "Model: a," in picture.text["parameters"]  # type: ignore[attr-defined]


# what a single file lacks


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The transformer alone in one file; and a folder of all but the transformer."""
    root = tmp_path_factory.mktemp("flux")
    folder = nets.flux(root / "rest", tokens=49408)
    file = single_files.save(
        single_files.flux_net(folder / "transformer", ""), root / "net.safetensors"
    )
    for part in (folder / "transformer").iterdir():
        part.unlink()
    return file, folder


FLUX = ("--steps", "1", "--width", "64", "--height", "64", "--threads", "1")


def test_a_transformer_alone_borrows_the_rest(mediakit: Any, flux: tuple[Path, Path]) -> None:
    file, folder = flux
    command = ("generate", "a cat", "--model", file, *FLUX)
    failed = mediakit(*command, "-o", "a.png", status=2)
    assert failed.errors == ["missing_component"] and "--components" in failed.stderr
    made = mediakit(*command, "-o", "a.png", "--components", folder, "--json").records[0]
    assert [m["role"] for m in made["models"]] == ["components", "diffusion"]
    assert made["params"]["guidance_scale"] == 3.5
    with Image.open("a.png") as picture:
        assert picture.size == (64, 64) and len(set(picture.tobytes())) > 9
        remembered = json.loads(picture.text["mediakit"])  # type: ignore[attr-defined]
    assert remembered["params"]["components"] == "rest"


def test_components_count_by_content(mediakit: Any, flux: tuple[Path, Path]) -> None:
    file, folder = flux
    Path("rest").symlink_to(folder)
    names = {
        mediakit("generate", "a cat", "--model", file, *FLUX, "--components", name, "-o", "out",
                 "--dry-run").lines[0]
        for name in (folder, "rest", "./rest/")
    }  # fmt: skip
    assert len(names) == 1


def test_components_that_nothing_lacks(run: Run, net: Path) -> None:
    (record,) = run("generate", "a", "--components", net, "-o", "a.png", "--json", status=1).records
    assert record["error"]["code"] == "useless_option"
    assert "--components" in record["error"]["message"]
    failed = run("generate", "a", "--components", "none/", "-o", "a.png", status=2)
    assert failed.errors == ["unknown_model"]


# imports, while the first inputs are decoded


def test_warming_up_imports_what_a_picture_needs(home: Path) -> None:
    """And leaves the search for cycles on, also where a library is missing."""
    code = (
        "import gc, sys; from mediakit.engines.diffusion.request import Files, Request\n"
        "from mediakit.tasks.img2img import Img2Img as T\n"
        "T.warm_up(object.__new__(T)); assert gc.isenabled()\n"
        "assert 'mediakit.engines.diffusion.engine' in sys.modules\n"
        "assert 'diffusers.models.unets.unet_2d_condition' in sys.modules\n"
        "for name in ('mediakit.engines.diffusion.warm', 'torch', 'diffusers.models'):\n"
        "    sys.modules[name] = None\n"
        "try: T.warm_up(object.__new__(T))\n"
        "except ImportError: sys.exit(not gc.isenabled())\n"
        "sys.exit('imported')\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": root},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_what_a_model_is_is_told_without_any_library(net: Path, home: Path) -> None:
    """Dry runs record its values where no extra is installed."""
    code = (
        "import sys; sys.modules['numpy'] = sys.modules['torch'] = None\n"
        "from pathlib import Path; from mediakit.engines.diffusion.probe import probe\n"
        "from mediakit.engines.diffusion.request import Files\n"
        "print(probe(Files(Path(sys.argv[1]))).native)"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", code, str(net)], env={**os.environ, "PYTHONPATH": root},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "64\n", done.stderr
