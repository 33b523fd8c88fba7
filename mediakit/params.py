"""The options: one declaration a field gives the command line, presets, rows, record and docs.

`Params` change the result; `Execution` changes it at most by rounding; `Batch` says which items
to do and where their outputs go.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
)


class Options(BaseModel):
    """Base of all option models: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True, validate_default=True)


class Params(Options):
    """Base of a task's Params: fingerprinted, recorded, replayable."""


_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4}
_BINARY = {"ki": 1024, "mi": 1024**2, "gi": 1024**3, "ti": 1024**4}


def _number_with_unit(value: object) -> object:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]i?|)(?:b|p|px)?", str(value).strip().lower())
    if not match:
        raise ValueError("expected a number such as 500000, 200M or 4GiB")
    return int(float(match[1]) * (_UNITS | _BINARY)[match[2]])


def _shard(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"(\d+)/(\d+)", value)
    if not match or int(match[1]) >= int(match[2]):
        raise ValueError("expected I/N with I from 0 to N-1, such as 0/4")
    return int(match[1]), int(match[2])


def auto_or_int(value: object) -> object:
    """Before a union of words and a number."""
    if isinstance(value, str) and re.fullmatch(r"\d+", value):
        return int(value)
    return value


def _whole(value: int | float) -> int | float:
    return int(value) if value == int(value) else value


def _path(value: object) -> object:
    if value == "":
        raise ValueError("expected a path, not nothing")
    return Path(value) if isinstance(value, str) else value


Quantity = Annotated[int, BeforeValidator(_number_with_unit), Field(ge=1)]
# 4.0 is 4: the same fingerprint, the same name
Number = Annotated[int | float, Field(allow_inf_nan=False), AfterValidator(_whole)]
Shard = Annotated[tuple[int, int], BeforeValidator(_shard)]
# pydantic refuses text that is not UTF-8; file names may be
AnyPath = Annotated[InstanceOf[Path], BeforeValidator(_path)]
SMALLEST_TILE = 64  # of any net: neighbours share up to half a tile
# the largest side, in pixels of the input, that a net sees at once
Tile = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=SMALLEST_TILE)], BeforeValidator(auto_or_int)
]


def option(default: Any, help: str, *, flags: tuple[str, ...] = (), **field: Any) -> Any:
    """A field with its help; `flags` replaces the option names made from the field's name."""
    extra: dict[str, Any] | None = {"flags": list(flags)} if flags else None
    return Field(default, description=help, json_schema_extra=extra, **field)


def fault(error: ValidationError) -> str:
    """What is wrong with the first of the wrong fields, in one line: "scale: ..."."""
    errors = error.errors()
    name = str(errors[0]["loc"][0]) if errors[0]["loc"] else ""
    # of a union's alternatives the last is the most general
    last = [e for e in errors if not name or e["loc"][:1] == errors[0]["loc"][:1]][-1]
    cause = last["msg"].removeprefix("Value error, ")
    if last["type"] == "extra_forbidden":
        cause = "there is no such option"
    return f"{name}: {cause}" if name else cause


class PictureOutput(Params):
    """How tasks that make pictures write them."""

    format: Literal["keep", "jpg", "png", "webp", "avif", "tiff", "bmp", "gif", "jxl"] = option(
        "keep",
        "File format of the output. keep: the input's. png and tiff lose nothing and hold 16 bit; "
        "jpg, webp and avif are much smaller.",
    )
    quality: int | None = option(
        None,
        "Quality of jpg, webp, avif and jxl, 1 to 100; left out: 95 (avif 90). 90 to 95 looks "
        "like the original; below 75 shows blocks.",
        ge=1,
        le=100,
    )
    compression: int | None = option(
        None,
        "How hard png and tiff are packed, 0 (not) to 9; left out: 4 (tiff: LZW). Nothing is "
        "lost at any level; above 6 takes much longer for little.",
        ge=0,
        le=9,
    )
    subsampling: Literal["4:4:4", "4:2:0"] | None = option(
        None,
        "Resolution of colour in jpg and avif; left out: 4:4:4, all of it. 4:2:0 is smaller and "
        "softens red edges.",
    )
    lossless: bool = option(False, "Lose nothing in webp, avif and jxl; the files are larger.")
    icc: Literal["keep", "srgb"] = option(
        "keep",
        "Colour profile. keep: the input's. srgb: convert to sRGB, for the web.",
    )
    background: str | None = option(
        None,
        "Colour to put behind transparent pixels, such as white or '#336699'. Left out, "
        "transparency is kept.",
    )


