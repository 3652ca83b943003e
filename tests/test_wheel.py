"""The wheel in an empty environment with torch alone beside it: the layers and their tests run, an extra says its name."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ALLOWED = ("torch", "pytest", "hypothesis")
CORE_TESTS = ("wiring", "solver", "recurrence", "neuron", "flipflop", "analysis", "memory", "norm_preserving", "transformer", "mixers", "gradients")


def requirements_of(name: str, found: dict[str, importlib.metadata.Distribution]) -> None:
    """Add a distribution and all that it requires, without extras, to `found`."""
    from packaging.requirements import Requirement

    key = re.sub(r"[-_.]+", "-", name).lower()
    if key in found:
        return
    found[key] = importlib.metadata.distribution(name)
    for text in found[key].requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            requirements_of(requirement.name, found)


def link_into(site: Path) -> None:
    """Show the allowed distributions, and nothing else, to the environment that owns `site`."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for name in ALLOWED:
        requirements_of(name, found)
    for distribution in found.values():
        for top in {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}:
            target = Path(distribution.locate_file(top))
            if target.exists() and not (site / top).exists():
                (site / top).symlink_to(target, target_is_directory=target.is_dir())


@pytest.fixture(scope="module")
def bare(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with the wheel and torch's own requirements."""
    pytest.importorskip("setuptools")
    pytest.importorskip("packaging")
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(root / "src", folder / "tree" / "src", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(root / name, folder / "tree" / name)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    run([*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "tree")], folder)
    run([sys.executable, "-m", "venv", "--without-pip", str(folder / "env")], folder)
    python = next(path for path in (folder / "env" / "bin" / "python", folder / "env" / "Scripts" / "python.exe") if path.exists())
    site = run([str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], folder).stdout.strip()
    link_into(Path(site))
    run([*pip, "install", "--no-deps", "--no-index", "--target", site, str(next(folder.glob("*.whl")))], folder)
    return python


def run(command: list[str], folder: Path, expected: int = 0) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTEST_ADDOPTS")} | {"OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=900)
    assert result.returncode == expected, f"{result.stdout[-3000:]}\n{result.stderr[-3000:]}"
    return result


def test_the_wheel_imports_with_torch_alone(bare: Path, tmp_path: Path) -> None:
    code = "import cffbook, importlib.util as u; print(cffbook.__file__); print([n for n in ('numpy', 'plotly', 'accelerate', 'numba') if u.find_spec(n)])"
    where, extras = run([str(bare), "-c", code], tmp_path).stdout.split("\n")[:2]
    assert str(bare.parent.parent) in where and extras == "[]"


def test_the_wheel_has_the_scripts_of_the_book(bare: Path, root: Path, tmp_path: Path) -> None:
    for folder in ("sphinx_ext/static", "widgets/static"):
        code = f"import cffbook, pathlib; print(*sorted(p.name for p in (pathlib.Path(cffbook.__file__).parent / '{folder}').iterdir()))"
        expected = sorted(path.name for path in (root / "src" / "cffbook" / folder).iterdir())
        assert expected and run([str(bare), "-c", code], tmp_path).stdout.split() == expected


def test_the_layers_pass_their_tests_with_torch_alone(bare: Path, root: Path, tmp_path: Path) -> None:
    files = [path for name in CORE_TESTS for path in sorted((root / "tests").glob(f"test_{name}*.py"))]
    assert files, "no test of the layers was found"
    for path in [root / "tests" / "conftest.py", *files, *(root / "tests").glob("[!t]*.py")]:
        shutil.copyfile(path, tmp_path / path.name)
    shutil.copyfile(root / "pyproject.toml", tmp_path / "pyproject.toml")
    closing = run([str(bare), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", str(tmp_path)], tmp_path).stdout.splitlines()[-1]
    assert re.search(r"\d+ passed", closing), closing


MODULES = """
import importlib, pkgutil, cffbook
for module in pkgutil.walk_packages(cffbook.__path__, "cffbook.", onerror=lambda name: None):
    if module.name.startswith("cffbook.sphinx_ext") or module.name.endswith("__main__"):
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        print(module.name, "|", error)
"""


def test_a_module_without_its_extra_says_so_in_one_sentence(bare: Path, tmp_path: Path) -> None:
    lines = run([str(bare), "-c", MODULES], tmp_path).stdout.splitlines()
    assert [line for line in lines if not re.search(r"needs .*: pip install 'cffbook\[\w+\]'$", line)] == []


def test_a_figure_without_its_extra_says_so_in_one_sentence(bare: Path, tmp_path: Path) -> None:
    error = run([str(bare), "-c", "from cffbook.wiring import ring; ring(4).draw()"], tmp_path, expected=1).stderr.splitlines()[-1]
    assert error.startswith("ImportError: ") and error.endswith("pip install 'cffbook[plots]'")
