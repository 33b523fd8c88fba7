"""Where models lie on this machine, and how one gets there: fetched, verified, converted once."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from mediakit.errors import UserError, show
from mediakit.models import keeping, trust
from mediakit.models.check import check_weights
from mediakit.models.digests import digest, is_whole, stamped
from mediakit.models.sources import PACKAGE, Unfetched
from mediakit.models.spec import ModelFile, ModelSpec

Progress = Callable[[str, int, int | None], None]
"""(what, bytes so far, bytes in all or None): called often during a pull, from its own thread."""

POLL = 0.2  # seconds between calls of `progress` while another process pulls
_FULL = {errno.ENOSPC, errno.EDQUOT}


def default_root() -> Path:
    """$MEDIAKIT_CACHE, or else "models" in the user's cache directory."""
    if chosen := os.environ.get("MEDIAKIT_CACHE"):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("mediakit") / "models"


class Store:
    """The model cache on disk: ROOT/NAME/ holds the files of a model and their stamps.

    A file under its final name is whole. Processes and threads may share a root. Where a model's
    files are a folder that is loaded whole, ROOT/NAME is one, and what is loaded is that folder.
    """

    def __init__(self, root: Path | None = None, offline: bool = False) -> None:
        self.root = (root or default_root()).absolute()
        self.offline = offline

    def folder(self, spec: ModelSpec) -> Path:
        """Where the files of a model lie; of the user's own, what mediakit made of them."""
        if spec.shipped:
            return PACKAGE / spec.shipped
        if spec.local:
            return self.root / ".local"
        if spec.is_reference:
            return self.root / ".references" / quote(spec.name, safe="@")
        return self.root / spec.name

    def place(self, spec: ModelSpec, file: ModelFile) -> Path:
        """Where this file of the model lies, or will."""
        if spec.local:
            return spec.local / file.name if spec.is_folder else spec.local
        return self.folder(spec) / file.name

    def path(self, spec: ModelSpec) -> Path | None:
        """What to load, if all files are here and whole, else None: the first of `files`.

        Cheap: nothing is hashed unless a file changed since it was verified.
        """
        found = self.files(spec)
        return found[0] if found else None

    def files(self, spec: ModelSpec) -> tuple[Path, ...]:
        """What to load: the files in the entry's order, or the folder alone of a model that is a
        folder; empty unless all are here and whole.

        What was converted or kept as safetensors stands in for what it was made of.
        """
        spec = trust.fill(spec, self.root)
        if spec.convert:
            converted = self.kept(spec, spec.sha256)
            return (converted,) if is_whole(converted) else ()
        if not spec.files or self._missing(spec):
            return ()
        if spec.is_folder:
            return (spec.local or self.folder(spec),)
        return tuple(keeping.safest(self, spec, file) for file in spec.files)

    def kept(self, spec: ModelSpec, sha256: str) -> Path:
        """Where the safetensors made of the file with this digest are, or would be."""
        return keeping.place(self, spec, sha256)

    def keep(self, spec: ModelSpec, loaded: Path, write: Callable[[Path], None]) -> Path | None:
        """Keep the tensors of a pickle that was just loaded, as safetensors to load from now on.

        `loaded`: one of `files(spec)`. `write(path)` writes its tensors, bit for bit. None where
        nothing need be kept, or where it can't be (no room, no permission, a folder whose names
        say which file is loaded): that costs no run.
        """
        return keeping.keep(self, trust.fill(spec, self.root), loaded, write)

    def pin(self, spec: ModelSpec, progress: Progress | None = None) -> ModelSpec:
        """`spec` with the digest of every file known: pulled, where the entry names none."""
        if spec.pinned or spec.local:
            return spec
        if not trust.fill(spec, self.root).pinned:
            self.pull(spec, progress)
        return trust.fill(spec, self.root)

    def pull(self, spec: ModelSpec, progress: Progress | None = None) -> Path:
        """The file to load; what is missing is fetched, verified and converted first.

        Several processes pulling one model fetch it once. UserError: offline, model_unavailable,
        digest_mismatch, disk_full, bad_weights, missing_extra.
        """
        found = self.path(spec) or self._pull_locked(spec, progress or (lambda *_: None))
        if spec.local or not spec.pinned:
            self._check(trust.fill(spec, self.root))
        return found

    def _check(self, spec: ModelSpec) -> None:
        """UserError bad_weights for a file of no known digest that can't be weights; wrong_model
        for a repository that turned out to be for another task."""
        from mediakit.models import repositories

        repositories.check_tasks(spec, [file.name for file in spec.files])
        if not spec.is_folder:
            paths = self.files(spec)
        else:
            paths = tuple(self.place(spec, file) for file in spec.files)
        for path in paths:
            if not spec.is_folder or path.suffix in (".safetensors", ".bin"):
                check_weights(path)

    def _pull_locked(self, spec: ModelSpec, progress: Progress) -> Path:
        if spec.shipped:
            raise UserError(
                "model_unavailable",
                f"{spec.name} ships with mediakit, and its files in {show(self.folder(spec))} are "
                "not there or were changed; install mediakit again",
            )
        with self._told_in_one_line(spec):
            folder = self.folder(spec)
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / ".lock", lambda: progress(spec.name, 0, None)):
                if found := self.path(spec):  # another process was quicker
                    return found
                work = folder / "part-files"
                work.mkdir(exist_ok=True)
                try:
                    self._pull(spec, work, progress)
                finally:
                    _tidy(work)
        if found := self.path(spec):
            return found
        raise UserError(
            "model_unavailable", f"{spec.name} changed while it was pulled; pull it again"
        )

    def _pull(self, spec: ModelSpec, work: Path, progress: Progress) -> None:
        from mediakit.models import download

        spec = self._listed(spec)
        if missing := self._missing(spec):
            if spec.local:
                gone = show(self.place(spec, missing[0]))
                raise UserError("model_unavailable", f"{gone} is no longer there")
            download.fetch(self, spec, missing, work, progress)
        if spec.is_folder:
            self._sweep(trust.fill(spec, self.root))
        if spec.convert:
            keeping.convert(self, trust.fill(spec, self.root), work)

    def _listed(self, spec: ModelSpec) -> ModelSpec:
        """`spec` with its files: what a repository holds is asked once."""
        from mediakit.models import download, repositories

        known = trust.fill(spec, self.root)
        if not known.files:
            try:
                repositories.resolve(spec, self.root, self.offline)
            except Unfetched as error:
                raise download.unavailable(self, spec, [], error) from None
            known = trust.fill(spec, self.root)
        return known

    def _missing(self, spec: ModelSpec) -> list[ModelFile]:
        if spec.local:
            return [file for file in spec.files if not self.place(spec, file).is_file()]
        if spec.shipped:
            return [file for file in spec.files if not self._ships(spec, file)]
        folder = self.folder(spec)
        return [f for f in spec.files if not (f.sha256 and is_whole(folder / f.name, f.sha256))]

    def _ships(self, spec: ModelSpec, file: ModelFile) -> bool:
        try:
            found = digest(self.place(spec, file), self.root / ".stamps")
        except OSError:
            return False
        return file.sha256 in (None, found)

    def _sweep(self, spec: ModelSpec) -> None:
        """Delete what was fetched for an older entry: a loader would take it for this one's."""
        folder = self.folder(spec)
        own = {folder / file.name for file in spec.files}
        for stamp in folder.rglob("*.stamp"):
            path = stamp.with_suffix("")
            if path not in own and stamped(path).get("source"):
                path.unlink(missing_ok=True)
                stamp.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _told_in_one_line(self, spec: ModelSpec) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                size = f" ({spec.size / 1e6:.0f} MB)" if spec.size else ""
                raise UserError(
                    "disk_full",
                    f"no space left to keep {spec.name}{size} in "
                    f"{show(self.root)}; free some, or set MEDIAKIT_CACHE to another directory",
                ) from None
            where = show(error.filename or self.root)
            raise UserError(
                "model_unavailable",
                f"{spec.name} can't be kept: {where}: {error.strerror or error}; set "
                "MEDIAKIT_CACHE to a directory that you may write to",
            ) from None


@contextlib.contextmanager
def _locked(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold a lock between processes; `waiting` is called often until it is had, and may raise."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=POLL)
        except Timeout:
            waiting()
    try:
        yield
    finally:
        lock.release()


def _tidy(work: Path) -> None:
    """Leave only what a cut-off download can go on from."""
    begun = {path for path in work.glob("*.partial") if path.stat().st_size}
    for path in work.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path not in begun and path.with_suffix("") not in begun:
            path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        work.rmdir()
