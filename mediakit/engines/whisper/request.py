"""How a recording is to be transcribed, in Whisper's own names and defaults."""

from dataclasses import dataclass

RATE = 16000  # samples a second, of all sound in this package: mono, float32, -1 to 1


@dataclass(frozen=True, slots=True)
class Voice:
    """What counts as speech, as Silero's voice detection has it.

    `threshold` is a probability; a shorter sound than `min_speech_ms` is none, a shorter pause
    than `min_silence_ms` does not end it, and `speech_pad_ms` are kept on each side.
    """

    threshold: float = 0.5
    min_speech_ms: int = 0
    min_silence_ms: int = 160
    speech_pad_ms: int = 400


@dataclass(frozen=True, slots=True)
class Beams:
    """How the words are searched for; `temperatures` are tried in turn until one does."""

    beam_size: int = 5
    best_of: int = 5
    patience: float = 1.0
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True, slots=True)
class Doubts:
    """When a result is not believed: too repetitive, too unlikely, or likely no speech."""

    compression_ratio_threshold: float | None = 2.4
    logprob_threshold: float | None = -1.0
    no_speech_threshold: float | None = 0.6


@dataclass(frozen=True, slots=True)
class Request:
    """All of it. `voice` None: everything is taken for speech. `language` None: to be detected.

    `previous_text` is what was said before this stretch of the recording; it stands in for
    `initial_prompt` where that has been used up. `sequential`: one window of 30 s after the
    other, as whisper itself does, of which `condition_on_previous_text` is a part.
    """

    language: str | None = None
    task: str = "transcribe"  # or "translate", into English
    initial_prompt: str | None = None
    previous_text: str | None = None
    hotwords: str | None = None
    word_timestamps: bool = False
    sequential: bool = False
    condition_on_previous_text: bool = True
    hallucination_silence_threshold: float | None = None  # seconds; needs words and sequential
    voice: Voice | None = Voice()
    beams: Beams = Beams()
    doubts: Doubts = Doubts()
