"""The shell as pytest fixtures; a conftest.py imports them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from toys.shell import Shell, Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    zygote = Zygote()
    yield zygote
    zygote.close()


@pytest.fixture
def shell(tmp_path: Path, zygote: Zygote) -> Shell:
    return Shell(tmp_path, zygote)
