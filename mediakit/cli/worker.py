"""A command's task, ready to work; and what it begins before its batch is planned."""

from contextlib import suppress
from pathlib import Path

from mediakit import device
from mediakit.batch.recipes import Job, Recipes
from mediakit.batch.task import Task
from mediakit.cli.options import Given
from mediakit.errors import MediakitError
from mediakit.models import trust
from mediakit.models.cache import ModelCache
from mediakit.models.store import Store
from mediakit.params import Execution


def begin(task: type[Task], given: Given, arguments: list[str]) -> Task:
    """The task, which loads its model already if that is here and will be needed, unless something
    turns out to be wrong."""
    worker = task(given.execution, Store(offline=given.batch.offline), new_cache(given.execution))
    if _is_asked(task, given, arguments):
        store = worker.store
        job = Job(task, given.params, given.given, given.batch)
        with suppress(MediakitError, ImportError):  # the batch says it in its turn
            recipe = Recipes(job, lambda spec: trust.fill(spec, store.root)).of()
            if all(map(store.path, recipe.models.values())):
                worker.get_ready(recipe)
    return worker


def new_cache(execution: Execution) -> ModelCache:
    return ModelCache(execution.memory_budget, device.free_memory, device.empty_cache)


def _is_asked(task: type[Task], given: Given, arguments: list[str]) -> bool:
    """Whether there are prompts that are answered on standard output: no earlier answer can stand
    for theirs, and they name no other model, as rows may."""
    batch = given.batch
    if not (task.takes_text and task.prints) or batch.dry_run or batch.beside or batch.shard:
        return False
    if batch.out not in (None, Path("-")):
        return False
    listed = batch.list_file
    if listed:
        return listed.suffix.lower() == ".txt" and listed.is_file()
    return bool(arguments) and arguments != ["-"]
