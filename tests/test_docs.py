"""The pages say what the program does."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mediakit
from mediakit.batch.record import record_of
from mediakit.cli.app import COMMANDS, TASKS
from mediakit.models import catalog
from mediakit.tasks import registry

ROOT = Path(__file__).parent.parent


def test_the_reference_page_is_what_the_declarations_say() -> None:
    made = subprocess.run(
        [sys.executable, "tools/reference.py", "-"], cwd=ROOT, capture_output=True, check=True
    )
    assert made.stdout.decode() == (ROOT / "docs/reference.md").read_text(), "run: make docs"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_in_the_readme(command: str) -> None:
    assert f"mediakit {command}" in (ROOT / "README.md").read_text()


def test_tasks_are_named_alike_wherever_they_are_named() -> None:
    declared = {name: (task.name, task.summary) for name, task in registry.tasks().items()}
    assert declared == {name: (name, help) for name, (_, help) in TASKS.items()}


def test_every_target_of_the_makefile_has_a_rule() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.findall(r"^\.PHONY: (.*)", makefile, re.MULTILINE)
    rules = re.findall(r"^(\w[\w-]*):", makefile, re.MULTILINE)
    assert sorted(phony[0].split()) == sorted(set(rules))


def test_lowest_versions_are_those_of_all_that_is_installed() -> None:
    made = subprocess.run(
        [sys.executable, "tools/lowest.py"], cwd=ROOT, capture_output=True, check=True
    )
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra, names in project["optional-dependencies"].items():
        if extra not in ("all", "dev", "reference"):
            wanted += names
    told = made.stdout.decode().split()
    assert told == [name.replace(">=", "==") for name in dict.fromkeys(wanted)]
    assert "$(PYTHON) tools/lowest.py > .venv-lowest/lowest.txt" in (ROOT / "Makefile").read_text()


def test_every_field_of_a_record_is_in_its_page() -> None:
    from mediakit.batch.item import Item, Source
    from mediakit.tasks.registry import task

    record = record_of(task("upscale"), Item("k", Source("a.png", "a.png"), "k", None), "planned")
    documented = re.findall(r"^\| `(\w+)` \|", (ROOT / "docs/json.md").read_text(), re.MULTILINE)
    assert sorted(documented) == sorted(record)


def test_the_changelog_begins_with_this_version() -> None:
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert first
    assert first[1] == mediakit.__version__


def test_models_and_presets_that_the_readme_names_exist() -> None:
    table = re.findall(r"^\| `([\w-]+)`[^|]*\| (\S+) \|", (ROOT / "README.md").read_text(), re.M)
    assert len(table) == len(list((ROOT / "presets").glob("*.yaml")))
    for preset, model in table:
        assert (ROOT / "presets" / f"{preset}.yaml").exists()
        assert model in catalog.known()
