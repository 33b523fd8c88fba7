"""What a person and a pipe see of a running batch: results on stdout, all else on stderr."""

import contextlib
import errno
import os
import re
import select
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mediakit.batch.events import Event, Fetching, Finished, Note, Piece, Planned, Progress
from mediakit.batch.record import to_json
from mediakit.batch.stop import Stop
from mediakit.cli.fetching import Lines
from mediakit.errors import ExitStatus, show
from mediakit.params import Batch

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
POLL = 0.1  # seconds between looks at `stop` while nobody reads standard output
MOST_WARNINGS = 20  # that are shown without -v
PATIENCE = 1.0  # seconds that a reader has, once the batch is to stop
WORDS = {"done": "done", "planned": "planned", "skipped": "up to date", "failed": "failed"}


class Renderer:
    """Takes a batch's events; may be called from any thread."""

    def __init__(
        self,
        command: str,
        batch: Batch,
        stop: Stop,
        streams: bool = False,
        resumes: bool = False,
    ) -> None:
        """`streams`: show a text on the terminal as it is made; `resumes`: what is done is known
        to the next run."""
        self.command = command
        self.batch = batch
        self.stop = stop
        self.counts: Counter[str] = Counter()
        # as the user has waited: until now, the process did nothing but compute
        self._began = time.monotonic() - time.process_time()
        self._resumes = resumes
        self._warned = 0
        self._lock = threading.Lock()
        self._broken = False
        self._streams = streams and sys.stdout.isatty() and not batch.json_lines
        self._shown = ""  # the last character of a text that is being shown
        self._bar = None if batch.quiet or batch.no_progress or not on_terminal() else Bar()
        silent = batch.quiet or batch.no_progress or batch.json_lines
        self._lines = None if silent or self._bar else Lines(self.say)

    def __call__(self, event: Event) -> None:
        with self._lock:
            match event:
                case Finished():
                    self._finished(event)
                case Note() if event.error or not (self.batch.quiet or event.level):
                    self.say(event.text)
                case Note() if self.batch.verbose:
                    self.say(event.text.rstrip("\n"))
                case Piece() if self._streams:
                    self._show(event.text)
                case Planned() | Progress() | Fetching() if self._bar:
                    self._bar.show(event)
                case Fetching() if self._lines:
                    self._lines.show(event.file, event.done, event.total)

    def _finished(self, event: Finished) -> None:
        self.counts[event.status] += 1
        if self._bar:
            self._bar.show(event)
        shown, self._shown = self._shown, ""
        if shown not in ("", "\n"):
            self._write(b"\n")
        if event.error:
            self.say(f"{show(event.error.message)} [{event.error.code}]")
        for warning in event.record["warnings"] if event.record else ():
            self._warn(f"{event.item.source.called}: {warning}")
        if event.data is not None:
            self._write(b"" if shown else _harmless(event.data))
        elif self.batch.json_lines:
            if event.record is not None:
                self._write(to_json(event.record) + b"\n")
        elif event.status in ("done", "planned") and event.item.output:
            self._write(os.fsencode(event.item.output) + b"\n")

    def _warn(self, text: str) -> None:
        self._warned += 1
        if self.batch.verbose or (self._warned <= MOST_WARNINGS and not self.batch.quiet):
            self.say(text)

    def _show(self, piece: str) -> None:
        self.quiet_close()
        self._write(printable(piece).encode("utf-8", "replace"))
        self._shown = piece[-1:] or self._shown

    def wrote(self, path: Path) -> None:
        """A result that is no item's."""
        if not self.batch.json_lines:
            self._write(os.fsencode(f"{path}\n"))

    def say(self, text: str) -> None:
        """One line on standard error, above the bar if there is one."""
        line = f"mediakit {self.command}: {text}"
        if self._bar:
            self._bar.above(line)
        else:
            # unbuffered, and a full disk under a log costs no picture
            with contextlib.suppress(OSError):
                os.write(2, f"{line}\n".encode("utf-8", "backslashreplace"))

    def _write(self, data: bytes) -> None:
        """To standard output, unbuffered: a pipe sees each result when it is there."""
        if self._broken:
            return
        if self._bar and sys.stdout.isatty():
            self._bar.above(os.fsdecode(data.rstrip(b"\n")))
            return
        try:
            self._broken = not self._write_all(memoryview(data))
        except OSError as e:
            self._broken = True
            if isinstance(e, BrokenPipeError):
                self.stop.set(ExitStatus.BROKEN_PIPE)
            else:
                self.stop.set(ExitStatus.FAILED)
                code = "disk_full" if e.errno in FULL else "unwritable"
                self.say(f"standard output can't be written: {e.strerror} [{code}]")

    def _write_all(self, rest: memoryview) -> bool:
        """False if the batch is to stop and the reader does not read."""
        waited = 0.0
        while rest:
            # a write of no more than that does not block where select says so
            if select.select([], [1], [], POLL)[1]:
                with contextlib.suppress(BlockingIOError):
                    rest = rest[os.write(1, rest[: select.PIPE_BUF]) :]
                    waited = 0.0
            elif self.stop:
                waited += POLL
                if waited >= PATIENCE:
                    return False
        return True

    def quiet_close(self) -> None:
        """Take the bar away, and say nothing."""
        if self._bar:
            self._bar.close()
            self._bar = None

    def close(self, status: ExitStatus) -> None:
        """Take the bar away and say how it went, in one line."""
        self.quiet_close()
        if self.batch.quiet:
            return
        parts = [f"{self.counts[s]} {word}" for s, word in WORDS.items() if self.counts[s]]
        how = {ExitStatus.INTERRUPTED: "interrupted; ", ExitStatus.TERMINATED: "terminated; ",
               ExitStatus.HANGUP: "hung up; ", ExitStatus.BROKEN_PIPE: "pipe closed; "}  # fmt: skip
        stopped = status in how
        again = "; the same command goes on from here" if stopped and self._resumes else ""
        if self._warned > MOST_WARNINGS and not self.batch.verbose:
            self.say(f"{self._warned - MOST_WARNINGS} more warnings; -v shows them")
        took = time.monotonic() - self._began
        nothing = "nothing done" if stopped else "nothing to do"
        self.say(f"{how.get(status, '')}{', '.join(parts) or nothing} in {took:.1f} s{again}")


