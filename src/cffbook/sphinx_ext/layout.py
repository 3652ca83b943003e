"""Where the book's sources are: the top-level table of contents and the notebooks beside the book.

`jupyter-book build book/` takes its sources from book/ alone. The table of contents lies at the top of the tree and the
runnable notebooks in notebooks/, because they are used without the book too. Links between the folders would
break in clones without symbolic links, so the notebooks are copied into a folder that git ignores.
"""

import os
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.config import Config

NOTEBOOKS = "notebooks"
REPOSITORY_VARIABLE = "CFFBOOK_REPOSITORY_URL"


def root(app: Sphinx) -> Path:
    """The top of the tree that holds book/, src/, results/ and notebooks/."""
    return Path(app.srcdir).parent


def prepare(app: Sphinx, config: Config) -> None:
    """Use the top-level `_toc.yml` and bring notebooks/ into the source folder."""
    toc = root(app) / "_toc.yml"
    if toc.is_file():
        config.external_toc_path = toc.as_posix()
    mirror(root(app) / NOTEBOOKS, Path(app.srcdir) / NOTEBOOKS)
    # a figure is one JSON object in a notebook's output, not megabytes of script
    os.environ.setdefault("PLOTLY_RENDERER", "plotly_mimetype")


def mirror(source: Path, target: Path) -> None:
    """Make the notebooks of `target` those of `source`; unchanged files keep their time stamps."""
    wanted = {path.name: path.read_bytes() for path in sorted(source.glob("*.ipynb"))}
    target.mkdir(exist_ok=True)
    for path in target.glob("*.ipynb"):
        if path.name not in wanted:
            path.unlink()
    for name, content in wanted.items():
        path = target / name
        if not path.is_file() or path.read_bytes() != content:
            path.write_bytes(content)


def add_repository(app: Sphinx, config: Config) -> None:
    """Add source, issue and launch buttons when the environment names the repository they lead to."""
    url = os.environ.get(REPOSITORY_VARIABLE, "").strip().rstrip("/")
    if not url:
        return
    config.html_theme_options = {
        **config.html_theme_options,
        "repository_url": url,
        "repository_branch": "main",
        "path_to_docs": Path(app.srcdir).name,
        "use_repository_button": True,
        "use_issues_button": True,
        "use_edit_page_button": True,
        "launch_buttons": {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
            "colab_url": "https://colab.research.google.com",
        },
    }
