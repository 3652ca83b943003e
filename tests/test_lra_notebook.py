"""The run notebook and the run matrix: what they refuse, what they leave, and what a kill costs."""

import ast
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

papermill = pytest.importorskip("papermill")
pytest.importorskip("accelerate")
pytest.importorskip("plotly")

from cffbook import experiment
from cffbook.figures.learning import learning_curve
from cffbook.results import load_records, read_record

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "notebooks" / "lra.ipynb"


def code_cells():
    return [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]


def execute(tmp_path, **parameters):
    """The error of a papermill run, or None."""
    given = {"results": str(tmp_path / "results"), "runs": str(tmp_path / "runs")} | parameters
    try:
        papermill.execute_notebook(NOTEBOOK, tmp_path / "out.ipynb", given, kernel_name="python3", progress_bar=False)
    except papermill.PapermillExecutionError as error:
        return error
    return None


def test_the_committed_notebook_was_executed_in_short_cells_and_its_check_is_not_vacuous():
    cells = code_cells()
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all("".join(cell["source"]).count("\n") < 15 for cell in cells)
    assert any("as expected" in "".join(output.get("text", "")) for cell in cells for output in cell["outputs"])


def test_the_notebook_knows_exactly_the_parameters_it_declares():
    cells = code_cells()
    declared = next(cell for cell in cells if "parameters" in cell["metadata"].get("tags", []))
    names = {target.id for node in ast.parse("".join(declared["source"])).body for target in node.targets}
    check = next("".join(cell["source"]) for cell in cells if "".join(cell["source"]).startswith("known = "))
    assert ast.literal_eval(check.splitlines()[0].removeprefix("known = ")) == names


def test_a_run_by_papermill_writes_the_record_its_settings_name(tmp_path):
    overrides = {"flip_flops": 4, "steps": 3}
    assert execute(tmp_path, mixer="memory_both", seed=5, overrides=json.dumps(overrides)) is None
    settings = experiment.settings("memory_both", "listops", "smoke", 5, overrides)
    assert [record.name for record in load_records(tmp_path / "results")] == [settings.name]
    assert read_record(settings.path(tmp_path / "results")).settings["mixer_options"]["flip_flops"] == 4


@pytest.mark.parametrize("parameters, error", [
    ({"mixr": "memory"}, "unknown parameters ['mixr']; known: mixer, overrides, results, runs, seed, task, threads, tier"),
    ({"tier": "huge"}, "unknown tier 'huge'; known: cpu, full, gpu, smoke"),
    ({"overrides": {"lerning_rate": 1}}, "unknown setting 'lerning_rate'; known: ")])
def test_a_wrong_parameter_stops_the_notebook_at_once_with_the_known_ones(tmp_path, parameters, error):
    stopped = execute(tmp_path, **parameters)
    assert error in stopped.evalue and not (tmp_path / "results").exists()


def snakemake(folder, *arguments):
    config = {"tier": "smoke", "tasks": "listops", "mixers": "attention,memory", "results": folder / "results",
              "runs": folder / "runs", "overrides": json.dumps({"steps": 100, "checkpoint_seconds": 0.1, "eval_every": 50})}
    flags = [f"{name}={value}" for name, value in config.items()]
    return subprocess.Popen([sys.executable, "-m", "snakemake", "--cores", "1", "--config", *flags, *arguments], cwd=ROOT,
                            start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_a_killed_matrix_loses_nothing_and_runs_nothing_twice(tmp_path):
    pytest.importorskip("snakemake")
    first = snakemake(tmp_path)
    # one of the two is done, the other has got as far as a checkpoint
    while first.poll() is None and not (len(list(tmp_path.glob("results/*/*.json"))) == 1
                                        and len(list(tmp_path.glob("runs/*/checkpoint.safetensors"))) == 2):
        time.sleep(0.05)
    kill_group(first)
    assert first.wait() == -signal.SIGKILL
    done = {path: path.stat().st_mtime_ns for path in tmp_path.glob("results/*/*.json")}
    killed = time.time()
    assert len(done) == 1
    again = snakemake(tmp_path)
    output, _ = again.communicate()
    assert again.returncode == 0, output
    records = load_records(tmp_path / "results")
    assert len(records) == 2 and {path: path.stat().st_mtime_ns for path in done} == done
    assert all(time.mktime(time.strptime(record.started[:19], "%Y-%m-%dT%H:%M:%S")) - time.timezone < killed
               for record in records)  # the second was gone on with, not begun again
    nothing, _ = snakemake(tmp_path, "-n").communicate()
    assert "Nothing to be done" in nothing


def kill_group(process):
    """Kill a process and all it has started, as a machine that goes down would."""
    children = subprocess.run(["ps", "-eo", "pid=,ppid=,sid="], capture_output=True, text=True).stdout.split("\n")
    table = [tuple(map(int, line.split())) for line in children if line.strip()]
    family, grown = {process.pid}, True
    while grown:
        more = {pid for pid, parent, _ in table if parent in family} - family
        family, grown = family | more, bool(more)
    for pid in family:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_the_learning_curve_shows_the_evaluations_and_the_test_score_at_the_best(tmp_path):
    record = experiment.run(experiment.memory("listops", "smoke"), tmp_path / "results", tmp_path / "runs", cpu=True)
    train, valid, test = learning_curve(record).data
    assert list(valid.x) == [6, 12] and list(valid.y) == [100 * look.valid_score for look in record.evaluations]
    assert list(test.x) == [record.evaluations[record.best].step] and list(test.y) == [100 * record.test_score]


def test_a_floor_of_an_error_is_named_beside_its_line_on_the_logarithmic_axis(tmp_path):
    record = experiment.run(experiment.memory("adding", "smoke"), tmp_path / "results", tmp_path / "runs", cpu=True)
    figure = learning_curve(record)
    assert figure.layout.yaxis.type == "log"
    assert [10**note.y for note in figure.layout.annotations] == pytest.approx([line.y0 for line in figure.layout.shapes])
