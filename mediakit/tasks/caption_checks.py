"""Which of caption's options would do nothing."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mediakit.batch.task import Useless
from mediakit.tasks.caption_options import FORMATS
from mediakit.tasks.text_files import format_of


def useless(
    told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
) -> Iterator[Useless]:
    """See Task.useless."""
    if outputs and "list_file" not in told:
        yield from _for_temperature(told, values)
    if "separator" in told and not values["append"]:
        yield "separator", "stands between what is there and the caption", "add --append"
    formats = {format_of(name) for name in outputs} & FORMATS.keys()
    formats |= set(values["format"])
    if "xmp_name" in told and formats and "xmp" not in formats:
        yield "xmp_name", "names .xmp files", "use --format xmp"
    if "append" in told and values["append"]:
        if not (values["out"] or values["beside"]):
            yield "append", "adds to files", "use -o DIR, or --beside"
        if values["out"] and _is_gathered(values["out"]):
            yield "append", "adds to the files of pictures", "use -o DIR, or --beside"
    if "batch_size" in told and values["exact"]:
        yield "batch_size", "is 1 with --exact", ""


def _for_temperature(told: Collection[str], values: Mapping[str, Any]) -> Iterator[Useless]:
    drawn = values["temperature"]
    for name in ("top_p", "seed"):
        if name in told and not drawn:
            yield name, "does nothing unless words are drawn", "add --temperature 0.7"
    if "beam_size" in told and drawn and (values["beam_size"] or 1) > 1:
        yield "beam_size", "follows the likeliest words", "leave --temperature out"


def _is_gathered(out: Path) -> bool:
    return out.suffix.lower() in (".jsonl", ".csv") and not out.is_dir()
