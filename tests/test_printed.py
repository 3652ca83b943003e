"""The printed book has a picture where its pages have something live, and its chapters keep the numbers of the pages."""

import json
import shutil
from types import SimpleNamespace

import pytest

sphinx_errors = pytest.importorskip("sphinx.errors")
pytest.importorskip("myst_nb")

from docutils import nodes
from docutils.utils import new_document

from cffbook.sphinx_ext import printed
from cffbook.widgets import FlipFlopWidget, assembly

FIGURE = {"data": [{"x": [0, 1, 2], "y": [1, 0, 1]}], "layout": {"height": 220}}


def app(folder, builder="latex"):
    return SimpleNamespace(outdir=str(folder), builder=SimpleNamespace(format=builder, name=builder))


def figure(data):
    return f'<div class="cffbook-figure"><script type="application/json">{json.dumps(data)}</script></div>'


def page(*live):
    document = new_document("index.md")
    title = nodes.section("", nodes.title("", "The book"), nodes.section("", nodes.title("", "Hold a bit"), nodes.paragraph("", "Press set."), ids=["hold"]))
    chapter = nodes.section("", nodes.title("", "A chapter"), nodes.section("", nodes.title("", "Its part"), docname="one"), docname="one")
    title += chapter
    for html in live:
        title.extend(printed.alternatives(html))
    document += title
    return document


def test_a_page_keeps_what_is_live_and_print_names_its_picture_by_what_it_shows():
    live, picture = printed.alternatives(figure(FIGURE))
    assert live.astext() == figure(FIGURE) and live["format"] == "html"
    assert picture["picture"] in picture.astext() and picture["format"] == "latex"
    assert printed.alternatives(figure({"data": []}))[1]["picture"] != picture["picture"]


def test_sections_of_the_first_page_are_no_chapters(tmp_path):
    document, pages = page(), page()
    printed.collect(app(tmp_path), document, "index")
    assert [section[0].astext() for section in document.findall(nodes.section)] == ["The book", "A chapter", "Its part"]
    (rubric,) = document.findall(nodes.rubric)
    assert rubric.astext() == "Hold a bit" and rubric["ids"] == ["hold"] and "Press set." in document.astext()
    printed.collect(app(tmp_path, "html"), pages, "index")
    assert pages.pformat() == page().pformat()


def test_without_a_browser_a_printed_book_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    asked = app(tmp_path)
    printed.collect(asked, page(figure(FIGURE)), "index")
    with pytest.raises(sphinx_errors.ExtensionError, match="draw 1 figures and widgets, got none: install chromium"):
        printed.draw(asked, None)


def test_figures_and_widgets_are_drawn_beside_the_text_and_what_fails_is_told(tmp_path):
    if not any(map(shutil.which, printed.BROWSERS)):
        pytest.skip(f"no Chromium: install one of {', '.join(printed.BROWSERS)}")
    asked = app(tmp_path)
    printed.collect(asked, page(figure(FIGURE), assembly.holder("flip_flop", FlipFlopWidget().traits_of_page())), "index")
    printed.draw(asked, None)
    drawn = [tmp_path / name for name in asked.cffbook_pictures]
    assert len(drawn) == 2 and all(path.read_bytes().startswith(b"%PDF") and path.stat().st_size > 5_000 for path in drawn)
    broken = app(tmp_path)
    printed.collect(broken, page(figure({"layout": 5})[:-20]), "index")
    with pytest.raises(sphinx_errors.ExtensionError, match="expected .* to draw live-.*pdf, got: .*could not be drawn"):
        printed.draw(broken, None)
