"""In the built book an equation leads to the lines of code that implement it, and each of those lines leads back."""

import re
from pathlib import Path

import pytest

pytest.importorskip("bs4")

from bs4 import BeautifulSoup, Tag

from cffbook.sphinx_ext import equations

pytestmark = [pytest.mark.book]


class Pages:
    """The pages of a book, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.read = folder, {}

    def page(self, path: Path) -> BeautifulSoup:
        if path not in self.read:
            self.read[path] = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        return self.read[path]

    def follow(self, path: Path, link: Tag) -> tuple[Path, Tag]:
        """Where a link of a page leads: the page, and the element of it."""
        name, _, anchor = link["href"].partition("#")
        target = (path.parent / name).resolve() if name else path
        element = self.page(target).find(id=anchor)
        assert element is not None, f"{path.name}: {link['href']} leads nowhere"
        return target, element

    def equations(self) -> list[tuple[Path, Tag]]:
        """Every labelled equation."""
        texts = ((path, path.read_text(encoding="utf-8")) for path in sorted(self.folder.glob("*.html")))
        return [(path, block) for path, text in texts if 'id="equation-' in text for block in self.page(path).select("div.math[id^=equation-]")]


@pytest.fixture(scope="module")
def book(built: Path) -> Pages:
    return Pages(built.resolve())


def test_from_every_equation_to_its_lines_and_from_each_line_back(book: Pages) -> None:
    reached, found = set(), book.equations()
    assert found, "the book has no labelled equation"
    for path, block in found:
        label = block["id"].removeprefix("equation-")
        links = block.find_next_sibling("p", class_=equations.LINKS).find_all("a")
        assert links, label
        for link in links:
            target, line = book.follow(path, link)
            assert f"# eq. {label}" in line.get_text()
            back = line.find("a") or line.find_next(class_=equations.BACK).find("a")
            assert book.follow(target, back) == (path, block)
            reached.add((target, line["id"]))
    lines = {(path, line["id"]) for path in (book.folder / "code").rglob("*.html") for line in book.page(path).select(".line.equation")}
    assert lines and lines <= reached, "a line says that it implements an equation, and no equation leads to it"


def test_a_page_of_source_is_the_source(book: Pages) -> None:
    known = equations.sources()
    for page, module in known.modules.items():
        lines = book.page(book.folder / f"{page}.html").select(".cffbook-listing .line")
        assert "".join(line.get_text() for line in lines).rstrip() == known.text(module).rstrip()


def test_the_definition_comes_before_what_is_made_for_speed(tmp_path: Path) -> None:
    (tmp_path / "fast").mkdir()
    (tmp_path / "fast" / "a.py").write_text("x = 1  # eq. one\n")
    (tmp_path / "z.py").write_text('"""Says # eq. one in its words."""\n\ny = 2\nx = 1  # eq. one\nx = 3  # eq. two-b\n')
    found = equations.Sources(tmp_path)
    assert found.lines == {"one": [equations.Line("z.py", 4), equations.Line("fast/a.py", 1)], "two-b": [equations.Line("z.py", 5)]}
    assert found.modules == {"code/z": "z.py", "code/fast/a": "fast/a.py"}
    assert re.fullmatch(r"code/fast/a", equations.Line("fast/a.py", 1).page)
