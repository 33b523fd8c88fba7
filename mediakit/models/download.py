"""Which source of a model's files is asked, and whether what came is what was wanted."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from mediakit.errors import UserError, show
from mediakit.models import sources, trust
from mediakit.models.digests import install, sha256_of
from mediakit.models.sources import Request, Unfetched
from mediakit.models.spec import ModelFile, ModelSpec

if TYPE_CHECKING:
    from mediakit.models.store import Store


def fetch(
    store: "Store",
    spec: ModelSpec,
    missing: list[ModelFile],
    work: Path,
    progress: Callable[[str, int, int | None], None],
) -> None:
    """Fetch the missing files into the store: their sources in order; one fetch serves all files
    of one place. Offline, only sources that need no network.

    UserError offline, model_unavailable, digest_mismatch; OSError from the disk.
    """
    failure: UserError | None = None
    for turn in range(max(len(file.sources) for file in missing)):
        for place, members in _places(missing, turn).items():
            try:
                _fetch_place(store, spec, place, members, work, progress)
                missing = [file for file in missing if file not in members.values()]
            except Unfetched as error:
                failure = unavailable(store, spec, missing, error)
            except UserError as error:
                failure = error
    if missing:
        raise failure or unavailable(store, spec, missing, None)


def _places(missing: list[ModelFile], turn: int) -> dict[str, dict[str, ModelFile]]:
    """Place -> member -> file, for the sources whose turn it is."""
    places: dict[str, dict[str, ModelFile]] = {}
    for file in missing:
        if turn < len(file.sources):
            place, member = sources.split(file.sources[turn])
            places.setdefault(place, {})[member] = file
    return places


def _fetch_place(
    store: "Store",
    spec: ModelSpec,
    place: str,
    members: dict[str, ModelFile],
    work: Path,
    progress: Callable[[str, int, int | None], None],
) -> None:
    name = next(iter(members.values())).name
    if len(members) > 1 or (spec.is_reference and not spec.is_folder):  # a file called "weights"
        name = spec.name
    request = Request(
        place,
        {member: work / quote(file.name, safe="") for member, file in members.items()},
        {member: file.size for member, file in members.items()},
        lambda done, total: progress(name, done, total),
        store.offline,
    )
    sources.fetch(request)
    for member, file in members.items():
        _accept(store, spec, file, request.targets[member], place)
        size = store.place(spec, file).stat().st_size
        progress(file.name if len(members) > 1 else name, size, size)
    if len(members) > 1 and name not in {file.name for file in members.values()}:
        progress(name, 1, 1)  # its own line is done


def _accept(store: "Store", spec: ModelSpec, file: ModelFile, part: Path, place: str) -> None:
    digest, size = sha256_of(part), part.stat().st_size
    if file.size is not None and size != file.size:
        found = f"{size} bytes" if size < file.size else "more"
        raise _mismatch(store, spec, file, f"{file.size} bytes", found)
    if file.sha256 and digest != file.sha256:
        raise _mismatch(store, spec, file, f"sha256 {file.sha256}", f"sha256 {digest}")
    if file.sha256 is None:
        trust.record(file, digest, size, store.root)
    install(part, store.place(spec, file), digest, place)


def _mismatch(
    store: "Store", spec: ModelSpec, file: ModelFile, expected: str, found: str
) -> UserError:
    whose, cure = "the catalog names", "use another model"
    if trust.is_recorded(file, store.root):
        name = show(spec.name)
        whose = "came the first time"
        cure = f"if the change is right, run `mediakit models rm --forget {name}`, then pull it"
    return UserError(
        "digest_mismatch",
        f"{show(spec.name)}: {file.name} is not the file that {whose}: expected "
        f"{expected}, found {found}; it was thrown away, {cure}",
    )


def unavailable(
    store: "Store", spec: ModelSpec, missing: list[ModelFile], error: Unfetched | None
) -> UserError:
    """UserError offline or model_unavailable: why what is `missing` of a model can't be had."""
    if store.offline:
        return UserError(
            "offline",
            f"{show(spec.name)} is not on this machine; run `mediakit models pull "
            f"{show(spec.name)}` once with a network, leave --offline out, or try --preset starter",
        )
    names = " and ".join(file.name for file in missing) if 0 < len(missing) < 4 else "its files"
    put = f"put {names} into {show(store.folder(spec))}"
    if error is None:
        return UserError("model_unavailable", f"{spec.name} has no source; {put}")
    cure = error.cure or f"check the network, {put}, or try --preset starter"
    return UserError(
        "model_unavailable", f"{show(spec.name)} could not be fetched: {error.cause}; {cure}"
    )
