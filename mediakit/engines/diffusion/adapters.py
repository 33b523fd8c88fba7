"""Which LoRAs and textual inversions a loaded model has on: those of one item, and then no more."""

import copy
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from mediakit.engines.diffusion.families import Family
from mediakit.engines.diffusion.request import Active, Embedding, Lora
from mediakit.engines.faults import meaning
from mediakit.engines.weights import read_weights
from mediakit.errors import ItemError, UserError, show

NONE: Active = ((), ())


class Adapters:
    """The adapters of one pipeline's nets; `active` says which."""

    def __init__(self, pipe: Any, family: Family, name: str) -> None:
        self._pipe = pipe
        self._family = family
        self._name = name
        self._undo: list[Callable[[], None]] = []
        self.active: Active = NONE

    def use(self, wanted: Active) -> None:
        """Have these on, and no others. ItemError wrong_lora, or unknown_model, bad_weights and
        unsafe_weights of their files: then nothing is on."""
        if wanted == self.active:
            return
        self.clear()
        try:
            loras, embeddings = wanted
            self._add_loras(loras)
            for embedding in embeddings:
                self._add_embedding(embedding)
            self.active = wanted
        finally:
            if self.active != wanted:
                self.clear()

    def clear(self) -> None:
        """The model as it was loaded, bit for bit."""
        while self._undo:
            self._undo.pop()()
        self.active = NONE

    def _add_loras(self, loras: tuple[Lora, ...]) -> None:
        if not loras:
            return
        if not hasattr(self._pipe, "load_lora_weights"):
            raise self._wrong(loras[0].path, "the model takes no LoRA")
        self._undo.append(self._pipe.unload_lora_weights)
        # several at once are meant; their keys are counted below
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")
        warnings.filterwarnings("ignore", message="Found missing adapter keys")
        names = [f"lora{i}" for i in range(len(loras))]
        for name, lora in zip(names, loras, strict=True):
            self._add_lora(name, lora.path)
        self._pipe.set_adapters(names, [lora.weight for lora in loras])

    def _add_lora(self, name: str, path: Path) -> None:
        state = _read(path)
        pairs = sum(_is_down(key) for key in state)
        if not pairs:
            raise self._wrong(path, "it holds no LoRA")
        fault: Exception | None = None
        try:
            self._pipe.load_lora_weights(dict(state), adapter_name=name)
        except Exception as error:  # names and shapes of other nets: whatever diffusers stumbles on
            fault = meaning(error) or self._wrong(path, _line(error))
        if fault is not None:
            raise fault
        found = sum(_layers(part, name) for part in self._nets())
        if found < pairs:  # text encoder's and net's, of one name each
            raise self._wrong(path, f"{pairs - found} of its {pairs} layers are of other nets")

    def _nets(self) -> list[torch.nn.Module]:
        return [c for c in self._pipe.components.values() if isinstance(c, torch.nn.Module)]

    def _add_embedding(self, embedding: Embedding) -> None:
        path = embedding.path
        vectors = _vectors(_read(path))
        for encoder_name, tokenizer_name in self._family.clip:
            encoder = getattr(self._pipe, encoder_name)
            width = encoder.get_input_embeddings().weight.shape[1]
            fitting = [value for value in vectors if value.shape[1] == width]
            if len(fitting) != 1:
                widths = ", ".join(str(value.shape[1]) for value in vectors) or "no"
                raise self._wrong(path, f"it has {widths} channels, the text encoder {width}")
            tokenizer = copy.deepcopy(getattr(self._pipe, tokenizer_name))
            self._swap(tokenizer_name, tokenizer)
            self._extend(encoder, tokenizer, embedding.word or path.stem, fitting[0])

    def _swap(self, name: str, tokenizer: Any) -> None:
        before = getattr(self._pipe, name)
        setattr(self._pipe, name, tokenizer)
        self._undo.append(lambda: setattr(self._pipe, name, before))

    def _extend(self, encoder: Any, tokenizer: Any, word: str, vectors: torch.Tensor) -> None:
        """New words `word`, `word_1`, ...: one a vector, after all others."""
        words = [word, *(f"{word}_{i}" for i in range(1, len(vectors)))]
        if not tokenizer.get_vocab().keys().isdisjoint(words):
            raise ItemError(
                "wrong_lora", f"{show(word)} is a word of the model already; rename the file"
            )
        tokenizer.add_tokens(words)
        before = encoder.get_input_embeddings()
        ids = tokenizer.convert_tokens_to_ids(words)
        old = before.weight
        weight = old.new_zeros(max(len(old), max(ids) + 1), old.shape[1])
        weight[: len(old)] = old.detach()
        weight[ids] = vectors.to(old)
        after = torch.nn.Embedding(len(weight), weight.shape[1], _weight=weight)
        after.requires_grad_(False)
        encoder.set_input_embeddings(after)
        self._undo.append(lambda: encoder.set_input_embeddings(before))

    def _wrong(self, path: Path, reason: str) -> ItemError:
        return ItemError(
            "wrong_lora",
            f"{show(path)} can't be used with {self._name} ({self._family.name}): {reason}; "
            "take one that was made for this family",
        )


def _read(path: Path) -> dict[str, Any]:
    try:
        return read_weights(path)
    except UserError as error:  # it is this item's file
        raise ItemError(error.code, error.message) from None


def _is_down(key: str) -> bool:
    return ".lora_down." in key or ".lora_A." in key or key.endswith(".lora.down.weight")


def _layers(net: torch.nn.Module, name: str) -> int:
    return sum(name in getattr(module, "lora_A", ()) for module in net.modules())


def _vectors(state: Mapping[str, Any]) -> list[torch.Tensor]:
    """Tokens x channels for each text encoder: the forms of A1111 (.pt), diffusers, and of XL."""
    inner = state.get("string_to_param", state)
    found = [value for value in inner.values() if isinstance(value, torch.Tensor)]
    return [value.reshape(-1, value.shape[-1]) for value in found if value.dim() in (1, 2)]


def _line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return show(lines[1] if len(lines) > 1 and lines[0].startswith("Error(s)") else lines[0])[:160]
