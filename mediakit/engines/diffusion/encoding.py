"""How prompts become embeddings, each different one once: weighted, in chunks, or as it is."""

import re
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import torch

from mediakit.engines.diffusion.families import Family
from mediakit.engines.diffusion.prompts import Piece, is_plain, pieces, text_of
from mediakit.engines.diffusion.request import Request

_WEIGHT = re.compile(r"\([^()]*:\s*\d*\.?\d+\s*\)")
_KEPT = 64  # embeddings of SDXL take 0.3 MB each


@dataclass(frozen=True)
class Encoded:
    """Embeddings of one prompt, 1 x tokens x channels, and the pooled one of some families."""

    words: torch.Tensor
    pooled: torch.Tensor | None
    warnings: tuple[str, ...] = ()


class Encoder:
    """The text encoders of one pipeline (`pipe`), and what they said last."""

    def __init__(self, pipe: Any, family: Family) -> None:
        self._pipe = pipe
        self._family = family
        self._kept: OrderedDict[Hashable, Encoded] = OrderedDict()
        self.count = 0  # prompts that were encoded, not found

    def arguments(self, request: Request, guided: bool, adapters: Hashable) -> dict[str, Any]:
        """The pipeline's arguments for the prompts of a request, and "warnings".

        `guided`: the negative prompt is used. `adapters`: what changes the encoders now.
        """
        family = self._family
        if not family.encoded:
            return self._texts(request, guided)
        skip = request.clip_skip or None
        prompt = self._encoded(request.prompt, skip, adapters)
        made: dict[str, Any] = {"prompt_embeds": prompt.words, "warnings": prompt.warnings}
        if prompt.pooled is not None:
            made["pooled_prompt_embeds"] = prompt.pooled
        if guided and family.negative:
            made |= self._negative(request, prompt, adapters)
        return made

    def forget(self) -> None:
        self._kept.clear()

    def _texts(self, request: Request, guided: bool) -> dict[str, Any]:
        text = request.prompt
        made: dict[str, Any] = {"prompt": text, "warnings": (*self._cut(text, 0), *_literal(text))}
        if guided and self._family.negative:
            made["negative_prompt"] = request.negative_prompt or " "
        return made

    def _negative(self, request: Request, prompt: Encoded, adapters: Hashable) -> dict[str, Any]:
        text = request.negative_prompt
        config = self._pipe.config
        if text is None and getattr(config, "force_zeros_for_empty_prompt", False):
            assert prompt.pooled is not None
            words, pooled = torch.zeros_like(prompt.words), torch.zeros_like(prompt.pooled)
            return {"negative_prompt_embeds": words, "negative_pooled_prompt_embeds": pooled}
        # diffusers skips no layers for negative prompts, but with SD 3
        skip = request.clip_skip if self._family.name == "sd3" else None
        negative = self._encoded(text or "", skip or None, adapters)
        length = max(prompt.words.shape[1], negative.words.shape[1])
        made: dict[str, Any] = {
            "prompt_embeds": self._filled(prompt.words, length, adapters),
            "negative_prompt_embeds": self._filled(negative.words, length, adapters),
            "warnings": (*prompt.warnings, *negative.warnings),
        }
        if negative.pooled is not None:
            made["negative_pooled_prompt_embeds"] = negative.pooled
        return made

    def _filled(self, words: torch.Tensor, length: int, adapters: Hashable) -> torch.Tensor:
        """Chunks of nothing, until both prompts are of one length."""
        if words.shape[1] == length:
            return words
        empty = self._encoded("", None, adapters).words
        return torch.cat([words, *([empty] * ((length - words.shape[1]) // empty.shape[1]))], dim=1)

    def _encoded(self, text: str, skip: int | None, adapters: Hashable) -> Encoded:
        key = (text, skip, adapters)
        if key not in self._kept:
            self._kept[key] = self._encode(text, skip)
            self.count += 1
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        return self._kept[key]

    @torch.no_grad()
    def _encode(self, text: str, skip: int | None) -> Encoded:
        family = self._family
        if not family.clip:
            return self._plain(text, skip, (*self._cut(text), *_literal(text)))
        found = pieces(text)
        plain = text_of(found)
        # of SD 1 and 2 diffusers looks for the last norm where transformers had it before 5.6
        can_skip = skip is None or family.name == "sdxl"
        if is_plain(found) and can_skip and not self._is_long(plain):
            return self._plain(plain, skip, ())
        return self._weighted(found, plain, skip)

    def _plain(self, text: str, skip: int | None, warnings: tuple[str, ...]) -> Encoded:
        """As the pipeline itself does it."""
        options: dict[str, Any] = {"prompt": text, "device": self._pipe._execution_device}
        options["num_images_per_prompt"] = 1
        if self._family.name == "sd3":
            options |= {"prompt_2": text, "prompt_3": text}
        elif "flux" in self._family.name or self._family.name == "sdxl":
            options["prompt_2"] = text
        if self._family.negative:
            options |= {"do_classifier_free_guidance": False, "clip_skip": skip}
        made = self._pipe.encode_prompt(**options)
        named = dict(zip(self._family.encoded, made, strict=False))
        return Encoded(named["prompt_embeds"], named.get("pooled_prompt_embeds"), warnings)

    def _weighted(self, found: list[Piece], plain: str, skip: int | None) -> Encoded:
        from mediakit.engines.diffusion.weighting import weighted

        layer = (skip or 0) + (2 if self._family.name == "sdxl" else 1)
        words = [
            weighted(self._pipe, names, found, layer, normed=self._family.name != "sdxl")
            for names in self._family.clip
        ]
        pooled = self._plain(plain, skip, ()).pooled if len(words) > 1 else None
        kept = torch.cat(words, dim=-1)
        return Encoded(kept.to(self._pipe._execution_device), pooled)

    def _is_long(self, text: str) -> bool:
        tokenizer = getattr(self._pipe, self._family.clip[0][1])
        text = self._pipe.maybe_convert_prompt(text, tokenizer)
        return bool(len(tokenizer(text).input_ids) > tokenizer.model_max_length)

    def _cut(self, text: str, ends: int = 1) -> tuple[str, ...]:
        """A warning that quotes what the longest-sighted encoder will not see, which reads `ends`
        marks of the end beside the words."""
        reader = getattr(self._pipe, self._family.reader, None)
        words = self._family.words
        if reader is None:
            reader, words = self._pipe.tokenizer, 77
        ids = reader(text, add_special_tokens=True).input_ids
        if len(ids) <= words:
            return ()
        cut = reader.decode(ids[words - ends :], skip_special_tokens=True).strip()
        return (f'the prompt is longer than the model reads ({words} tokens); cut: "{cut}"',)


def _literal(text: str) -> tuple[str, ...]:
    """A warning for weights that this model's encoders read as text."""
    found = _WEIGHT.search(text)
    return (f"weights do nothing with this model: {found[0]} is read as text",) if found else ()
