"""What is loaded in place of a model's files: safetensors made of pickles and of ncnn pairs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mediakit.models.check import check_weights
from mediakit.models.digests import install, is_whole, sha256_of
from mediakit.models.spec import ModelFile, ModelSpec

if TYPE_CHECKING:
    from mediakit.models.store import Store

PICKLES = frozenset({".pth", ".pt", ".ckpt", ".bin"})


def place(store: "Store", spec: ModelSpec, sha256: str) -> Path:
    """Named by the digest of its source, so that a changed entry is converted again."""
    made_by = f".{spec.convert}1" if spec.convert else ""
    folder = store.root / ".local" if spec.shipped else store.folder(spec)
    return folder / f"{sha256[:16]}{made_by}.safetensors"


def safest(store: "Store", spec: ModelSpec, file: ModelFile) -> Path:
    """The file, or the safetensors kept of it if it is a pickle and there are such."""
    original = store.place(spec, file)
    if original.suffix.lower() not in PICKLES:
        return original
    kept = place(store, spec, file.identity)
    return kept if is_whole(kept) else original


def keep(
    store: "Store", spec: ModelSpec, loaded: Path, write: Callable[[Path], None]
) -> Path | None:
    """See `Store.keep`; `spec` with its files and digests filled in."""
    from filelock import FileLock

    originals = [store.place(spec, file) for file in spec.files]
    if spec.convert or spec.is_folder or loaded not in originals:
        return None
    if loaded.suffix.lower() not in PICKLES:
        return None
    kept = place(store, spec, spec.files[originals.index(loaded)].identity)
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


def convert(store: "Store", spec: ModelSpec, work: Path) -> None:
    """Make safetensors of an ncnn pair. UserError missing_extra, bad_weights."""
    from mediakit.models.state_dicts import from_ncnn

    if spec.local:
        pair = {s: spec.local.with_suffix(s) for s in (".param", ".bin")}
    else:
        pair = {Path(file.name).suffix: store.place(spec, file) for file in spec.files}
    converted = place(store, spec, spec.sha256)
    part = work / converted.name
    from_ncnn(spec, pair, part)
    install(part, converted, sha256_of(part), "converted")
