"""How a vision GGUF answers about pictures: the picture's bytes to the engine of GGUFs, one after
the other, behind one prompt that it evaluates once."""

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.engines.caption.request import Caption, Request
from mediakit.engines.llama import engine
from mediakit.engines.llama.fit import Fit
from mediakit.engines.llama.model import Llama
from mediakit.engines.llama.request import Message, Sampling
from mediakit.engines.llama.request import Request as Question
from mediakit.errors import ItemError
from mediakit.media.captions import first_words, stripped
from mediakit.media.pixels import to_image
from mediakit.media.rgb import reduced_to

Pixels = NDArray[np.uint8]

# Where there is no --prompt
USUAL = "Describe the picture in one sentence."
# The longest side that a model is shown: LLaVA 1.6 cuts 1344 pixels into four tiles, and models
# that take any size would spend thousands of tokens on more.
_LONGEST = 1344
_TOKENS = 512
_A_WORD = 4  # tokens, where words are counted


class Captioner:
    """A loaded GGUF; one thread at a time may use it."""

    family = "vlm"

    def __init__(self, model: Llama, name: str) -> None:
        self.name = name
        self.nbytes = model.nbytes
        self._model = model

    def captions(self, seen: Sequence[Pixels], request: Request) -> list[Caption | ItemError]:
        """What the model answers about each picture, as `eyes` gave it."""
        return [self._caption(one, request) for one in seen]

    def close(self) -> None:
        """Give the memory back."""
        self._model.close()

    def _caption(self, picture: Pixels, request: Request) -> Caption | ItemError:
        message = Message("user", request.prompt or USUAL, (picture.tobytes(),))
        tokens = _TOKENS
        if request.max_words:
            tokens = _A_WORD * (request.max_words + 2)
        question = Question(messages=(message,), sampling=_sampling(request), max_tokens=tokens)
        try:
            reply = self._model.reply(question, lambda piece: None)
        except ItemError as error:
            return error
        return Caption(first_words(stripped(reply.text, request.phrases), request.max_words))


def load(
    model: Path,
    projector: Path,
    device: str,
    dtype: str,
    threads: int,
    gpu_layers: int | None = None,
) -> Captioner:
    """Open a GGUF and its projector; `dtype` says nothing here, for the file's own counts. The
    errors of mediakit.engines.llama.engine.load."""
    loaded = engine.load(model, Fit(device, threads, gpu_layers), projector)
    return Captioner(loaded, model.name)


def eyes(model: Path) -> Callable[[Pixels], Pixels]:
    """What turns H x W x 3, uint8, sRGB, into the bytes of a PNG, which every handler reads."""
    return _png


def _png(pixels: Pixels) -> Pixels:
    height, width = pixels.shape[:2]
    share = min(1.0, _LONGEST / max(height, width))
    size = max(1, round(width * share)), max(1, round(height * share))
    into = io.BytesIO()
    to_image(reduced_to(pixels, size)).save(into, "PNG", compress_level=1)
    return np.frombuffer(into.getvalue(), np.uint8)


def _sampling(request: Request) -> Sampling:
    told: dict[str, Any] = {
        "temperature": request.temperature or 0.0,
        "top_p": request.top_p or 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repeat_penalty": request.repetition_penalty or 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "seed": request.seed,
    }
    return Sampling(**told)
