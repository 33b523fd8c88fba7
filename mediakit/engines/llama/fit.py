"""How a language model is to lie in memory."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fit:
    """`device` is cpu, or one of `devices.names()`. `gpu_layers` None: as many as fit there.
    `context_length` in tokens; None: see memory.context_length. `sequences`: answers at once."""

    device: str
    threads: int
    gpu_layers: int | None = None
    context_length: int | None = None
    sequences: int = 1
