"""All tokens and their logits, as llama.cpp's samplers take them."""

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mediakit.engines.llama.native import native

# one token's llama_token_data
CANDIDATE = np.dtype([("id", np.int32), ("logit", np.float32), ("p", np.float32)])


class Candidates:
    """Every token with its logit, in the form that samplers take."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._tokens = np.arange(count, dtype=np.int32)
        self._rows = np.zeros(count, CANDIDATE)
        self._array: Any = native.llama_token_data_array()

    def fill(self, logits: NDArray[np.float32]) -> None:
        self._rows["id"] = self._tokens
        self._rows["logit"] = logits
        self._begin(len(logits))

    def single(self, token: int) -> None:
        """That token alone."""
        self._rows[0] = (token, 1.0, 0.0)
        self._begin(1)

    def apply(self, sampler: Any) -> None:
        native.llama_sampler_apply(sampler, ctypes.byref(self._array))

    @property
    def possible(self) -> bool:
        """Whether a token is left that may come."""
        return bool(self._rows["logit"][: self._array.size].max() > -np.inf)

    @property
    def selected(self) -> int:
        return int(self._rows["id"][self._array.selected])

    def _begin(self, size: int) -> None:
        array = self._array
        array.data = self._rows.ctypes.data_as(native.llama_token_data_p)
        array.size, array.selected, array.sorted = size, -1, False
