"""Buttons that lead somewhere, a bibliography that readers of screens know, names for what has none, and a page about the build."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("sphinx")
pytest.importorskip("bs4")

from bs4 import BeautifulSoup

from cffbook.sphinx_ext import theme

pytestmark = [pytest.mark.book]


def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_launch_buttons_of_notebooks_lead_to_the_repositorys_own() -> None:
    app = SimpleNamespace(config=SimpleNamespace(html_theme_options={"path_to_docs": "book"}))
    launch = "https://mybinder.org/v2/gh/a/b/main?urlpath=lab/tree/book/{}.ipynb"
    buttons = [{"type": "link", "url": launch.format("notebooks/lra")}, {"type": "link", "url": launch.format("problem")}]
    context = {"body": '<div role="doc-biblioentry">', "header_buttons": [{"type": "group", "buttons": buttons}, {"type": "link", "url": "/a"}]}
    theme.mend(app, "notebooks/lra", "page.html", context, None)
    assert [button["url"] for button in buttons] == ["https://mybinder.org/v2/gh/a/b/main?urlpath=lab/tree/notebooks/lra.ipynb", launch.format("problem")]
    assert context["body"] == '<div role="listitem">'


def test_what_is_on_arxiv_is_linked_in_the_bibliography_and_nowhere_else() -> None:
    app = SimpleNamespace(config=SimpleNamespace(html_theme_options={}))
    body = '<p><a href="#x" title="Gu. arXiv:2312.00752">1</a> Gu. <em>arXiv:2312.00752</em>, 2023.</p>'
    shown = {page: {"body": body} for page in ("bibliography", "problem")}
    for page, context in shown.items():
        theme.mend(app, page, "page.html", context, None)
    assert shown["problem"]["body"] == body
    links = BeautifulSoup(shown["bibliography"]["body"], "html.parser").select("em a")
    assert [(link["href"], link.text) for link in links] == [("https://arxiv.org/abs/2312.00752", "arXiv:2312.00752")]
    assert shown["bibliography"]["body"].count("<a ") == 2


def test_formulas_and_tables_of_a_docstring_keep_their_lines() -> None:
    told = ["What it is.", "", "name    what it does", "others  ``what`` else", "", "A sentence.", "", "    v = 1", "    w = 2", "", "As::", "", "    x = 1", "", "Its end."]
    lines = list(told)
    theme.keep_columns(None, "module", "", None, None, lines)
    assert lines[2:6] == [".. code-block:: text", "", "    name    what it does", "    others  what else"]
    assert lines[9:13] == [".. code-block:: text", "", "    v = 1", "    w = 2"] and lines.count(".. code-block:: text") == 2
    assert [line.strip() for line in lines if line and "code-block" not in line] == [line.strip().replace("``", "") for line in told if line]
    last = ["What.", "", "name  what", ""]
    theme.keep_columns(None, "module", "", None, None, last)
    assert last == ["What.", "", ".. code-block:: text", "", "    name  what", ""]
    other = list(told)
    theme.keep_columns(None, "function", "", None, None, other)
    assert other == told  # there an indented block says what the arguments are


def test_every_notebook_can_be_downloaded_from_its_page(built: Path, root: Path) -> None:
    notebooks = [*(root / "book").glob("*.ipynb"), *(root / "notebooks").glob("*.ipynb")]
    for path in notebooks:
        page = built / path.parent.relative_to(root / "book" if path.parent.name == "book" else root) / f"{path.stem}.html"
        if not page.is_file():
            continue  # not in the table of contents
        (button,) = soup(page).select("a.btn-download-source-button")
        downloaded = json.loads((page.parent / button["href"]).read_text(encoding="utf-8"))
        wanted = json.loads(path.read_text(encoding="utf-8"))
        assert [cell["source"] for cell in downloaded["cells"]] == [cell["source"] for cell in wanted["cells"]], path.name


def test_the_status_page_has_versions_and_every_record_to_download(built: Path, root: Path) -> None:
    page = soup(built / "status.html")
    said = page.get_text(" ")
    assert all(name in said for name in ("torch", "jupyter-book", "Python", "source"))
    linked = [link["href"] for link in page.select("a.reference.download")]
    records = sorted(path.name for path in (root / "results").glob("*/*.json"))
    assert sorted(Path(address).name for address in linked) == records
    assert all(json.loads((built / address).read_text(encoding="utf-8")) for address in linked)
    assert [row for row in page.select("section#execution tbody tr") if "\u2705" not in row.get_text()] == []  # the mark of a page that was executed to its end
