"""transcribe: recordings in, what was said out: as text, subtitles or data."""

import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit import device
from mediakit.batch.files import Stat, output_error
from mediakit.batch.item import Decoded, Extra, Item, Made, extra_file
from mediakit.batch.record import record_of
from mediakit.batch.task import Emit, Task
from mediakit.errors import ItemError, UserError, show
from mediakit.media.audio_formats import SUFFIXES, sniff
from mediakit.media.cues import CueLayout
from mediakit.media.transcripts import Transcript
from mediakit.models.cache import ModelCache
from mediakit.models.given import WHISPER_ENGINE
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.tasks.pictures import flag
from mediakit.tasks.transcribe_options import (
    FORMATS,
    LAYOUT,
    SUBTITLES,
    TranscribeExecution,
    TranscribeParams,
)

if TYPE_CHECKING:
    from mediakit.engines.whisper.engine import Whisper
    from mediakit.engines.whisper.request import Request

TRANSCRIPTS = frozenset({".json", ".jsonl"})  # inputs that were transcribed already
SECONDS = 300  # of sound that are computed together
_BATCH_SIZE = 16  # windows of speech


@dataclass(slots=True)
class Said:
    """A transcript on its way to its files; `is_old` if it came from one."""

    transcript: Transcript
    is_old: bool

    @property
    def nbytes(self) -> int:
        return 1000 + 500 * len(self.transcript.segments)


