"""The widgets in a real JupyterLab in a real browser: what is moved on the page is moved in the kernel, a run is watched and stopped."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

from test_browser import Reader, reader  # noqa: F401

LAB_START = 90  # seconds
KERNEL_READY = """() => { const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
    return Boolean(context?.isReady && context.session?.kernel?.status === 'idle'); }"""
RUN_IN_KERNEL = """async code => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    return (await kernel.requestExecute({ code }).done).content.status; }"""
LAB_BIT = "() => document.querySelector('.jp-OutputArea .cff-bit').textContent"
# a run that goes on until somebody ends it, and a trained model with the flip-flop that its answers hang on most
BENCH = ["""
import warnings
from cffbook import experiment, tasks
from cffbook.lock_step import LockStepWarning
from cffbook.widgets import Bench, TrainingWidget
warnings.simplefilter("ignore", LockStepWarning)
few = {"steps": 1_000_000, "eval_every": 5, "train": 2_000, "valid": 20, "test": 20, "longer": (), "length": 20, "valid_length": 20}
settings = experiment.override(experiment.alone_coupled("parity"), few)
task = tasks.load("parity", **settings.task_options)
run = TrainingWidget(experiment.build_model(settings, task), task, settings.recipe).start()
run""", """
trained = experiment.alone_coupled("parity")
bench = Bench(experiment.trained(trained, "results/weights"), task.kind, task.test)
def without(pair):
    probe = bench.pick(pair)
    probe.values = probe.values | {"sensory_conductance": [0.0, 0.0]}
    score = bench.score
    bench.restore()
    return score
