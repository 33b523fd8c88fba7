"""When a batch must end early, and with which exit status: a signal, a fault of the place."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from mediakit.errors import ExitStatus, Stopped

SIGNALS = {
    signal.SIGINT: ExitStatus.INTERRUPTED,
    signal.SIGTERM: ExitStatus.TERMINATED,
    signal.SIGHUP: ExitStatus.HANGUP,
}


class Stop:
    """Set once, by whoever comes first; true from then on."""

    def __init__(self) -> None:
        self.status: ExitStatus | None = None
        self._at_once = False

    def __bool__(self) -> bool:
        return self.status is not None

    def set(self, status: ExitStatus) -> None:
        # no lock: a signal's code runs on top of whatever would hold it
        if self.status is None:
            self.status = status

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a signal raises Stopped in the main thread as soon as Python gets to it: within
        a net's layers, where the next look at `stop` may be minutes away.

        Only in a process that ends then: what it breaks off (a lock's release, a model cache's
        note that a load is over) may be left in a state that others would wait on for ever.
        """
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """The first signal ends the batch, what was computed is still written; a second one kills.

        A signal that was ignored when the process began (nohup) stays ignored.
        """

        again = False

        def caught(number: int, frame: FrameType | None) -> None:
            nonlocal again
            if again:
                os._exit(128 + number)  # safe at any moment: files appear by rename only
            again = True
            self.status = SIGNALS[signal.Signals(number)]
            if self._at_once:
                raise Stopped

        before = {}
        for number in SIGNALS:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, caught)
        try:
            yield
        finally:
            for number, old in before.items():
                signal.signal(number, old)
