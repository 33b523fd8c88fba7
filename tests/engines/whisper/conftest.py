"""A real model, fetched once through the model store, and real speech."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("faster_whisper")

from mediakit.engines.whisper.engine import Whisper, load
from mediakit.engines.whisper.request import Request
from mediakit.engines.whisper.stretches import Samples, Stretch, stretches
from mediakit.errors import UserError
from mediakit.media.audio import Recording
from mediakit.models.catalog import find
from mediakit.models.store import Store

SPEECH = Path(__file__).parents[2] / "data" / "speech"


@pytest.fixture(scope="session")
def folder() -> Path:
    try:
        return Path(Store().pull(find("whisper-tiny.en")))
    except UserError as error:
        if error.code not in ("model_unavailable", "offline"):
            raise
        pytest.skip(error.message)


@pytest.fixture(scope="session")
def whisper(folder: Path) -> Whisper:
    return load(folder, "cpu", "int8", 2, 2)


@pytest.fixture(scope="session")
def clips() -> dict[str, Samples]:
    """File name -> samples."""
    import numpy as np

    return {
        path.name: np.concatenate(list(Recording(str(path)).blocks()))
        for path in sorted(SPEECH.glob("*.flac"))
    }


@pytest.fixture(scope="session")
def whole() -> Any:
    """The only stretch of a short recording."""

    def cut(samples: Samples, request: Request) -> Stretch:
        (stretch,) = stretches([samples], request)
        return stretch

    return cut
