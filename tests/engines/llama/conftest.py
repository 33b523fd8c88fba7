"""The real starter model, fetched once through the model store, and a small one that is random."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp")

from gguf_files import tiny

from mediakit.engines.llama.engine import load
from mediakit.engines.llama.fit import Fit
from mediakit.engines.llama.model import Llama
from mediakit.errors import UserError
from mediakit.models.catalog import find
from mediakit.models.store import Store

CONTEXT = 1024


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    store, spec = Store(), find("smollm2-135m-instruct")
    try:
        store.pull(spec)
    except UserError as error:
        if error.code not in ("model_unavailable", "offline"):
            raise
        pytest.skip(error.message)
    return store.files(spec)[0]


@pytest.fixture(scope="session")
def smollm2(smollm2_file: Path) -> Iterator[Llama]:
    model = load(smollm2_file, Fit("cpu", 1, None, CONTEXT))
    yield model
    model.close()


@pytest.fixture(scope="session")
def tiny_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("tiny") / "tiny.gguf")


@pytest.fixture
def small(tiny_file: Path) -> Iterator[Llama]:
    """Writes nonsense, in no time."""
    model = load(tiny_file, Fit("cpu", 1))
    yield model
    model.close()
