"""Names find catalog entries, paths find the user's own weights, and a slip finds a hint."""

import os
from hashlib import sha256

import pytest

from mediakit.errors import UserError
from mediakit.models.catalog import find, known, user_file
from mediakit.models.engines import DIFFUSION_ENGINE
from mediakit.models.store import Store

STARTERS = {
    # name: (bytes and digest of the weights, scale)
    "realesrgan-x4plus": (33424520, "713ee713b0353afa", 4),
    "realesrgan-x4plus-anime": (8943500, "fe01c269cfd10cde", 4),
    "realesr-animevideov3": (1247368, "548a36f9c3f4ab8d", 4),
    "dat-light-x2": (45728932, "3888bf067c1a3790", 2),
    "dat-light-x3": (45774158, "dfb99deab865db05", 3),
    "dat-light-x4": (45819662, "e18223fc41500e72", 4),
}


OFFICIAL = {
    # name: (official name, bytes of the files, digest of the first, scale)
    "realesrgan-x4plus-fp32": ("RealESRGAN_x4plus", 67040989, "4fa0d38905f75ac0", 4),
    "realesrgan-x4plus-anime-fp32": ("RealESRGAN_x4plus_anime_6B", 17938799, "f872d837d3c90ed2", 4),
    "realesrnet-x4plus": ("RealESRNet_x4plus", 67040989, "a820b9bde89a874d", 4),
    "realesrgan-x2plus": ("RealESRGAN_x2plus", 67061725, "49fafd45f8fd7aa8", 2),
    "realesr-general-x4v3": (None, 9770222, "8dc7edb9ac80ccdc", 4),
    "realesr-animevideov3-fp32": (None, 2504012, "b8a8376811077954", 4),
    "swinir-real-m-x4": (
        "003_realSR_BSRGAN_DFO_s64w8_SwinIR-M_x4_GAN", 67129861, "b9afb61e65e04eb7", 4,
    ),
    "swinir-real-l-x4": (
        "003_realSR_BSRGAN_DFOWMFC_s64w8_SwinIR-L_x4_GAN", 142473939, "99adfa91350a84c9", 4,
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def config(tmp_path_factory, monkeypatch):
    """An empty configuration directory of the user's."""
    folder = tmp_path_factory.mktemp("config")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    return folder


@pytest.fixture
def stamps(tmp_path):
    return tmp_path / "stamps"


def test_the_starter_models_are_known_by_digest():
    found = {
        name: (
            spec.files[-1].size,
            spec.files[-1].sha256[:16],
            spec.defaults["upscale"]["scale"],
        )
        for name, spec in known().items()
        if "upscale" in spec.tasks
    }
    assert {name: found.get(name) for name in STARTERS} == STARTERS


@pytest.mark.parametrize("name", sorted(known()))
def test_entries_are_complete(name):
    spec = find(name)
    assert spec.name == name
    assert set(spec.defaults) <= set(spec.tasks)
    assert spec.good_at and spec.bad_at and spec.licence
    assert spec.homepage.startswith("https://")
    assert all(file.sources for file in spec.files)
    assert spec.size and (spec.files or spec.repository)
    assert not spec.repository or spec.repository.endswith(f"@{spec.revision}")
    if spec.convert == "ncnn":
        assert sorted(file.name[-4:] for file in spec.files) == [".bin", "aram"]
    else:
        assert spec.convert is None


@pytest.mark.parametrize("name", OFFICIAL)
def test_the_official_files_are_known_by_name_and_digest(name):
    alias, size, digest, scale = OFFICIAL[name]
    spec = find(name)
    assert (spec.size, spec.files[0].sha256[:16]) == (size, digest)
    assert spec.defaults["upscale"]["scale"] == scale
    assert all(file.sources[0].startswith("https://github.com/") for file in spec.files)
    assert spec.pinned
    if alias:
        assert find(alias) is spec


def test_the_face_detector_is_pinned_at_two_places():
    (file,) = find("yunet").files
    assert (file.size, file.sha256[:16]) == (232589, "8f2383e4dd3cfbb4")
    assert [source.partition(":")[0] for source in file.sources] == ["https", "hf"]


@pytest.mark.parametrize(
    ("name", "size", "digest"),
    [
        ("gfpgan-1.4", 348632874, "e2cd4703ab14f4d0"),
        ("gfpgan-1.3", 348632874, "c953a88f2727c85c"),
        ("restoreformer", 290785322, "07404d446d62ca3d"),
        ("codeformer", 376637898, "1009e537e0c2a07d"),
        ("centerface", 7304518, "09189deaaf8646c5"),
    ],
)
def test_face_models_are_pinned(name, size, digest):
    spec = find(name)
    (file,) = spec.files
    assert (file.size, file.sha256[:16]) == (size, digest)
    assert "no commercial use" in spec.licence or name != "codeformer"
    assert find("GFPGANv1.4") is find("gfpgan-1.4")


def test_every_name_means_one_model():
    words = [word for spec in known().values() for word in (spec.name, *spec.aliases)]
    assert len(words) == len({word.casefold() for word in words})


def own(text: str) -> None:
    user_file().parent.mkdir(parents=True, exist_ok=True)
    user_file().write_text(text)


def test_an_entry_of_the_users_needs_only_files():
    own(
        """
        4x-UltraSharp:
          aliases: [ultrasharp]
          licence: CC-BY-NC-SA-4.0
          defaults: {upscale: {scale: 4}}
          files:
            - name: 4x-UltraSharp.pth
              sources: ["hf:Kim2091/UltraSharp@main/4x-UltraSharp.pth"]
        """
    )
    spec = find("ultrasharp")
    assert (spec.name, spec.tasks, spec.pinned) == ("4x-UltraSharp", (), False)
    assert spec.engine == "mediakit.engines.upscaler:load"
    assert list(known())[-1] == "4x-UltraSharp"


def test_an_entry_of_the_users_may_be_a_repository():
    own("mine: {repository: 'hf:a/b@v1'}\nother: {repository: 'hf:a/b@v1', tasks: [inpaint]}\n")
    spec = find("mine")
    assert (spec.engine, spec.tasks) == (
        DIFFUSION_ENGINE,
        ("generate", "img2img", "inpaint"),
    )
    assert find("other").tasks == ("inpaint",)
    whole = find("hf:a/b")
    assert (whole.name, whole.repository, whole.revision) == ("hf:a/b@main", "hf:a/b@main", "main")
    assert find("hf:a/b@v1/").repository == "hf:a/b@v1"
    assert not spec.is_folder and not spec.pinned  # not known before it was listed


FILES = 'files: [{name: a.pth, sources: ["https://example.org/a.pth"]}]'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"mine: {{{FILES}, licens: MIT}}", "mine.licens: no such key"),
        ("mine: {files: [{name: a.pth, sha: 1}]}", "mine.files.0.sha: no such key"),
        ("mine: {files: [{name: a.pth}]}", "mine.files.0: needs a sha256 or sources"),
        ("mine: {files: []}", "mine: files: needs at least one, or a repository"),
        ("mine: {licence: MIT}", "mine: files: needs at least one, or a repository"),
        ("mine: {repository: a/b}", "mine.repository: String should match pattern"),
        ("mine: {repository: 'hf:a/b@main', kind: loras}", "mine.kind: Input should be 'model'"),
        (f"mine: {{{FILES}, blend: denoise}}", "mine: blend: needs exactly two files"),
        (f"mine: {{{FILES}, convert: ncnn}}", "mine: convert: ncnn needs exactly a .param and"),
        ("mine: {files: [{name: a.pth, sources: [a.pth]}]}", "is not of the form pypi:"),
        (f"dat-light-x2: {{{FILES}}}", "dat-light-x2 is the name of another model"),
        (f"RealESRGAN_x4plus: {{{FILES}}}", "RealESRGAN_x4plus is the name of another model"),
        (f"mine: {{{FILES}, aliases: [yunet]}}", "yunet is the name of another model"),
        (f"../mine: {{{FILES}}}", "'../mine' can't be a name"),
        ("mine: 5", "must hold names of models"),
        ("- mine", "must hold names of models"),
        ("mine: {", "is not YAML"),
    ],
)
def test_a_wrong_entry_names_file_entry_and_key(text, said):
    own(text)
    for ask in (known, lambda: find("dat-light-x2")):
        with pytest.raises(UserError) as error:
            ask()
        assert error.value.code == "bad_model_entry"
        assert str(user_file()) in error.value.message
        assert said in error.value.message
        assert error.value.message.isprintable()


