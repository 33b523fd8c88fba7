"""How spandrel is imported: without torchvision, which two of its nets use and few people need.

Importing torchvision brings torch's compiler and sympy: 2.5 s of a command, nearly as long as torch
itself. Only LaMa and RestoreFormer have it, and only call it while they run.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["spandrel"]

_PUT_OFF = ("torchvision", "torchvision.transforms", "torchvision.transforms.functional")


class _Later:
    """A function or class of a module that is imported when this is first called or asked."""

    def __init__(self, module: str, name: str) -> None:
        self._where = module, name

    def _real(self) -> Any:
        module, name = self._where
        return getattr(import_module(module), name)

    def __call__(self, *args: Any, **options: Any) -> Any:
        return self._real()(*args, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real(), name)


class _StandIn(ModuleType):
    """Has every name, each a `_Later`."""

    __path__: list[str] = []  # noqa: RUF012  (a package, to the import system)

    def __getattr__(self, name: str) -> _Later:
        if name.startswith("__"):
            raise AttributeError(name)
        return _Later(self.__name__, name)


@contextmanager
def _put_off() -> Iterator[None]:
    """Stand-ins for torchvision, unless it is there already; never there for anyone else."""
    if "torchvision" in sys.modules:
        yield
        return
    sys.modules.update({name: _StandIn(name) for name in _PUT_OFF})
    try:
        yield
    finally:
        for name in _PUT_OFF:
            del sys.modules[name]


with _put_off():
    import spandrel  # type: ignore[import-untyped]
