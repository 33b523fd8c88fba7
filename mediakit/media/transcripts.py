"""What was said in a recording: segments and words with their times, and doubts about them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

SCHEMA = "mediakit/transcript/1"

# Why a segment may be wrong; docs/transcript.md explains each.
FLAGS = ("low_confidence", "may_be_silence", "repetitive", "too_fast")
# languages without a space between sentences
_CLOSE = ("ja", "yue", "zh")


@dataclass(frozen=True, slots=True)
class Word:
    """`start` and `end` in seconds of the recording; `text` with the space before it, if any;
    `probability` 0 to 1."""

    start: float
    end: float
    text: str
    probability: float


@dataclass(frozen=True, slots=True)
class Segment:
    """A few seconds of speech; times in seconds of the recording, `text` stripped.

    `avg_logprob` is the mean log-probability of the tokens, `no_speech_prob` 0 to 1,
    `compression_ratio` that of the text by zlib (repetition makes it large), `temperature` the one
    it was decoded at, all as Whisper defines them. `flags` are of FLAGS.
    """

    start: float
    end: float
    text: str
    words: tuple[Word, ...] = ()
    avg_logprob: float = 0.0
    no_speech_prob: float = 0.0
    compression_ratio: float = 0.0
    temperature: float = 0.0
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Transcript:
    """All that is known of what was said in one recording.

    `duration` is the recording's, `speech_seconds` what voice detection left of it (the duration
    where it is off). `dropped` are segments that were heard and not believed. `no_speech` says
    that there was nothing to transcribe. `language` is a Whisper code such as "en", and
    `language_probability` 1 where it was given or the model knows one language only. `models` and
    `params` are as in mediakit's record.
    """

    segments: tuple[Segment, ...]
    language: str
    language_probability: float
    duration: float
    speech_seconds: float
    dropped: tuple[Segment, ...] = ()
    no_speech: bool = False
    models: tuple[Mapping[str, Any], ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """All that was said, on one line."""
        space = "" if self.language in _CLOSE else " "
        return space.join(segment.text for segment in self.segments if segment.text)

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `from_json` gives back; docs/transcript.md is its description."""
        return {"schema": SCHEMA, "text": self.text, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """A transcript out of what `to_json` made; ValueError says what is not as it should be."""
        if not isinstance(data, Mapping) or data.get("schema") != SCHEMA:
            raise ValueError(f'no transcript: expected "schema": "{SCHEMA}"')
        try:
            values = {k: v for k, v in data.items() if k not in ("schema", "text")}
            for name in ("segments", "dropped"):
                values[name] = tuple(_segment(each) for each in values.get(name, ()))
            values["models"] = tuple(values.get("models", ()))
            return cls(**values)
        except (TypeError, KeyError, AttributeError) as e:
            raise ValueError(f"a broken transcript: {e}") from None


def _segment(data: Mapping[str, Any]) -> Segment:
    values = dict(data)
    values["words"] = tuple(Word(**word) for word in values.get("words", ()))
    values["flags"] = tuple(values.get("flags", ()))
    return Segment(**values)
