"""What transcribe can be told: what is listened for, how it is written down, how it is computed."""

from itertools import pairwise
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, TypeAdapter

from mediakit.params import Execution, Params, option
from mediakit.tasks.text_files import between_commas, distinct

Format = Literal["txt", "srt", "vtt", "tsv", "lrc", "json", "jsonl"]
FORMATS: dict[str, str] = {  # -> media type
    "txt": "text/plain",
    "srt": "application/x-subrip",
    "vtt": "text/vtt",
    "tsv": "text/tab-separated-values",
    "lrc": "text/plain",
    "json": "application/json",
    "jsonl": "application/jsonl",
}
SUBTITLES = ("srt", "vtt", "lrc")  # those that are cut into cues


# _LANGUAGE_CODES of faster_whisper/tokenizer.py, each between spaces
LANGUAGES = (
    " af am ar as az ba be bg bn bo br bs ca cs cy da de el en es et eu fa fi fo fr gl"
    " gu ha haw he hi hr ht hu hy id is it ja jw ka kk km kn ko la lb ln lo lt lv mg"
    " mi mk ml mn mr ms mt my ne nl nn no oc pa pl ps pt ro ru sa sd si sk sl sn so sq"
    " sr su sv sw ta te tg th tk tl tr tt uk ur uz vi yi yo zh yue "
)


def _language(value: str) -> str:
    if f" {value} " not in LANGUAGES:
        raise ValueError("expected a code such as en, de or zh")
    return value


def _numbers(value: object) -> object:
    value = between_commas(value)
    return TypeAdapter(tuple[float, ...]).validate_python(value) if value else value


def _temperatures(value: object) -> object:
    value = _numbers(value if isinstance(value, str | list | tuple) else (value,))
    if not value or any(not 0 <= number <= 1 for number in value):  # type: ignore[attr-defined]
        raise ValueError("expected numbers from 0 to 1, such as 0 or 0,0.2,0.4")
    return value


def _clips(value: object) -> object:
    value = _numbers(value)
    if isinstance(value, tuple):
        rises = all(a < b for a, b in pairwise(value))
        if not rises or (value and value[0] < 0):
            raise ValueError("expected seconds that rise: START,END,START,END such as 0,30,60,90")
    return value


Formats = Annotated[tuple[Format, ...], BeforeValidator(distinct)]
Temperatures = Annotated[tuple[float, ...], BeforeValidator(_temperatures)]
Clips = Annotated[tuple[float, ...], BeforeValidator(_clips)]


