"""How any of the networks is trained: optimizers, schedule, averaged weights, checkpoints, log."""

import os
import time
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from .muon import Muon

_ENDS = ("conv_in", "conv_out", "quant_conv")
_EMBEDDINGS = ("embedding", "embedding.weight", "embeddings.weight")
WARM_UP = 50  # steps
STEADY = 0.2  # the part of all steps after which the learning rate falls, to 0 at the end


class Run:
    """One training of `steps` steps over `nets`, that goes on from its checkpoint in `folder`.

    Weights of inner matrices and convolutions go to Muon, all else (biases, norms, embeddings,
    first and last layers) to AdamW, at a fifth of Muon's `rate`. A stopped process loses at most
    `every` steps.
    """

    def __init__(
        self, folder: Path, nets: dict[str, nn.Module], steps: int, every: int, rate: float = 1e-2
    ) -> None:
        self.folder, self.nets, self.steps, self.every = folder, nets, steps, every
        self.step = 0
        self._seconds = 0.0
        self._started = time.monotonic()
        named = [(n, p) for net in nets.values() for n, p in net.named_parameters()]
        self._params = [p for _, p in named]
        inner = [p for n, p in named if p.ndim > 1 and not _outer(n)]
        chosen = {id(p) for p in inner}
        outer = [p for p in self._params if id(p) not in chosen]
        self._optimizers: list[tuple[torch.optim.Optimizer, float]] = [
            (Muon(inner, lr=0), rate),
            (torch.optim.AdamW(outer, lr=0, betas=(0.9, 0.98), weight_decay=0), rate / 5),
        ]
        self._average = [p.detach().clone() for p in self._params]
        folder.mkdir(parents=True, exist_ok=True)
        if self._file.exists():
            self._load()

    @property
    def _file(self) -> Path:
        return self.folder / "checkpoint.pt"

    def update(self, loss: Tensor) -> None:
        """One step down the gradient of `loss`; saves now and then."""
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self._params, 1.0)
        part = self.step / self.steps
        factor = min(1, (self.step + 1) / WARM_UP) * min(1, (1 - part) / (1 - STEADY))
        for optimizer, rate in self._optimizers:
            optimizer.param_groups[0]["lr"] = rate * factor
            optimizer.step()
            optimizer.zero_grad()
        self.step += 1
        decay = min(0.99, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            torch._foreach_lerp_(self._average, [p.detach() for p in self._params], 1 - decay)
        if self.step % self.every == 0 or self.step == self.steps:
            self.save()

    def averaged(self) -> "Averaged":
        """A context in which the networks hold their averaged weights."""
        return Averaged(self._params, self._average)

    def log(self, words: str) -> None:
        """A line for the terminal and for the folder's log.txt."""
        seconds = self._seconds + time.monotonic() - self._started
        line = f"step {self.step} of {self.steps}, {seconds:.0f} s: {words}"
        print(line, flush=True)
        with (self.folder / "log.txt").open("a") as file:
            file.write(line + "\n")

    def save(self) -> None:
        """Replace the checkpoint, whole or not at all."""
        part = self._file.with_suffix(".part")
        state = {
            "step": self.step,
            "seconds": self._seconds + time.monotonic() - self._started,
            "params": [p.detach() for p in self._params],
            "average": self._average,
            "optimizers": [optimizer.state_dict() for optimizer, _ in self._optimizers],
            "random": torch.get_rng_state(),
        }
        torch.save(state, part)
        os.replace(part, self._file)

    def _load(self) -> None:
        state = torch.load(self._file, map_location="cpu", weights_only=True)
        self.step, self._seconds = state["step"], state["seconds"]
        _copy(state["params"], self._params)
        _copy(state["average"], self._average)
        for (optimizer, _), saved in zip(self._optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        torch.set_rng_state(state["random"])


class Averaged:
    """Swaps averaged weights in, and the trained ones back on the way out."""

    def __init__(self, params: list[Tensor], average: list[Tensor]) -> None:
        self._params, self._average = params, average

    def __enter__(self) -> None:
        self._kept = [p.detach().clone() for p in self._params]
        _copy(self._average, self._params)

    def __exit__(self, *_: object) -> None:
        _copy(self._kept, self._params)


@torch.no_grad()
def _copy(sources: Iterable[Tensor], targets: Iterable[Tensor]) -> None:
    for source, target in zip(sources, targets, strict=True):
        target.copy_(source)


def _outer(name: str) -> bool:
    """Whether AdamW suits this weight better (Muon's authors' rule)."""
    return name.endswith(_EMBEDDINGS) or any(part in name for part in _ENDS)


def device() -> torch.device:
    """The GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
