"""How a download is shown on a terminal."""

from collections.abc import Callable
from typing import Any

from mediakit.errors import show


class Bar:
    """A line for each file that is being fetched: share, bytes, rate and time left."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._lines: dict[str, Any] = {}
        self._progress.start()

    def show(self, what: str, done: int, total: int | None) -> None:
        """A store's progress; what has come by the first call was here already."""
        if what not in self._lines:
            self._lines[what] = self._progress.add_task(show(what), total=total, completed=done)
        visible = total is None or done < total
        self._progress.update(self._lines[what], completed=done, total=total, visible=visible)

    def above(self, line: str) -> None:
        """One line that stays, above the bars."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()


class Lines:
    """Where there is no terminal: one line for each file, when it begins to come."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._said: set[str] = set()

    def show(self, what: str, done: int, total: int | None) -> None:
        if (done or total) and what not in self._said:
            self._said.add(what)
            if total is None or done < total:
                size = f" ({bytes_of(total)})" if total else ""
                self._say(f"fetching {show(what)}{size}")


def bytes_of(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
