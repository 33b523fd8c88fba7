"""Which tasks there are."""

from collections.abc import Iterator, Mapping
from importlib import import_module

from mediakit.batch.task import Task

# name -> "module:class"; a task is imported when it is needed
_TASKS = {
    "caption": "mediakit.tasks.caption:CaptionTask",
    "chat": "mediakit.tasks.chat:Chat",
    "fixface": "mediakit.tasks.fixface:FixFace",
    "generate": "mediakit.tasks.generate:Generate",
    "img2img": "mediakit.tasks.img2img:Img2Img",
    "inpaint": "mediakit.tasks.inpaint:Inpaint",
    "transcribe": "mediakit.tasks.transcribe:Transcribe",
    "upscale": "mediakit.tasks.upscale:Upscale",
}


def names() -> list[str]:
    return list(_TASKS)


def task(name: str) -> type[Task]:
    module, _, attribute = _TASKS[name].partition(":")
    found: type[Task] = getattr(import_module(module), attribute)
    return found


class _Tasks(Mapping[str, type[Task]]):
    def __getitem__(self, name: str) -> type[Task]:
        return task(name)

    def __contains__(self, name: object) -> bool:
        return name in _TASKS

    def __iter__(self) -> Iterator[str]:
        return iter(_TASKS)

    def __len__(self) -> int:
        return len(_TASKS)


def tasks() -> Mapping[str, type[Task]]:
    """All tasks; presets are checked against them. Each is imported when it is looked up."""
    return _Tasks()
