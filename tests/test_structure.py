"""The shape of the code: what imports what, error codes, sizes, and what --help loads."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import mediakit
from mediakit.errors import CODES

ROOT = Path(mediakit.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_bytes()) for path in FILES}
# each may import those before it
LAYERS = ["errors", "params", "device", "models", "media", "engines", "prompts", "batch", "presets",
          "tasks", "cli"]  # fmt: skip
MODEL_LIBRARIES = {"torch", "torchvision", "spandrel", "cv2", "diffusers", "transformers",
                   "faster_whisper", "llama_cpp"}  # fmt: skip
EXTRAS = MODEL_LIBRARIES | {"numpy", "PIL", "safetensors"}


def layer(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[ast.AST, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node, node.module
            if node.module == "mediakit":
                yield from ((node, f"mediakit.{alias.name}") for alias in node.names)


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_imports_point_one_way() -> None:
    wrong = []
    for path, tree in TREES.items():
        for _, name in imports(tree):
            parts = name.split(".")
            if parts[0] != "mediakit" or len(parts) < 2 or parts[1] not in LAYERS:
                continue
            own = layer(path)
            if own in LAYERS and LAYERS.index(parts[1]) > LAYERS.index(own):
                wrong.append(f"{path.relative_to(ROOT)} imports {name}")
    assert wrong == []


def test_only_engines_import_model_libraries() -> None:
    wrong = []
    for path, tree in TREES.items():
        in_functions = {id(n) for f in functions(tree) for n in ast.walk(f)}
        for node, name in imports(tree):
            allowed = layer(path) == "engines" or (
                layer(path) == "device" and id(node) in in_functions
            )
            if name.split(".")[0] in MODEL_LIBRARIES and not allowed:
                wrong.append(f"{path.relative_to(ROOT)} {name}")
    assert wrong == []


def loaded(code: str) -> set[str]:
    """The top-level modules in a fresh Python after `code`."""
    code += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    return set(done.stdout.decode().split())


@pytest.mark.parametrize(
    ("code", "not_wanted"),
    [
        ("import mediakit.cli.app", EXTRAS | {"pydantic", "yaml", "psutil"}),
        ("import mediakit.cli.tasks, mediakit.cli.presets, mediakit.cli.devices", EXTRAS),
        ("import mediakit.cli.models, mediakit.cli.replay, mediakit.tasks.upscale", EXTRAS),
    ],
)
def test_what_comes_along(code: str, not_wanted: set[str]) -> None:
    assert loaded(code) & not_wanted == set()


def raised() -> Iterator[tuple[str, str]]:
    """Codes given to errors, and where: a constant, or an expression with constants in it."""
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            name = getattr(node.func, "id", "") if isinstance(node, ast.Call) else ""
            if name in ("UserError", "ItemError", "PlaceError"):
                assert isinstance(node, ast.Call)
                for part in ast.walk(node.args[0]):
                    if isinstance(part, ast.Constant) and isinstance(part.value, str):
                        yield part.value, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_each_code_raised_is_registered() -> None:
    assert [where for code, where in raised() if code not in CODES] == []


def test_each_registered_code_is_raised() -> None:
    assert CODES.keys() - {code for code, _ in raised()} == set()


def test_functions_have_few_parameters() -> None:
    wide = {
        f"{path.relative_to(ROOT)}:{f.name}": count
        for path, tree in TREES.items()
        for f in functions(tree)
        if (count := len(f.args.posonlyargs + f.args.args + f.args.kwonlyargs)) > 6
    }
    assert wide == {}


def test_nothing_prints_but_the_command_line() -> None:
    assert not [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and ast.unparse(node) in ("sys.stdout", "sys.stderr")
        and layer(path) != "cli"
    ]
