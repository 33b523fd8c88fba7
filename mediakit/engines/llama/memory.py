"""How long a context, and how many layers on a GPU, the memory that is free allows."""

from mediakit.errors import UserError
from mediakit.models.gguf import Header

LONGEST = 8192  # tokens that a context has unless told otherwise
SHORTEST = 512
_SHARE = 0.5  # of what weights leave free: the cache may take it
_GPU_SHARE = 0.9  # of a GPU's free memory; the rest is for computing
_COMPUTE = 256 << 20  # bytes that llama.cpp computes in


def context_length(header: Header, free: int) -> int:
    """Tokens: what the model was trained for, but no more than LONGEST, or than the cache of keys
    and values finds room for beside the weights."""
    length = min(header.context_length, LONGEST)
    room = max(0, free - header.tensor_bytes) * _SHARE
    while length > SHORTEST and length * header.cache_bytes > room:
        length //= 2
    return length


def cells(context_length: int, sequences: int, header: Header, free: int) -> int:
    """Tokens of all sequences together: as many contexts as the cache finds room for, one at
    least."""
    room = max(0, free - header.tensor_bytes) * _SHARE
    fitting = int(room / max(1, context_length * header.cache_bytes))
    return context_length * max(1, min(sequences, fitting))


def check(context_length: int, header: Header, free: int) -> None:
    """UserError over_budget for a context that has no room: the system would end the process."""
    needed = context_length * header.cache_bytes + _COMPUTE
    if needed > free:
        raise UserError(
            "over_budget",
            f"a context of {context_length} tokens takes {needed / 2**30:.1f} GiB, and "
            f"{free / 2**30:.1f} GiB are free; lower --context-length",
        )


def gpu_layers(header: Header, context_length: int, free: int) -> int:
    """How many layers, with their share of the cache, fit in `free` bytes of a GPU; all of them
    and the output layer are `header.layers + 1`."""
    total = header.tensor_bytes + header.cache_bytes * context_length
    each = total / (header.layers + 1)
    room = free * _GPU_SHARE - _COMPUTE
    return max(0, min(header.layers + 1, int(room / each)))
