"""A loaded diffusion model: requests in, pictures out, whatever the task."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from mediakit.device import empty_cache
from mediakit.engines.diffusion.adapters import Adapters
from mediakit.engines.diffusion.batching import alike, joined, keeps
from mediakit.engines.diffusion.encoding import Encoder
from mediakit.engines.diffusion.memory import Memory, nbytes
from mediakit.engines.diffusion.pipelines import build, class_of
from mediakit.engines.diffusion.probe import Model
from mediakit.engines.diffusion.request import (
    IMG2IMG,
    INPAINT,
    TEXT2IMG,
    Made,
    Picture,
    Request,
)
from mediakit.engines.diffusion.schedulers import settings
from mediakit.engines.faults import meaning
from mediakit.errors import ItemError

_TO_PICTURE = {"output_type": "np"}

Emit = Callable[[float], None]


@dataclass(frozen=True)
class Place:
    """How a model is to be computed."""

    device: str
    dtype: str
    threads: int
    exact: bool
    compile: bool = False


class Diffusion:
    """A loaded model; one thread at a time may use it."""

    def __init__(self, model: Model, parts: dict[str, Any], place: Place) -> None:
        self.model = model
        self.device, self.dtype = place.device, place.dtype
        self.threads, self.exact = place.threads, place.exact
        self._parts = parts
        self._pipes: dict[str, Any] = {}
        home = self._pipe(TEXT2IMG if TEXT2IMG in model.tasks else INPAINT)
        self.nbytes = nbytes(home)
        self._net = getattr(home, model.family.net)
        if not self.exact and model.family.net == "unet" and self.device != "mps":
            self._net.to(memory_format=torch.channels_last)
            home.vae.to(memory_format=torch.channels_last)
        self._memory = Memory(home, self.device, self.exact)
        self._memory.place()
        if place.compile:
            self._net.compile_repeated_blocks(fullgraph=True)
        self.adapters = Adapters(home, model.family, model.name)
        self.encoder = Encoder(home, model.family)
        self._own_scheduler = home.scheduler

    @property
    def native(self) -> int:
        return self.model.native

    @property
    def multiple(self) -> int:
        return self.model.multiple

    @property
    def offload(self) -> str:
        """none, model (one part on the device at a time) or group (layers)."""
        return self._memory.offload

    def check(self, request: Request) -> None:
        """ItemError for what the model can't do; see `Model.check`."""
        self.model.check(request)

    def run(self, requests: Sequence[Request], emit: Emit = lambda share: None) -> list[Made]:
        """A picture, or what was wrong with it, for each request, in order.

        Requests alike in everything but prompt, seed and pictures are computed at once, unless
        `exact`. `emit` gets the share done after each step; what it raises passes. Raises
        ItemError of `check` and wrong_lora before the first step, OutOfMemory,
        PlaceError(device_lost).
        """
        for request in requests:
            self.check(request)
        fault: Exception | None = None
        try:
            return self._run(requests, emit)
        except Exception as error:
            fault = meaning(error)
            if fault is None:
                raise
        finally:
            self._memory.rest()
        raise fault

    def step_down(self) -> str | None:
        """Need less memory from now on; how, or None when there is no smaller way."""
        return self._memory.step_down()

    def close(self) -> None:
        """Give the memory back; the model is of no use after."""
        self.adapters.clear()
        self.encoder.forget()
        self._parts.clear()
        for name in ("_pipes", "_memory", "_net", "adapters", "encoder", "_own_scheduler"):
            delattr(self, name)
        empty_cache(self.device)

    def _run(self, requests: Sequence[Request], emit: Emit) -> list[Made]:
        if torch.get_num_threads() != self.threads:  # OpenMP counts for each calling thread
            torch.set_num_threads(self.threads)
        made: dict[int, Made] = {}
        for i, request in enumerate(requests):
            kept = keeps(request, self.model.family.flow)
            if kept is not None:
                made[i] = kept
        waiting = [i for i in range(len(requests)) if i not in made]
        total = len(waiting)
        while waiting:  # those of the first one's adapters: they are put on once
            adapters = requests[waiting[0]].adapters
            self.adapters.use(adapters)
            now = [i for i in waiting if requests[i].adapters == adapters]
            waiting = [i for i in waiting if i not in now]
            for group in self._groups([(i, requests[i]) for i in now]):
                done = sum(i in made for i in range(len(requests))) - (len(requests) - total)
                size = len(group)

                def step(share: float, done: int = done, size: int = size) -> None:
                    emit((done + share * size) / total)

                pictures = self._compute([r for _, r, _ in group], [s for _, _, s in group], step)
                made |= zip([i for i, _, _ in group], pictures, strict=True)
        return [made[i] for i in range(len(requests))]

    def _groups(
        self, requests: list[tuple[int, Request]]
    ) -> list[list[tuple[int, Request, dict[str, Any]]]]:
        """Requests that can be computed at once, with the arguments of their prompts."""
        groups: dict[Any, list[tuple[int, Request, dict[str, Any]]]] = {}
        for i, request in requests:
            said = self.encoder.arguments(request, self._guided(request), request.adapters)
            key: Any = i if self.exact else alike(request, said)
            groups.setdefault(key, []).append((i, request, said))
        return list(groups.values())

    def _guided(self, request: Request) -> bool:
        """Whether classifier-free guidance is computed: twice the work of a step."""
        return request.guidance_scale > 1 and not self.model.embedded and self.model.guided

    def _compute(
        self, requests: list[Request], said: list[dict[str, Any]], emit: Emit
    ) -> list[Made]:
        one = requests[0]
        self._memory.prepare(one.height, one.width, len(requests))
        task = one.task if one.task != IMG2IMG or one.strength < 1 else TEXT2IMG
        pipe = self._pipe(task)
        pipe.scheduler = self._scheduler(one.scheduler)
        arguments = self._arguments(one, task) | joined(said) | _TO_PICTURE
        arguments["generator"] = [torch.Generator().manual_seed(r.seed) for r in requests]
        if task != TEXT2IMG:
            arguments["image"] = [Image.fromarray(r.image) for r in requests if r.image is not None]
        if task == INPAINT:
            arguments["mask_image"] = [
                Image.fromarray(r.mask) for r in requests if r.mask is not None
            ]

        def after(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            emit((step + 1) / pipe.num_timesteps)
            return {}

        arguments["callback_on_step_end"] = after
        known = inspect.signature(pipe.__call__).parameters
        # in place of diffusers' no_grad: autograd counts nothing
        with torch.inference_mode(self.device == "cpu"):
            images = pipe(**{k: v for k, v in arguments.items() if k in known}).images
        notes = [s["warnings"] for s in said]
        return [self._picture(image, note) for image, note in zip(images, notes, strict=True)]

    def _arguments(self, request: Request, task: str) -> dict[str, Any]:
        """Of the pipeline, but for prompts, pictures and generators."""
        made: dict[str, Any] = {
            "num_inference_steps": request.steps,
            "width": request.width,
            "height": request.height,
            **self.model.family.always,
        }
        if task != TEXT2IMG:
            made["strength"] = request.strength
        if request.eta is not None:
            made["eta"] = request.eta
        made[self.model.family.guidance or "guidance_scale"] = request.guidance_scale
        if not self._guided(request):  # Z-Image counts from 0, and the others stop at 1
            made |= self.model.family.unguided
        return made

    def _picture(self, image: np.ndarray[Any, Any], notes: tuple[str, ...]) -> Made:
        """0 ... 1 to uint8, rounded as diffusers does it for PIL."""
        if not np.isfinite(image).all():
            cure = "" if self.dtype == "float32" else "; compute in --dtype float32"
            return ItemError("bad_picture", f"{self.model.name} made no numbers{cure}")
        pixels = (image * 255).round().astype(np.uint8)
        if not pixels.any():
            return ItemError(
                "bad_picture", f"{self.model.name} made a black picture; take another seed or dtype"
            )
        return Picture(pixels, notes)

    def _scheduler(self, name: str | None) -> Any:
        """A fresh one: they remember the picture before."""
        own = self._own_scheduler
        if name is None:
            return type(own).from_config(own.config)
        kind, config = settings(dict(own.config), name, self.model.family.flow)
        return class_of(kind).from_config(config)

    def _pipe(self, task: str) -> Any:
        """The pipeline of a task, over the parts that all of them share."""
        if task not in self._pipes:
            self._pipes[task] = build(self.model.family.pipelines[task], self._parts)
        return self._pipes[task]
