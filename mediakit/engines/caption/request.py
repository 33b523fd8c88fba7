"""What a captioner is asked for; nothing heavy is imported here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """One for all pictures of a batch. None: the model's own.

    `phrases` are taken off the beginning of the text before its words are counted.
    `temperature` None takes the likeliest; else words are drawn, the same for one `seed` whatever
    else is in the batch.
    """

    prompt: str | None = None
    mode: str | None = None
    min_words: int | None = None
    max_words: int | None = None
    beam_size: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int = 0
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None
    phrases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Caption:
    """What was said: the text, and in modes that give several texts those, without repeats."""

    text: str
    tags: tuple[str, ...] = ()
