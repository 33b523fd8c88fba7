"""What a pickled checkpoint holds, told without torch and without running anything in it."""

import pickle
import zipfile
from pathlib import Path
from typing import IO, Any

from mediakit.errors import UserError, show

_MAGIC = 0x1950A86A20F9469CFC6C  # what torch wrote first before its files were zip archives
_LONGEST = 100_000_000  # bytes of names and shapes; those of SD 1.5 take 0.2 MB
# beside those of torch: all that its weights-only loader takes, which has the last word
_HARMLESS = {"collections": ("OrderedDict", "Counter"), "_codecs": ("encode",),
             "builtins": ("bytearray", "set", "complex"),
             "__builtin__": ("bytearray", "set", "complex")}  # fmt: skip


class _Dict(dict[Any, Any]):
    """An OrderedDict, which may carry attributes."""


class _Shape(tuple[int, ...]):
    """In place of a tensor."""


class _Inert:
    """In place of anything else: made of whatever is given, and does nothing."""

    def __new__(cls, *_: object, **__: object) -> "_Inert":
        return object.__new__(cls)

    def __setstate__(self, state: object) -> None:
        return


def _shape(_storage: object, _offset: object, size: tuple[int, ...], *_: object) -> _Shape:
    return _Shape(size)


_REBUILT = {
    "_rebuild_tensor": _shape,
    "_rebuild_tensor_v2": _shape,
    "_rebuild_parameter": lambda tensor, *_: tensor,
}


class _Reader(pickle.Unpickler):
    """Calls nothing but what stands above, whatever the pickle names."""

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch._utils" and name in _REBUILT:
            return _REBUILT[name]
        if module == "collections" and name in _HARMLESS[module]:
            return _Dict
        if module.partition(".")[0] == "torch" or name in _HARMLESS.get(module, ()):
            return _Inert
        raise _Foreign(f"{module}.{name}")

    def persistent_load(self, _pid: object) -> None:
        return None  # a storage: the numbers themselves


class _Foreign(Exception):
    """A pickle names something that is no tensor and no container."""


def shapes_of(path: Path) -> dict[str, tuple[int, ...]]:
    """Tensors of a .ckpt or .pt and their shapes, below `state_dict` where there is one.

    UserError unknown_model, unsafe_weights (it names objects of other kinds), bad_weights.
    """
    name = show(path)
    try:
        with path.open("rb") as file:
            found = unwrapped(_read(file))
    except FileNotFoundError:
        raise UserError("unknown_model", f"{name} does not exist") from None
    except _Foreign as error:
        raise UserError(
            "unsafe_weights",
            f"{name} holds code or objects ({show(str(error))[:80]}) beside its weights and was "
            "not opened; get a .safetensors of it",
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything: EOFError, KeyError ...
        reason = show(str(error) or type(error).__name__)[:80]
        raise UserError(
            "bad_weights", f"{name} is damaged or no checkpoint ({reason}); get it again"
        ) from None
    return {str(key): tuple(value) for key, value in found.items() if isinstance(value, _Shape)}


def unwrapped(loaded: Any) -> dict[Any, Any]:
    """The tensors of a checkpoint, beside which trainers keep counts and states of their own."""
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise ValueError("it holds no weights")
    return loaded


def _read(file: IO[bytes]) -> Any:
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            pickles = [i for i in archive.infolist() if i.filename.endswith("/data.pkl")]
            if len(pickles) != 1 or pickles[0].file_size > _LONGEST:
                raise ValueError("no archive of torch's")
            with archive.open(pickles[0]) as inside:
                return _Reader(inside).load()
    file.seek(0)
    if _Reader(file).load() != _MAGIC:
        raise ValueError("not written by torch")
    for _ in range(2):  # the version, and the sizes of numbers
        _Reader(file).load()
    return _Reader(file).load()
