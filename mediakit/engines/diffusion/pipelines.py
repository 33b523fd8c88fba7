"""How a pipeline of diffusers is built of parts that are loaded already."""

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

from mediakit.errors import UserError, show

# What a pipeline is told in place of its own choice: no checker of contents, no watermark
_SETTINGS = {
    "safety_checker": None,
    "feature_extractor": None,
    "image_encoder": None,
    "requires_safety_checker": False,
    "add_watermarker": False,
}


def build(kind: str, parts: Mapping[str, Any]) -> Any:
    """A pipeline of class `kind`; other tasks' pipelines may be of the same parts.

    UserError missing_component, bad_weights.
    """
    cls = class_of(kind)
    wanted = inspect.signature(cls.__init__).parameters
    given = {name: value for name, value in (dict(parts) | _SETTINGS).items() if name in wanted}
    lacking = [
        name
        for name, parameter in wanted.items()
        if name not in given and name != "self" and parameter.default is inspect.Parameter.empty
    ]
    if lacking:
        raise UserError(
            "missing_component",
            f"the model has no {' and no '.join(lacking)}; get its folder again, whole",
        )
    pipe = cls(**given)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def class_of(name: str) -> Any:
    """A class of diffusers; only its own module is imported."""
    found = getattr(importlib.import_module("diffusers"), name, None)
    if found is None:
        raise UserError("bad_weights", f"diffusers has no {show(name)}; update diffusers")
    return found
