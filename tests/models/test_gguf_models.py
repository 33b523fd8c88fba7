"""Language models: the catalog's, files and addresses of the user's; folders, which are none."""

from pathlib import Path

import pytest
from gguf_files import tiny

from mediakit.errors import UserError
from mediakit.models.catalog import find, known, user_file
from mediakit.models.engines import DEFAULT_ENGINE, DIFFUSION_ENGINE, LLAMA_ENGINE

MODELS = [spec for spec in known().values() if spec.engine == LLAMA_ENGINE]
SAMPLING = {"temperature", "top_p", "top_k", "min_p", "repeat_penalty", "context_length"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDIAKIT_CACHE", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_entries_are_a_model_and_perhaps_its_projector(spec):
    model, *more = spec.files
    assert model.name.endswith(".gguf") and "mmproj" not in model.name
    assert len(more) <= 1 and all("mmproj" in file.name for file in more)
    assert ("caption" in spec.tasks) == bool(more)
    assert "chat" in spec.tasks
    for file in spec.files:
        for source in file.sources:
            assert source.startswith(("pypi:", "hf:"))
            assert source.rpartition("/")[2] == file.name
            # one state of the repository, and that of the entry
            assert source.startswith("pypi:") or f"@{spec.revision}/" in source


@pytest.mark.parametrize("spec", MODELS, ids=lambda spec: spec.name)
def test_defaults_are_sampling_as_the_task_names_it(spec):
    own = spec.defaults.get("chat", {})
    assert own.keys() <= SAMPLING
    assert 0 <= own.get("temperature", 0) <= 2
    assert 0 < own.get("top_p", 1) <= 1


def test_the_starter_is_known_by_digest():
    spec = known()["smollm2-135m-instruct"]
    assert spec.pinned and spec.size == 98362432
    assert spec.sha256 == "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


@pytest.mark.parametrize("engine", [LLAMA_ENGINE, DEFAULT_ENGINE, DIFFUSION_ENGINE])
def test_a_file_is_for_chat_whoever_asks(tmp_path, engine):
    spec = find(str(tiny(tmp_path / "x.GGUF")), engine=engine)
    assert spec.engine == LLAMA_ENGINE
    assert [file.name for file in spec.files] == ["weights.GGUF"]
    spec.check_task("chat")
    with pytest.raises(UserError, match="for chat and caption, not for upscale"):
        spec.check_task("upscale")


@pytest.mark.parametrize("model", ["hf:org/repo/m-Q4_K_M.gguf", "https://host/m.gguf"])
def test_an_address_is_too(model):
    spec = find(model, engine=DIFFUSION_ENGINE)
    assert (spec.engine, spec.tasks) == (LLAMA_ENGINE, ("chat", "caption"))


def test_a_folder_is_not(tmp_path):
    tiny(tmp_path / "mmproj-x.gguf")
    tiny(tmp_path / "y.gguf")
    with pytest.raises(UserError, match=r"whole folder.* such as .*/y\.gguf$") as raised:
        find(str(tmp_path), engine=LLAMA_ENGINE)
    assert raised.value.code == "unknown_model"


def test_neither_is_a_repository():
    with pytest.raises(UserError, match=r"such as hf:org/repo/model-Q4_K_M\.gguf$"):
        find("hf:org/repo", engine=LLAMA_ENGINE)


def test_an_entry_of_the_users_needs_no_more_than_its_file():
    user_file().parent.mkdir(parents=True)
    user_file().write_text(
        "mine: {files: [{name: a.gguf, sources: ['hf:org/repo@main/a.gguf']}]}\n"
    )
    spec = find("mine")
    assert (spec.engine, spec.tasks) == (LLAMA_ENGINE, ("chat", "caption"))
