"""Many recordings through one model: their windows in batches, each heard again where needed."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace

from mediakit.engines.whisper.astray import remaining
from mediakit.engines.whisper.decode import Ear, Heard
from mediakit.engines.whisper.request import RATE
from mediakit.engines.whisper.segments import flagged, invented, moved, segments
from mediakit.engines.whisper.stretches import Samples, Stretch
from mediakit.engines.whisper.windows import Window, batches, windows
from mediakit.engines.whisper.words import Timed, aligned
from mediakit.errors import ItemError, Stopped
from mediakit.media.transcripts import Segment, Transcript


@dataclass(frozen=True)
class Job:
    """A stretch, how it is heard, and how probable its language is."""

    stretch: Stretch
    ear: Ear
    language_probability: float


@dataclass(frozen=True)
class _Found:
    """What a window gave, in seconds of the recording."""

    window: Window
    segments: tuple[Segment, ...]
    dropped: tuple[Segment, ...]


def batched(
    jobs: Sequence[Job], batch_size: int, workers: int, emit: Callable[[float], None]
) -> list[Transcript | ItemError]:
    """The transcript of each job, or why there is none; see Whisper.transcribe."""
    work = _plan(jobs, batch_size)
    total = sum(len(each) for each in work)
    found: dict[int, list[_Found]] = {at: [] for at in range(len(jobs))}
    broken: dict[int, ItemError] = {}
    done = 0
    pool, patient = ThreadPoolExecutor(workers, "whisper"), True
    sizes = {pool.submit(_careful, jobs, batch): len(batch) for batch in work}
    try:
        for future in as_completed(sizes):
            for each in future.result():
                if isinstance(each, _Found):
                    found[each.window.owner].append(each)
                else:
                    broken |= each
            done += sizes[future]
            emit(done / total)
    except Stopped:
        patient = False  # the process ends; of a large model, a batch may take minutes
        raise
    finally:
        pool.shutdown(wait=patient, cancel_futures=True)
    return [broken.get(at) or _transcript(job, found[at]) for at, job in enumerate(jobs)]


def _plan(jobs: Sequence[Job], batch_size: int) -> list[list[Window]]:
    """Batches of windows of one width and one request, the widest first."""
    alike: dict[object, list[Window]] = {}
    for at, job in enumerate(jobs):
        key = replace(job.ear.request, voice=None)
        alike.setdefault(key, []).extend(windows(at, job.stretch, job.ear.request.voice))
    work = [batch for same in alike.values() for batch in batches(same, batch_size)]
    return sorted(work, key=lambda batch: -batch[0].width)


def _careful(jobs: Sequence[Job], batch: list[Window]) -> list[_Found | dict[int, ItemError]]:
    """One by one if something in the batch fails, so that it costs only itself."""
    try:
        return list(_listen(jobs, batch))
    except (ValueError, IndexError) as error:
        if len(batch) > 1:
            return [each for window in batch for each in _careful(jobs, [window])]
        fault = ItemError("failed", f"the model failed on {batch[0].seconds:.1f} s: {error}")
        return [{batch[0].owner: fault}]


def _listen(jobs: Sequence[Job], batch: list[Window], before: str = "") -> list[_Found]:
    """What each window gave; what Whisper left of one is a window again, that knows what was said
    `before`."""
    ear = jobs[batch[0].owner].ear
    if before:
        ear = replace(ear, request=replace(ear.request, previous_text=before))
    sounds = [jobs[w.owner].stretch.samples[w.start : w.end] for w in batch]
    encoded = ear.encode(sounds, batch[0].width)
    heard = ear.hear(encoded, sounds)
    words = _words(ear, encoded, heard, sounds)
    found: list[_Found] = []
    for at, window in enumerate(batch):
        if ear.doubtful(heard[at]):
            encoded, heard[at] = ear.again(sounds[at])
            (words[at],) = _words(ear, encoded, [heard[at]], [sounds[at]])
        said = _found(jobs[window.owner], window, heard[at], words[at])
        found.append(said)
        rest = round(remaining(heard[at].tokens, ear.tokenizer, window.seconds) * RATE)
        if 0 < rest < window.end - window.start:
            text = " ".join(segment.text for segment in said.segments)
            found += _listen(jobs, [replace(window, start=window.end - rest)], text)
    return found


def _words(ear: Ear, encoded: object, heard: list[Heard], sounds: list[Samples]) -> list[Timed]:
    if not ear.request.word_timestamps:
        return [[] for _ in heard]
    texts = [[t for t in each.tokens if t < ear.tokenizer.eot] for each in heard]
    frames = [len(sound) * 100 // RATE for sound in sounds]
    return aligned(ear.model, ear.tokenizer, encoded, texts, frames)


def _found(job: Job, window: Window, heard: Heard, words: Timed) -> _Found:
    doubts = job.ear.request.doubts
    offset = job.stretch.start + window.start / RATE
    said = [
        moved(flagged(segment, doubts), offset)
        for segment in segments(heard, job.ear.tokenizer, window.seconds, words)
    ]
    silent = heard.silent(doubts)
    return _Found(
        window,
        tuple(each for each in said if not silent and not invented(each)),
        tuple(each for each in said if silent or invented(each)),
    )


def _transcript(job: Job, found: list[_Found]) -> Transcript:
    found = sorted(found, key=lambda each: each.window.start)
    return transcript(
        job,
        tuple(segment for each in found for segment in each.segments),
        tuple(segment for each in found for segment in each.dropped),
    )


def transcript(job: Job, said: tuple[Segment, ...], dropped: tuple[Segment, ...]) -> Transcript:
    """What is known of a stretch, the rest coming from its job."""
    return Transcript(
        segments=said,
        language=job.ear.request.language or "",
        language_probability=job.language_probability,
        duration=len(job.stretch.samples) / RATE,
        speech_seconds=job.stretch.speech_seconds,
        dropped=dropped,
        no_speech=not said,
    )