class Transcribe(Task):
    name = "transcribe"
    summary = "Write down what is said in recordings and videos."
    Params = TranscribeParams
    Execution = TranscribeExecution
    input_role = "audio"
    extra = "transcribe"
    engine = WHISPER_ENGINE
    packages = ("av", "ctranslate2", "faster_whisper", "numpy")
    suffixes = SUFFIXES
    output_suffixes = frozenset(f".{name}" for name in FORMATS)
    prints = True
    bare_suffixes = TRANSCRIPTS
    bare_params = frozenset({"format", "highlight_words", *LAYOUT})
    batch_size = 64
    batch_bytes = SECONDS * 64_000  # 16,000 samples of 4 bytes a second

    def __init__(self, execution: TranscribeExecution, store: Store, cache: ModelCache) -> None:
        super().__init__(execution, store, cache)
        self.execution: TranscribeExecution = execution
        self._device = self._compute_type = ""
        self._threads = self._workers = self._windows = 0

    # planning

    @classmethod
    def model_names(cls, params: TranscribeParams) -> Mapping[str, str]:
        return {"transcriber": params.model}

    @classmethod
    def suffix(cls, name: str, params: TranscribeParams) -> str:
        return f".{_printed(params)}"

    @classmethod
    def more_suffixes(cls, params: TranscribeParams) -> tuple[str, ...]:
        return tuple(f".{name}" for name in params.format[1:])

    @classmethod
    def check_output(cls, name: str, params: TranscribeParams) -> None:
        format = _format(name)
        if format not in FORMATS:
            known = ", ".join(f".{name}" for name in FORMATS)
            raise UserError("usage", f"{show(name)}: an output must end in one of {known}")
        if params.format and format != params.format[0]:
            raise UserError("usage", f"{show(name)} is not a name for --format {params.format[0]}")

    @classmethod
    def settle(
        cls, params: TranscribeParams, given: Collection[str], models: Mapping[str, ModelSpec]
    ) -> TranscribeParams:
        for spec in models.values():
            _check_language(params, spec)
        settled = {
            "word_timestamps": params.word_timestamps or params.highlight_words,
            "condition_on_previous_text": params.condition_on_previous_text is not False,
        }
        return params.model_copy(update=settled)

    @classmethod
    def check_useful(cls, told: Mapping[str, Any], outputs: list[str]) -> None:
        formats = {_format(name) for name in outputs} & FORMATS.keys()
        formats |= set(told.get("format", ()))
        for name in LAYOUT:
            if name in told and formats and not formats & set(SUBTITLES):
                raise _useless(name, "shapes subtitles", "use --format srt, vtt or lrc")
        if told.get("highlight_words") and formats and "vtt" not in formats:
            raise _useless("highlight_words", "marks words in vtt", "use --format vtt")
        if told.get("hallucination_silence_threshold") and not told.get("word_timestamps"):
            name = "hallucination_silence_threshold"
            raise _useless(name, "needs the times of words", "add --word-timestamps")
        for name in ("batch_size", "workers"):
            if name in told and (told.get("sequential") or told.get("exact")):
                cure = "leave --sequential or --exact out"
                raise _useless(name, "does nothing one window at a time", cure)
        if not told.get("sequential"):
            for name in ("condition_on_previous_text", "hallucination_silence_threshold"):
                if name in told:
                    raise _useless(name, "belongs to --sequential", "add that")
        if told.get("vad") is False:
            for name in told:
                if name.startswith("vad_"):
                    raise _useless(name, "does nothing with --no-vad", "leave one out")

    @classmethod
    def sniff(cls, head: bytes) -> str:
        return sniff(head)

    # working

    def begin(self) -> None:
        e = self.execution
        self._device = device.find(e.device)
        if self._device == "mps":  # CTranslate2 knows none
            if e.device == "mps":
                raise UserError("bad_device", "transcribe can't use mps; use --device cpu")
            self._device = "cpu"
        kind = self._device.partition(":")[0]
        self._compute_type = {"auto": "int8" if kind == "cpu" else "float16"}.get(
            e.compute_type, e.compute_type
        )
        self._threads = e.threads or (1 if e.exact else device.free_cores())
        many = kind == "cpu" and not e.exact
        self._workers = e.workers or (self._threads if many else 1)
        self._windows = e.batch_size or (1 if e.exact else _BATCH_SIZE)

    def warm_up(self) -> None:
        with suppress(Exception):  # `compute` says what is wrong
            import_module("mediakit.engines.whisper.engine")

    def used(self) -> Mapping[str, Any]:
        return {
            "device": self._device,
            "compute_type": self._compute_type,
            "threads": self._threads,
            "workers": self._workers,
            "batch_size": self._windows,
            "exact": self.execution.exact,
        }

    def decode(self, item: Item) -> Decoded:
        source, params = item.source, _params(item)
        if self.is_bare(source.path):
            from mediakit.media.transcript_files import read_transcript

            data, state = source.read()
            return Decoded(Said(read_transcript(data, source.path), True), (state,))
        from mediakit.engines.whisper.recordings import open_recording
        from mediakit.media.audio import Recording

        recording = Recording(source.data or source.path, params.audio_stream, source.path)
        state = source.state()
        heard = open_recording(recording, request(params), params.clip_timestamps)
        return Decoded(heard, (state,))

    def compute(self, batch: list[tuple[Item, Decoded]], emit: Emit) -> list[Any]:
        results: list[Any] = [decoded.media for _, decoded in batch]
        groups: dict[str, list[int]] = {}  # by model
        for number, (item, decoded) in enumerate(batch):
            if not isinstance(decoded.media, Said):
                assert item.recipe is not None
                groups.setdefault(item.recipe.models["transcriber"].sha256, []).append(number)
        for group in groups.values():
            found = self._transcribe([batch[number] for number in group], emit)
            for number, result in zip(group, found, strict=True):
                results[number] = result
        return results

    def _transcribe(
        self, batch: list[tuple[Item, Decoded]], emit: Emit
    ) -> list["Said | ItemError"]:
        from mediakit.engines.whisper.recordings import transcribe

        for item, decoded in batch:
            assert item.recipe is not None
            decoded.media.keep = decoded.partial
            decoded.media.identity = f"{item.recipe.hash} {decoded.inputs[0].sha256}"
        with self._model(batch[0][0]) as model:
            for item, _ in batch:
                _check_speaks(item, model)
            heard = [decoded.media for _, decoded in batch]
            try:
                found = transcribe(heard, model, self._windows, emit)
            except OSError as e:  # what is kept of long ones
                raise output_error(batch[0][1].partial or "", e) from None
        results: list[Said | ItemError] = []
        for (item, decoded), result in zip(batch, found, strict=True):
            decoded.warnings += decoded.media.recording.warnings
            if isinstance(result, Transcript):
                results.append(self._answered(item, decoded, result))
            else:
                results.append(result)
        return results

    @contextmanager
    def _model(self, item: Item) -> Iterator["Whisper"]:
        """The item's model, loaded or found in the cache."""
        assert item.recipe is not None
        spec = item.recipe.models["transcriber"]

        def arguments() -> tuple[Any, ...]:
            (folder,) = self.store.files(spec)
            return folder, self._device, self._compute_type, self._threads, self._workers

        key = (spec.sha256, self._compute_type, self._workers)
        with self.loaded(spec, key, self._device, arguments) as model:
            yield model

    def _answered(self, item: Item, decoded: Decoded, found: Transcript) -> "Said | ItemError":
        """The transcript as it is written, unless its file was written to meanwhile."""
        state = decoded.inputs[0]
        if state.stat:
            with suppress(OSError):
                if Stat.of(os.stat(item.source.path)) != state.stat:
                    path = show(item.source.path)
                    return ItemError("changed", f"{path} changed while it was read; run again")
        record = record_of(type(self), item, "done")
        return Said(replace(found, models=tuple(record["models"]), params=record["params"]), False)

    def step_down(self) -> str | None:
        if self.execution.exact or self._windows == 1:
            return None
        self._windows //= 2
        return f"batch size {self._windows}"

    def encode(self, item: Item, media: "Said", file: Path) -> Made:
        from mediakit.media.subtitles import write

        said, params = media.transcript, _params(item)
        layout = CueLayout(**{name: getattr(params, name) for name in LAYOUT})
        paths = [item.output or item.key, *item.also]
        files = [file, *(extra_file(file, number) for number in range(len(item.also)))]
        formats = [_format(paths[0]) if item.output else _printed(params), *params.format[1:]]
        for format, each in zip(formats, files, strict=False):
            text = write(format, said, layout, params.highlight_words)
            each.write_text(text, encoding="utf-8", newline="")
        extras = tuple(
            Extra(each, path, format, FORMATS[format])
            for each, path, format in zip(files[1:], paths[1:], formats[1:], strict=True)
        )
        warnings = ["no speech was found"] if said.no_speech and not media.is_old else []
        result = self._result(item, said)
        return Made(FORMATS[formats[0]], result, warnings, formats[0], extras)

    def _result(self, item: Item, said: Transcript) -> dict[str, Any]:
        doubtful = sum(bool(segment.flags) for segment in said.segments)
        result = {
            "text": said.text,
            "language": said.language,
            "language_probability": round(said.language_probability, 4),
            "duration": round(said.duration, 3),
            "speech_seconds": round(said.speech_seconds, 3),
            "no_speech": said.no_speech,
            "doubtful_segments": doubtful,
            "dropped_segments": len(said.dropped),
        }
        if item.output is None:  # nothing else holds them
            result["segments"] = said.to_json()["segments"]
        return result


