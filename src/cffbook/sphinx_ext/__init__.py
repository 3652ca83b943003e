"""Sphinx extension of the book: one table of contents, fresh outputs, figures and scripts that need no network.

    layout     the top-level _toc.yml and notebooks/ become part of the source folder
    inputs     a change in src/ or results/ executes every page again
    offline    scripts and figures are served from the built book itself
    in_page    widgets that compute in the reader's browser, as outputs of cells and as a directive
    printed    a static picture of each of them, where the book is printed
    equations  from each labelled equation to the lines of code that implement it, and back
    status     versions, commit and records of a build, as tables
    theme      readable links, names for what has none, cards at citations, columns of docstrings

`_config.yml` names this extension; nothing else has to be switched on.
"""

from myst_nb.core.render import load_mime_renders
from sphinx.application import Sphinx

from cffbook import __version__
from cffbook.sphinx_ext import equations, in_page, inputs, layout, offline, printed, status, theme


def setup(app: Sphinx) -> dict[str, object]:
    """Connect the parts to the build; called by Sphinx."""
    # sphinx_external_toc reads the table of contents at priority 900
    app.connect("config-inited", layout.prepare, priority=100)
    app.connect("config-inited", layout.add_repository, priority=100)
    app.connect("builder-inited", inputs.drop_stale_cache, priority=100)
    app.connect("env-get-outdated", inputs.outdated_pages)
    app.connect("build-finished", inputs.record)
    app.connect("doctree-resolved", printed.collect)
    app.connect("build-finished", printed.draw)
    app.connect("builder-inited", offline.copy_scripts)
    app.connect("html-page-context", offline.add_figure_scripts)
    app.connect("builder-inited", in_page.write_scripts)
    app.connect("html-page-context", in_page.add_widget_scripts, priority=100)  # before myst-nb adds those of ipywidgets
    app.add_directive("in-page", in_page.InPage)
    app.add_directive("status", status.Status)
    app.connect("doctree-resolved", equations.link)
    app.connect("html-collect-pages", equations.write_pages)
    app.connect("builder-inited", theme.add_files)
    app.setup_extension("sphinx.ext.autodoc")  # has the event
    app.connect("autodoc-process-docstring", theme.keep_columns, priority=100)  # before napoleon
    app.connect("html-page-context", theme.mend, priority=900)  # after the theme's own buttons
    # for a package that was installed before it had the entry points
    for renderer in (offline.PlotlyRenderer, in_page.WidgetRenderer):
        if renderer not in load_mime_renders():
            load_mime_renders().append(renderer)
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
