"""What several test files share: the tree, one thread, the built book, a browser.

Only pytest and torch are imported here, so that the tests of the layers run in an environment that has nothing else.
"""

import functools
import http.server
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
NO_OTHER_HOST = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_configure(config: pytest.Config) -> None:
    """One thread: sums in the same order on every machine, and no fight for two cores."""
    torch.set_num_threads(1)


def build_book(root: Path, *flags: str) -> subprocess.CompletedProcess:
    """`jupyter-book build book/` in `root`, with the package of that tree."""
    main = "from jupyter_book.cli.main import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", main, "build", *flags, "book/"],
        cwd=root, env=environment, text=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=1500,
    )  # fmt: skip


@pytest.fixture(scope="session")
def root() -> Path:
    """The top of the tree."""
    return ROOT


@pytest.fixture(scope="session")
def strict_build() -> subprocess.CompletedProcess:
    """The book, every page read anew and every warning an error; executed notebooks come from the cache."""
    pytest.importorskip("jupyter_book")
    return build_book(ROOT, "-W", "-n", "--keep-going", "--all")


@pytest.fixture(scope="session")
def pages(strict_build: subprocess.CompletedProcess) -> Path:
    """The folder of the built pages."""
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").is_file():
        pytest.fail(f"the book was not built:\n{strict_build.stdout[-3000:]}\n{strict_build.stderr[-3000:]}")
    return folder


@pytest.fixture(scope="session")
def built() -> Path:
    """The pages that `make book` has left, as they are; nothing is built for the tests that look at them."""
    folder = ROOT / "_build" / "html"
    if not (folder / "index.html").is_file():
        pytest.skip("no built book in _build/html: make book")
    return folder


@pytest.fixture(scope="session")
def site(pages: Path) -> Iterator[str]:
    """The address, on this machine alone, of the built pages."""
    handler = functools.partial(QuietHandler, directory=str(pages))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """A headless Chromium; the tests that need it are skipped, with this reason, where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the extra 'test'")
    named = os.environ.get("CFFBOOK_CHROMIUM")
    path = named or next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no Chromium: install one of {', '.join(BROWSERS)}, or set CFFBOOK_CHROMIUM to its path")
    with playwright.sync_playwright() as tool:
        instance = tool.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu", NO_OTHER_HOST])
        yield instance
        instance.close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a line for each on the terminal."""

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="session")
def short_runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, list[int]], list]:
    """Makes records of a task at tier smoke, two updates each: an LSTM from two seeds and a GRU, tested at longer lengths too."""
    from cffbook import experiment

    def made(task: str, longer: list[int]) -> list:
        folder = tmp_path_factory.mktemp("runs")
        changes = {"steps": 2, "eval_every": 1, "longer": longer}
        chosen = [experiment.settings(row, task, "smoke", seed, changes) for row, seed in (("lstm", 0), ("lstm", 1), ("gru", 0))]
        return [experiment.run(settings, folder / "results", folder / "runs", cpu=True) for settings in chosen]

    return made
