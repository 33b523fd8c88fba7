"""Which tasks there are."""

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


def tasks() -> dict[str, type[Task]]:
    """All tasks; presets are checked against them."""
    return {name: task(name) for name in _TASKS}
