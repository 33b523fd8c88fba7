"""What an exception raised by CTranslate2 means for the batch; engines/faults.py does it for
torch, which need not be installed here."""

from mediakit.errors import OutOfMemory, PlaceError

# CTranslate2 throws std::bad_alloc and RuntimeErrors whose text comes from CUDA and cuBLAS
_NO_MEMORY = ("bad_alloc", "bad allocation", "out of memory", "alloc_failed", "allocate memory")
_LOST = ("cuda failed with error", "cublas failed", "cudnn failed", "device-side assert")


def meaning(error: BaseException) -> Exception | None:
    """OutOfMemory, PlaceError(device_lost), or None where the error speaks for itself."""
    text = str(error).lower()
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(words in text for words in _NO_MEMORY)
    ):
        return OutOfMemory(line(error))
    if isinstance(error, RuntimeError) and any(words in text for words in _LOST):
        return PlaceError(
            "device_lost", f"the device stopped answering ({line(error)}); run the command again"
        )
    return None


def line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
