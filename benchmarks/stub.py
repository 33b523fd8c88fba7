"""Tasks without a model, run as the command line runs a task."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mediakit.batch.task import Task
from mediakit.cli.batch import run
from mediakit.cli.options import Given
from mediakit.cli.worker import begin
from mediakit.params import Batch, Execution, Params


class Stub(Task):
    """What every task must say, and a stub has nothing to say about."""

    summary = "A stub."
    Params = Params
    Execution = Execution
    extra = "none"
    packages = ()

    @classmethod
    def model_names(cls, params: Any) -> Mapping[str, str]:
        return {}

    @classmethod
    def suffix(cls, name: str, params: Any) -> str:
        return min(cls.suffixes)

    def begin(self) -> None:
        pass

    def used(self) -> Mapping[str, Any]:
        return {}

    def step_down(self) -> str | None:
        return None


def work(task: type[Task], params: Params, folder: Path, out: Path) -> int:
    """The exit status of one command: all inputs of `folder`, made into `out`."""
    given = Given(params, task.Execution(), Batch(out=out), {})
    return run(begin(task, given, []), given, [str(folder)])