needed = min(range(24), key=without)
bench.pick(0)
bench"""]


@pytest.fixture
def lab(root: Path, tmp_path: Path) -> Iterator[str]:
    """A JupyterLab on a copy of the playground, beside the weights that it opens; all its files in a temporary folder."""
    pytest.importorskip("jupyterlab")
    work = tmp_path / "work"
    work.mkdir()
    (work / "playground.ipynb").write_bytes((root / "notebooks" / "playground.ipynb").read_bytes())
    (work / "pyproject.toml").touch()  # by which the notebook finds the weights
    (work / "results").symlink_to(root / "results")
    folders = {f"JUPYTER_{name}_DIR": str(tmp_path / name.lower()) for name in ("CONFIG", "DATA", "RUNTIME")}
    environment = {**os.environ, **folders, "PYTHONPATH": str(root / "src"), "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--no-browser", "--allow-root", "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True"]
    command = [sys.executable, "-m", "jupyterlab", *options, "--ip=127.0.0.1", f"--port={port}", "--port-retries=0"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(command, cwd=work, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        wait_for(f"http://127.0.0.1:{port}/api", tmp_path / "lab.log")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(timeout=30)


def wait_for(address: str, log: Path) -> None:
    end = time.monotonic() + LAB_START
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(address, timeout=2).close()
            return
        except OSError:
            time.sleep(0.3)
    pytest.fail(f"JupyterLab did not answer in {LAB_START} s:\n{log.read_text()[-2000:]}")


def open_and_run(page: object, lab: str, name: str) -> None:
    """Open a notebook and run all its cells; it may still be running afterwards."""
    page.set_default_timeout(90_000)
    page.goto(f"{lab}/doc/tree/{name}?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function(KERNEL_READY)
    # in braces: the promise of the run is not waited for
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")


def told(page: object, seen: Path, code: str, wanted: str) -> str:
    """What the kernel says of an expression, as soon as it says what is wanted, or in the end."""
    for _ in range(60):
        assert page.evaluate(RUN_IN_KERNEL, f"open('seen.txt', 'w').write(str({code}))") == "ok"
        if wanted in seen.read_text():
            break
        page.wait_for_timeout(300)
    return seen.read_text()


def test_the_playground_shares_its_values_with_the_kernel(reader: Reader, lab: str, tmp_path: Path) -> None:  # noqa: F811
    page, seen = reader.page, tmp_path / "work" / "seen.txt"
    open_and_run(page, lab, "playground.ipynb")
    page.wait_for_selector(".jp-OutputArea .cff .cff-plane circle")
    page.wait_for_function(KERNEL_READY)
    # from Python to the page
    for command, bit in (("set", "bit 1"), ("reset", "bit 0")):
        assert page.evaluate(RUN_IN_KERNEL, f"widget.press('{command}')") == "ok"
        page.wait_for_function(f"() => ({LAB_BIT})() === '{bit}'")
    # from the page to Python, by keys that are no shortcuts of the notebook while the widget has the focus
    button = page.locator(".jp-OutputArea .cff-set-button").first
    button.focus()
    page.keyboard.down("Enter")
    page.wait_for_timeout(300)
    page.keyboard.up("Enter")
    page.wait_for_function(f"() => ({LAB_BIT})() === 'bit 1'")
    handle = page.get_by_label("leak reversal Eleak", exact=True).first
    handle.focus()
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert told(page, seen, "f'{widget.bit} {widget.values[\"leak_reversal\"][0]:.4g}'", "1 1.2") == "1 1.2"
    assert page.locator(".jp-OutputArea .cff-run-line").count() >= 3
    assert page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr']").count() == 0


def test_a_run_is_watched_and_stopped_and_a_trained_flip_flop_is_picked_changed_and_scored(reader: Reader, lab: str, tmp_path: Path) -> None:  # noqa: F811
    cells = [{"cell_type": "code", "id": str(k), "metadata": {}, "source": code.strip(), "outputs": [], "execution_count": None} for k, code in enumerate(BENCH)]
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    (tmp_path / "work" / "bench.ipynb").write_text(json.dumps({"cells": cells, "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}))
    page, seen = reader.page, tmp_path / "work" / "seen.txt"
    open_and_run(page, lab, "bench.ipynb")
    # loss and score while it trains: later steps come by themselves, and the cell with the bench runs meanwhile
    status = page.locator(".jp-OutputArea .cff [role=status]").first
    step = "() => Number(/step (\\d+)/.exec(document.querySelector('.jp-OutputArea .cff [role=status]')?.textContent)?.[1] ?? 0)"
    page.wait_for_function(f"() => ({step})() > 0")
    first = page.evaluate(step)
    assert status.inner_text().startswith("running: step") and "validation loss" in status.inner_text() and "accuracy" in status.inner_text()
    page.wait_for_function(f"first => ({step})() > first", arg=first)
    assert page.locator(".jp-OutputArea .cff-run-line").count() == 3
    # the button ends it
    page.wait_for_selector(".jp-OutputArea .widget-select select")
    page.locator(".jp-OutputArea .cff").get_by_role("button", name="Stop").click()
    page.wait_for_function("() => document.querySelector('.jp-OutputArea .cff [role=status]').textContent.startsWith('stopped: step')")
    assert told(page, seen, "run.wait().stopped", "watch") == "watch" and page.evaluate(step) < 1_000_000
    # all flip-flops are in the list; the one that is picked there is under the probe
    chooser, said = page.locator(".jp-OutputArea .widget-select select"), page.locator(".jp-OutputArea .widget-html-content", has_text="score on")
    assert chooser.locator("option").count() == 24
    assert "1.0000" in said.inner_text()
    needed = int(told(page, seen, "needed", ""))
    chooser.select_option(index=needed)
    assert f"picked={needed}" in told(page, seen, "repr(bench)", f"picked={needed}")
    # a value moved there is moved in the model, whose score follows
    page.locator(".jp-OutputArea .cff-group summary", has_text="Sensory synapse").click()
    handle = page.get_by_label("sensory conductance win", exact=True)
    handle.focus()
    page.keyboard.press("Home")
    page.wait_for_function("() => [...document.querySelectorAll('.widget-html-content')].some(each => /score on 20 examples: 0/.test(each.textContent))")
    shown = float(said.inner_text().split()[-1])
    assert abs(float(told(page, seen, "bench.score", "0.")) - shown) < 1e-4 and shown < 0.95
    assert float(told(page, seen, f"float(bench.flip_flops.value('sensory_conductance')[{needed}].detach().max())", "")) < 0.01
    page.locator(".jp-OutputArea button", has_text="as trained").click()
    page.wait_for_function("() => [...document.querySelectorAll('.widget-html-content')].some(each => /score on 20 examples: 1.0000/.test(each.textContent))")
    assert page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
