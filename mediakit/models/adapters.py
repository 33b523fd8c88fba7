"""How much of a LoRA, embedding or VAE is wanted: the weight at the end of its name."""

import math
import re

_WEIGHT = re.compile(r"(?s)(.+):([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)")


def split_weight(text: str, default: float = 1.0) -> tuple[str, float]:
    """`name[:weight]` -> (name, weight): a path, a catalog name, or an hf: or https: address.

    A weight is a number after the last colon; it may be negative, and 0 takes the adapter out.
    A drive letter (C:\\...) and a port (https://host:8080/...) are part of the name. ValueError
    where there is no name, or the weight is not finite.
    """
    match = _WEIGHT.fullmatch(text)
    if match and not re.fullmatch(r"(?i)https?://[^/]*", match[1]):
        name, weight = match[1], float(match[2])
    else:
        name, weight = text, default
    if not name.strip():
        raise ValueError("expected a file, a name, or an address")
    if not math.isfinite(weight):
        raise ValueError(f"{text!r}: expected a weight such as 0.8 after the colon")
    return name, weight
