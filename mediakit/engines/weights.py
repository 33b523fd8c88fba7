"""How a weights file becomes a state dict without running anything it holds."""

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from mediakit.errors import UserError, show

# What torch's weights-only loader says of pickles that name anything but tensors and containers
_CODE = (
    "Unsupported global",
    "unsupported GLOBAL",
    "Can only create new object",
    "Can only build",
    "TorchScript",
)


def read_weights(path: Path) -> dict[str, Any]:
    """The outermost dict of a .safetensors, or of a .pth, .pt or .ckpt pickle, on the CPU.

    Raises UserError unsafe_weights (the pickle holds code; it is not run), bad_weights or
    unknown_model.
    """
    name = show(path)
    warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
    try:
        if path.suffix.lower() == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError("unknown_model", f"{name} does not exist") from None
    except safetensors.SafetensorError as error:
        raise _damaged(name, error) from None
    except (pickle.UnpicklingError, RuntimeError) as error:
        if any(words in str(error) for words in _CODE) or _is_plain_pickle(path):
            raise UserError(
                "unsafe_weights",
                f"{name} holds code or objects beside its weights and was not opened; "
                "get a .safetensors of it",
            ) from None
        reason = error if isinstance(error, RuntimeError) else ValueError("not a weights pickle")
        raise _damaged(name, reason) from None
    except MemoryError:
        raise
    except Exception as error:  # damaged pickles raise nearly anything: EOFError, KeyError ...
        raise _damaged(name, error) from None
    if not isinstance(loaded, dict):
        raise UserError("bad_weights", f"{name} holds no weights; get the model's file again")
    return loaded


def write_weights(state: Mapping[str, Any], path: Path) -> None:
    """Write the tensors of a state dict as safetensors, bit for bit; what else it holds is left
    out. Tensors that share memory are written twice."""
    tensors = {
        name: value.detach().clone().contiguous()
        for name, value in state.items()
        if isinstance(value, torch.Tensor)
    }
    safetensors.torch.save_file(tensors, path)


def _is_plain_pickle(path: Path) -> bool:
    """A pickle of a newer protocol than torch writes: what it holds beside weights is not known."""
    with path.open("rb") as file:
        return file.read(2) in (b"\x80\x03", b"\x80\x04", b"\x80\x05")


def _damaged(name: str, error: Exception) -> UserError:
    reason = show((str(error).strip().splitlines() or [type(error).__name__])[0])[:120]
    return UserError(
        "bad_weights", f"{name} is damaged or no weights file ({reason}); get it again"
    )
