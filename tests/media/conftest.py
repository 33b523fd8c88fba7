"""What tests of pictures share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mediakit.media.pictures import Encoding, Picture, read_picture, write_picture

Saved = Callable[..., tuple[Picture, list[str]]]


@pytest.fixture
def saved(tmp_path: Path) -> Saved:
    """Writes a picture and reads it again: the picture, and what was said to be lost."""

    def save(picture: Picture, format: str, **options: Any) -> tuple[Picture, list[str]]:
        lost = write_picture(picture, tmp_path / "saved", format, Encoding(**options))
        return read_picture((tmp_path / "saved").read_bytes(), "saved", 10**8), lost

    return save