class TranscribeParams(Params):
    """The names are those of Whisper's own command line and of faster-whisper."""

    model: str = option(
        "whisper-large-v3-turbo",
        "Model name (see: mediakit models list --task transcribe), a folder in CTranslate2's "
        "format, or hf:org/repository. whisper-tiny.en: English, small, quick on a CPU; "
        "whisper-small: a CPU and patience; whisper-large-v3-turbo: a GPU.",
    )
    format: Formats = option(
        (),
        "What is written: txt, srt, vtt, tsv, lrc, json, jsonl; several with commas, the first "
        "being the output that pipes pass on. Left out: what the name of -o says, else txt. json "
        "holds everything, and makes any other format later without a model.",
    )
    language: Annotated[str, AfterValidator(_language)] | None = option(
        None,
        "Language that is spoken, such as en or de. Left out: detected from the first speech; "
        "say it for short or mixed recordings.",
    )
    task: Literal["transcribe", "translate"] = option(
        "transcribe",
        "translate: write English whatever is spoken (models for all languages only; turbo and "
        "distil models are poor at it).",
    )
    audio_stream: int | None = option(
        None,
        "Which of several audio streams, counted from 0. Left out: the file's default one.",
        ge=0,
    )
    clip_timestamps: Clips = option(
        (),
        "Only these parts: START,END,START,END in seconds; without a last END to the end.",
    )
    initial_prompt: str | None = option(
        None,
        "Text that might have come before: names, spelling and style follow it. A few words "
        "suffice; more than 200 are cut.",
    )
    hotwords: str | None = option(
        None,
        "Words to expect, such as names and terms. Too many are heard where they were not said.",
    )
    word_timestamps: bool = option(
        False, "Also find when each word begins and ends; takes a tenth to a third longer."
    )
    vad: bool = option(
        True,
        "Leave out what is no speech before the model hears it: quicker, and nothing is invented "
        "on silence and noise. --no-vad for singing, or speech that is missed.",
    )
    vad_threshold: float = option(
        0.5,
        "From which probability on a sound is speech. 0.3 finds faint voices and some noise; 0.7 "
        "misses quiet words.",
        gt=0,
        lt=1,
    )
    vad_min_speech_duration_ms: int = option(
        0, "Shorter sounds are no speech, in milliseconds. 250 leaves out clicks and breaths.", ge=0
    )
    vad_min_silence_duration_ms: int = option(
        160, "A shorter pause does not end what is taken for one stretch of speech.", ge=0
    )
    vad_speech_pad_ms: int = option(
        400, "What is kept before and after speech, in milliseconds; less cuts words off.", ge=0
    )
    beam_size: int = option(
        5,
        "How many readings are followed at a time. 1 is up to twice as fast, and errs more.",
        ge=1,
        le=50,
    )
    best_of: int = option(
        5, "Tries at temperatures above 0, of which the best is kept.", ge=1, le=50
    )
    patience: float = option(1.0, "How long beams go on; 2 may find a better reading.", gt=0, le=10)
    length_penalty: float = option(
        1.0, "Above 1 favours longer readings, below 1 shorter ones.", gt=0, le=5
    )
    repetition_penalty: float = option(
        1.0,
        "Above 1 (say 1.1) suppresses words that were just said; too much changes the text.",
        gt=0,
        le=5,
    )
    no_repeat_ngram_size: int = option(
        0, "No sequence of so many tokens is written twice; 0: any may be.", ge=0, le=100
    )
    temperature: Temperatures = option(
        (0.0, 0.2, 0.4, 0.6, 0.8, 1.0),
        "Tried one after the other while the result is unlikely or repeats itself. 0 alone: never "
        "try again.",
    )
    compression_ratio_threshold: float | None = option(
        2.4,
        "Text that packs better than this repeats itself: tried again, then flagged.",
        gt=1,
        le=100,
    )
    logprob_threshold: float | None = option(
        -1.0,
        "Text whose tokens are less likely than this on average is tried again, then flagged.",
        le=0,
    )
    no_speech_threshold: float | None = option(
        0.6, "From this probability of silence on, unlikely text is dropped.", gt=0, le=1
    )
    sequential: bool = option(
        False,
        "One window of 30 s after the other, each given the text before it, as Whisper itself "
        "does. Slower; steadier names and style in long recordings, but errors go on too.",
    )
    condition_on_previous_text: bool | None = option(
        None,
        "With --sequential: whether a window is given the text before it. Left out: yes, but for "
        "distil models. Off: fewer loops.",
    )
    hallucination_silence_threshold: float | None = option(
        None,
        "With --sequential and --word-timestamps: skip silences longer than this around text "
        "that seems invented, in seconds.",
        gt=0,
    )
    max_line_width: int = option(
        42, "Characters a line of subtitles; 42 is the usual, 32 for small screens.", ge=10, le=200
    )
    max_line_count: int = option(2, "Lines a subtitle.", ge=1, le=6)
    max_cue_seconds: float = option(7.0, "How long a subtitle stays at most.", ge=1, le=60)
    max_chars_per_second: float = option(
        21.0, "Reading speed: a subtitle stays longer where what follows leaves time.", ge=5, le=100
    )
    highlight_words: bool = option(
        False, "In vtt: mark each word when it is spoken; finds the times of words."
    )


class TranscribeExecution(Execution):
    compute_type: Literal[
        "auto", "float32", "float16", "bfloat16", "int8", "int8_float16", "int8_float32"
    ] = option(
        "auto",
        "Number type of the model. auto: int8 on a CPU, float16 on a GPU. int8 needs half the "
        "memory of float16; float32 is the most exact and the slowest.",
    )
    batch_size: Annotated[int, Field(ge=1, le=256)] | None = option(
        None, "How many pieces of speech are computed at once. Left out: 16."
    )
    workers: Annotated[int, Field(ge=1, le=64)] | None = option(
        None,
        "How many batches are computed at once, sharing the threads and one model. Left out: one a "
        "thread on a CPU, which is quickest for many recordings; 1 on a GPU.",
    )


LAYOUT = ("max_line_width", "max_line_count", "max_cue_seconds", "max_chars_per_second")
