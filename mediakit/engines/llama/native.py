"""llama.cpp's own functions, without the Python that llama-cpp-python builds upon them."""

import sys
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from typing import Any


def _modules(*names: str) -> list[Any]:
    """Modules of the package llama_cpp, whose own first lines import jinja2 and much else that
    nothing here needs: the package stands in empty meanwhile. A later `import llama_cpp` is
    complete, and shares these modules."""
    spec = find_spec("llama_cpp")
    if spec is None:
        raise ModuleNotFoundError("No module named 'llama_cpp'", name="llama_cpp")
    is_there = "llama_cpp" in sys.modules
    if not is_there:
        sys.modules["llama_cpp"] = module_from_spec(spec)
    try:
        return [import_module(f"llama_cpp.{name}") for name in names]
    finally:
        if not is_there:
            del sys.modules["llama_cpp"]


def multimodal() -> Any:
    """Its functions for pictures, which most never need."""
    return _modules("mtmd_cpp")[0]


(native,) = _modules("llama_cpp")