# What a terminal would obey: controls but tab and newline, surrogates, and what turns the
# direction of writing (Unicode's Bidi_Control)
_OBEYED = re.compile(
    r"[\0-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)


def printable(text: str) -> str:
    """A model's text without what a terminal would obey."""
    return _OBEYED.sub("", text)


def _harmless(data: bytes) -> bytes:
    """A result as standard output may have it: on a terminal texts without what it would obey."""
    if sys.stdout.isatty():
        with contextlib.suppress(UnicodeDecodeError):
            return printable(data.decode()).encode()
    return data


def on_terminal() -> bool:
    """Whether a progress bar has someone to look at it."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


class Bar:
    """A progress bar over items, with the share of the one being computed."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[now]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._items: Any = None
        self._files: dict[str, Any] = {}
        self._progress.start()

    def show(self, event: Planned | Progress | Fetching | Finished) -> None:
        bar = self._progress
        match event:
            case Planned(total=total):
                self._items = bar.add_task("items", total=total, now="")
            case Progress(item=item, share=share, told=told):
                source = item.source
                name = source.called if source.is_text else show(os.path.basename(source.path))
                now = f"{name} {share:4.0%} {told}"
                bar.update(self._items, now=now.rstrip())
            case Finished() if self._items is not None:
                bar.update(self._items, advance=1)
            case Fetching(file=file, done=done, total=total):
                self._fetching(file, done, total)

    def _fetching(self, file: str, done: int, total: int | None) -> None:
        if file not in self._files:
            self._files[file] = self._progress.add_task(f"fetching {file}", total=None, now="")
        size = f"{done / 1e6:.1f}" + (f" of {total / 1e6:.1f}" if total else "") + " MB"
        self._progress.update(self._files[file], now=size, visible=not total or done < total)

    def above(self, line: str) -> None:
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self._progress.stop()
