"""How a folder in the layout of transformers becomes a captioner that describes many pictures at
once: BLIP, Florence-2, GIT, and any vision encoder-decoder."""

import json
import logging
import re
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from mediakit.device import empty_cache
from mediakit.engines.caption.blip import hasten
from mediakit.engines.caption.processors import processors
from mediakit.engines.caption.request import Caption, Request
from mediakit.engines.diffusion.pickled import shapes_of
from mediakit.engines.faults import meaning
from mediakit.errors import ItemError, UserError, show
from mediakit.media.captions import first_words, stripped
from mediakit.models.captioners import FLORENCE_MODES, LISTS, class_of, family_of

Pixels = NDArray[np.uint8]
Seen = NDArray[np.float32]

_DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
# Tokens that a word may take where words are counted: 2 are usual, and rare names take 6
_TOKENS = 8
# Where the model's files say nothing; transformers would take 20, which cuts sentences off
_UNTOLD = 50
# Between the objects of Florence-2: four numbers a box
_PLACES = re.compile(r"(?:<loc_\d+>)+")
_loading = threading.Lock()  # transformers imports its parts when they are named


class Captioner:
    """A loaded model; one thread at a time may use it."""

    def __init__(self, model: Any, tokenizer: Any, family: str, folder: Path, threads: int) -> None:
        self.family = family
        self.name = show(folder.name)
        self.device = str(model.device)
        self.dtype = str(model.dtype).removeprefix("torch.")
        self.threads = threads
        self._model = model
        self._tokenizer = tokenizer
        self._folder = folder
        values = (*model.parameters(), *model.buffers())
        self.nbytes = sum(value.numel() * value.element_size() for value in values)
        self._starts = _STARTS.get(family, _nothing)
        self._decoder = model.text_decoder if family == "blip" else model
        text = model.config.text_config if family == "blip" else None
        own = self._decoder.generation_config
        written = getattr(model.config, "decoder", None) or model.config.get_text_config()
        self._places = int(written.max_position_embeddings)
        self._untold = own.max_length is None and own.max_new_tokens is None
        end = text.sep_token_id if text else own.eos_token_id
        self._ends: list[int] = [end] if isinstance(end, int) else list(end or ())

    def captions(self, seen: Sequence[Seen], request: Request) -> list[Caption | ItemError]:
        """What is on each picture, as `eyes` gave it; all at once.

        Text of greedy decoding and of draws does not depend on what else is in the batch, but for
        the rounding of sums. ItemError too_few_words where the model could not say `min_words`.
        Raises OutOfMemory, PlaceError(device_lost).
        """
        fault: Exception | None = None
        try:
            texts = self._texts(seen, request)
            return [self._finished(text, request) for text in texts]
        except Exception as error:
            fault = meaning(error)
            if fault is None:
                raise
        raise fault

    def close(self) -> None:
        """Give the memory back; the captioner is of no use after."""
        del self._model, self._decoder
        empty_cache(self.device)

    @torch.inference_mode()
    def _texts(self, seen: Sequence[Seen], request: Request) -> list[str]:
        if torch.get_num_threads() != self.threads:  # OpenMP counts for each calling thread
            torch.set_num_threads(self.threads)
        pixels = torch.from_numpy(np.stack(seen)).to(self._model.device, self._model.dtype)
        given = {"pixel_values": pixels, **self._starts(self, request, len(seen))}
        found = self._model.generate(**given, **self._options(request, self._room(given)))
        if found.ndim == 1:
            found = found[None]
        return self._decoded(found, keep_places=request.mode in LISTS)

    def _decoded(self, tokens: torch.Tensor, keep_places: bool = False) -> list[str]:
        texts: list[str] = self._tokenizer.batch_decode(
            tokens, skip_special_tokens=not keep_places, clean_up_tokenization_spaces=False
        )
        return texts

    def _room(self, given: dict[str, Any]) -> int:
        """How many tokens the model has places for, behind its prompt."""
        prompt = given.get("input_ids") if self.family in ("blip", "git") else None
        room = self._places - (1 if prompt is None else int(prompt.shape[1]))
        if room < 1:
            raise UserError("usage", f"--prompt is too long for {self.name}; make it shorter")
        return room

    def _options(self, request: Request, room: int) -> dict[str, Any]:
        """The arguments of `generate`; those that are left out are the model's own."""
        options: dict[str, Any] = {
            "num_beams": 1 if request.temperature else request.beam_size,
            "repetition_penalty": request.repetition_penalty,
            "no_repeat_ngram_size": request.no_repeat_ngram_size,
        }
        options = {name: value for name, value in options.items() if value is not None}
        words = max(request.min_words or 0, request.max_words or 0)
        if words:
            options["max_new_tokens"] = min(_TOKENS * (words + 2), room)
        elif self._untold:
            options["max_new_tokens"] = min(_UNTOLD, room)
        if chosen := processors(request, self._decoded, self._ends):
            options["logits_processor"] = chosen
        return options | {"do_sample": False}

    def _finished(self, text: str, request: Request) -> Caption | ItemError:
        if request.mode in LISTS:
            names = [" ".join(part.split()) for part in _PLACES.split(self._plain(text))]
            tags = tuple(dict.fromkeys(name for name in names if name))
            return Caption(", ".join(tags), tags)
        text = first_words(stripped(text, request.phrases), request.max_words)
        if request.min_words and len(text.split()) < request.min_words:
            return ItemError(
                "too_few_words",
                f"the model said no more than {len(text.split())} words ({text!r}); lower "
                "--min-words",
            )
        return Caption(text)

    def _plain(self, text: str) -> str:
        """Without the special tokens, but for places."""
        for token in self._tokenizer.all_special_tokens:
            if not token.startswith("<loc_"):
                text = text.replace(token, "")
        return text

    # how each family begins

    def blip(self, request: Request, count: int) -> dict[str, Any]:
        if not request.prompt:
            return {}
        return {"input_ids": self._repeated(self._tokenizer(request.prompt).input_ids, count)}

    def git(self, request: Request, count: int) -> dict[str, Any]:
        if not request.prompt:
            return {}
        tokens = self._tokenizer(request.prompt, add_special_tokens=False).input_ids
        return {"input_ids": self._repeated([self._tokenizer.cls_token_id, *tokens], count)}

    def florence(self, request: Request, count: int) -> dict[str, Any]:
        return {"input_ids": self._repeated(_florence_tokens(self._folder, request.mode), count)}

    def _repeated(self, tokens: Sequence[int], count: int) -> torch.Tensor:
        return torch.tensor([list(tokens)] * count, device=self._model.device)


