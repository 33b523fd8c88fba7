"""How a file is got from the Hugging Face hub: by its own library, through its own cache.

So tokens, HF_ENDPOINT, HF_HOME, HF_HUB_OFFLINE and files that other programs fetched count.
The library compares sizes only: digests are compared by whoever called.
"""

import io
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mediakit.errors import UserError
from mediakit.models.sources import Request, Unfetched

TIMEOUT = 30.0  # seconds without an answer
_NO_ROOM = re.compile(r"No space left|Disk quota", re.IGNORECASE)
_LOGIN = "accept its licence on its page, then run `hf auth login`, or set HF_TOKEN"


def parse(place: str) -> tuple[str, str, str]:
    """ "hf:org/repository@revision/path/to/file" -> (org/repository, revision, path/to/file)."""
    repository, _, rest = place.removeprefix("hf:").partition("@")
    revision, _, name = rest.partition("/")
    return repository, revision, name


@dataclass(frozen=True)
class Listing:
    """What a repository holds at a commit: path -> (sha256 where the hub tells it, bytes)."""

    commit: str
    files: Mapping[str, tuple[str | None, int]]


def fetch(request: Request) -> None:
    """Download into the hub's cache unless it is there, and put it at the target.

    With `offline` no connection is opened. Raises Unfetched, UserError missing_extra, and
    OSError from the disk.
    """
    _check_installed(request.place)
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    repository, revision, name = parse(request.place)
    with _quiet(), _told(repository, revision, name):
        if request.offline:  # hf_hub_download asks the hub for a list even with local_files_only
            path = try_to_load_from_cache(repository, name, revision=revision)
            if not isinstance(path, str):
                raise Unfetched(f"the hub's cache has no {name}")
        else:
            path = hf_hub_download(
                repository,
                name,
                revision=revision,
                library_name="mediakit",
                tqdm_class=_bar(request.progress),
            )
    _link(os.path.realpath(path), request.targets[""])


def list_files(place: str, offline: bool) -> Listing:
    """The files of "hf:org/repository@revision"; offline, those that the hub's cache has of it.

    Raises Unfetched, UserError missing_extra.
    """
    _check_installed(place)
    from huggingface_hub import HfApi

    repository, revision, _ = parse(place)
    if offline:
        return _list_cached(repository, revision)
    with _quiet(), _told(repository, revision, "list of files"):
        info = HfApi(library_name="mediakit").model_info(
            repository, revision=revision, files_metadata=True, timeout=TIMEOUT
        )
    files = {
        file.rfilename: (file.lfs.sha256 if file.lfs else None, file.size or 0)
        for file in info.siblings or []
    }
    return Listing(str(info.sha), files)


def _list_cached(repository: str, revision: str) -> Listing:
    from huggingface_hub import constants

    folder = Path(constants.HF_HUB_CACHE) / f"models--{repository.replace('/', '--')}"
    with suppress(OSError):
        reference = folder / "refs" / revision
        commit = reference.read_text().strip() if reference.is_file() else revision
        top = folder / "snapshots" / commit
        found = [path for path in top.rglob("*") if path.is_file()]
        if found:
            names = {path.relative_to(top).as_posix(): path.stat().st_size for path in found}
            return Listing(commit, {name: (None, size) for name, size in names.items()})
    raise Unfetched(f"the hub's cache has no {repository}")


def read(place: str, offline: bool) -> bytes:
    """A small file of "hf:org/repository@revision/path". Raises Unfetched, UserError."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "file"
        fetch(Request(place, {"": target}, {"": None}, lambda *_: None, offline))
        return target.read_bytes()


def _check_installed(place: str) -> None:
    if not find_spec("huggingface_hub"):
        raise UserError(
            "missing_extra",
            f"{place} needs huggingface_hub; install it with `pip install 'mediakit[hub]'`",
        )


def _link(path: str, target: Path) -> None:
    """One copy on the disk for the hub's cache and ours, where both are on one file system."""
    target.unlink(missing_ok=True)
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)


def _bar(progress: Callable[[int, int | None], None]) -> Any:
    """A progress bar that shows nothing and passes its numbers on."""
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *positional: Any, **named: Any) -> None:
            named.pop("name", None)  # the library's own addition to tqdm
            super().__init__(*positional, **{**named, "file": io.StringIO(), "disable": False})

        def update(self, n: float | None = 1) -> Any:
            shown = super().update(n)
            progress(int(self.n), self.total and int(self.total))
            return shown

    return Bar


@contextmanager
def _quiet() -> Iterator[None]:
    """Warnings of the library (a retry, no token) would come between our own lines."""
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def _told(repository: str, revision: str, name: str) -> Iterator[None]:
    """What the library raises becomes Unfetched, or OSError where the disk is at fault."""
    from huggingface_hub import errors

    try:
        yield
    except Unfetched:
        raise
    except errors.GatedRepoError:
        raise Unfetched(f"the hub gives {repository} only after a login", _LOGIN) from None
    except errors.RevisionNotFoundError:
        raise Unfetched(f"{repository} on the hub has no revision {revision}") from None
    except errors.RepositoryNotFoundError:
        raise Unfetched(
            f"the hub has no {repository}, or shows it only after a login", _LOGIN
        ) from None
    except errors.LocalEntryNotFoundError as error:
        if isinstance(error.__cause__, errors.HfHubHTTPError):
            raise _refused(repository, error.__cause__) from None
        raise Unfetched(f"the hub can't be reached, and its cache has no {name}") from None
    except errors.EntryNotFoundError:
        raise Unfetched(f"{repository} on the hub has no file {name}") from None
    except errors.HfHubHTTPError as error:
        raise _refused(repository, error) from None
    except OSError as error:
        if error.errno is not None or _NO_ROOM.search(str(error)):
            raise
        raise Unfetched(f"the connection to the hub broke off while {name} came") from None
    except Exception as error:  # the library's HTTP client and its file transfer have their own
        raise Unfetched(f"the hub failed to give {name} ({type(error).__name__})") from None


def _refused(repository: str, error: Any) -> Unfetched:
    status = error.response.status_code if error.response is not None else 0
    if status in (401, 403):
        return Unfetched(f"the hub refuses {repository} ({status})", _LOGIN)
    return Unfetched(f"the hub answers {status or 'nothing'}")
