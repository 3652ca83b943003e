"""Widgets that compute in the reader's browser: holders in the page and one script that fills them.

A cell's output that is such a widget carries the traits that it starts from; a page without cells names one by the directive `in-page`,
with the traits that differ as JSON in its body. Neither needs a kernel, ipywidgets or a network.
"""

import json
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import MimeData, MimeRenderPlugin, NbElementRenderer
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from cffbook.sphinx_ext import printed
from cffbook.widgets import FlipFlopWidget, MemoryWidget, assembly

KINDS = {"flip_flop": FlipFlopWidget, "memory": MemoryWidget}
SCRIPT, STYLE = "in_page.js", "in_page.css"


class WidgetRenderer(MimeRenderPlugin):
    """Writes a widget of this package into the page; an entry point `myst_nb.mime_renderers`."""

    mime_priority_overrides = [("*", assembly.MIME, 1)]

    @staticmethod
    def handle_mime(renderer: NbElementRenderer, data: MimeData, inline: bool) -> list[nodes.Element] | None:
        """The widget's holder, or None for other types and inside a line of text."""
        if inline or data.mime_type != assembly.MIME:
            return None
        return holders(data.content["widget"], json.loads(data.content["traits"]))


class InPage(SphinxDirective):
    """`{in-page} flip_flop`: a widget with its first traits, or with those of a JSON object in the body."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """The holder; an unknown kind or trait is an error of the page."""
        kind = self.arguments[0]
        if kind not in KINDS:
            raise self.error(f"unknown kind of widget {kind!r}: choose one of {', '.join(KINDS)}")
        try:
            given = json.loads("\n".join(self.content) or "{}")
        except ValueError as problem:
            raise self.error(f"expected a JSON object of traits in the body of in-page, got {problem}: write {{}} for none") from problem
        traits = KINDS[kind]().traits_of_page()
        if unknown := set(given) - set(traits):
            raise self.error(f"unknown trait {sorted(unknown)[0]!r}: {kind} has {', '.join(traits)}")
        return holders(kind, traits | given)


def holders(kind: str, traits: dict) -> list[nodes.Element]:
    """A widget's holder for the page, and its picture where the book is printed."""
    return printed.alternatives(assembly.holder(kind, traits))


def write_scripts(app: Sphinx) -> None:
    """Put the front ends into the pages' static folder."""
    if app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    (static / SCRIPT).write_text(assembly.script(), encoding="utf-8")
    (static / STYLE).write_text(assembly.style(), encoding="utf-8")


def add_widget_scripts(app: Sphinx, pagename: str, templatename: str, context: dict, doctree: nodes.document | None) -> None:
    """Load the front ends on the pages that have a widget, and not the state that ipywidgets keeps of it."""
    body = context.get("body") or ""
    if f'class="{assembly.HOLDER}"' not in body:
        return
    app.add_css_file(STYLE)
    app.add_js_file(SCRIPT, priority=190, loading_method="defer")  # runs before the scripts of figures, which take long
    NbMetadataCollector.get_js_files(app.env, pagename).pop("ipywidgets_state", None)
