"""Whether llama.cpp survives a projector, found out in another process while the model loads."""

import os
import signal
import subprocess
import sys
import weakref
from pathlib import Path

from mediakit.errors import UserError, show

_SCRIPT = Path(__file__).with_name("projector_process.py")
_PATIENCE = 600.0  # seconds; a projector of a GB takes one or two


class Trial:
    """Begins at once. Wait for check() before the projector is loaded here."""

    def __init__(self, model: Path, projector: Path) -> None:
        self._projector = projector
        self._process = subprocess.Popen(
            # -P: the modules beside the script are not what its imports mean
            [sys.executable, "-P", str(_SCRIPT), str(model), str(projector)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "GGML_NO_BACKTRACE": "1"},  # which would take a debugger to it
            start_new_session=True,
        )
        self._end = weakref.finalize(self, _end, self._process)

    def check(self) -> None:
        """UserError bad_weights where it did not survive."""
        try:
            status = self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            status = -signal.SIGALRM
        finally:
            self._end()
        if status:
            how = signal.Signals(-status).name if status < 0 else f"status {status}"
            raise UserError(
                "bad_weights",
                f"{show(self._projector)}: a damaged projector, which ends llama.cpp ({how}); "
                "fetch it again",
            )


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
