"""Results that are files of text, in one format or several at once: which, and their names."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from mediakit.batch.item import Extra, Item, Made, extra_file
from mediakit.errors import UserError, show


class Written(Protocol):
    """Params that say which formats are written, the primary output's first."""

    @property
    def format(self) -> tuple[str, ...]: ...


def between_commas(value: object) -> object:
    """Before a tuple: texts with commas, as what is between them."""
    if isinstance(value, str):
        value = (value,)
    if not isinstance(value, list | tuple):
        return value
    parts: list[object] = []
    for each in value:
        parts += [part.strip() for part in each.split(",")] if isinstance(each, str) else [each]
    return tuple(parts)


def distinct(value: object) -> object:
    """Before a tuple of formats: each once."""
    value = between_commas(value)
    if isinstance(value, tuple) and len(set(value)) < len(value):
        raise ValueError("a format is named twice")
    return value


def format_of(name: str) -> str:
    """The format that an output's name says."""
    return os.path.splitext(name)[1].lower().removeprefix(".")


def formats_of(params: Written) -> tuple[str, ...]:
    """What is written where no name says it."""
    return params.format or ("txt",)


def check_name(name: str, params: Written, known: Mapping[str, str]) -> None:
    """UserError if an output of that name is not what the Params ask for; see Task.check_output."""
    format = format_of(name)
    if format not in known:
        names = ", ".join(f".{name}" for name in known)
        raise UserError("usage", f"{show(name)}: an output must end in one of {names}")
    if params.format and format != params.format[0]:
        raise UserError("usage", f"{show(name)} is not a name for --format {params.format[0]}")


def write(
    item: Item,
    params: Written,
    known: Mapping[str, str],
    file: Path,
    content: Callable[[str, str], bytes],
) -> Made:
    """The item's files, made under temporary names beside `file`; `known`: format -> media type;
    `content` gives what one holds by its format and the path it will have."""
    paths = [item.output or item.key, *item.also]
    files = [file, *(extra_file(file, number) for number in range(len(item.also)))]
    first = format_of(paths[0]) if item.output else formats_of(params)[0]
    formats = [first, *formats_of(params)[1:]]
    for format, path, each in zip(formats, paths, files, strict=False):
        each.write_bytes(content(format, path))
    extras = tuple(
        Extra(each, path, format, known[format])
        for each, path, format in zip(files[1:], paths[1:], formats[1:], strict=True)
    )
    return Made(known[first], role=first, extras=extras)
