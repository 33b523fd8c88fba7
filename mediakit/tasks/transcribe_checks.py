"""Which of transcribe's options would do nothing, and what a model can't be asked for."""

import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from mediakit.errors import UserError, show
from mediakit.tasks.transcribe_options import FORMATS, LAYOUT, SUBTITLES, TranscribeParams


def format_of(name: str) -> str:
    """The format that an output's name says."""
    return os.path.splitext(name)[1].lower().removeprefix(".")


def first_format(params: TranscribeParams) -> str:
    """The format of the primary output where no name says it."""
    return params.format[0] if params.format else "txt"


def check_language(params: TranscribeParams, model: str, languages: Collection[str]) -> None:
    """UserError for what a model that knows no other `languages` can't do."""
    if params.task == "translate" and len(languages) == 1:
        raise UserError("usage", f"{show(model)} can't translate; use a model for all languages")
    if params.language and params.language not in languages:
        raise UserError(
            "usage",
            f"{show(model)} does not know the language {params.language}; use another --model",
        )


def useless(told: Mapping[str, Any], outputs: list[str]) -> Iterator[tuple[str, str, str]]:
    """Names of options that were `told` and do nothing for these outputs, why, and the cure."""
    yield from _for_formats(told, outputs)
    if "list_file" in told or not outputs:
        return  # rows may hold what an option needs, or not rule it out
    if told.get("sequential") or told.get("exact"):
        for name in _of(told, "batch_size", "workers"):
            cure = "leave --sequential or --exact out"
            yield name, "does nothing one window at a time", cure
    if told.get("vad") is False:
        for name in told:
            if name.startswith("vad_"):
                yield name, "does nothing with --no-vad", "leave one out"
    if not told.get("sequential"):
        for name in _of(told, "condition_on_previous_text", "hallucination_silence_threshold"):
            yield name, "belongs to --sequential", "add that"
    if told.get("hallucination_silence_threshold") and not told.get("word_timestamps"):
        name = "hallucination_silence_threshold"
        yield name, "needs the times of words", "add --word-timestamps"
    yield from _for_temperatures(told)


def _for_formats(told: Mapping[str, Any], outputs: list[str]) -> Iterator[tuple[str, str, str]]:
    formats = {format_of(name) for name in outputs} & FORMATS.keys()
    formats |= set(told.get("format", ()))
    if not formats:
        return
    if not formats & set(SUBTITLES):
        for name in _of(told, *LAYOUT):
            yield name, "shapes subtitles", "use --format srt, vtt or lrc"
    if told.get("highlight_words") and "vtt" not in formats:
        yield "highlight_words", "marks words in vtt", "use --format vtt"
    # by the times of words, --sequential finds its next window; and records that are printed
    # without -o hold them
    in_record = told.get("json_lines") and "out" not in told
    used = in_record or told.get("sequential") or "list_file" in told or formats != {"txt"}
    if told.get("word_timestamps") and not used:
        yield "word_timestamps", "does nothing in txt", "use --format json, srt or vtt"


def _for_temperatures(told: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    temperatures = told.get("temperature", (0, 1))
    if not any(temperatures) and "best_of" in told:
        yield "best_of", "is for temperatures above 0", "give one with --temperature"
    if 0 not in temperatures:
        for name in _of(told, "beam_size", "patience"):
            yield name, "is for temperature 0", "give that too with --temperature"
    if told.get("beam_size") == 1 and "patience" in told:
        yield "patience", "needs several beams", "leave --beam-size out"


def _of(told: Mapping[str, Any], *names: str) -> list[str]:
    return [name for name in names if name in told]
