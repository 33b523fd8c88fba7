"""How option models become the command line's options, and parsed values become option models."""

import inspect
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

import annotated_types
import typer
from pydantic import BeforeValidator, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from mediakit import presets
from mediakit.batch.task import Task
from mediakit.errors import UserError, show
from mediakit.params import (
    AnyPath,
    Batch,
    Execution,
    Number,
    Options,
    Params,
    Quantity,
    Shard,
    auto_or_int,
    fault,
)
from mediakit.tasks import registry

PANELS = {
    Params: "What is made",
    Execution: "How it is computed",
    Batch: "Which items, and where to",
}
_METAVARS = (
    (Quantity, "SIZE"), (Shard, "I/N"), (AnyPath, "PATH"), (Number, "NUMBER"),
)  # fmt: skip


@dataclass(frozen=True)
class Given:
    """What a command was told: its option models, and where each value came from."""

    params: Params
    execution: Execution
    batch: Batch
    sources: Mapping[str, str]  # field -> command line, environment, preset; others: default

    @property
    def given(self) -> tuple[str, ...]:
        """The Params that were set by anyone, for the record."""
        return tuple(name for name in type(self.params).model_fields if name in self.sources)

    @property
    def told(self) -> frozenset[str]:
        """The fields that the command line itself names; only these can be useless."""
        return frozenset(k for k, source in self.sources.items() if source == "command line")

    @property
    def values(self) -> Mapping[str, Any]:
        """All fields' values, whoever set them."""
        return {**dict(self.params), **dict(self.execution), **dict(self.batch)}


def models(task: type[Task]) -> list[type[Options]]:
    """The option models of a task's command, in the order of its help."""
    return [task.Params, task.Execution, Batch]


def signature(task: type[Task], inputs: inspect.Parameter) -> inspect.Signature:
    """What Typer reads: the context, the inputs, `--preset`, and an option a field."""
    keyword = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter(
        "context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context
    )
    preset = inspect.Parameter(
        "preset", keyword, default=None,
        annotation=Annotated[
            str | None,
            typer.Option(
                help="Take values from a preset, by name or file (see: mediakit presets list). "
                "Options on the command line win.",
                is_eager=True, callback=_apply_preset(task),
                envvar=variables(task, "preset", False),
                show_envvar=False, rich_help_panel=PANELS[Params],
            ),
        ],
    )  # fmt: skip
    options = [_parameter(task, model, name, field) for model, name, field in fields(task)]
    return inspect.Signature([context, inputs, preset, *options])


def fields(task: type[Task]) -> Iterator[tuple[type[Options], str, FieldInfo]]:
    """Every field of a task's command with the model it belongs to."""
    shared = Options.__module__
    for model in models(task):
        # before those of the groups that all tasks share
        own = {
            n
            for c in model.__mro__
            if c.__module__ != shared
            for n in vars(c).get("__annotations__", ())
        }
        for name in sorted(model.model_fields, key=lambda n: n not in own):
            yield model, name, model.model_fields[name]


def flags(name: str, field: FieldInfo, model: type[Options]) -> list[str]:
    """The option names of a field."""
    extra = field.json_schema_extra
    if isinstance(extra, dict) and "flags" in extra:
        return [str(flag) for flag in typing.cast(list[str], extra["flags"])]
    option = "--" + name.replace("_", "-")
    # a preset may switch it on, so there must be a way to switch it off
    if field.annotation in (bool, bool | None) and model is not Batch:
        option += f"/--no-{option[2:]}"
    return [option]


def _parameter(
    task: type[Task], model: type[Options], name: str, field: FieldInfo
) -> inspect.Parameter:
    if get_origin(field.annotation) is tuple and get_args(field.annotation)[1:] == (...,):
        return _several(task, model, name, field)
    kind, plain = _plain(field)
    low, high = _bounds(field)
    help = field.description or ""
    settings: dict[str, Any] = {"min": low, "max": high} if kind in (int, float) else {}
    if not plain:
        settings = {"parser": _parser(field), "metavar": _metavar(kind)}
        if low is not None and high is not None:
            help += f" [{low} to {high}]"
    names = flags(name, field, model)
    long, common = names[-1].split("/")[0], issubclass(model, Execution)
    option = typer.Option(
        *names, help=help, envvar=variables(task, long, common),
        show_envvar=False, rich_help_panel=_panel(model), show_default=field.default is not False,
        **settings,
    )  # fmt: skip
    annotation: Any = kind if plain else str
    annotation = Annotated[annotation if kind is bool else annotation | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=field.default, annotation=annotation
    )


