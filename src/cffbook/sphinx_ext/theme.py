"""What the theme leaves to do: readable links, names for what has none, cards at citations, columns of docstrings, addresses of notebooks."""

import re
import shutil
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

from cffbook.sphinx_ext.layout import NOTEBOOKS

STATIC = Path(__file__).parent / "static"
STYLE, SCRIPT = "book.css", "book.js"
ARXIV = re.compile(r"(>[^<>]*)arXiv:(\d{4}\.\d{4,5})")  # in a text, not in an attribute
COLUMNS = re.compile(r"^ {4}|\S {2,}\S")  # an indented line, or one with a gap


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
    """Roles that a list may hold, links to what is on arXiv, and buttons that lead to the notebooks themselves.

    docutils marks the entries of a bibliography in a way that readers of screens know no more; the notebooks beside the book are copied into
    its folder, which the repository does not have.
    """
    context["body"] = (context.get("body") or "").replace('role="doc-biblioentry"', 'role="listitem"')
    if pagename == "bibliography":
        context["body"] = ARXIV.sub(r'\1<a class="reference external" href="https://arxiv.org/abs/\2">arXiv:\2</a>', context["body"])
    docs = app.config.html_theme_options.get("path_to_docs", "")
    for group in context.get("header_buttons", ()):
        for button in [group, *group.get("buttons", ())]:
            if isinstance(button.get("url"), str):
                button["url"] = button["url"].replace(f"/{docs}/{NOTEBOOKS}/", f"/{NOTEBOOKS}/")


def keep_columns(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Formulas and tables in the docstring of a module stay in their lines, as they are: without `::` above them they would run together."""
    if what != "module":
        return
    paragraphs = [part.split("\n") for part in "\n".join(lines).strip("\n").split("\n\n")]
    kept: list[str] = []
    for part in paragraphs:
        before = kept[-2] if kept else ""
        if all(map(COLUMNS.search, part)) and not before.endswith("::") and not before.startswith("    "):
            shift = "" if part[0].startswith("    ") else "    "
            kept += [".. code-block:: text", "", *(shift + line.replace("``", "") for line in part), ""]
        else:
            kept += [*part, ""]
    lines[:] = kept
