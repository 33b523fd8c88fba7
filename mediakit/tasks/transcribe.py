"""transcribe: recordings in, what was said out: as text, subtitles or data."""

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mediakit import device
from mediakit.batch.files import Stat, output_error
from mediakit.batch.item import Decoded, Item, Made
from mediakit.batch.record import record_of
from mediakit.batch.task import Emit, Task, Useless
from mediakit.errors import ItemError, UserError, show
from mediakit.media.audio_formats import SUFFIXES, sniff
from mediakit.media.transcripts import Transcript
from mediakit.models.cache import ModelCache
from mediakit.models.engines import WHISPER_ENGINE
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store
from mediakit.tasks.text_files import check_name, formats_of
from mediakit.tasks.transcribe_checks import check_language, useless
from mediakit.tasks.transcribe_options import (
    FORMATS,
    LAYOUT,
    TranscribeExecution,
    TranscribeParams,
)
from mediakit.tasks.transcribe_request import params_of, request_of
from mediakit.tasks.transcribe_result import Said, written

if TYPE_CHECKING:
    from mediakit.engines.whisper.engine import Whisper

TRANSCRIPTS = frozenset({".json", ".jsonl"})  # inputs that were transcribed already
SECONDS = 300  # of sound that are computed together
_BATCH_SIZE = 16  # windows of speech


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
        return f".{formats_of(params)[0]}"

    @classmethod
    def more_suffixes(cls, name: str, params: TranscribeParams) -> tuple[str, ...]:
        return tuple(f".{name}" for name in params.format[1:])

    @classmethod
    def check_output(cls, name: str, params: TranscribeParams) -> None:
        check_name(name, params, FORMATS)

    @classmethod
    def settle(
        cls, params: TranscribeParams, given: Collection[str], models: Mapping[str, ModelSpec]
    ) -> TranscribeParams:
        for spec in models.values():
            if spec.name.endswith(".en") and not spec.local:
                check_language(params, spec.name, ("en",))
        settled = {
            "word_timestamps": params.word_timestamps or params.highlight_words,
            "condition_on_previous_text": params.condition_on_previous_text is not False,
        }
        return params.model_copy(update=settled)

    @classmethod
    def useless(
        cls, told: Collection[str], values: Mapping[str, Any], outputs: Sequence[str]
    ) -> Iterator[Useless]:
        yield from super().useless(told, values, outputs)
        yield from useless(told, values, outputs)

    @classmethod
    def sniff(cls, head: bytes) -> str:
        from mediakit.media.transcripts import SCHEMA

        return ".json" if SCHEMA.encode() in head else sniff(head)

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
        self._workers = 1 if e.exact else e.workers or (self._threads if kind == "cpu" else 1)
        self._windows = 1 if e.exact else e.batch_size or _BATCH_SIZE

    def warm_up(self) -> None:
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
        source, params = item.source, params_of(item)
        name = source.path if source.data is None else source.relative
        if self.is_bare(name):
            from mediakit.media.transcript_files import is_lines, read_transcript

            data, state = source.read(empty=is_lines(name))
            return Decoded(Said(read_transcript(data, name), True), (state,))
        from mediakit.engines.whisper.recordings import open_recording
        from mediakit.media.audio import Recording

        recording = Recording(source.data or source.path, params.audio_stream, source.path)
        state = source.state()
        heard = open_recording(recording, request_of(params), params.clip_timestamps)
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

    def _transcribe(self, batch: list[tuple[Item, Decoded]], emit: Emit) -> list[Said | ItemError]:
        from mediakit.engines.whisper.recordings import transcribe

        for item, decoded in batch:
            assert item.recipe is not None
            decoded.media.keep = decoded.partial
            decoded.media.identity = f"{item.recipe.hash} {decoded.inputs[0].sha256}"
        with self._model(batch[0][0]) as model:
            for item, _ in batch:
                params = params_of(item)
                check_language(params, params.model, model.languages)
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
            exact = self.execution.exact
            return folder, self._device, self._compute_type, self._threads, self._workers, exact

        key = (spec.sha256, self._compute_type, self._workers)
        with self.loaded(spec, key, self._device, arguments) as model:
            yield model

    def _answered(self, item: Item, decoded: Decoded, found: Transcript) -> Said | ItemError:
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

    def encode(self, item: Item, media: Said, file: Path) -> Made:
        return written(item, media, file)
