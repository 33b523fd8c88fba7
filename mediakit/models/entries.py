"""How a model that is here is written as an entry: with the size and digest of every file."""

from pathlib import Path

import yaml

from mediakit.errors import UserError, show
from mediakit.models.sources import PACKAGE
from mediakit.models.spec import ModelSpec
from mediakit.models.store import Store


def entry(store: Store, spec: ModelSpec, name: str) -> str:
    """The YAML of an entry `name` for models.yaml: what a reader must know is filled in by hand.

    A folder or file of the user's is named by its path, or by package: if mediakit ships it; what
    came from an address keeps it. Offline unless the model must be fetched. UserError.
    """
    spec = store.pin(spec)
    if not spec.pinned:
        raise UserError("model_unavailable", f"the digests of {show(spec.name)} are not known")
    content = {
        "licence": spec.licence,
        "tasks": list(spec.tasks),
        "engine": spec.engine,
        "files": [
            {
                "name": file.name,
                "size": file.size,
                "sha256": file.sha256,
                "sources": list(file.sources) or [_source(store.place(spec, file))],
            }
            for file in spec.files
        ],
    }
    return yaml.safe_dump({name: content}, sort_keys=False, allow_unicode=True, width=200)


def _source(path: Path) -> str:
    path = path.resolve()
    if path.is_relative_to(PACKAGE.resolve()):
        return f"package:{path.relative_to(PACKAGE.resolve()).as_posix()}"
    return str(path)


def name_for(spec: ModelSpec) -> str:
    """A name made of what the model is called: its file, folder or repository."""
    path = spec.name.rstrip("/").partition("@")[0]
    words = "".join(c if c.isalnum() or c in "._-" else "-" for c in Path(path).stem)
    return words.strip("._-") or "mine"