class Execution(Options):
    """How the work is done: recorded, not fingerprinted."""

    device: str = option(
        "auto", "Where models run: auto, cpu, cuda, cuda:1, mps. auto: the first GPU, else the CPU."
    )
    threads: int | None = option(
        None,
        "CPU threads of the model. Left out: as many physical cores as are free now. More than "
        "that is slower, not faster.",
        ge=1,
    )
    memory_budget: Quantity | None = option(
        None, "Memory that loaded models may take, such as 4GiB. Left out: what is free now."
    )
    exact: bool = option(
        False,
        "The same bytes every time on this kind of device: batch 1, one thread (or --threads), "
        "fixed memory format. Slower.",
    )


class PictureInput(Execution):
    """How tasks that read pictures read and compute them."""

    dtype: Literal["auto", "float32", "float16", "bfloat16"] = option(
        "auto",
        "Number type of the model. auto: float16 on a GPU, float32 on a CPU. Half types need half "
        "the memory and are slow on most CPUs.",
    )
    max_pixels: Quantity = option(
        256_000_000,
        "Refuse inputs with more pixels than this, such as 100M: a small file can unpack to "
        "gigabytes.",
    )


class Batch(Options):
    """Which items are done, where their outputs go, and what is printed."""

    out: AnyPath | None = option(
        None,
        "Output directory; or, for a single input, a file; or - for standard output.",
        flags=("-o", "--out"),
    )
    beside: bool = option(
        False,
        "Write each output beside its input, whatever folder that is in; for text files such as "
        "captions and subtitles.",
    )
    name: str | None = option(
        None,
        "Template of output names under --out: {relpath} {stem} {ext} {name} {index} {hash} and "
        "any parameter, such as '{relpath}/{stem}_{scale}x{ext}'.",
        min_length=1,
    )
    list_file: AnyPath | None = option(
        None,
        "Read inputs from a list: .txt (one a line), .csv or .jsonl (columns are parameters), or "
        "- for standard input.",
        flags=("--from",),
    )
    null: bool = option(
        False,
        "Names on standard input end with NUL, as from find -print0.",
        flags=("-0", "--null"),
    )
    explain: bool = option(False, "Print where each value comes from, and stop.")
    json_lines: bool = option(
        False, "Print one JSON record an item instead of written paths.", flags=("--json",)
    )
    dry_run: bool = option(False, "Say what would be done, and do nothing.")
    force: bool = option(False, "Make everything again, up to date or not.")
    overwrite: bool = option(
        False, "Allow replacing files that mediakit did not make, or that were edited since."
    )
    limit: int | None = option(None, "Take only the first N items.", ge=1)
    shard: Shard | None = option(
        None, "Do only part I of N (from 0), such as 0/4: the same split on every machine."
    )
    retry_failed: bool = option(False, "Do only what failed the last time.")
    fail_fast: bool = option(False, "Stop at the first item that fails.")
    verify: bool = option(
        False, "Compare contents, not only sizes and times, to see what is up to date."
    )
    offline: bool = option(False, "Never open a network connection; fail if a model is missing.")
    quiet: bool = option(
        False,
        "Only errors on standard error; results still go to standard output.",
        flags=("-q", "--quiet"),
    )
    verbose: bool = option(
        False, "More on standard error: models, devices, cache.", flags=("-v", "--verbose")
    )
    no_progress: bool = option(
        False, "No progress bar (there is none anyway unless standard error is a terminal)."
    )


def flag(name: str, *models: type[Options]) -> str:
    """The option of a field; what it is called in its own words, if it is one of the `models`'."""
    for field in (model.model_fields[name] for model in models if name in model.model_fields):
        if isinstance(field.json_schema_extra, dict) and "flags" in field.json_schema_extra:
            return str(cast(list[str], field.json_schema_extra["flags"])[-1])
    return "--" + name.replace("_", "-")