def _several(
    task: type[Task], model: type[Options], name: str, field: FieldInfo
) -> inspect.Parameter:
    """An option that may be given several times; texts."""
    names = flags(name, field, model)
    option = typer.Option(
        *names, help=field.description or "", envvar=variables(task, names[-1], False),
        show_envvar=False, rich_help_panel=_panel(model), show_default=False, parser=str,
        metavar="TEXT",
    )  # fmt: skip
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None,
        annotation=Annotated[list[str] | None, option],
    )  # fmt: skip


def _panel(model: type[Options]) -> str:
    return next(title for base, title in PANELS.items() if issubclass(model, base))


def variables(task: type[Task], option: str, common: bool) -> list[str]:
    """The environment variables of an option; of those of all tasks (`common`) two, the task's
    own first."""
    name = option.removeprefix("--").replace("-", "_")
    own = f"MEDIAKIT_{task.name}_{name}".upper()
    return [own, f"MEDIAKIT_{name}".upper()] if common else [own]


def _plain(field: FieldInfo) -> tuple[Any, bool]:
    """A field's type without None, and whether Typer knows it by itself."""
    annotation: Any = field.annotation
    validators = tuple(m for m in field.metadata if isinstance(m, BeforeValidator))
    if validators:
        return Annotated[annotation, *field.metadata], False
    if get_origin(annotation) in (typing.Union, types.UnionType):
        parts = tuple(a for a in get_args(annotation) if a is not type(None))
        annotation = typing.Union[parts]  # noqa: UP007
    known = annotation in (str, int, float, bool) or _is_literal(annotation)
    return annotation, known


def _metavar(kind: Any) -> str:
    if words := _words(kind):
        return "|".join((*words, "N"))
    for known, word in _METAVARS:
        validators = [m for m in get_args(known)[1:] if isinstance(m, BeforeValidator)]
        if kind == known or (validators and validators[0] in get_args(kind)):
            return word
    return "VALUE"


def _words(kind: Any) -> tuple[str, ...]:
    """What may be given in place of a number, if that is what the type is."""
    rules = get_args(kind)[1:]
    if not any(isinstance(m, BeforeValidator) and m.func is auto_or_int for m in rules):
        return ()
    return next(get_args(part) for part in get_args(get_args(kind)[0]) if _is_literal(part))


def _is_literal(kind: Any) -> bool:
    return get_origin(kind) is Literal


def _bounds(field: FieldInfo) -> tuple[Any, Any]:
    low = next((m.ge for m in field.metadata if isinstance(m, annotated_types.Ge)), None)
    high = next((m.le for m in field.metadata if isinstance(m, annotated_types.Le)), None)
    return low, high


def _parser(field: FieldInfo) -> Callable[[Any], Any]:
    """Reads one value by the field's own rules, in the words of the parser's errors."""

    def parse(value: Any) -> Any:
        try:
            # rebuilt from the field, so that Typer, presets and rows share one declaration
            rules: Any = Annotated[field.annotation, field]
            return TypeAdapter(rules).validate_python(value)
        except ValidationError as e:
            errors = e.errors()
            if words and errors[-1]["type"] == "int_parsing":
                raise ValueError(f"give {', '.join(words)} or a whole number") from None
            raise ValueError(errors[-1]["msg"].removeprefix("Value error, ")) from None

    words = _words(_plain(field)[0])
    return parse


def _apply_preset(task: type[Task]) -> Callable[[typer.Context, str | None], str | None]:
    def apply(context: typer.Context, preset: str | None) -> str | None:
        if preset is not None and not context.resilient_parsing:
            values = presets.section(preset, task, registry.tasks())
            if not values:
                raise UserError(
                    "useless_option", f"preset {show(preset)} sets nothing for {task.name}"
                )
            context.default_map = {**(context.default_map or {}), **values}
        return preset

    return apply


_SOURCES = {"COMMANDLINE": "command line", "ENVIRONMENT": "environment", "DEFAULT_MAP": "preset"}


def collect(context: typer.Context, task: type[Task], values: Mapping[str, Any]) -> Given:
    """The option models of what Typer parsed. UserError if values do not go together."""
    sources = {}
    for name in values:
        source = context.get_parameter_source(name)
        if source is not None and source.name in _SOURCES:
            sources[name] = _SOURCES[source.name]
    if values.get("preset"):
        sources = {k: f"preset {values['preset']}" if v == "preset" else v
                   for k, v in sources.items()}  # fmt: skip
    built = []
    for model in models(task):
        chosen = {n: values[n] for n in model.model_fields if values.get(n) is not None}
        try:
            built.append(model(**chosen))
        except ValidationError as e:
            raise UserError("usage", f"--{fault(e).replace('_', '-', 1)}") from None
    params, execution, batch = built
    assert isinstance(params, Params)
    assert isinstance(execution, Execution)
    assert isinstance(batch, Batch)
    return Given(params, execution, batch, sources)
