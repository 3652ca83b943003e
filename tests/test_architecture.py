"""The tree tells the story: what may import what, how long a file may be, what may not be in it."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

# a module imports only from modules above it; the chapters follow the same order
ORDER = (
    "_optional", "wiring", "solver", "recurrence", "fused_ncps", "acceleration", "neuron", "lock_step", "flipflop", "analysis", "lateral", "memory", "state_graph", "noise", "norm_preserving", "transformer", "mixers",
    "gradients", "lyapunov", "tasks", "training", "results", "experiment", "speed", "figures", "widgets", "sphinx_ext",
)  # fmt: skip
CORE = ORDER[: ORDER.index("tasks")]
MAX_LINES = 320
PACKAGE = Path(__file__).resolve().parent.parent / "src" / "cffbook"
SOURCES = sorted(PACKAGE.rglob("*.py"))
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:" + "|".join(("work", "root", "home", "tmp", "Users", "opt")) + r")/\w|[A-Z]:\\\\?Users\\")


def module_of(path: Path) -> str:
    """The top module a file belongs to: recurrence/fused.py is part of recurrence."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST, level: int = 0) -> list[str]:
    """Dotted names that a syntax tree imports; relative imports are not used here."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == level, "relative imports hide the order"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def at_import(tree: ast.Module) -> ast.Module:
    """The statements that run when the module is imported: no function bodies, nothing for type checkers alone."""
    kept = [node for node in tree.body if not isinstance(node, ast.FunctionDef | ast.ClassDef)]
    return ast.Module([node for node in kept if not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))], [])


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def name(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_module_imports_only_from_modules_above_it(path: Path) -> None:
    own = module_of(path)
    if own == "__init__":
        return  # the table of contents of the package
    assert own in ORDER, f"{own} has no place in the import order: add it to ORDER"
    below = set(ORDER[ORDER.index(own) + 1 :])
    used = {dotted.split(".")[1] for dotted in imported(parse(path)) if dotted.startswith("cffbook.")}
    assert not used & below, f"{name(path)} imports from modules below it"


@pytest.mark.parametrize("path", [path for path in SOURCES if module_of(path) in (*CORE, "__init__")], ids=name)
def test_the_core_needs_torch_and_the_standard_library_alone(path: Path) -> None:
    tops = {dotted.split(".")[0] for dotted in imported(at_import(parse(path)))}
    assert tops <= {*sys.stdlib_module_names, "torch", "cffbook"}


@pytest.mark.parametrize("path", [*SOURCES, *sorted(Path(__file__).parent.glob("*.py"))], ids=lambda path: path.name)
def test_a_file_is_short_enough_to_be_read(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name != "__main__.py"], ids=name)
def test_the_package_prints_nothing(path: Path) -> None:
    calls = [node for node in ast.walk(parse(path)) if isinstance(node, ast.Call)]
    assert not [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def test_no_file_names_a_folder_of_one_machine(root: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=root, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    wrong = []
    for entry in filter(None, listed.stdout.split("\0")):
        path = root / entry
        if "_vendor" in path.parts or not path.is_file():
            continue
        text = path.read_bytes().decode("utf-8", errors="ignore")
        wrong += [f"{entry}: {hit.group()}" for hit in MACHINE_PATH.finditer(text)]
    assert wrong == []


def test_the_order_is_that_of_the_package() -> None:
    assert {module_of(path) for path in SOURCES} - {"__init__"} <= set(ORDER)


@pytest.mark.parametrize("path", [path for path in SOURCES if path.name == "__init__.py" and path.parent != PACKAGE], ids=lambda p: p.parent.name)
def test_a_package_that_hands_on_names_lists_them_so_that_its_page_shows_them(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = [node for node in tree.body if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"cffbook.{path.parent.name}.")]
    listed = [node for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "__all__"]
    assert not own or listed
