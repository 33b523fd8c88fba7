"""Which files are no weights at all: told from their first bytes, before anything is loaded."""

from pathlib import Path

from mediakit.errors import UserError, show

_NOT_WEIGHTS = (
    (b"version https://git-lfs", "is a Git LFS pointer, not the weights; run `git lfs pull`"),
    (b"<!doctype html", "is a web page, not weights; log in where it came from and get it again"),
    (b"<html", "is a web page, not weights; log in where it came from and get it again"),
)


def check_weights(path: Path) -> None:
    """UserError bad_weights for what can't be weights: empty, a web page, a pointer to them, or a
    .safetensors whose header does not fit its bytes (lengths, offsets, shapes)."""
    with path.open("rb") as file:
        head = file.read(256)
    if not head:
        raise UserError("bad_weights", f"{show(path)} is empty; get it again")
    for beginning, said in _NOT_WEIGHTS:
        if head.lstrip().lower().startswith(beginning):
            raise UserError("bad_weights", f"{show(path)} {said}")
    if path.suffix.lower() == ".safetensors":
        _check_header(path)


def _check_header(path: Path) -> None:
    try:
        import safetensors
    except ModuleNotFoundError:
        return  # whoever loads it says what to install
    try:
        with safetensors.safe_open(path, framework="np") as file:
            if file.keys():
                return
            reason = "it holds no tensors"
    except safetensors.SafetensorError as error:
        reason = show(str(error).strip().splitlines()[0])[:120]
    raise UserError("bad_weights", f"{show(path)} is damaged ({reason}); get it again")
