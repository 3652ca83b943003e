"""The printed book: a static picture in place of every live figure and widget.

What a page holds as JSON is drawn by the page's own scripts in Chromium, on a sheet as large as the drawing, and printed: the picture
is a vector graphic of what a reader of the pages sees before touching anything.
"""

import hashlib
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util import logging

from cffbook._optional import require
from cffbook.widgets import assembly

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
STATIC = Path(__file__).parent / "static"
WIDTH = 760  # pixels, about that of a page's text
PATIENCE = 120  # seconds for one picture
SHEET = """<!doctype html><html><head><meta charset="utf-8"><style>{style}
html, body {{ margin: 0; background: white; font-family: sans-serif; print-color-adjust: exact; }}
#sheet {{ width: {width}px; }}
</style>{scripts}</head><body><div id="sheet">{html}</div><script>{size}</script></body></html>"""
# The sheet becomes as high as what was drawn on it, once all is drawn.
SIZE = """addEventListener("load", () => setTimeout(() => {
  const style = document.createElement("style");
  style.textContent = `@page { size: WIDTHpx ${document.getElementById("sheet").scrollHeight + 4}px; margin: 0 }`;
  document.head.append(style);
}, 1500));"""
BOX = r"\begin{center}\includegraphics[width=\linewidth,height=0.8\textheight,keepaspectratio]{%s}\end{center}"

logger = logging.getLogger(__name__)


def alternatives(html: str) -> list[nodes.Element]:
    """Something live as nodes: itself for a page, and the picture of it where the book is printed."""
    name = f"live-{hashlib.sha256(html.encode()).hexdigest()[:16]}.pdf"
    return [nodes.raw("", html, format="html"), nodes.raw("", BOX % name, format="latex", live=html, picture=name)]


def collect(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Remember what has to be drawn for the printed book; the sections of its first page get no numbers, so that chapters have those of the pages."""
    if app.builder.format != "latex":
        return
    for section in [*doctree.findall(nodes.section)]:
        if "docname" not in section and isinstance(section.parent, nodes.section):  # of the first page: it is no chapter
            section.replace_self([nodes.rubric("", "", *section[0].children, ids=section["ids"]), *section.children[1:]])
    wanted = getattr(app, "cffbook_pictures", {})
    wanted |= {node["picture"]: node["live"] for node in doctree.findall(nodes.raw) if "live" in node}
    app.cffbook_pictures = wanted


def draw(app: Sphinx, exception: Exception | None) -> None:
    """Draw all that was collected, beside the LaTeX source; a picture that is there is up to date, as its name is a digest.

    Raises:
        ExtensionError: there is no Chromium, or it has not drawn a picture.
    """
    if exception is not None or app.builder.format != "latex":
        return
    folder = Path(app.outdir)
    missing = {name: html for name, html in getattr(app, "cffbook_pictures", {}).items() if not (folder / name).exists()}
    if not missing:
        return
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ExtensionError(f"the printed book needs one of {', '.join(BROWSERS)} to draw {len(missing)} figures and widgets, got none: install chromium")
    logger.info("drawing %d figures and widgets", len(missing))
    with tempfile.TemporaryDirectory() as place, ThreadPoolExecutor(2) as pool:
        scripts = _scripts(Path(place))
        list(pool.map(lambda item: _print(browser, Path(place), scripts, folder / item[0], item[1]), missing.items()))


def _scripts(place: Path) -> str:
    """Put the pages' scripts where the sheets are; return the elements that load them."""
    plotly = Path(require("plotly", extra="plots", purpose="the book").__file__).parent / "package_data" / "plotly.min.js"
    shutil.copyfile(plotly, place / "plotly.min.js")
    shutil.copyfile(STATIC / "figures.js", place / "figures.js")
    (place / "in_page.js").write_text(assembly.script(), encoding="utf-8")
    return "".join(f'<script src="{name}"></script>' for name in ("plotly.min.js", "figures.js", "in_page.js"))


def _print(browser: str, place: Path, scripts: str, target: Path, html: str) -> None:
    sheet, printed = place / f"{target.stem}.html", place / target.name
    style = (STATIC / "figures.css").read_text(encoding="utf-8") + assembly.style()
    size = SIZE.replace("WIDTH", str(WIDTH))
    sheet.write_text(SHEET.format(style=style, width=WIDTH, scripts=scripts, html=html, size=size), encoding="utf-8")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={place / target.stem}", f"--window-size={WIDTH},1200",
               "--virtual-time-budget=6000", "--enable-logging=stderr", "--no-pdf-header-footer", f"--print-to-pdf={printed}", sheet.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    wrong = [line for line in done.stderr.splitlines() if "could not be drawn" in line]
    if wrong or not printed.exists():
        raise ExtensionError(f"expected {browser} to draw {target.name}, got: {wrong[0] if wrong else done.stderr[-300:]}")
    shutil.move(printed, target)
