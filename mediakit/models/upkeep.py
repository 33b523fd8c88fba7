"""What the store holds of a model, whether it is still right, and how it is removed."""

import contextlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from mediakit.models import trust
from mediakit.models.digests import sha256_of, stamp_of, stamped
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store


@dataclass(frozen=True)
class Removed:
    files: tuple[Path, ...]
    freed: int  # bytes; what the hub's cache holds too is not freed
    left: tuple[Path, ...]  # not put there by mediakit


@dataclass(frozen=True)
class Verdict:
    name: str  # of the file in its model's folder
    path: Path
    expected: str
    found: str | None  # None: the file is not there

    @property
    def right(self) -> bool:
        return self.expected == self.found


def references(store: Store) -> list[str]:
    """The addresses whose weights the store holds."""
    folder = store.root / ".references"
    return sorted(unquote(path.name) for path in folder.iterdir()) if folder.is_dir() else []


def on_disk(store: Store, spec: ModelSpec) -> dict[Path, int]:
    """Each file that the store holds of the model, with its bytes."""
    found: dict[Path, int] = {}
    for path in _candidates(store, spec):
        if path.is_file():
            found[path] = path.stat().st_size
    return found


def _candidates(store: Store, spec: ModelSpec) -> list[Path]:
    spec = trust.fill(spec, store.root)
    folder = store.folder(spec)
    own = [] if spec.local else [folder / file.name for file in spec.files]
    if spec.convert:
        return [*own, store.kept(spec, spec.sha256)]
    if spec.is_folder:
        return own
    return [*own, *(store.kept(spec, file.identity) for file in spec.files)]


def verify(store: Store, spec: ModelSpec) -> list[Verdict]:
    """Hash all files of the model. A file that is wrong loses its stamp: it is not believed any
    more, and pulling the model fetches it again."""
    spec = trust.fill(spec, store.root)
    named = {store.folder(spec) / file.name: file.sha256 for file in spec.files if not spec.local}
    verdicts = []
    for path in _candidates(store, spec):
        expected = named.get(path) or stamped(path).get("sha256")
        there = path.is_file()
        if expected and (there or path in named):
            name = path.relative_to(store.folder(spec)).as_posix()
            verdict = Verdict(name, path, expected, sha256_of(path) if there else None)
            if not verdict.right:
                stamp_of(path).unlink(missing_ok=True)
            verdicts.append(verdict)
    return verdicts


def remove(store: Store, spec: ModelSpec, forget: bool = False) -> Removed:
    """Delete what mediakit put into the store for the model; waits for a pull that is under way.

    `forget`: what was recorded of files without a digest too: the next download is trusted anew.
    A file of the user's outside the store is never touched, nor one that ships with mediakit.
    """
    from filelock import FileLock

    if spec.shipped:
        return Removed((), 0, tuple(on_disk(store, spec)))
    folder = store.folder(spec)
    removed: list[Path] = []
    left: list[Path] = []
    freed = 0
    if folder.is_dir():
        with FileLock(folder / ".lock"):
            for path, size in on_disk(store, spec).items():
                if not stamped(path).get("source"):
                    left.append(path)
                    continue
                freed += size if path.stat().st_nlink == 1 else 0
                path.unlink()
                stamp_of(path).unlink(missing_ok=True)
                removed.append(path)
                if path.parent != folder:
                    with contextlib.suppress(OSError):  # there is something left in it
                        path.parent.rmdir()
            if not spec.local:
                freed += _remove_parts(folder)
        if not spec.local and not left and {p.name for p in folder.iterdir()} <= {".lock"}:
            shutil.rmtree(folder, ignore_errors=True)
    if forget:
        trust.forget(spec, store.root)
    return Removed(tuple(removed), freed, tuple(left))


def _remove_parts(folder: Path) -> int:
    """What cut-off downloads left; its bytes."""
    parts = [path for top in folder.glob("part-*") for path in (top, *top.rglob("*"))]
    freed = sum(path.stat().st_size for path in parts if path.is_file())
    for path in folder.glob("part-*"):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
    return freed
