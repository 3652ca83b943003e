"""Sphinx extension of the book: one table of contents, fresh outputs, figures and scripts that need no network.

    layout   the top-level _toc.yml and notebooks/ become part of the source folder
    inputs   a change in src/ or results/ executes every page again
    offline  scripts and figures are served from the built book itself

`_config.yml` names this extension; nothing else has to be switched on.
"""

from sphinx.application import Sphinx

from cffbook import __version__
from cffbook.sphinx_ext import inputs, layout, offline


def setup(app: Sphinx) -> dict[str, object]:
    """Connect the three parts to the build; called by Sphinx."""
    # sphinx_external_toc reads the table of contents at priority 900
    app.connect("config-inited", layout.prepare, priority=100)
    app.connect("config-inited", layout.add_repository, priority=100)
    app.connect("builder-inited", inputs.drop_stale_cache, priority=100)
    app.connect("env-get-outdated", inputs.outdated_pages)
    app.connect("build-finished", inputs.record)
    app.connect("builder-inited", offline.copy_scripts)
    app.connect("html-page-context", offline.add_figure_scripts)
    offline.use_plotly_renderer()
    return {"version": __version__, "parallel_read_safe": True, "parallel_write_safe": True}