def test_an_empty_file_of_the_users_is_fine():
    own("# nothing yet\n")
    assert "dat-light-x2" in known()


@pytest.mark.parametrize(
    ("model", "name", "revision"),
    [
        ("hf:a/b/net.safetensors", "hf:a/b@main/net.safetensors", "main"),
        ("hf:a/b@v1.0/deep/net.pth", "hf:a/b@v1.0/deep/net.pth", "v1.0"),
        ("https://example.org/net.pth?x=1", "https://example.org/net.pth?x=1", "web"),
    ],
)
def test_addresses_are_models(model, name, revision, tmp_path):
    spec = find(model)
    assert (spec.name, spec.revision, spec.pinned) == (name, revision, False)
    assert spec.files[0].sources == (name,)
    folder = Store(tmp_path).folder(spec)
    assert folder.parent == tmp_path / ".references"
    assert find(spec.name) == spec


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("hf:a", "give hf:org/repository@revision/file or https://host/file"),
        ("hf:b@main/net.pth", "give hf:org/repository@revision/file"),
        ("hf:a/b/README.md", "give the address of a weights file"),
        ("http://example.org/net.pth", "or https://host/file"),
        ("https://example.org/", "or https://host/file"),
        (f"https://example.org/{'x' * 300}.pth", "give a shorter address"),
    ],
)
def test_addresses_of_nothing_are_refused(model, said):
    with pytest.raises(UserError) as error:
        find(model)
    assert error.value.code == "unknown_model"
    assert said in error.value.message


