"""How a GGUF file becomes a model of llama.cpp's with a context of a chosen length."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mediakit import device as devices
from mediakit.engines.llama import log, memory
from mediakit.engines.llama.context import Context
from mediakit.engines.llama.devices import Gpu, gpu
from mediakit.engines.llama.fit import Fit, Room
from mediakit.engines.llama.native import native
from mediakit.errors import OutOfMemory, UserError, show
from mediakit.models.gguf import Header

BATCH = 512  # tokens of a prompt that are evaluated at once
_NO_MEMORY = ("alloc", "out of memory")


@dataclass(frozen=True, slots=True)
class Opened:
    context: Context
    gpu_layers: int
    nbytes: int


def open_model(
    file: Path, header: Header, fit: Fit, begun: Callable[[], None] = lambda: None
) -> Opened:
    """Load it; `begun` is called before llama.cpp reads it. UserError bad_weights, bad_device;
    OutOfMemory."""
    found = None if fit.device == "cpu" else gpu(fit.device)
    if found is None and fit.gpu_layers:
        raise UserError(
            "bad_device", "layers can't be on a GPU with --device cpu; leave --gpu-layers out"
        )
    free = devices.free_memory("cpu")
    on_gpu = found.free_memory if found else 0
    length = fit.context_length or memory.context_length(header, on_gpu or free)
    memory.check(length, header, free + on_gpu)
    others = fit.sequences if fit.sequences > 1 else 0
    apart = found is None
    room = on_gpu or (free if fit.budget is None else min(free, fit.budget))
    cells = memory.cells(length, others + apart, header, room)
    layers = 0
    if found is not None:
        layers = fit.gpu_layers if fit.gpu_layers is not None else -1
        if layers < 0:
            layers = memory.gpu_layers(header, cells, on_gpu)
    log.ignore()
    native.llama_backend_init()
    model = _model(file, _model_params(layers, found), begun)

    def begin(tokens: int, sequences: int) -> Any:
        log.silence()
        params = _context_params(min(length, BATCH), fit, found)
        params.n_ctx, params.n_seq_max = tokens * (sequences if apart else 1), sequences
        handle = native.llama_init_from_model(model, params)
        if not handle:
            raise _fault(file, f"a context of {params.n_ctx} tokens")
        return handle

    context = Context(model, begin, Room(length, cells, others, apart), min(length, BATCH))
    if fit.alike:
        context.agrees = False if _is_recurrent(model) else None
    if found is not None:  # whose memory is taken while it is known to be free
        try:
            context.reserve(cells)
        except BaseException:
            context.close()
            raise
    taken = length if apart else cells  # the others' as they are needed
    return Opened(context, layers, header.tensor_bytes + taken * header.cache_bytes)


def _model_params(layers: int, found: Gpu | None) -> Any:
    params = native.llama_model_default_params()
    params.n_gpu_layers = layers
    params.load_mode = native.LLAMA_LOAD_MODE_MMAP
    if found is not None:
        params.split_mode = native.LLAMA_SPLIT_MODE_NONE
        params.main_gpu = found.index
    return params


def _model(file: Path, params: Any, begun: Callable[[], None]) -> Any:
    name = str(file).encode("utf-8", "surrogateescape")
    begun()
    if model := native.llama_model_load_from_file(name, params):
        return model
    log.silence()  # once more, to hear why not
    if model := native.llama_model_load_from_file(name, params):
        return model
    raise _fault(file, "the model")


def _is_recurrent(model: Any) -> bool:
    """Whether it keeps one state in place of all tokens, or for some layers: no step of it can be
    taken back."""
    return bool(native.llama_model_is_recurrent(model) or native.llama_model_is_hybrid(model))


def _context_params(batch_size: int, fit: Fit, found: Gpu | None) -> Any:
    params = native.llama_context_default_params()
    params.n_batch = params.n_ubatch = batch_size
    params.n_threads = params.n_threads_batch = fit.threads
    params.kv_unified = found is not None and fit.sequences > 1
    if found is None:  # as llama-cpp-python has it: flash attention rounds differently
        params.flash_attn_type = native.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return params


def _fault(file: Path, what: str) -> Exception:
    said = log.cause("it does not say why")
    if any(word in said.lower() for word in _NO_MEMORY):
        return OutOfMemory(said)
    return UserError(
        "bad_weights", f"{show(file)}: llama.cpp can't load {what} ({show(said)}); fetch it again, "
        "or upgrade llama-cpp-python if the model is newer"
    )  # fmt: skip
