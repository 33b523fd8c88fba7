"""How weighted and long prompts are encoded by a CLIP encoder: compel, given pieces and weights.

compel's own syntax is not used (it reads `(red:1.3)` as literal text), only its arithmetic.
"""

from typing import Any

import torch
from compel.embeddings_provider import (  # type: ignore[import-untyped]
    EmbeddingsProvider,
    SplitLongTextMode,
)

from mediakit.engines.diffusion.prompts import Piece


class _Provider(EmbeddingsProvider):  # type: ignore[misc]
    """compel's, reading whatever layer is asked for; its own knows the last and the last but one,
    and looks for the last norm where transformers had it before 5.6."""

    layer = 1  # from the end
    normed = True

    def _encode_token_ids_to_embeddings(
        self, token_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        encoder = self.text_encoder
        last = self.layer == 1 and self.normed
        made = encoder(token_ids, attention_mask, output_hidden_states=not last, return_dict=True)
        if last:
            words: torch.Tensor = made.last_hidden_state
            return words
        words = made.hidden_states[-self.layer]
        if self.normed:
            inner: Any = getattr(encoder, "text_model", encoder)
            words = inner.final_layer_norm(words)
        return words


def weighted(
    pipe: Any, names: tuple[str, str], found: list[Piece], layer: int, normed: bool
) -> torch.Tensor:
    """1 x (77 * chunks) x channels. `layer`: 1 is the last; `normed`: with the last norm, as
    SD 1 and 2 have it."""
    encoder, tokenizer = (getattr(pipe, name) for name in names)
    provider = _Provider(
        tokenizer,
        encoder,
        _Vectors(tokenizer),
        truncate=False,
        device=pipe._execution_device,
        split_long_text_mode=SplitLongTextMode.PHRASES,
    )
    provider.layer, provider.normed = layer, normed
    texts = [piece.text for piece in found]
    weights = [max(0.0, piece.weight) for piece in found]
    made: torch.Tensor = provider.get_embeddings_for_weighted_prompt_fragments(
        [texts], [weights], device=pipe._execution_device
    )
    return made


class _Vectors:
    """A textual inversion of several vectors is one word of the prompt and several tokens."""

    def __init__(self, tokenizer: Any) -> None:
        added = tokenizer.added_tokens_encoder
        self._more = {
            number: [added[f"{word}_{i}"] for i in range(1, len(added)) if f"{word}_{i}" in added]
            for word, number in added.items()
        }

    def expand_textual_inversion_token_ids_if_necessary(self, token_ids: list[int]) -> list[int]:
        return [one for number in token_ids for one in (number, *self._more.get(number, ()))]
