"""Tiny models, made once a run, and the plain pipelines that the engine is compared with."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engines.diffusion import nets, single_files

from mediakit.engines.diffusion.clip_words import clip_tokenizer
from mediakit.engines.diffusion.engine import Diffusion, load
from mediakit.engines.diffusion.parts import quiet
from mediakit.engines.diffusion.request import Files

Model = Callable[..., Path]

FAMILIES = ("sd1", "sd2", "sdxl", "sd3", "flux")


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may ask anyone for anything."""
    import socket

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The folder of a tiny model: nets.py's, or with options under a name of its own."""
    root = tmp_path_factory.mktemp("nets")
    quiet()

    def make(family: str, name: str = "", **options: Any) -> Path:
        folder = root / (name or family)
        if not folder.exists():
            getattr(nets, family)(folder, **options)
        return folder

    return make


@pytest.fixture(scope="session")
def single(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model as one file; its folder, with CLIP's real words, is beside it."""
    root = tmp_path_factory.mktemp("single")

    def make(family: str, **options: Any) -> Path:
        file = root / f"{family}.safetensors"
        if not file.exists():
            kind = "sd3" if family == "sd35" else family
            if family == "sd35":
                options |= {"qk_norm": "rms_norm", "dual_attention_layers": (0,)}
            folder = model(kind, f"{family}-words", tokens=49408, **options)
            shutil.copytree(folder, root / family)
            for place, pad in (("tokenizer", "!" if family == "sd2" else nets.EOS),
                               ("tokenizer_2", "!")):  # fmt: skip
                if family in ("sdxl", "sd35") or place == "tokenizer":
                    shutil.rmtree(root / family / place)
                    clip_tokenizer(pad).save_pretrained(root / family / place)
            extra = {}
            if family == "sd2":  # by which the velocity kind is told from the other
                name = "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.norm1.bias"
                extra[name] = torch.tensor([1.0, -1.0])
            single_files.single_file(root / family, kind, file, **extra)
        return file

    return make


@pytest.fixture(scope="session")
def opened(model: Model) -> Iterator[Callable[..., Diffusion]]:
    """A loaded model, exact unless told; loaded once a run."""
    loaded: dict[Any, Diffusion] = {}

    def open(path: str | Path, exact: bool = True, **files: Any) -> Diffusion:
        folder = model(path) if isinstance(path, str) else path
        key = (folder, exact, tuple(files.items()))
        if key not in loaded:
            loaded[key] = load(Files(folder, **files), "cpu", "float32", 1, exact)
        return loaded[key]

    yield open
    for one in loaded.values():
        one.close()


@pytest.fixture(scope="session")
def plain() -> Callable[[Path, str], Any]:
    """diffusers' own pipeline, as its documentation loads it."""
    loaded: dict[tuple[Path, str], Any] = {}

    def open(folder: Path, kind: str) -> Any:
        import diffusers

        if (folder, kind) not in loaded:
            sd = "StableDiffusionP", "StableDiffusionI"
            options = {"safety_checker": None} if kind.startswith(sd) else {}
            pipe = getattr(diffusers, kind).from_pretrained(
                str(folder), local_files_only=True, **options
            )
            pipe.set_progress_bar_config(disable=True)
            loaded[folder, kind] = pipe
        return loaded[folder, kind]

    return open


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What the libraries do with numpy is theirs to mend."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::DeprecationWarning:diffusers"))
            item.add_marker(pytest.mark.filterwarnings("ignore::FutureWarning:diffusers"))
