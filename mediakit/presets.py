"""Presets: named option values in YAML, a section a task; where they are, and what is valid."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import platformdirs
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from mediakit.batch.task import Task
from mediakit.errors import UserError, show
from mediakit.params import fault

Values = dict[str, Any]


class Preset(BaseModel):
    """A preset file: what it is for, which preset it builds on, and a section a task."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    name: str
    path: Path
    description: str = ""
    extends: str | None = None
    sections: dict[str, Values]


def shipped_folder() -> Path:
    """Presets that come with mediakit: inside the installed package, or beside it in a checkout."""
    installed = Path(__file__).parent / "shipped_presets"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "presets"


def folders() -> list[Path]:
    """Where presets are looked for, the user's first."""
    return [platformdirs.user_config_path("mediakit") / "presets", shipped_folder()]


def available() -> dict[str, Path]:
    """All presets by name; a user's own hides a shipped one of the same name."""
    found: dict[str, Path] = {}
    for folder in reversed(folders()):
        found |= {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    return dict(sorted(found.items()))


def find(name: str) -> Path:
    """A preset's file, by name or by path. UserError if there is none."""
    if "/" in name or name.endswith((".yaml", ".yml")):
        if Path(name).is_file():
            return Path(name)
        raise UserError("unknown_preset", f"there is no preset file {show(name)}")
    known = available()
    if name not in known:
        raise UserError("unknown_preset", f"no preset {show(name)}; there are {', '.join(known)}")
    return known[name]


def read(path: Path, tasks: Mapping[str, type[Task]], only: str | None = None) -> Preset:
    """A valid preset. UserError that names file, task and key otherwise.

    With `only`, the values of other tasks than that are not looked at: it takes these tasks' code.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise UserError("bad_preset", f"{show(path)} can't be read: {e.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as e:
        cause = " ".join(str(e).split())
        raise UserError("bad_preset", f"{show(path)} is not YAML: {cause}") from None
    if not isinstance(content, dict):
        raise UserError("bad_preset", f"{show(path)}: expected `task:` and its options below it")
    about = {k: content.pop(k) for k in ("description", "extends") if k in content}
    for section, values in content.items():
        if section not in tasks:
            known = ", ".join([*tasks, "description", "extends"])
            raise UserError(
                "bad_preset", f"{show(path)}: no task {show(section)}; known are {known}"
            )
        if only in (None, section):
            _check(path, tasks[section], values)
    try:
        return Preset(name=path.stem, path=path, sections=content, **about)
    except ValidationError as e:
        raise UserError("bad_preset", f"{show(path)}: {fault(e)}") from None


def _check(path: Path, task: type[Task], values: object) -> None:
    """UserError unless the section's keys are Params or Execution options with valid values."""
    both = create_model("Section", __base__=(task.Params, task.Execution))
    try:
        both.model_validate(values)
    except ValidationError as e:
        raise UserError("bad_preset", f"{show(path)}: {task.name}: {fault(e)}") from None


def section(name: str, task: type[Task], tasks: Mapping[str, type[Task]]) -> Values:
    """The values that a preset sets for a task, those of the presets it extends first."""
    values: Values = {}
    for preset in reversed(list(_chain(name, task, tasks))):
        values |= preset.sections.get(task.name, {})
    return values


def _chain(name: str, task: type[Task], tasks: Mapping[str, type[Task]]) -> Iterable[Preset]:
    seen: list[Path] = []
    following: str | None = name
    while following is not None:
        path = find(following)
        if path.resolve() in seen:
            raise UserError("bad_preset", f"{show(path)} extends itself; remove an extends line")
        seen.append(path.resolve())
        preset = read(path, tasks, task.name)
        yield preset
        following = preset.extends
        if following and "/" in following:
            following = str(path.parent / following)
