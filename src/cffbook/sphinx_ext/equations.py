"""Every labelled equation leads to the lines that implement it, and each of those lines leads back.

A line of the package, or of a chapter's cell, that implements an equation ends in a comment such as `# eq. ltc-step`. Under the equation stand links to all
such lines: to a page with the source of the module, written here so that it is there without a network, and to the cell of the chapter. There
the comment is a link to the equation.
"""

import html
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

import cffbook

COMMENT = re.compile(r"# eq\. ([\w-]+)$", re.MULTILINE)
PAGES = "code"  # the pages of sources: code/solver.html
LINKS, BACK = "cffbook-in-code", "cffbook-implements"

logger = logging.getLogger(__name__)


class Line(NamedTuple):
    """A line of the package that implements an equation: the module's path from the package's folder, counted from 1."""

    module: str
    number: int

    @property
    def page(self) -> str:
        """The page that shows the module."""
        return f"{PAGES}/{self.module.removesuffix('.py')}"


class Sources:
    """The package's source files and the lines in them that implement an equation."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def lines(self) -> dict[str, list[Line]]:
        """By label, the definition before what is made for speed: short paths first."""
        found: dict[str, list[Line]] = {}
        for path in sorted(self.folder.rglob("*.py"), key=lambda path: (len(path.parts), path)):
            for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
                for label in COMMENT.findall(text):
                    found.setdefault(label, []).append(Line(path.relative_to(self.folder).as_posix(), number))
        return found

    @cached_property
    def modules(self) -> dict[str, str]:
        """The page of each module that implements an equation."""
        return {line.page: line.module for lines in self.lines.values() for line in lines}

    def text(self, module: str) -> str:
        """The source of a module."""
        return (self.folder / module).read_text(encoding="utf-8")


def sources() -> Sources:
    """Those of the package that builds the book."""
    return Sources(Path(cffbook.__file__).resolve().parent)


def link(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the links under the equations of a page, and those back under its cells."""
    known = sources()
    cells = {label: cell for cell in doctree.findall(nodes.literal_block) for label in COMMENT.findall(cell.astext())}
    for block in [*doctree.findall(nodes.math_block)]:
        label = block.get("label")
        if not label:
            continue
        cell = cells.get(label)
        lines = known.lines.get(label, [])
        if not lines and cell is None:
            logger.warning("no line of code implements this equation: end one with '# eq. %s'", label, location=block)
            continue
        block.parent.insert(block.parent.index(block) + 1, _links(app, docname, label, lines, cell))
        if cell is not None:
            cell["ids"].append(f"code-{label}")
            text = nodes.paragraph("", "This cell implements ", classes=[BACK])
            number = app.env.toc_fignumbers.get(docname, {}).get("displaymath", {}).get(f"equation-{label}", ())
            name = f"Eq. {'.'.join(map(str, number)) or label}"
            linked = app.builder.format == "html"
            text += nodes.reference("", name, internal=True, refuri=f"#equation-{label}") if linked else nodes.Text(name)
            cell.parent.parent.insert(cell.parent.parent.index(cell.parent) + 1, text)  # below the box of the code


def write_pages(app: Sphinx) -> Iterator[tuple[str, dict, str]]:
    """The source of each module that implements an equation, as a page."""
    known = sources()
    for page, module in known.modules.items():
        title = f"cffbook/{module}"
        yield page, {"title": title, "body": f"<h1>{html.escape(title)}</h1>\n{_listing(app, page, known.text(module))}"}, "page.html"


def _links(app: Sphinx, docname: str, label: str, lines: list[Line], cell: nodes.Element | None) -> nodes.paragraph:
    """The paragraph `In code: solver.py, line 62`; without addresses where the book is not a set of pages."""
    text, before = nodes.paragraph("", "In code: ", classes=[LINKS]), None
    for line in [*lines, *([None] if cell is not None else [])]:
        same = line and before and line.module == before.module
        name = str(line.number) if same else f"{line.module}, line {line.number}" if line else "the cell of this chapter"
        text += nodes.Text("" if line is (lines or [None])[0] else ", " if same else " \u00b7 ")
        if app.builder.format == "html":
            address = f"{app.builder.get_relative_uri(docname, line.page)}#line-{line.number}" if line else f"#code-{label}"
            text += nodes.reference("", name, internal=True, refuri=address)
        else:
            text += nodes.Text(name)
        before = line
    return text


def _listing(app: Sphinx, page: str, source: str) -> str:
    """Highlighted source whose lines have anchors, and whose comments lead to the equations."""
    highlighted = app.builder.highlighter.highlight_block(source, "python", linenos=False)
    before, pre, rest = highlighted.partition("<pre>")
    body, end, after = rest.rpartition("</pre>")
    lines = []
    for number, (plain, text) in enumerate(zip(source.rstrip("\n").split("\n"), body.rstrip("\n").split("\n"), strict=True), start=1):
        labels = COMMENT.findall(plain)
        for label in labels:
            text = text.replace(f"# eq. {label}", f"# {_back(app, page, label)}")
        lines.append(f'<span class="{"line equation" if labels else "line"}" id="line-{number}">{text}\n</span>')
    return f'<div class="cffbook-listing">{before}{pre}{"".join(lines)}{end}{after}</div>'


def _back(app: Sphinx, page: str, label: str) -> str:
    """A link to the equation, or its label alone where no page has it."""
    equations = app.env.get_domain("math").equations
    if label not in equations:
        return f"eq. {label}"
    return f'<a href="{app.builder.get_relative_uri(page, equations[label][0])}#equation-{label}">eq. {label}</a>'
