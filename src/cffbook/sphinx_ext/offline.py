"""Figures and scripts of the built pages, served from the book itself.

A plotly figure is written into the page as JSON and drawn by the `plotly.min.js` of the installed plotly, in the page's own colours.
"""

import json
import shutil
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import MimeData, MimeRenderPlugin, NbElementRenderer
from sphinx.application import Sphinx

from cffbook._optional import require
from cffbook.sphinx_ext import printed

MIME = "application/vnd.plotly.v1+json"
HOLDER = "cffbook-figure"
DEFAULT_HEIGHT = 450  # pixels, as plotly.js
STATIC = Path(__file__).parent / "static"


class PlotlyRenderer(MimeRenderPlugin):
    """Writes a plotly figure into the page; an entry point `myst_nb.mime_renderers`."""

    mime_priority_overrides = [("*", MIME, 1)]

    @staticmethod
    def handle_mime(renderer: NbElementRenderer, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        """The figure as a holder with its JSON inside, or None for other types and inside a line of text."""
        if inline or data.mime_type != MIME:
            return None
        figure = {key: value for key, value in dict(data.content).items() if key in ("data", "layout", "frames")}
        height = int(figure.get("layout", {}).get("height") or DEFAULT_HEIGHT)
        # "</" would end the script element, "<!--" would hide its end
        text = json.dumps(figure, separators=(",", ":")).replace("<", "\\u003c")
        html = f'<div class="{HOLDER}" style="min-height:{height}px"><script type="application/json">{text}</script></div>'
        return printed.alternatives(html)


def copy_scripts(app: Sphinx) -> None:
    """Put plotly's script, and this package's own, into the pages' static folder."""
    if app.builder.format != "html":
        return
    plotly = Path(require("plotly", extra="plots", purpose="the book").__file__).parent
    scripts = {
        "plotly.min.js": plotly / "package_data" / "plotly.min.js",
        "figures.js": STATIC / "figures.js",
        "figures.css": STATIC / "figures.css",
    }
    for name, source in scripts.items():
        target = Path(app.outdir) / "_static" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def add_figure_scripts(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Load plotly, after the text, on the pages that have a figure."""
    if f'class="{HOLDER}"' in (context.get("body") or ""):
        app.add_css_file("figures.css")
        app.add_js_file("plotly.min.js", priority=200, loading_method="defer")
        app.add_js_file("figures.js", priority=210, loading_method="defer")
