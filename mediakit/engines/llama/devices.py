"""Which GPUs the installed llama.cpp can use: asked of itself, in milliseconds, without torch."""

import ctypes
from dataclasses import dataclass
from typing import Any

from mediakit.engines.llama.native import native
from mediakit.errors import UserError, show

_GPU = 1  # ggml_backend_dev_type: a GPU with memory of its own, or Apple's


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU of llama.cpp's, by the name that --device takes; memory in bytes."""

    name: str
    index: int  # among llama.cpp's GPUs
    free_memory: int


def gpus() -> list[Gpu]:
    """None where llama.cpp was built for the CPU alone."""
    if not native.llama_supports_gpu_offload():
        return []
    library = _library()
    found: list[Gpu] = []
    for number in range(library.ggml_backend_dev_count()):
        handle = library.ggml_backend_dev_get(number)
        if library.ggml_backend_dev_type(handle) != _GPU:
            continue
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        library.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
        called = library.ggml_backend_dev_name(handle).decode()
        name = "mps" if called.startswith(("Metal", "MTL")) else f"cuda:{len(found)}"
        found.append(Gpu(name, len(found), free.value))
    return found


def names() -> list[str]:
    """What --device may name, for `mediakit.device.find`."""
    return [gpu.name for gpu in gpus()]


def gpu(name: str) -> Gpu:
    """UserError bad_device for one that llama.cpp can't use."""
    for found in gpus():
        if found.name == name:
            return found
    built = (
        "llama-cpp-python was built for the CPU alone; install it again with "
        'CMAKE_ARGS="-DGGML_CUDA=on"'
    )
    known = ", ".join(found.name for found in gpus())
    cure = f"it can use {known}" if known else built
    raise UserError("bad_device", f"{show(name)} can't be used for language models: {cure}")


def _library() -> Any:
    library = native._lib
    library.ggml_backend_dev_count.restype = ctypes.c_size_t
    library.ggml_backend_dev_get.restype = ctypes.c_void_p
    library.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
    library.ggml_backend_dev_type.argtypes = [ctypes.c_void_p]
    library.ggml_backend_dev_name.restype = ctypes.c_char_p
    library.ggml_backend_dev_name.argtypes = [ctypes.c_void_p]
    pointer = ctypes.POINTER(ctypes.c_size_t)
    library.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, pointer, pointer]
    return library
