"""Which of transcribe's options would do nothing, and what a model can't be asked for."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from mediakit.batch.task import Useless
from mediakit.errors import UserError, show
from mediakit.tasks.text_files import format_of
from mediakit.tasks.transcribe_options import FORMATS, LAYOUT, SUBTITLES, TranscribeParams


def check_language(params: TranscribeParams, model: str, languages: Collection[str]) -> None:
    """UserError for what a model that knows no other `languages` can't do."""
    if params.task == "translate" and len(languages) == 1:
        raise UserError("usage", f"{show(model)} can't translate; use a model for all languages")
    if params.language and params.language not in languages:
        raise UserError(
            "usage",
            f"{show(model)} does not know the language {params.language}; use another --model",
        )


def useless(
    told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
) -> Iterator[Useless]:
    """See Task.useless."""
    yield from _for_formats(told, values, outputs)
    if "list_file" in told or not outputs:
        return
    if values["sequential"] or values["exact"]:
        for name in _of(told, "batch_size", "workers"):
            yield name, "does nothing one window at a time", "leave --sequential or --exact out"
    if not values["vad"]:
        for name in told:
            if name.startswith("vad_"):
                yield name, "does nothing with --no-vad", "leave that out"
    if not values["sequential"]:
        for name in _of(told, "condition_on_previous_text", "hallucination_silence_threshold"):
            yield name, "belongs to --sequential", "add that"
    if not values["word_timestamps"]:
        for name in _of(told, "hallucination_silence_threshold"):
            yield name, "needs the times of words", "add --word-timestamps"
    yield from _for_temperatures(told, values)


def _for_formats(
    told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
) -> Iterator[Useless]:
    formats = {format_of(name) for name in outputs} & FORMATS.keys()
    formats |= set(values["format"])
    if not formats:
        return
    if not formats & set(SUBTITLES):
        for name in _of(told, *LAYOUT):
            yield name, "shapes subtitles", "use --format srt, vtt or lrc"
    if values["highlight_words"] and "highlight_words" in told and "vtt" not in formats:
        yield "highlight_words", "marks words in vtt", "use --format vtt"
    # by the times of words, --sequential finds its next window; and records that are printed
    # without -o hold them
    in_record = values["json_lines"] and not values["out"]
    used = in_record or values["sequential"] or "list_file" in told or formats != {"txt"}
    if values["word_timestamps"] and "word_timestamps" in told and not used:
        yield "word_timestamps", "does nothing in txt", "use --format json, srt or vtt"


def _for_temperatures(told: Collection[str], values: Mapping[str, Any]) -> Iterator[Useless]:
    temperatures = values["temperature"]
    if not any(temperatures) and "best_of" in told:
        yield "best_of", "is for temperatures above 0", "give one with --temperature"
    if 0 not in temperatures:
        for name in _of(told, "beam_size", "patience"):
            yield name, "is for temperature 0", "give that too with --temperature"
    if values["beam_size"] == 1 and "patience" in told:
        yield "patience", "needs several beams", "give more with --beam-size"


def _of(told: Collection[str], *names: str) -> list[str]:
    return [name for name in names if name in told]
