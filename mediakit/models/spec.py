"""What mediakit knows about a model: its files, where they come from, and its own parameters."""

import hashlib
import re
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from mediakit.errors import UserError
from mediakit.models.sources import is_source
from mediakit.params import AnyPath, Params

P = TypeVar("P", bound=Params)

LOCAL = "local"  # the revision of a model that is a file of the user's


def _is_plain_name(text: str) -> str:
    if not text or text.startswith(".") or re.search(r"[/\\:]", text):
        raise ValueError(f"{text!r} is not a plain file name")
    return text


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelFile(_Entry):
    """One file of a model; `sources` are tried in order and hold the same bytes.

    Without a `sha256` the first download is trusted and recorded (see `trust`), and later ones
    must match it; a plain http: source needs one.
    """

    name: Annotated[str, AfterValidator(_is_plain_name)]
    size: int | None = Field(default=None, ge=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    sources: tuple[Annotated[str, AfterValidator(is_source)], ...] = ()

    @model_validator(mode="after")
    def _is_safe(self) -> "ModelFile":
        if not self.sha256 and not self.sources:
            raise ValueError("needs a sha256 or sources")
        for source in self.sources:
            if source.startswith("http:") and not self.sha256:
                raise ValueError(f"{source!r} can be changed on its way; give its sha256, or https")
        return self

    @property
    def identity(self) -> str:
        """The file's digest; before it is known, one of where it comes from."""
        return self.sha256 or hashlib.sha256("\n".join(self.sources).encode()).hexdigest()


class ModelSpec(_Entry):
    """A model: a catalog entry, one of the user's, or a file of the user's (`local`: its path).

    `tasks` empty means any task. `engine` is an import string, "module:function". `files` come
    in the order the engine wants them: the first one is what it is given. `defaults` are the
    model's own values: task -> parameter -> value. `blend` names the parameter (0 to 1) by which
    the weights of the first file are mixed with those of the second: 1 is the first alone.
    """

    name: str
    aliases: tuple[str, ...] = ()
    description: str = Field(pattern=r"^[^\n]+$")
    good_at: str
    bad_at: str
    licence: str
    homepage: str
    tasks: tuple[str, ...]
    engine: str = Field(pattern=r"^[\w.]+:\w+$")
    files: tuple[ModelFile, ...] = Field(min_length=1)
    convert: Literal["ncnn"] | None = None
    blend: str | None = None
    revision: str
    defaults: dict[str, dict[str, Any]] = {}
    local: AnyPath | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "ModelSpec":
        names = [file.name.casefold() for file in self.files]
        if len(set(names)) < len(names):
            raise ValueError("files: two have the same name")
        if self.blend and len(self.files) != 2:
            raise ValueError("blend: needs exactly two files")
        suffixes = sorted(name[name.rfind(".") :] for name in names)
        if self.convert == "ncnn" and not self.local and suffixes != [".bin", ".param"]:
            raise ValueError("convert: ncnn needs exactly a .param and a .bin file")
        return self

    @property
    def is_reference(self) -> bool:
        """Whether the user gave an address instead of a name: `name` is that address."""
        return self.name.startswith(("hf:", "https:")) and not self.local

    @property
    def pinned(self) -> bool:
        """Whether the digest of every file is known."""
        return all(file.sha256 for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        return sum(file.size or 0 for file in self.files)

    @property
    def sha256(self) -> str:
        """The identity of the model: of one file its own digest, of several the digest of the
        sorted lines "sha256  name"."""
        if len(self.files) == 1:
            return self.files[0].identity
        lines = sorted(f"{file.identity}  {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def check_task(self, task: str) -> None:
        """UserError wrong_model unless the model is for `task`."""
        if self.tasks and task not in self.tasks:
            raise UserError(
                "wrong_model",
                f"{self.name} is a model for {' and '.join(self.tasks)}, not for {task}; "
                f"see `mediakit models list --task {task}`",
            )

    def record(self, role: str) -> dict[str, str]:
        """The model's line in the JSON record."""
        return {
            "role": role,
            "name": self.name,
            "revision": self.revision,
            "sha256": self.sha256,
        }


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
