"""How a folder of CTranslate2's becomes a model that transcribes many recordings at once."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from faster_whisper.tokenizer import Tokenizer

from mediakit.engines.whisper.batched import Job, batched
from mediakit.engines.whisper.decode import Ear
from mediakit.engines.whisper.drawing import DrawingModel
from mediakit.engines.whisper.faults import line, meaning
from mediakit.engines.whisper.request import RATE, Request
from mediakit.engines.whisper.sequential import sequential
from mediakit.engines.whisper.stretches import Stretch
from mediakit.engines.whisper.windows import FULL
from mediakit.errors import ItemError, UserError, show
from mediakit.media.transcripts import Transcript

Emit = Callable[[float], None]

_FILES = ("model.bin", "config.json", "tokenizer.json")
_LANGUAGE_WINDOWS = 3  # of 30 s, that the language is told by


def load(
    folder: Path,
    device: str,
    compute_type: str,
    threads: int,
    workers: int = 1,
    exact: bool = False,
) -> "Whisper":
    """Open a Whisper model in CTranslate2's format.

    `compute_type` is one of CTranslate2's ("int8", "float32", "float16", ...), "default" or "auto".
    `threads` are shared by the `workers`, each of which computes a batch of its own. `exact`: what
    is said of a stretch depends on it alone, at temperatures above 0 too. Raises UserError
    missing_component, wrong_model, bad_weights or bad_device, and OutOfMemory.
    """
    for name in _FILES:
        if not (folder / name).is_file():
            raise UserError(
                "missing_component",
                f"{show(folder)}: there is no {name}; a Whisper model in CTranslate2's format is a "
                f"folder with {', '.join(_FILES)}",
            )
    fault: Exception | None = None
    open_model = partial(
        DrawingModel,
        str(folder),
        device=device,
        compute_type=compute_type,
        cpu_threads=max(1, threads // workers),
        num_workers=workers,
        local_files_only=True,
    )
    try:
        return Whisper(open_model, folder, workers, exact)
    except Exception as error:
        fault = meaning(error) or _not_loaded(folder, error)
    raise fault


def _not_loaded(folder: Path, error: Exception) -> UserError:
    said = line(error)
    if "compute type" in said.lower():
        return UserError("bad_device", f"{show(folder)}: {said}; choose another --compute-type")
    if "whisper" in said.lower():
        return UserError("wrong_model", f"{show(folder)}: no Whisper model ({said})")
    return UserError(
        "bad_weights",
        f"{show(folder)}: the model can't be loaded ({said}); fetch or convert it again",
    )


class Whisper:
    """A loaded model. One thread at a time may call `transcribe`."""

    def __init__(
        self, open_model: Callable[[], DrawingModel], folder: Path, workers: int, exact: bool
    ) -> None:
        self._open = open_model
        self._model = model = open_model()
        self._workers = workers
        self._exact = exact
        self.nbytes = (folder / "model.bin").stat().st_size
        self.is_multilingual: bool = model.model.is_multilingual
        self.languages: tuple[str, ...] = tuple(model.supported_languages)
        self.compute_type: str = model.model.compute_type
        self.device: str = model.model.device

    def transcribe(
        self,
        tasks: Sequence[tuple[Stretch, Request]],
        batch_size: int,
        emit: Emit = lambda share: None,
    ) -> list[Transcript | ItemError]:
        """What was said in each stretch, in seconds of its recording.

        Windows of all stretches share batches of at most `batch_size`; with 1, or if the model is
        `exact`, a result does not depend on what else there is to the last bit, except, with 1
        alone, for what is drawn at random. Without a `language`, each stretch has its
        own detected: for a recording, use `detect_language` on its first stretch with speech, and
        ask for that one. `emit` gets the share that is done, and what it raises passes. One
        stretch that fails does not cost the others. Raises OutOfMemory, PlaceError(device_lost).
        """
        fault: Exception | None = None
        try:
            if self._exact:
                return self._one_by_one(tasks, emit)
            return self._transcribe(tasks, batch_size, emit)
        except Exception as error:
            fault = meaning(error)
            if fault is None:
                raise
        raise fault

    def close(self) -> None:
        """Give the memory back."""
        self._model.model.unload_model()

    def detect_language(self, stretch: Stretch) -> tuple[str, float]:
        """Its code and probability, by the first 90 s of speech; ("en", 1.0) of a model that knows
        no other. Raises OutOfMemory, PlaceError(device_lost)."""
        if not self.is_multilingual:
            return "en", 1.0
        fault: Exception | None = None
        try:
            return self._detect_language(stretch)
        except Exception as error:
            fault = meaning(error)
            if fault is None:
                raise
        raise fault

    def _detect_language(self, stretch: Stretch) -> tuple[str, float]:
        speech = [stretch.samples[start:end] for start, end in stretch.spans]
        sound = np.concatenate(speech or [stretch.samples])
        width = int(FULL * RATE)
        chances: dict[str, float] = {}
        ear = self._ear(Request(language="en"))
        for at in range(0, max(1, min(len(sound), _LANGUAGE_WINDOWS * width)), width):
            part = sound[at : at + width]
            (found,) = self._model.model.detect_language(ear.encode([part], FULL))
            for token, chance in found:
                # a short last part tells less
                chances[token[2:-2]] = chances.get(token[2:-2], 0.0) + chance * (len(part) or 1)
        language = max(chances, key=lambda code: chances[code])
        return language, chances[language] / sum(chances.values())

    def _one_by_one(
        self, tasks: Sequence[tuple[Stretch, Request]], emit: Emit
    ) -> list[Transcript | ItemError]:
        """Each stretch as if it were the first that the model hears."""
        results: list[Transcript | ItemError] = []
        for done, task in enumerate(tasks):
            if self._model.has_drawn:
                self.close()
                self._model = self._open()

            def step(share: float, done: int = done) -> None:
                emit((done + share) / len(tasks))

            results += self._transcribe([task], 1, step)
        return results

    def _transcribe(
        self, tasks: Sequence[tuple[Stretch, Request]], batch_size: int, emit: Emit
    ) -> list[Transcript | ItemError]:
        results: dict[int, Transcript | ItemError] = {}
        jobs: dict[int, Job] = {}
        for at, (stretch, request) in enumerate(tasks):
            if not stretch.spans:
                results[at] = _silence(stretch, request)
                continue
            language, probability = request.language or "", 1.0
            if not language or not self.is_multilingual:
                language, probability = self.detect_language(stretch)
            job = Job(stretch, self._ear(replace(request, language=language)), probability)
            if request.sequential:
                results[at] = sequential(job)
                emit(len(results) / len(tasks))
            else:
                jobs[at] = job
        share = len(jobs) / max(1, len(tasks))
        together = batched(
            list(jobs.values()),
            batch_size,
            self._workers,
            lambda done: emit(1 - share + share * done),
        )
        results |= dict(zip(jobs, together, strict=True))
        return [results[at] for at in range(len(tasks))]

    def _ear(self, request: Request) -> Ear:
        tokenizer = Tokenizer(
            self._model.hf_tokenizer,
            self.is_multilingual,
            task=request.task,
            language=request.language,
        )
        return Ear(self._model, tokenizer, request)


def _silence(stretch: Stretch, request: Request) -> Transcript:
    return Transcript(
        segments=(),
        language=request.language or "",
        language_probability=1.0 if request.language else 0.0,
        duration=len(stretch.samples) / RATE,
        speech_seconds=0.0,
        no_speech=True,
    )


def join(parts: Sequence[Transcript]) -> Transcript:
    """One transcript of a recording out of those of all its stretches, in order."""
    told = [part for part in parts if part.language] or parts
    first = next((part for part in told if not part.no_speech), told[0])
    segments = tuple(segment for part in parts for segment in part.segments)
    return replace(
        first,
        segments=segments,
        dropped=tuple(segment for part in parts for segment in part.dropped),
        duration=sum(part.duration for part in parts),
        speech_seconds=sum(part.speech_seconds for part in parts),
        no_speech=not segments,
    )
