"""No notebook passes without having run: every cell executed, every notebook checked, every output compared."""

import ast
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted([*(ROOT / "book").glob("*.ipynb"), *(ROOT / "notebooks").glob("*.ipynb")])
MAX_BYTES = 3_000_000
MAX_VISIBLE_LINES = 15
FOLDED = {"hide-input", "hide-cell", "remove-input", "remove-cell", "parameters"}
CHAPTERS = [path for path in NOTEBOOKS if path.parent.name == "book"]
every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)


def cells(path: Path) -> list[dict]:
    """The code cells that hold code."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]


def source(cell: dict) -> str:
    return "".join(cell["source"])


def tags(cell: dict) -> set[str]:
    return set(cell["metadata"].get("tags", ()))


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS, "expected chapters in book/ and notebooks in notebooks/"


@every_notebook
def test_every_cell_was_executed_in_order_without_an_error(path: Path) -> None:
    counts = [cell["execution_count"] for cell in cells(path)]
    assert counts == list(range(1, len(counts) + 1)), f"{path.name}: make notebooks"
    assert not [cell for cell in cells(path) for output in cell["outputs"] if output["output_type"] == "error"]


@every_notebook
def test_every_notebook_prints_a_checked_number(path: Path) -> None:
    printed = [
        cell for cell in cells(path)
        if "assert" in source(cell) and any(output["output_type"] != "error" for output in cell["outputs"])
    ]  # fmt: skip
    compared = [cell for cell in printed if "NBVAL_IGNORE_OUTPUT" not in tags(cell) and "NBVAL_SKIP" not in tags(cell)]
    assert compared, f"{path.name}: expected a cell that asserts a number and prints it, with its output compared"
    assert any(character.isdigit() for cell in compared for character in json.dumps(cell["outputs"]))


@every_notebook
def test_a_table_is_shown_as_a_table(path: Path) -> None:
    for cell in cells(path):
        texts = ["".join(output.get("data", {}).get("text/markdown", "")) for output in cell["outputs"]]
        if path in CHAPTERS and any(re.search(r"^\| :?---", text, re.MULTILINE) for text in texts):
            assert cell["metadata"].get("mystnb", {}).get("markdown_format") == "gfm", source(cell)


@every_notebook
def test_a_notebook_is_small_enough_for_the_repository(path: Path) -> None:
    assert path.stat().st_size < MAX_BYTES, f"{path.name}: figures as JSON alone (PLOTLY_RENDERER), no widget state"


@every_notebook
def test_visible_cells_are_short(path: Path) -> None:
    visible = [cell for cell in cells(path) if not tags(cell) & FOLDED]
    long = [source(cell).splitlines()[0] for cell in visible if len(source(cell).splitlines()) > MAX_VISIBLE_LINES]
    assert long == [], f"{path.name}: fold these cells with the tag hide-input, or shorten them"


@every_notebook
def test_a_notebook_installs_nothing_and_defines_no_model_but_a_readers_own_that_fits_a_cell(path: Path) -> None:
    code = "\n".join(line for cell in cells(path) for line in source(cell).splitlines() if not line.lstrip().startswith(("%", "!")))
    package = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "src").rglob("*.py"))
    classes = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ClassDef)]
    assert "pip install" not in code
    assert [node.name for node in classes if f"class {node.name}" in package or node.end_lineno - node.lineno >= MAX_VISIBLE_LINES] == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_a_chapter_says_what_it_needs_lets_one_guess_and_ends_with_what_was_settled(path: Path) -> None:
    told = [source(cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "markdown"]
    assert all(word in told[0] for word in ("**You need**", "**You will learn**", "**Time:**"))
    assert "Guess before you look" in "".join(told[:-1]) and "{admonition} What was settled" in told[-1]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.name)
def test_a_chapter_has_three_exercises_whose_solutions_are_executed(path: Path) -> None:
    asked, solved, solving = set(), set(), None
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code" and solving and cell["execution_count"] and source(cell).strip():
            solved.add(solving)
        if cell["cell_type"] == "markdown":
            asked |= set(re.findall(r"```\{exercise\}[^\n]*\n:label: ([\w-]+)", source(cell)))
            for kind, label in re.findall(r"```\{solution-(start|end)\} ?([\w-]*)", source(cell)):
                solving = label if kind == "start" else None
    assert len(asked) >= 3 and solved == asked


def compare(folder: Path, **outputs: str) -> subprocess.CompletedProcess:
    """Run nbval, as `make test` does, on one notebook per output: each has one cell that prints 1."""
    for name, text in outputs.items():
        stream = {"output_type": "stream", "name": "stdout", "text": [text]}
        cell = {"cell_type": "code", "execution_count": 1, "id": "a", "metadata": {}, "outputs": [stream], "source": ["print(1)"]}
        metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        (folder / f"{name}.ipynb").write_text(json.dumps({"cells": [cell], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
    shutil.copyfile(ROOT / "pyproject.toml", folder / "pyproject.toml")
    command = [sys.executable, "-m", "pytest", "--nbval", "--nbval-current-env", "-p", "no:cacheprovider", "."]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=300)


@pytest.mark.slow
def test_a_tampered_output_is_found(tmp_path: Path) -> None:
    pytest.importorskip("nbval")
    result = compare(tmp_path, honest="1\n", tampered="2\n")
    assert result.returncode == 1
    assert "1 failed, 1 passed" in result.stdout, result.stdout
    assert "tampered.ipynb" in result.stdout.split("short test summary")[-1]


def test_every_equation_is_implemented_by_a_line_of_the_package_or_of_its_chapter_and_back() -> None:
    comment, math = re.compile(r"# eq\. ([\w-]+)"), re.compile(r"```\{math\}\n:label: ([\w-]+)")
    code = {label for file in (ROOT / "src").rglob("*.py") for label in comment.findall(file.read_text(encoding="utf-8"))}
    book = []
    for path in (ROOT / "book").glob("*.ipynb"):
        texts = {kind: "\n".join(source(cell) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind)
                 for kind in ("markdown", "code")}  # fmt: skip
        labels = math.findall(texts["markdown"])
        assert set(labels) <= code | set(comment.findall(texts["code"])), f"{path.name}: an equation without a line of code"
        book += labels
    assert len(book) == len(set(book)) and code <= set(book)