def _nothing(captioner: Captioner, request: Request, count: int) -> dict[str, Any]:
    return {}


_STARTS: dict[str, Callable[[Captioner, Request, int], dict[str, Any]]] = {
    "blip": Captioner.blip,
    "git": Captioner.git,
    "florence2": Captioner.florence,
}


def load(folder: Path, device: str, dtype: str, threads: int) -> Captioner:
    """Open a captioner of one of the FAMILIES in the layout of transformers; nothing but the
    folder is read, and no code in it is run.

    UserError unknown_model, bad_weights, unsafe_weights or missing_component, and OutOfMemory.
    """
    family = _family(folder)
    kind = getattr(transformers, class_of(family))
    if not list(folder.glob("model*.safetensors")):
        for path in folder.glob("pytorch_model*.bin"):
            shapes_of(path)  # with an error that says what is wrong; torch then runs nothing either
    options = {**_HERE, "dtype": _DTYPES[dtype], "output_loading_info": True}
    model, told = _guarded(folder, lambda: kind.from_pretrained(folder, **options))
    lacking = sorted(told["missing_keys"]) + sorted(str(k) for k in told["mismatched_keys"])
    if lacking:
        raise UserError(
            "bad_weights",
            f"{show(folder)}: {len(lacking)} weights of {kind.__name__} are missing or of another "
            f"size ({lacking[0]} ...); get the model again",
        )
    tokenizer = _guarded(
        folder, lambda: transformers.AutoTokenizer.from_pretrained(folder, **_HERE)
    )
    fault: Exception | None = None
    try:
        model = model.to(torch.device(device)).eval().requires_grad_(False)
        if family == "blip":
            hasten(model)
    except Exception as error:
        fault = meaning(error) or error
    if fault:
        raise fault
    return Captioner(model, tokenizer, family, folder, threads)


_HERE: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}


def eyes(folder: Path) -> Callable[[Pixels], Seen]:
    """What turns H x W x 3, uint8, sRGB, into what the model sees: 3 x h x w, as the model's own
    image processor of transformers does it. For any thread; the same UserErrors as `load`."""
    with _loading:
        processor = _image_processor(folder)

    def see(pixels: Pixels) -> Seen:
        if torch.get_num_threads() != 1:  # of this thread: others compute meanwhile
            torch.set_num_threads(1)
        pixels = pixels if pixels.flags.writeable else pixels.copy()  # or torch warns
        found = processor(images=pixels, return_tensors="np", input_data_format="channels_last")
        seen: Seen = np.asarray(found["pixel_values"][0], np.float32)
        return seen

    return see


@lru_cache(maxsize=4)
def _image_processor(folder: Path) -> Any:
    _family(folder)
    processors: Any = transformers.AutoImageProcessor
    return _guarded(folder, lambda: processors.from_pretrained(folder, **_HERE))


@lru_cache(maxsize=16)
def _florence_tokens(folder: Path, mode: str | None) -> tuple[int, ...]:
    """As Florence-2's own processor puts them: places for the picture, and the task in words."""
    with _loading:
        own = _guarded(
            folder, lambda: transformers.Florence2Processor.from_pretrained(folder, **_HERE)
        )
    task = FLORENCE_MODES[mode or "brief"]
    text = own.task_prompts_without_inputs[task]
    words = own.tokenizer
    picture = own.image_token * own.num_image_tokens
    whole = f"{picture}{words.bos_token}{text}{words.eos_token}"
    return tuple(words(whole, add_special_tokens=False).input_ids)


def _family(folder: Path) -> str:
    quiet()
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except FileNotFoundError:
        raise UserError(
            "missing_component", f"{show(folder)} has no config.json; get the model again"
        ) from None
    except ValueError:
        raise UserError(
            "bad_weights", f"{show(folder)}/config.json is damaged; get the model again"
        ) from None
    family = family_of(config) if isinstance(config, dict) else None
    if family is None or "auto_map" in config:
        raise UserError(
            "unknown_model", f"{show(folder)} is no captioner that is known; give another --model"
        )
    return family


def _guarded(folder: Path, load: Callable[[], Any]) -> Any:
    """What `load()` returns; its errors about the files become UserErrors that name the folder."""
    fault: Exception
    try:
        return load()
    except (UserError, MemoryError):
        raise
    except Exception as error:
        line = show((str(error).strip().splitlines() or [type(error).__name__])[0])[:120]
        fault = meaning(error) or UserError(
            "bad_weights",
            f"{show(folder)}: the model can't be loaded ({line}); get it again",
        )
    raise fault


def quiet() -> None:
    """What transformers says goes nowhere: errors come out as ours."""
    said: Any = transformers.utils.logging
    said.set_verbosity(logging.CRITICAL)
    said.disable_progress_bar()
