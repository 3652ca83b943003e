"""The notebook that makes comparisons: what it refuses, and what it leaves."""

import ast
import json
from pathlib import Path

import pytest

papermill = pytest.importorskip("papermill")
pytest.importorskip("accelerate")
pytest.importorskip("numba")

from cffbook import speed

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "speed.ipynb"


def execute(folder, **parameters):
    """The error of a papermill run, or None."""
    given = {"results": str(folder / "speed")} | parameters
    try:
        papermill.execute_notebook(NOTEBOOK, folder / "out.ipynb", given, kernel_name="python3", progress_bar=False)
    except papermill.PapermillExecutionError as error:
        return error
    return None


def test_the_notebook_knows_exactly_the_parameters_it_declares():
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    declared = next(cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    names = {target.id for node in ast.parse("".join(declared["source"])).body for target in node.targets}
    check = next("".join(cell["source"]) for cell in cells if "".join(cell["source"]).startswith("known = "))
    assert ast.literal_eval(check.splitlines()[0].removeprefix("known = ")) == names


def test_a_run_by_papermill_writes_the_record_of_its_case(tmp_path):
    (smoke,) = (case for case in speed.cases() if case.group == "smoke")
    assert execute(tmp_path, case=smoke.name, group="long") is None  # a case wins over a group
    (found,) = speed.load_comparisons(tmp_path / "speed")
    assert found.name == smoke.name and set(found.seconds) == set(smoke.layers)


@pytest.mark.parametrize("parameters, error", [
    ({"grup": "time"}, "unknown parameters ['grup']; known: case, group, results"),
    ({"group": "tme"}, "unknown group 'tme'; known: recurrent, time, "),
    ({"case": "time"}, "unknown case 'time'; known: recurrent-d64-b8-t1024-train-2, ")])  # fmt: skip
def test_a_wrong_parameter_stops_the_notebook_at_once_with_the_known_ones(tmp_path, parameters, error):
    stopped = execute(tmp_path, **parameters)
    assert error in stopped.evalue and not (tmp_path / "speed").exists()
