"""What the theme leaves to do: readable links, names for what has none, cards at citations, addresses of notebooks in the repository."""

import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from cffbook.sphinx_ext.layout import NOTEBOOKS

STATIC = Path(__file__).parent / "static"
STYLE, SCRIPT = "book.css", "book.js"


def add_files(app: Sphinx) -> None:
    """Put the style and the script of all pages into their static folder."""
    if app.builder.format != "html":
        return
    target = Path(app.outdir) / "_static"
    target.mkdir(parents=True, exist_ok=True)
    for name in (STYLE, SCRIPT):
        shutil.copyfile(STATIC / name, target / name)
    app.add_css_file(STYLE, priority=900)  # after the theme's own
    app.add_js_file(SCRIPT, loading_method="defer")


def mend(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Roles that a list may hold, and buttons that lead to the notebooks themselves.

    docutils marks the entries of a bibliography in a way that readers of screens know no more; the notebooks beside the book are copied into
    its folder, which the repository does not have.
    """
    context["body"] = (context.get("body") or "").replace('role="doc-biblioentry"', 'role="listitem"')
    docs = app.config.html_theme_options.get("path_to_docs", "")
    for group in context.get("header_buttons", ()):
        for button in [group, *group.get("buttons", ())]:
            if isinstance(button.get("url"), str):
                button["url"] = button["url"].replace(f"/{docs}/{NOTEBOOKS}/", f"/{NOTEBOOKS}/")
