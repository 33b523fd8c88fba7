"""Where models lie on this machine, and how one gets there: fetched, verified, converted once."""

import contextlib
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from mediakit.errors import UserError, show
from mediakit.models import download, trust
from mediakit.models.check import check_weights
from mediakit.models.digests import is_whole, sha256_of, write_stamp
from mediakit.models.spec import ModelFile, ModelSpec
from mediakit.models.state_dicts import from_ncnn

Progress = Callable[[str, int, int | None], None]
"""(what, bytes so far, bytes in all or None): called often during a pull, from its own thread."""

PICKLES = frozenset({".pth", ".pt", ".ckpt", ".bin"})
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

    A file under its final name is whole. Processes and threads may share a root.
    """

    def __init__(self, root: Path | None = None, offline: bool = False) -> None:
        self.root = (root or default_root()).absolute()
        self.offline = offline

    def folder(self, spec: ModelSpec) -> Path:
        if spec.local:
            return self.root / ".local"
        if spec.is_reference:
            return self.root / ".references" / quote(spec.name, safe="@")
        return self.root / spec.name

    def path(self, spec: ModelSpec) -> Path | None:
        """The file to load, if all are here and whole, else None: the first of `files`.

        Cheap: nothing is hashed unless a file changed since it was verified.
        """
        found = self.files(spec)
        return found[0] if found else None

    def files(self, spec: ModelSpec) -> tuple[Path, ...]:
        """The files to load, in the entry's order; empty unless all are here and whole.

        What was converted or kept as safetensors stands in for what it was made of.
        """
        spec = trust.fill(spec, self.root)
        if spec.convert:
            converted = self.kept(spec, spec.sha256)
            return (converted,) if is_whole(converted) else ()
        if spec.local:
            return (self._safest(spec, 0, spec.local),) if spec.local.is_file() else ()
        if self._missing(spec):
            return ()
        folder = self.folder(spec)
        return tuple(self._safest(spec, i, folder / f.name) for i, f in enumerate(spec.files))

    def _safest(self, spec: ModelSpec, index: int, original: Path) -> Path:
        """The safetensors kept of a pickle, if there is one."""
        if original.suffix.lower() not in PICKLES:
            return original
        kept = self.kept(spec, spec.files[index].identity)
        return kept if is_whole(kept) else original

    def kept(self, spec: ModelSpec, sha256: str) -> Path:
        """Named by the digest of its source, so that a changed entry is converted again."""
        made_by = f".{spec.convert}1" if spec.convert else ""
        return self.folder(spec) / f"{sha256[:16]}{made_by}.safetensors"

    def keep(self, spec: ModelSpec, loaded: Path, write: Callable[[Path], None]) -> Path | None:
        """Keep the tensors of a pickle that was just loaded, as safetensors to load from now on.

        `loaded`: one of `files(spec)`. `write(path)` writes its tensors, bit for bit. None where
        nothing need be kept, or where it can't be (no room, no permission): that costs no run.
        """
        from filelock import FileLock

        spec = trust.fill(spec, self.root)
        originals = [spec.local] if spec.local else [self.folder(spec) / f.name for f in spec.files]
        if spec.convert or loaded not in originals or loaded.suffix.lower() not in PICKLES:
            return None
        kept = self.kept(spec, spec.files[originals.index(loaded)].identity)
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(kept.parent / ".lock"):
                if not is_whole(kept):
                    part = kept.with_name(f"part-{kept.name}")
                    try:
                        write(part)
                        check_weights(part)
                        install(part, kept, sha256_of(part), "kept")
                    finally:
                        part.unlink(missing_ok=True)
            return kept
        except OSError:
            return None

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
            for path in self.files(spec):
                check_weights(path)
        return found

    def _pull_locked(self, spec: ModelSpec, progress: Progress) -> Path:
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
        spec = trust.fill(spec, self.root)
        if missing := self._missing(spec):
            if spec.local:
                raise UserError("model_unavailable", f"{spec.name} is no longer there")
            download.fetch(self, spec, missing, work, progress)
        if spec.convert:
            self._convert(trust.fill(spec, self.root), work)

    def _missing(self, spec: ModelSpec) -> list[ModelFile]:
        if spec.local:
            return [] if spec.local.is_file() else list(spec.files)
        folder = self.folder(spec)
        return [f for f in spec.files if not (f.sha256 and is_whole(folder / f.name, f.sha256))]

    def _convert(self, spec: ModelSpec, work: Path) -> None:
        if spec.local:
            pair = {s: spec.local.with_suffix(s) for s in (".param", ".bin")}
        else:
            pair = {Path(f.name).suffix: self.folder(spec) / f.name for f in spec.files}
        converted = self.kept(spec, spec.sha256)
        part = work / converted.name
        from_ncnn(spec, pair, part)
        install(part, converted, sha256_of(part), "converted")

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


def install(part: Path, final: Path, sha256: str, source: str) -> None:
    """Move a verified file to its final name; whole there, even if the power fails."""
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    part.replace(final)
    write_stamp(final, sha256, source=source)


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
