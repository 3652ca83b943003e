"""The book in a real browser that reaches no other host, and its playground in a real JupyterLab."""

import os
import re
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

LOOPBACK = re.compile(r"^(https?://(127\.0\.0\.1|localhost)[:/]|data:|blob:|about:)")
# known noise of the theme; nothing else may be an error on the console
EXPECTED = re.compile(r"THEBE_JS_URL.*already been declared|invalid theme mode|fa-(solid|brands|regular).*404|webfonts")
LAB_START = 90  # seconds
NOT_DRAWN = """() => [...document.querySelectorAll('.cffbook-figure')].filter(
    holder => holder.dataset.drawn !== 'true' || !holder.querySelector('.main-svg path, .main-svg rect, canvas')).length"""
NOT_TYPESET = "() => [...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container svg')).length"
KERNEL_READY = """() => { const context = window.jupyterapp?.shell?.currentWidget?.sessionContext;
    return Boolean(context?.isReady && context.session?.kernel?.status === 'idle'); }"""
DRAWN_DATA = """() => JSON.stringify([...document.querySelectorAll('.js-plotly-plot')].map(
    plot => (plot._fullData || []).map(trace => [Array.from(trace.x || []), Array.from(trace.y || []), Array.from(trace.z || [])])))"""


class Reader:
    """A page that notes what it asks from other hosts, and every error on its console."""

    def __init__(self, page: object) -> None:
        self.page, self.refused, self.errors = page, [], []
        page.set_default_timeout(30_000)
        page.on("request", self._note_host)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self._add(str(error)))

    def _note_host(self, request: object) -> None:
        if not LOOPBACK.match(request.url):
            self.refused.append(request.url)

    def _note(self, message: object) -> None:
        if message.type == "error":
            self._add(f"{message.text} ({message.location.get('url', '')})")

    def _add(self, text: str) -> None:
        if not EXPECTED.search(text):
            self.errors.append(text)

    def open(self, address: str) -> None:
        self.page.goto(address, wait_until="load")
        self.page.wait_for_function(f"() => ({NOT_DRAWN})() === 0")
        self.page.wait_for_function(f"() => ({NOT_TYPESET})() === 0")


@pytest.fixture
def reader(browser: object) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    yield Reader(context.new_page())
    context.close()


def names(pages: Path) -> list[str]:
    """The pages of the book, not the generated indices."""
    found = [path.relative_to(pages).as_posix() for folder in (pages, pages / "notebooks") for path in sorted(folder.glob("*.html"))]
    return [name for name in found if name not in {"genindex.html", "search.html", "py-modindex.html", "prf-prf.html"}]


def with_figures(pages: Path) -> list[str]:
    found = [name for name in names(pages) if 'class="cffbook-figure"' in (pages / name).read_text(encoding="utf-8")]
    assert found, "no page has a figure"
    return found


def test_figures_follow_the_page_from_light_to_dark(reader: Reader, site: str, pages: Path) -> None:
    ink = "() => getComputedStyle(document.querySelector('.cffbook-figure .main-svg text')).fill"
    reader.open(f"{site}/{with_figures(pages)[0]}")
    seen = []
    for theme in ("light", "dark"):
        reader.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        colour = reader.page.evaluate("() => getComputedStyle(document.body).color")
        reader.page.wait_for_function(f"wanted => ({ink})() === wanted", arg=colour)
        seen.append(colour)
    assert seen[0] != seen[1]


def test_figures_are_as_wide_as_the_page_allows(reader: Reader, site: str, pages: Path) -> None:
    too_wide = """() => [...document.querySelectorAll('.cffbook-figure')].filter(holder => holder.clientWidth > 0
        && Math.abs(holder.querySelector('.main-svg').clientWidth - holder.clientWidth) > 2).length"""
    reader.open(f"{site}/{with_figures(pages)[0]}")
    for width in (1200, 480):
        reader.page.set_viewport_size({"width": width, "height": 900})
        reader.page.wait_for_function(f"() => ({too_wide})() === 0")


def test_a_slider_moves_a_figure_without_a_kernel(reader: Reader, site: str, pages: Path) -> None:
    for name in with_figures(pages):
        reader.open(f"{site}/{name}")
        grips = reader.page.locator(".cffbook-figure .slider-grip-rect")
        if grips.count() == 0:
            continue
        before = reader.page.evaluate(DRAWN_DATA)
        rail = reader.page.locator(".cffbook-figure .slider-rail-touch-rect").first
        rail.scroll_into_view_if_needed()
        box = rail.bounding_box()
        for share in (0.95, 0.05):
            reader.page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            reader.page.wait_for_timeout(300)
            if reader.page.evaluate(DRAWN_DATA) != before:
                return
        pytest.fail(f"the slider of {name} moved nothing")
    pytest.fail("no page has a figure with a slider")


def test_widgets_compute_on_the_page_also_when_it_is_opened_as_a_file(reader: Reader, pages: Path) -> None:
    found = [name for name in names(pages) if 'class="cffbook-widget"' in (pages / name).read_text(encoding="utf-8")]
    assert {"index.html", "flip_flop.html", "memory_layer.html", "notebooks/playground.html"} <= set(found)
    for name in found:
        reader.errors.clear()
        reader.page.goto((pages / name).as_uri())
        reader.page.locator(".cffbook-widget[data-drawn=true] .cff").first.wait_for(state="attached")
        assert reader.page.locator(".cffbook-widget:not([data-drawn=true])").count() == 0, name
        assert reader.errors == [], f"{name} has errors on its console"


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


RUN_IN_KERNEL = """async code => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    return (await kernel.requestExecute({ code }).done).content.status; }"""
LAB_BIT = "() => document.querySelector('.jp-OutputArea .cff-bit').textContent"


def test_the_playground_shares_its_values_with_the_kernel(reader: Reader, lab: str, tmp_path: Path) -> None:
    page, seen = reader.page, tmp_path / "work" / "seen.txt"
    page.set_default_timeout(90_000)
    page.goto(f"{lab}/doc/tree/playground.ipynb?reset")
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    page.wait_for_function(KERNEL_READY)
    # in braces: the promise of the run is not waited for
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")
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
    expected = "1 1.2"
    code = f"open('seen.txt', 'w').write(f'{{widget.bit}} {{widget.values[\"leak_reversal\"][0]:.4g}}')"
    for _ in range(20):
        assert page.evaluate(RUN_IN_KERNEL, code) == "ok"
        if seen.read_text() == expected:
            break
        page.wait_for_timeout(300)
    assert seen.read_text() == expected
    # a run has drawn its curves, and a flip-flop picked in the list of a trained model is under the probe
    assert page.locator(".jp-OutputArea .cff-run-line").count() >= 3
    page.locator(".jp-OutputArea .widget-select select").select_option(index=4)
    for _ in range(20):
        assert page.evaluate(RUN_IN_KERNEL, "open('seen.txt', 'w').write(repr(bench))") == "ok"
        if "picked=4" in seen.read_text():
            break
        page.wait_for_timeout(300)
    assert "picked=4" in seen.read_text()
    assert page.locator(".jp-OutputArea [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
