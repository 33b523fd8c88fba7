"""A model that knows whether it has drawn at random, as it does at temperatures above 0."""

from typing import Any

import ctranslate2
from faster_whisper import WhisperModel


class DrawingModel(WhisperModel):  # type: ignore[misc]  # it has no types
    """CTranslate2 keeps a generator for each of a model's threads, which is seeded at its first
    draw (src/random.cc) and never again: the same numbers come from a model opened anew alone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        ctranslate2.set_random_seed(0)
        super().__init__(*args, **kwargs)
        self.has_drawn = False

    def generate_with_fallback(self, sound: Any, prompt: Any, tokenizer: Any, options: Any) -> Any:
        found = super().generate_with_fallback(sound, prompt, tokenizer, options)
        self.has_drawn |= max(options.temperatures[0], found[2]) > 0
        return found
