"""The process in which a projector is loaded first, since llama.cpp ends that over a damaged one.

Run by trial.py as a script of its own, with the model and the projector as arguments.
"""

import ctypes
import sys
from typing import Any

import llama_cpp.llama_cpp as native
import llama_cpp.mtmd_cpp as mtmd


@native.llama_log_callback  # type: ignore[untyped-decorator]
def _silent(_level: int, _text: bytes, _: object) -> None:
    pass


def main(model: bytes, projector: bytes) -> None:
    """Builds the net, and reserves its memory; whether it fits the model is not asked here."""
    nothing = ctypes.c_void_p(0)
    native.llama_log_set(_silent, nothing)
    mtmd.mtmd_helper_log_set(_silent, nothing)
    native.llama_backend_init()
    params: Any = native.llama_model_default_params()
    params.vocab_only = True
    text = native.llama_model_load_from_file(model, params)
    if not text:
        return  # of which we hear when it is loaded
    params = mtmd.mtmd_context_params_default()
    params.use_gpu = False
    params.print_timings = False
    params.warmup = True
    mtmd.mtmd_init_from_file(projector, text, params)


if __name__ == "__main__":
    main(*(argument.encode("utf-8", "surrogateescape") for argument in sys.argv[1:3]))
