"""How the channels of a recording become one, without losing a voice in one of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

# Films have speech in the centre, music and effects elsewhere; LFE is rumble. Channels without a
# name count alike.
_WEIGHTS = {"FC": 1.0, "FL": 0.5, "FR": 0.5, "LFE": 0.0, "LFE2": 0.0}
_OTHERS = 0.25
_UNNAMED = "NONE"
# The mix's share of the loudest channel's power below which that channel is taken instead, and
# above which the mix is taken again: a voice in one of two channels has 0.25 of its power in the
# mix, one in both with opposite signs nothing.
_LOST, _FOUND = 0.03, 0.12
_LOUDER = 4.0  # in power, before another channel is taken in its place
_SILENCE = 1e-10  # in power: -100 dB
_MEMORY = 3.0  # seconds after which what was heard counts a third


class Downmix:
    """Mixes blocks of one recording, one after the other; `names` are ffmpeg's, such as FL; `rate`
    is in Hz."""

    def __init__(self, names: Sequence[str], rate: int) -> None:
        if _UNNAMED in names or not set(names) & set(_WEIGHTS):
            weights = np.ones(len(names), np.float32)
        else:
            weights = np.array([_WEIGHTS.get(name, _OTHERS) for name in names], np.float32)
        if not weights.any():
            weights[:] = 1
        self._heard = weights > 0
        self._weights: Samples = weights / weights.sum()
        self._alone: int | None = None  # the channel that is taken instead of the mix
        self._memory = _MEMORY * rate
        self._power = self._mixed = 0.0  # of the loudest channels, and of the mix

    def __call__(self, channels: Samples) -> Samples:
        """C x N -> N; a weighted mean, which can't clip, or one channel as it is."""
        if len(channels) == 1:
            only: Samples = channels[0]
            return only
        mixed: Samples = self._weights @ channels
        self._hear(channels, mixed)
        taken: Samples = mixed if self._alone is None else channels[self._alone]
        return taken

    def _hear(self, channels: Samples, mixed: Samples) -> None:
        """Choose at once where a voice would be lost; go back to the mix when that has long been
        heard well."""
        power = np.array([float(each @ each) for each in channels]) * self._heard
        loudest, share = int(power.argmax()), float(mixed @ mixed)
        if power[loudest] <= _SILENCE * len(mixed):
            return
        kept = np.exp(-len(mixed) / self._memory)
        self._power = self._power * kept + power[loudest]
        self._mixed = self._mixed * kept + share
        misses = self._alone is None or power[loudest] > _LOUDER * power[self._alone]
        if share < _LOST * power[loudest]:
            self._alone = loudest if misses else self._alone
        elif misses or self._mixed > _FOUND * self._power:
            self._alone = None