def request(params: TranscribeParams) -> "Request":
    """What the engine is asked for."""
    from mediakit.engines.whisper.request import Beams, Doubts, Request, Voice

    p = params
    voice = Voice(
        p.vad_threshold,
        p.vad_min_speech_duration_ms,
        p.vad_min_silence_duration_ms,
        p.vad_speech_pad_ms,
    )
    beams = Beams(
        p.beam_size, p.best_of, p.patience, p.length_penalty, p.repetition_penalty,
        p.no_repeat_ngram_size, p.temperature,
    )  # fmt: skip
    doubts = Doubts(p.compression_ratio_threshold, p.logprob_threshold, p.no_speech_threshold)
    return Request(
        language=p.language,
        task=p.task,
        initial_prompt=p.initial_prompt,
        hotwords=p.hotwords,
        word_timestamps=p.word_timestamps,
        sequential=p.sequential,
        condition_on_previous_text=p.condition_on_previous_text is not False,
        hallucination_silence_threshold=p.hallucination_silence_threshold,
        voice=voice if p.vad else None,
        beams=beams,
        doubts=doubts,
    )


def _params(item: Item) -> TranscribeParams:
    assert item.recipe is not None
    params = item.recipe.params
    assert isinstance(params, TranscribeParams)
    return params


def _format(name: str) -> str:
    """The format that an output's name says."""
    return os.path.splitext(name)[1].lower().removeprefix(".")


def _printed(params: TranscribeParams) -> str:
    """The format of the primary output where no name says it."""
    return params.format[0] if params.format else "txt"


def _check_language(params: TranscribeParams, spec: ModelSpec) -> None:
    """UserError for what a model of one language can't do."""
    if not spec.name.endswith(".en"):
        return
    name = show(spec.name)
    if params.task == "translate":
        raise UserError("usage", f"{name} can't translate; use a model for all languages")
    if params.language not in (None, "en"):
        raise UserError("usage", f"{name} knows English only; use a model for all languages")


def _check_speaks(item: Item, model: "Whisper") -> None:
    """UserError for a language that the model does not know."""
    params = _params(item)
    if model.is_multilingual:
        known = params.language is None or params.language in model.languages
    else:
        known = params.language in (None, "en") and params.task == "transcribe"
    if not known:
        wanted = params.language if params.task == "transcribe" else "translation"
        raise UserError(
            "usage", f"{show(params.model)} does not know {wanted}; use another --model"
        )


def _useless(name: str, why: str, cure: str) -> UserError:
    return UserError("useless_option", f"{flag(name)} {why}: {cure}, or leave it out")
