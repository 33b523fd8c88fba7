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

LOCAL = "local"  # the revision of a model that is a file or folder of the user's
# What makes a folder a model: the first that of a whole pipeline, the second that of one component
PIPELINE = "model_index.json"
COMPONENT = "config.json"
# What an entry of the user's may leave out
OWN: dict[str, Any] = {
    "description": "A model of your own.",
    "good_at": "",
    "bad_at": "",
    "licence": "",
    "homepage": "",
    "tasks": (),
    "revision": "your own",
}


def _is_relative(text: str) -> str:
    """A path inside the model's folder that means the same on every system."""
    if any(not part or part.startswith(".") for part in text.split("/")) or re.search(
        r"[\\:\0]|^part-[^/]*/", text
    ):
        raise ValueError(f"{text!r} is not a file name, or a path such as unet/config.json")
    return text


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class ModelFile(_Entry):
    """One file of a model; `sources` are tried in order and hold the same bytes.

    `name` may be a path with /, such as unet/config.json: it then lies in a folder of the model's.

    Without a `sha256` the first download is trusted and recorded (see `trust`), and later ones
    must match it; a plain http: source needs one.
    """

    name: Annotated[str, AfterValidator(_is_relative)]
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
    """A model: a catalog entry, one of the user's, or files of the user's (`local`: their path).

    `tasks` empty means any task. `engine` is an import string, "module:function". `files` come
    in the order the engine wants them: the first one is what it is given; or they are a folder,
    in the layout of diffusers, of a captioner of transformers or of a Whisper model of CTranslate2,
    which the engine is given whole. `repository` stands for the files of such a folder at the hub:
    they are listed at the first pull, and recorded (see `trust`), with the weights of `variant`
    where there are such.
    `kind` says what `--model`, or --lora, --embedding and --vae take. `defaults` are the model's
    own values: task -> parameter -> value. `blend` names the parameter (0 to 1) by which the
    weights of the first file are mixed with those of the second: 1 is the first alone.

    `native_side`: pixels of a side of the square pictures it was trained on. `memory`: bytes on
    a device that its author says it needs. `download`: bytes in all, where no file tells.
    """

    name: str
    kind: Literal["model", "lora", "embedding", "vae"] = "model"
    aliases: tuple[str, ...] = ()
    description: str = Field(pattern=r"^[^\n]+$")
    good_at: str
    bad_at: str
    licence: str
    homepage: str
    tasks: tuple[str, ...]
    engine: str = Field(pattern=r"^[\w.]+:\w+$")
    files: tuple[ModelFile, ...] = ()
    repository: str | None = Field(default=None, pattern=r"^hf:[\w.-]+/[\w.-]+@[\w.-]+$")
    variant: str = Field(default="fp16", pattern=r"^\w*$")
    family: str | None = None
    native_side: int | None = Field(default=None, ge=8)
    memory: int | None = Field(default=None, ge=1)
    download: int | None = Field(default=None, ge=1)
    convert: Literal["ncnn"] | None = None
    blend: str | None = None
    revision: str
    defaults: dict[str, dict[str, Any]] = {}
    local: AnyPath | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> "ModelSpec":
        names = [file.name.casefold() for file in self.files]
        if not names and not self.repository:
            raise ValueError("files: needs at least one, or a repository")
        folders = {name[:at] for name in names for at, c in enumerate(name) if c == "/"}
        if len(set(names)) < len(names) or folders & set(names):
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
    def is_folder(self) -> bool:
        """Whether the files are a folder that is loaded whole; not known of a repository before
        it was listed."""
        return any(file.name in (PIPELINE, COMPONENT) for file in self.files)

    @property
    def shipped(self) -> str | None:
        """The folder inside mediakit that holds every file: they are used there, never copied."""
        tops = set()
        for file in self.files:
            source = file.sources[0] if file.sources else ""
            inside = source.startswith("package:") and source.endswith(f"/{file.name}")
            tops.add(source[len("package:") : -len(file.name) - 1] if inside else None)
        return tops.pop() if len(tops) == 1 else None

    @property
    def pinned(self) -> bool:
        """Whether the digest of every file is known."""
        return bool(self.files) and all(file.sha256 for file in self.files)

    @property
    def size(self) -> int:
        """Bytes of all files, as far as they are known."""
        return sum(file.size or 0 for file in self.files) or self.download or 0

    @property
    def sha256(self) -> str:
        """The identity of the model: of one file its own digest, of several the digest of the
        sorted lines "sha256  name"; before a repository is listed, that of its address."""
        if len(self.files) == 1:
            return self.files[0].identity
        if not self.files:
            return hashlib.sha256(str(self.repository).encode()).hexdigest()
        lines = sorted(f"{file.identity}  {file.name}\n" for file in self.files)
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def check_task(self, task: str, *others: str) -> None:
        """UserError wrong_model unless the model is for `task`, or one of the others."""
        if self.tasks and not {task, *others} & {*self.tasks}:
            raise UserError(
                "wrong_model",
                f"{self.name} is a model for {' and '.join(self.tasks)}, not for {task}; "
                f"see `mediakit models list --task {task}`",
            )

    def check_kind(self, kind: str) -> None:
        """UserError wrong_model unless the model is of this kind: one for `--KIND`."""
        if self.kind != kind:
            raise UserError(
                "wrong_model",
                f"{self.name} is not for --{kind} but for --{self.kind}; give it there",
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
        checked = type(params)(**update)  # the others were checked, and may mean another file now
    except ValidationError as error:
        first = error.errors()[0]
        raise UserError(
            "bad_model_entry",
            f"model {spec.name}: its default {'.'.join(map(str, first['loc']))} for {task} is not "
            f"valid: {first['msg']}",
        ) from None
    return params.model_copy(update={name: getattr(checked, name) for name in update})
