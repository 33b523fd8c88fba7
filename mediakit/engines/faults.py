"""What an exception raised by torch means for the batch: step down, stop, or neither."""

import torch

from mediakit.errors import OutOfMemory, PlaceError

# CPU allocator (Linux and Windows), oneDNN's and C++'s own, Metal, cuBLAS and cuDNN workspaces
_NO_MEMORY = (
    "can't allocate memory",
    "not enough memory",
    "bad_alloc",
    "out of memory",
    "alloc_failed",
    "could not create a memory",
)
# After these a CUDA context answers nothing but the same error
# (CUDA Runtime API, "Error Handling": "the process must be terminated and relaunched").
_LOST = (
    "cuda error",
    "hip error",
    "device-side assert",
    "unspecified launch failure",
    "illegal memory access",
    "device is lost",
    "ecc error",
)


def meaning(error: BaseException) -> Exception | None:
    """OutOfMemory, PlaceError(device_lost), or None where the error speaks for itself.

    Raise it outside the except block: the frames of the old traceback hold tensors.
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return OutOfMemory(_line(error))
    if not isinstance(error, RuntimeError):
        return None
    text = str(error).lower()
    if any(words in text for words in _NO_MEMORY):
        return OutOfMemory(_line(error))
    if any(words in text for words in _LOST):
        return PlaceError(
            "device_lost", f"the device stopped answering ({_line(error)}); run the command again"
        )
    return None


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
