"""Forks a mediakit process, with the toy task, for each line of JSON on standard input.

`{"args", "folder", "environment"}` starts one, STDIN, STDOUT and STDERR of whose environment are
files, and is answered with its process id; `{"wait": PID}` with its exit status, negative for a
signal.
Forked, since starting Python and importing takes ten times as long as the run. The environment
variable KILL_AT=N makes the process kill itself at the N-th step of writing, FILE_LIMIT=N limits
the bytes of any file, and USER=N makes root that user.
"""

import importlib.metadata  # noqa: F401  (pydantic's, late: as USER it may be unreadable)
import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

from mediakit.cli import app
from mediakit.tasks import registry

KILL_POINTS = (
    "fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir", "open", "ftruncate", "utime",
)  # fmt: skip


def register() -> None:
    registry._TASKS["toy"] = "toys.task:Toy"
    app.TASKS["toy"] = app.COMMANDS["toy"] = ("mediakit.cli.tasks", "Text in, capitals out.")


def kill_at(number: int) -> None:
    """Die before the `number`-th call that changes the disk, or in the middle if it is a write."""
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def before(function: Any) -> Any:
        def call(*args: Any, **named: Any) -> Any:
            step()
            return function(*args, **named)

        return call

    def write(fd: int, data: bytes) -> int:
        step()
        half = len(data) // 2
        written = real_write(fd, data[:half])
        step()
        return written + real_write(fd, data[half:])

    real_write, os.write = os.write, write
    for name in KILL_POINTS:
        setattr(os, name, before(getattr(os, name)))


def become(args: list[str], folder: str, environment: dict[str, str]) -> NoReturn:
    """Be that command from here on."""
    os.chdir(folder)
    os.environ.update(environment)
    for fd, name, flags in (
        (0, environment.get("STDIN", "/dev/null"), os.O_RDONLY),
        (1, environment["STDOUT"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        (2, environment["STDERR"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    ):
        opened = os.open(name, flags, 0o666)
        os.dup2(opened, fd)
        os.close(opened)
    if "FILE_LIMIT" in environment:
        limit = int(environment["FILE_LIMIT"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if "USER" in environment and os.geteuid() == 0:
        os.setgroups([])
        os.setgid(int(environment["USER"]))
        os.setuid(int(environment["USER"]))
    if "KILL_AT" in environment:
        kill_at(int(environment["KILL_AT"]))
    sys.exit(app.run(args))


def main() -> None:
    import mediakit.cli.batch  # once, for all
    import mediakit.cli.tasks
    import toys.task

    assert mediakit.cli.batch and mediakit.cli.tasks and toys.task
    register()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            _, status = os.waitpid(request["wait"], 0)
            answer = os.waitstatus_to_exitcode(status)
        else:
            answer = os.fork()
            if not answer:
                become(request["args"], request["folder"], request["environment"])
        print(answer, flush=True)  # noqa: T201


if __name__ == "__main__":
    if len(sys.argv) > 1:  # one process of its own
        register()
        sys.exit(app.run(sys.argv[1:]))
    main()
