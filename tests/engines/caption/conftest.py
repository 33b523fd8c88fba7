import contextlib
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("transformers")
pytest.importorskip("torchvision")

sys.path.append(str(Path(__file__).parent))


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Family -> a folder with a random captioner of it, made once."""
    from tiny import FAMILIES

    made: dict[str, Path] = {}

    def folder(family: str) -> Path:
        if family not in made:
            made[family] = tmp_path_factory.mktemp(family)
            with contextlib.redirect_stderr(io.StringIO()):  # its progress bar
                FAMILIES[family](made[family])
        return made[family]

    return folder


@pytest.fixture(scope="session")
def pictures() -> list[Any]:
    """Eight drawings of different sizes."""
    random = np.random.default_rng(0)
    made = []
    for number in range(8):
        picture = np.full((48 + number, 64, 3), 255, np.uint8)
        picture[8:40, 10 + 3 * number : 30 + 3 * number] = random.integers(0, 256, 3)
        made.append(picture)
    return made


@pytest.fixture
def no_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a network connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
