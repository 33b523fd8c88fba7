"""The unit of work: what an input is, and what an item is once it has a name and a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mediakit.batch.files import FileState, read_file, state_of
from mediakit.errors import MediakitError, show
from mediakit.models.spec import ModelSpec
from mediakit.params import Params

Row = Mapping[str, Any]
CALLED = 60  # characters of a text in messages
PART = ".json"  # what the name of an item ends in that becomes a part of a larger file


@dataclass(frozen=True, slots=True)
class Source:
    """An input before it has an output name.

    `path` is as the user gave it (surrogateescape for bytes that are not UTF-8), `relative` is
    below the directory it was found in, `row` the Params that a list set for it, `data` the
    bytes themselves when they came through standard input, `upstream` the ids of the records it
    came from. `error` is set when the list's line could not be understood. With `is_text` the
    input is no file: `path` is the text itself, and `relative` what may stand for it in a name.
    `beside` are other files it needs: role -> path. `where` is the line of the list that it
    comes from, for messages ("photos.csv line 7"), empty where there is none. `columns` is what
    the row says beside Params: data that a template uses, and what comes back with the result.
    """

    path: str
    relative: str
    row: Row | None = None
    data: bytes | None = None
    upstream: tuple[str, ...] = ()
    error: MediakitError | None = None
    is_text: bool = False
    beside: Mapping[str, str] = field(default_factory=dict)
    where: str = ""
    columns: Row = field(default_factory=dict)

    @property
    def called(self) -> str:
        """What messages call it: a file by its path, a text by its list's line or its beginning."""
        if not self.is_text:
            return show(self.path)
        text = show(self.where or " ".join(self.path[:CALLED].split()))
        return text if self.where or len(self.path) <= CALLED else f"{text}..."

    @property
    def files(self) -> tuple[str, ...]:
        """The files that the result depends on; "-" is standard input."""
        return () if self.is_text else (self.path, *self.beside.values())

    def read(self, empty: bool = False) -> tuple[bytes, FileState]:
        """The bytes of the input, and their identity; ItemError names what is wrong with it.
        `empty`: there may be none."""
        if self.data is None:
            return read_file(self.path, empty)
        return self.data, FileState.of_bytes(self.path, self.data)

    def state(self) -> FileState:
        """The identity of the input, where it is too large to be read at once; ItemError."""
        if self.data is None:
            return state_of(self.path)
        return FileState.of_bytes(self.path, self.data)


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that the result depends on but the input's content; shared by items of equal Params."""

    params: Params
    given: tuple[str, ...]
    models: Mapping[str, ModelSpec]
    hash: str


@dataclass(slots=True)
class Item:
    """One piece of work: `key` names it in its output directory on every machine.

    `output` is the path of the primary output as the user would write it, None for standard
    output, and `also` are those of the files that are known to come with it.
    """

    key: str
    source: Source
    output: str | None
    recipe: Recipe | None
    error: MediakitError | None = None
    also: tuple[str, ...] = ()


@dataclass(slots=True)
class Decoded:
    """An item's input in memory; `media` must have `nbytes`.

    `file` is the temporary name that `encode` will be given; a result too large to be held may
    be written there by `compute` already, as it is made. What `compute` writes to `partial` is
    there again when the item is next tried, until it is made; None where nothing can be kept.
    `earlier` is the record of how the outputs that are there were made, edited since or not;
    `overwrite` says that the user lets them go whatever they hold.
    """

    media: Any
    inputs: tuple[FileState, ...]
    warnings: list[str] = field(default_factory=list)
    file: Path = Path()
    partial: Path | None = None
    earlier: Mapping[str, Any] | None = None
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class Extra:
    """A file made beside the primary output: its temporary name (see `extra_file`), the path it
    will have, as the user would write it, and what it is."""

    file: Path
    path: str
    role: str
    media_type: str


@dataclass(slots=True)
class Made:
    """What encoding says of the files it wrote: media type, the task's own result, warnings, the
    role of the primary output, and the others."""

    media_type: str
    result: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    role: str = "image"
    extras: tuple[Extra, ...] = ()


def extra_file(file: Path, number: int) -> Path:
    """The temporary name of an extra file, beside the primary output's."""
    return file.with_name(f"{file.name}.{number}")
