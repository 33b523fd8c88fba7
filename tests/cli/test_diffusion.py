"""`mediakit generate`, `img2img`, `inpaint` end to end, with a tiny net of random weights."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
np = pytest.importorskip("numpy")
from engines.diffusion import nets  # noqa: E402
from PIL import Image  # noqa: E402

from mediakit.media.a1111 import parse  # noqa: E402

# what diffusers does with numpy is its own to mend
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"),
    pytest.mark.filterwarnings("ignore::FutureWarning:diffusers"),
]
Run = Callable[..., Any]


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nets.sd1(tmp_path_factory.mktemp("sd1") / "tiny")


@pytest.fixture
def run(mediakit: Any, net: Path) -> Run:
    return lambda task, *args, **more: mediakit(
        task, *args, "--model", net, "--steps", "2", "--threads", "1", **more
    )


@pytest.fixture
def generate(run: Run) -> Run:
    return lambda *args, **more: run("generate", *args, "--width", "64", "--height", "64", **more)


def pixels(path: str | Path) -> Any:
    with Image.open(path) as picture:
        return np.asarray(picture)


def photo(path: str, width: int = 64, height: int = 64, mode: str = "RGB") -> Path:
    """Noise, the same for the same name."""
    Path(path).parent.mkdir(exist_ok=True, parents=True)
    rng = np.random.default_rng(len(path))
    shape = (height, width, len(mode))
    Image.fromarray(rng.integers(0, 256, shape, np.uint8), mode).save(path)
    return Path(path)


def seeds(result: Any) -> list[int]:
    return [r["params"]["seed"] for r in result.records]


# generate


def test_prompts_become_pictures_named_by_them(generate: Run, check_record: Any) -> None:
    result = generate("a large red star", "a dog", "-o", "out", "--json")
    for record in result.records:
        check_record(record)
    first, second = result.records
    assert first["input"] == "a large red star"
    assert first["inputs"] == {"prompt": "a large red star"}
    assert Path(first["outputs"][0]).name.startswith(f"a-large-red-star_{seeds(result)[0]}_")
    assert pixels(first["outputs"][0]).shape == (64, 64, 3)
    assert (pixels(first["outputs"][0]) != pixels(second["outputs"][0])).any()
    again = generate("a large red star", "a dog", "-o", "out", "--json")
    assert [r["status"] for r in again.records] == ["skipped", "skipped"]
    assert [r["outputs"] for r in again.records] == [r["outputs"] for r in result.records]


def test_without_out_pictures_come_here(generate: Run) -> None:
    (name,) = generate("a cat").lines
    assert Path(name).parent == Path() and pixels(name).shape == (64, 64, 3)


def test_seeds(generate: Run) -> None:
    assert seeds(generate("a", "-o", "out", "--json", "--seed", "7,3..5")) == [7, 3, 4, 5]
    assert seeds(generate("a", "-o", "out", "--json", "--seed", "9", "--images", "2")) == [9, 10]
    one, two = (seeds(generate("a", "-o", "out", "--json", "--seed", "random")) for _ in "ab")
    assert one != two
    assert (
        seeds(generate("a", "-o", "x", "--json"))
        == seeds(generate("b", "a", "-o", "y", "--json"))[1:]
    )
    assert "usage" in generate("a", "--seed", "5..3", status=2).errors


def test_a_picture_does_not_depend_on_its_neighbours(generate: Run) -> None:
    """Alone or in a batch: to within rounding; with --exact the same bytes."""
    many = generate("a", "b", "c", "-o", "many", "--exact").lines
    (alone,) = generate("b", "-o", "alone", "--exact").lines
    assert Path(alone).read_bytes() == Path(many[1]).read_bytes()
    batched = generate("a", "b", "c", "-o", "batched", "--batch", "3").lines
    apart = np.abs(pixels(batched[1]).astype(int) - pixels(alone).astype(int))
    assert apart.max() <= 2


def test_alternatives(generate: Run) -> None:
    texts = {
        r["params"]["prompt"]
        for r in generate("a {red|blue|green} cat", "-o", "x", "--images", "8", "--json").records
    }
    assert (
        texts
        < {"a red cat", "a blue cat", "a green cat"} | {"a red cat", "a blue cat", "a green cat"}
        or len(texts) > 1
    )
    every = generate("a {red|blue} {cat|dog}", "-o", "y", "--combinations", "--json").records
    assert sorted(r["params"]["prompt"] for r in every) == [
        "a blue cat", "a blue dog", "a red cat", "a red dog"
    ]  # fmt: skip
    too_many = "{1|2|3|4|5|6|7|8|9|0}" * 5
    complaint = generate(too_many, "-o", "z", "--combinations", status=2).stderr
    assert "100,000" in complaint
    assert len(generate(too_many, "-o", "z", "--combinations", "--limit", "2").lines) == 2


def test_wildcards(generate: Run) -> None:
    Path("words").mkdir()
    Path("words/colour.txt").write_text("red\nblue\n")
    made = generate(
        "a __colour__ cat", "-o", "out", "--wildcards", "words", "--combinations", "--json"
    )
    assert sorted(r["params"]["prompt"] for r in made.records) == ["a blue cat", "a red cat"]
    failed = generate("a __shape__", "b", "-o", "out", "--wildcards", "words", "--json", status=1)
    assert [r["status"] for r in failed.records] == ["failed", "done"]
    assert failed.records[0]["error"]["code"] == "bad_prompt"


def test_lists_of_prompts(generate: Run) -> None:
    Path("p.txt").write_text("# two prompts\na cat\n\na dog\n")
    assert len(generate("--from", "p.txt", "-o", "a").lines) == 2
    Path("p.csv").write_text("prompt,seed,guidance_scale\na cat,5,3\na dog,6,\n")
    rows = generate("--from", "p.csv", "-o", "b", "--json").records
    assert [
        (r["params"]["prompt"], r["params"]["seed"], r["params"]["guidance_scale"]) for r in rows
    ] == [("a cat", 5, 3.0), ("a dog", 6, 7.5)]
    lines = '{"prompt": "a cat", "seed": "1,2"}\n{"prompt": ""}\n{"prompt": "x", "size": 3}\n'
    result = generate("-", "-o", "c", "--json", stdin=lines.encode(), status=1)
    assert [r["status"] for r in result.records] == ["done", "done", "failed", "failed"]
    assert {r["error"]["code"] for r in result.records[2:]} == {"bad_row"}
    assert len(generate("-", "-o", "d", stdin=b"a cat\na dog\n").lines) == 2


def test_one_output_takes_one_picture(generate: Run) -> None:
    generate("a", "-o", "one.png")
    assert pixels("one.png").shape == (64, 64, 3)
    assert generate("a", "-o", "two.png", "--images", "2", status=2).errors == ["usage"]
    assert not Path("two.png").exists()
    assert generate("a", "-o", "-").stdout.startswith(b"\x89PNG")


def test_parameters_change_the_picture_and_useless_ones_are_refused(generate: Run) -> None:
    plain = pixels(generate("a (big:1.0) cat", "-o", "a.png", "--seed", "1").lines[0])
    for number, options in enumerate((
        ("--guidance-scale", "3"), ("--scheduler", "euler-a"), ("--negative-prompt", "dogs"),
        ("--clip-skip", "1"), ("--scheduler", "ddim", "--eta", "0.9"),
    )):  # fmt: skip
        other = generate("a (big:1.0) cat", "-o", f"{number}.png", "--seed", "1", *options).lines[0]
        assert (pixels(other) != plain).any(), options
    heavy = generate("a (big:1.3) cat", "-o", "heavy.png", "--seed", "1").lines[0]
    assert (pixels(heavy) != plain).any()
    for options in (("--eta", "0.5"), ("--negative-prompt", "x", "--guidance-scale", "1")):
        failed = generate("a", "-o", "x.png", *options, "--json", status=1).records[0]
        assert failed["error"]["code"] == "useless_option"
    assert generate("a", "-o", "x.png", "--icc", "srgb", status=2).errors == ["useless_option"]


@pytest.mark.parametrize("format", ["png", "jpg", "webp"])
def test_a_picture_remembers_and_is_made_again(mediakit: Any, generate: Run, format: str) -> None:
    """Byte for byte, from the picture alone; explicit options win."""
    (made,) = generate(
        "a {red|blue} (cat:1.2)", "-o", f"a.{format}", "--exact", "--guidance-scale", "4",
        "--negative-prompt", "dogs, mice",
    ).lines  # fmt: skip
    before = Path(made).read_bytes()
    with Image.open(made) as picture:
        text = picture.info.get("parameters")
        if format != "png":
            raw = picture.getexif().get_ifd(0x8769)[0x9286]
            text = raw[8:].decode("utf-16-be")
    read = parse(text)
    assert read.prompt in ("a red (cat:1.2)", "a blue (cat:1.2)")
    assert read.negative_prompt == "dogs, mice"
    assert (read.fields["CFG scale"], read.fields["Size"]) == ("4.0", "64x64")
    model = json.loads(mediakit("models", "show", "sd15", "--json").stdout)
    assert model  # the catalog is readable beside all this
    again = mediakit("replay", made, "-o", "again", "--exact", "--model", _model(generate))
    assert Path(again.lines[0]).read_bytes() == before


def _model(generate: Run) -> str:
    """The path of the tiny net, from a record: pictures keep only its name."""
    record = generate("x", "-o", "x.png", "--dry-run", "--json").records[0]
    return str(record["params"]["model"])


def test_too_small_and_odd_sizes(generate: Run, run: Run) -> None:
    (path,) = run("generate", "a", "-o", "odd.png", "--width", "70", "--height", "64").lines
    assert pixels(path).shape == (64, 72, 3)


# img2img


def test_pictures_are_restyled_by_prompt_or_sidecar(run: Run) -> None:
    photo("in/a.png"), photo("in/sub/b.jpg")
    Path("in/a.txt").write_text("a red star")
    result = run("img2img", "in", "-o", "out", "--json", status=1).records
    assert [r["status"] for r in result] == ["done", "failed"]
    assert result[0]["params"]["prompt"] == "a red star"
    assert "b.txt" in result[1]["error"]["message"]
    both = run("img2img", "in", "-o", "all", "--prompt", "a star", "--json").records
    assert [r["outputs"] for r in both] == [["all/a.png"], ["all/sub/b.jpg"]]
    assert pixels("all/a.png").shape == (64, 64, 3)


def test_strength(run: Run) -> None:
    source = pixels(photo("a.png")).astype(int)
    apart = []
    for strength in ("0", "0.5", "1"):
        run("img2img", "a.png", "-o", f"{strength}.png", "--prompt", "x", "--strength", strength,
            "--seed", "1", "--steps", "4")  # fmt: skip
        apart.append(int(np.abs(pixels(f"{strength}.png").astype(int) - source).sum()))
    assert apart[0] == 0 < min(apart[1:]) and apart[1] != apart[2]


def test_variants_are_named_by_their_seed(run: Run) -> None:
    photo("a.png")
    lines = run("img2img", "a.png", "-o", "out", "--prompt", "x", "--seed", "1..2").lines
    assert lines == ["out/a_1.png", "out/a_2.png"]


@pytest.mark.parametrize(
    ("fit", "size"),
    [("crop", (64, 96)), ("pad", (64, 96)), ("stretch", (64, 96)), ("keep", (64, 64))],
)
def test_fit(run: Run, fit: str, size: tuple[int, int]) -> None:
    photo("a.png", 128, 128)
    run("img2img", "a.png", "-o", "b.png", "--prompt", "x", "--fit", fit, "--width", "64",
        "--height", "96")  # fmt: skip
    height, width, _ = pixels("b.png").shape
    assert (width, height) == size


def test_small_pictures_are_enlarged_first(run: Run) -> None:
    photo("a.png", 16, 16)
    (record,) = run("img2img", "a.png", "-o", "b.png", "--prompt", "x", "--json").records
    assert any("16x16" in warning for warning in record["warnings"])
    assert pixels("b.png").shape == (64, 64, 3)


# inpaint


@pytest.fixture
def masked() -> Path:
    """in/a.png of 64x64, and m/a.png whose left half is white."""
    photo("in/a.png")
    mask = np.zeros((64, 64), np.uint8)
    mask[:, :24] = 255
    Path("m").mkdir()
    Image.fromarray(mask).save("m/a.png")
    return Path("in/a.png")


def test_only_what_is_masked_changes(run: Run, masked: Path) -> None:
    run("inpaint", "in", "--mask", "m", "-o", "out", "--prompt", "x", "--mask-feather", "8")
    before, after = pixels(masked), pixels("out/a.png")
    assert (before[:, 32:] == after[:, 32:]).all()
    assert (before[:, :24] != after[:, :24]).any(axis=2).mean() > 0.9
    run("inpaint", "in/a.png", "--mask", "m/a.png", "-o", "b.png", "--prompt", "x", "--invert-mask",
        "--mask-feather", "0")  # fmt: skip
    after = pixels("b.png")
    assert (before[:, :24] == after[:, :24]).all() and (before[:, 24:] != after[:, 24:]).any()


def test_a_changed_mask_is_another_picture(run: Run, masked: Path) -> None:
    command = ("inpaint", "in", "--mask", "m", "-o", "out", "--prompt", "x", "--json")
    (record,) = run(*command).records
    assert record["inputs"] == {"image": "in/a.png", "mask": "m/a.png"}
    assert [r["status"] for r in run(*command).records] == ["skipped"]
    Image.new("L", (64, 64), 255).save("m/a.png")
    assert [r["status"] for r in run(*command).records] == ["done"]


def test_masks_that_do_not_fit(run: Run, masked: Path) -> None:
    photo("in/b.png"), photo("in/c.png"), photo("in/d.png")
    Image.new("L", (64, 32), 255).save("m/b.png")
    Image.new("L", (64, 64), 0).save("m/c.png")
    result = run("inpaint", "in", "--mask", "m", "-o", "out", "--prompt", "x", "--json", status=1)
    codes = [r["error"] and r["error"]["code"] for r in result.records]
    assert codes == [None, "mask_mismatch", "empty_mask", "missing_mask"]


def test_only_masked_and_extend(run: Run, masked: Path) -> None:
    run("inpaint", "in/a.png", "--mask", "m/a.png", "-o", "o.png", "--prompt", "x", "--only-masked")
    assert (pixels("o.png")[:, 40:] == pixels(masked)[:, 40:]).all()
    run("inpaint", "in/a.png", "-o", "e.png", "--prompt", "x", "--extend", "left=16,right=16")
    wide = pixels("e.png")
    assert wide.shape == (64, 96, 3)
    assert (wide[:, 32:64] == pixels(masked)[:, 16:48]).all()
    run("inpaint", "in/a.png", "-o", "w.png", "--prompt", "x", "--extend-to", "2:1")
    assert pixels("w.png").shape == (64, 128, 3)


def test_transparent_parts_are_repainted(run: Run) -> None:
    picture = np.full((64, 64, 4), 255, np.uint8)
    picture[:, :20, 3] = 0
    Image.fromarray(picture).save("a.png")
    run("inpaint", "a.png", "--mask", "alpha", "-o", "b.png", "--prompt", "x")
    after = pixels("b.png")
    assert (after[:, 40:, :3] == 255).all()
    assert (after[:, :20, :3] != 255).any()
    assert after.shape[2] == 3 or (after[..., 3] == 255).all()


def test_contradictions(run: Run, masked: Path) -> None:
    for options in ((), ("--mask", "m", "--extend", "8"), ("--extend", "8", "--extend-to", "2:1")):
        failed = run("inpaint", "in/a.png", "-o", "b.png", "--prompt", "x", *options, status=2)
        assert failed.errors == ["usage"]
    failed = run("inpaint", "in/a.png", "-o", "b.png", "--mask", "m", status=2)
    assert failed.errors == ["no_prompt"]


# all three


def test_one_process_loads_one_checkpoint_once(net: Path, home: Path) -> None:
    """generate, then img2img, then inpaint over one cache."""
    from mediakit.device import empty_cache, free_memory
    from mediakit.models.cache import ModelCache
    from mediakit.tasks import registry

    cache = ModelCache(None, free_memory, empty_cache)
    for _ in _made_by_each(net, cache, registry):
        pass
    assert (cache.stats.loads, cache.stats.hits) == (1, 2)


def _made_by_each(net: Path, cache: Any, registry: Any) -> Iterator[str]:
    from mediakit.batch.feed import ListFeed
    from mediakit.batch.ledger import Ledger
    from mediakit.batch.output import output_for
    from mediakit.batch.plan import Planner
    from mediakit.batch.recipes import Job
    from mediakit.batch.rows import from_row, prompt
    from mediakit.batch.runner import Runner
    from mediakit.batch.stop import Stop
    from mediakit.models.store import Store
    from mediakit.params import Batch

    photo("in/a.png")
    Image.new("L", (64, 64), 255).save("mask.png")
    common = {"model": str(net), "steps": 2, "prompt": "x"}
    for name, source, own in (
        ("generate", prompt("x"), {"width": 64, "height": 64}),
        ("img2img", from_row({"input": "in/a.png"}, ""), {}),
        ("inpaint", from_row({"input": "in/a.png"}, ""), {"mask": "mask.png"}),
    ):
        task, batch = registry.task(name), Batch(out=Path(name))
        params = task.Params(**common, **own)
        output = output_for(batch.out, False, task.output_suffixes)
        items = Planner(Job(task, params, tuple(common), batch), output).items([source])
        made = str(items[0].output)
        worker = task(task.Execution(threads=1), Store(), cache)
        ledger = Ledger(output, task, batch)
        assert Runner(worker, ledger, lambda event: None, Stop()).run(ListFeed(items)) == 0
        assert pixels(made).shape == (64, 64, 3)
        yield name


# what a reader found


def planned(run: Run, *args: str, **more: Any) -> list[dict[str, Any]]:
    result = run(*args, "--dry-run", "--json", **more)
    return [json.loads(line) for line in result.lines]


def test_a_pictures_seed_does_not_depend_on_its_neighbours(run: Run) -> None:
    photo("in/b.png"), photo("in/c.png")
    before = {r["input"]: r["params"]["seed"] for r in
              planned(run, "img2img", "in", "-o", "out", "--prompt", "x")}  # fmt: skip
    photo("in/a.png")
    after = {r["input"]: r["params"]["seed"] for r in
             planned(run, "img2img", "in", "-o", "out", "--prompt", "x")}  # fmt: skip
    assert len(after) == 3 and before.items() < after.items()


def test_a_replayed_prompt_can_be_another(mediakit: Any, generate: Run) -> None:
    (made,) = generate("a cat", "-o", "out").lines
    (record,) = mediakit(
        "replay", made, "--prompt", "a dog", "-o", "again", "--model", _model(generate), "--json"
    ).records
    assert record["params"]["prompt"] == record["input"] == "a dog"
    assert generate("a cat", "--prompt", "a dog", status=2).errors == ["usage"]
    assert len(generate("--prompt", "a dog", "-o", "x").lines) == 1


def test_long_prompts_do_not_meet(generate: Run) -> None:
    """Names of 6 digits would: 9,000 of them, after one slug."""
    digits = "{0|1|2|3|4|5|6|7|8|9}"
    start = "a picture whose name is cut before it says what makes it different from others "
    result = generate(start + "{1|2|3|4|5|6|7|8|9}" + digits * 3, "--combinations", "--seed", "5",
                      "--dry-run", "-o", "out")  # fmt: skip
    assert len(set(result.lines)) == len(result.lines) == 9000


def test_a_stream_of_prompts_with_braces_and_one_bad(generate: Run) -> None:
    lines = b"{red|blue} car\n{1|2\na dog\n"
    result = generate("-", "-o", "out", "--json", stdin=lines, status=1)
    assert [r["status"] for r in result.records] == ["done", "failed", "done"]


def test_limit_counts_what_the_shard_leaves(generate: Run) -> None:
    command = ("a cat", "-o", "out", "--images", "20", "--seed", "1", "--dry-run", "--shard", "0/2")
    every = generate(*command).lines
    assert generate(*command, "--limit", "6").lines == every[:6]


def test_a_picture_names_no_folders(run: Run, masked: Path, net: Path) -> None:
    mask = Path("m/a.png").absolute()
    run("inpaint", masked.absolute(), "--mask", mask, "-o", "b.png", "--prompt", "x",
        "--vae", net / "vae")  # fmt: skip
    with Image.open("b.png") as picture:
        assert str(Path.home()) not in picture.text["mediakit"]
        note = json.loads(picture.text["mediakit"])
    assert (note["params"]["mask"], note["params"]["vae"]) == ("a.png", "vae")
    assert "/" not in json.dumps(note["models"])


def test_adapters_in_rows_and_bad_weights(generate: Run) -> None:
    for text in (" :0.8", "x:1e999"):
        assert generate("a", "--lora", text, status=2).errors == ["usage"]
    Path("p.csv").write_text("prompt,lora\na cat,x.safetensors:0.5\n")
    (record,) = generate("--from", "p.csv", "-o", "out", "--json", status=1).records
    assert record["error"]["code"] == "unknown_model"


def test_transparency_is_flattened_where_it_is_asked_for(run: Run) -> None:
    picture = np.full((64, 64, 4), 255, np.uint8)
    picture[:, :20, 3] = 0
    Image.fromarray(picture).save("a.png")
    run("inpaint", "a.png", "--mask", "alpha", "--invert-mask", "--background", "white", "-o",
        "b.jpg", "--prompt", "x")  # fmt: skip
    assert pixels("b.jpg")[:, :8].min() > 200


def test_a_picture_of_a1111s_is_made_anew(mediakit: Any, generate: Run) -> None:
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text(
        "parameters",
        "a {masterpiece} cat <lora:ink:0.8>\nNegative prompt: dogs\n"
        "Steps: 2, Sampler: Euler a, CFG scale: 5, Seed: 7, Size: 64x64, "
        "Model: dream, Hires upscale: 2",
    )
    Image.new("RGB", (8, 8)).save("theirs.png", pnginfo=text)
    result = mediakit("replay", "theirs.png", "-o", "out", "--model", _model(generate), "--json")
    (record,) = result.records
    params = record["params"]
    assert (params["seed"], params["steps"], params["scheduler"]) == (7, 2, "euler-a")
    assert (params["negative_prompt"], params["guidance_scale"]) == ("dogs", 5)
    assert "masterpiece" in params["prompt"] and "lora" not in params["prompt"]
    assert "loras" in result.stderr and "Hires upscale" in result.stderr


def test_masks_from_rows(run: Run, masked: Path) -> None:
    Path("rows.csv").write_text("input,mask,prompt\nin/a.png,m/a.png,x\nin/a.png,,x\n")
    done, failed = run("inpaint", "--from", "rows.csv", "-o", "out", "--json", status=1).records
    assert (done["status"], done["inputs"]["mask"]) == ("done", "m/a.png")
    assert failed["error"]["code"] == "usage" and "nothing to paint" in failed["error"]["message"]
