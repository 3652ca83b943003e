"""What a build of the book was made from: versions and commit, and the records behind the tables, as tables of the directive `status`.

`{status} versions` and `{status} records`; how long each page took to execute says myst-nb's own `{nb-exec-table}`.
"""

import json
import platform
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from docutils import nodes
from sphinx import addnodes
from sphinx.util.docutils import SphinxDirective

import cffbook
from cffbook.experiment import facts

PACKAGES = ("torch", "numpy", "numba", "plotly", "anywidget", "ncps", "jupyter-book", "sphinx", "myst-nb")
RESULTS = "results"
READERS = {"speed": "load_comparisons", "checks": "load_checks"}  # what a page calls to read the records of a folder
ANY_READER = "load_records"


class Status(SphinxDirective):
    """`{status} versions`, `{status} records`."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The table; an unknown one is an error of the page."""
        self.env.note_reread()  # commit and records change without a change of the page
        makers = {"versions": self._versions, "records": self._records}
        if self.arguments[0] not in makers:
            raise self.error(f"unknown table {self.arguments[0]!r}: choose one of {', '.join(makers)}")
        return makers[self.arguments[0]]()

    def _versions(self) -> list[nodes.Node]:
        commit = facts.commit()
        source = "not a checkout" if commit is None else commit["commit"] + (", with changes" if commit["dirty"] else "")
        rows = [("built", f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"), ("source", source), ("cffbook", cffbook.__version__),
                ("Python", platform.python_version()), *((name, metadata.version(name)) for name in PACKAGES)]  # fmt: skip
        return [table(("what", "which"), [[nodes.Text(name), nodes.literal("", value)] for name, value in rows])]

    def _records(self) -> list[nodes.Node]:
        """A table for each folder of records: each of them to download, and the pages that read the folder."""
        top, found = Path(self.env.srcdir).parent / RESULTS, []
        for folder in sorted(path for path in top.iterdir() if path.is_dir()):
            records = sorted(folder.glob("*.json"))
            if not records:
                continue
            pages = self._readers(READERS.get(folder.name, ANY_READER))
            head = nodes.paragraph("", "", nodes.strong("", folder.name), nodes.Text(f": {len(records)} record{'s' * (len(records) > 1)}, read by "))
            for place, page in enumerate(pages):
                head += nodes.Text(", " if place else "")
                head += addnodes.pending_xref("", nodes.inline("", page), refdomain="std", reftype="doc", reftarget=f"/{page}", refexplicit=False, refwarn=True)
            head += nodes.Text("." if pages else "no page.")
            found += [head, table(("record", "begun", "commit", "machine"), [self._row(record, top.parent) for record in records])]
        return found

    def _row(self, path: Path, top: Path) -> list[nodes.Node]:
        told = json.loads(path.read_text(encoding="utf-8"))
        target = Path("..", path.relative_to(top)).as_posix()
        self.env.note_dependency(str(path))
        file = addnodes.download_reference("", "", nodes.literal("", path.stem), reftarget=target, refdoc=self.env.docname, refdomain="", reftype="download", refexplicit=True, refwarn=True)
        git, machine = told.get("git") or {}, told.get("machine") or {}
        commit = git.get("commit", "unknown")[:7] + (" and changes" if git.get("dirty") else "")
        on = machine.get("gpu") or machine.get("processor") or "unknown"
        return [file, nodes.Text(told.get("started", "unknown")[:10]), nodes.literal("", commit), nodes.Text(on)]

    def _readers(self, call: str) -> list[str]:
        """The pages with a cell that makes the call, in the order of the book."""
        source = Path(self.env.srcdir)
        return [page for page in sorted(self.env.found_docs) if (path := source / f"{page}.ipynb").is_file() and f".{call}(" in path.read_text(encoding="utf-8")]


def table(header: Sequence[str], rows: Iterable[Sequence[nodes.Node]]) -> nodes.table:
    """A table of docutils with one cell for each node."""
    group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in header), cols=len(header))
    group += nodes.thead("", _row(nodes.Text(name) for name in header))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return nodes.table("", group, classes=["cffbook-status"])


def _row(cells: Iterable[nodes.Node]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells))