def test_callers_can_not_change_the_catalog():
    known().clear()
    assert "dat-light-x2" in known()


def test_a_slip_gets_a_hint():
    with pytest.raises(UserError) as error:
        find("realesrgan-4xplus")
    assert error.value.code == "unknown_model"
    assert "did you mean realesrgan-x4plus" in error.value.message
    assert "`mediakit models list`" in error.value.message


@pytest.mark.parametrize(
    "model", ["zzz", "", "no/such.pth", "nothing.safetensors", "x" * 300, "a/\0", "~", "/"]
)
def test_what_is_not_there_is_unknown(model):
    with pytest.raises(UserError) as error:
        find(model)
    assert error.value.code == "unknown_model"
    assert "mediakit models list" in error.value.message
    assert error.value.message.isprintable()


def test_a_file_of_the_users(tmp_path, stamps):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"abc")
    spec = find(str(path), engine="mediakit.engines.other:load", stamps=stamps)
    assert (spec.name, spec.revision, spec.tasks) == (str(path), "local", ())
    assert spec.engine == "mediakit.engines.other:load"
    assert (spec.sha256, spec.size) == (sha256(b"abc").hexdigest(), 3)
    assert Store(tmp_path / "cache").pull(spec) == path
    path.write_bytes(b"abd")
    os.utime(path, ns=(1, 1))
    assert find(str(path), stamps=stamps).sha256 == sha256(b"abd").hexdigest()


def test_an_unchanged_file_of_the_users_is_not_read_again(tmp_path, stamps):
    path = tmp_path / "mine.pth"
    path.write_bytes(b"abc")
    os.utime(path, ns=(5, 5))
    find(str(path), stamps=stamps)
    path.write_bytes(b"xyz")  # a change that size and time do not show
    os.utime(path, ns=(5, 5))
    assert find(str(path), stamps=stamps).sha256 == sha256(b"abc").hexdigest()


def test_names_that_are_hard_to_print(tmp_path, stamps, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = os.fsdecode(b"-new\nline\xff")
    (tmp_path / name).write_bytes(b"abc")
    spec = find(name, stamps=stamps)
    assert spec.name == "-new\\nline\\xff"
    assert Store(tmp_path / "cache").pull(spec).read_bytes() == b"abc"


def test_an_ncnn_pair_of_the_users_is_converted_into_the_cache(compact, tmp_path, stamps):
    param, weights = compact().write(tmp_path, "my.upscaler")
    specs = [find(str(path), stamps=stamps) for path in (param, weights)]
    assert specs[0].sha256 == specs[1].sha256
    store = Store(tmp_path / "cache", offline=True)
    converted = store.pull(specs[0])
    assert converted.suffix == ".safetensors"
    assert converted.is_relative_to(tmp_path / "cache")
    assert store.pull(specs[1]) == converted
    param.rename(tmp_path / "renamed.param")
    weights.rename(tmp_path / "renamed.bin")
    assert store.pull(find(str(tmp_path / "renamed.bin"), stamps=stamps)) == converted
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "cache",
        "renamed.bin",
        "renamed.param",
        "stamps",
    ]


def test_half_an_ncnn_pair(compact, tmp_path, stamps):
    param, weights = compact().write(tmp_path)
    data = weights.read_bytes()
    weights.unlink()
    with pytest.raises(UserError, match=r"net\.bin are not beside it") as error:
        find(str(param), stamps=stamps)
    assert error.value.code == "bad_weights"
    param.unlink()
    weights.write_bytes(data)  # alone it is some other kind: PyTorch files are called .bin too
    assert find(str(weights), stamps=stamps).convert is None
