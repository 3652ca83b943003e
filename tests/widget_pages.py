"""Pages for the tests of widgets: one file with one widget, opened without a server, a kernel or a network."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from cffbook.widgets import assembly

THEME = """html { --pst-color-text-base: #222832; --pst-color-background: #fff } html[data-theme="dark"] { --pst-color-text-base: #ced6dd;
--pst-color-background: #14181e } body { color: var(--pst-color-text-base); background: var(--pst-color-background); margin: 0 16px }"""


def write_page(folder: Path, holder: str) -> Path:
    """A page as the book has it: the holder, a style sheet and a classic script beside it."""
    (folder / "in_page.js").write_text(assembly.script(), encoding="utf-8")
    (folder / "in_page.css").write_text(assembly.style(), encoding="utf-8")
    page = folder / "page.html"
    page.write_text(
        f'<!doctype html><html lang="en" data-theme="light"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>A widget</title><link rel="stylesheet" href="in_page.css"><style>{THEME}</style></head>'
        f'<body><main>{holder}</main><script src="in_page.js"></script></body></html>', encoding="utf-8",
    )  # fmt: skip
    return page


class Visit:
    """An open page that notes its errors and what it asks for beside files."""

    def __init__(self, page: object) -> None:
        self.page, self.wrong = page, []
        page.set_default_timeout(15_000)
        page.on("console", lambda message: self.wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: self.wrong.append(str(error)))
        page.on("request", lambda request: self.wrong.append(request.url) if not request.url.startswith(("file:", "data:")) else None)

    def open(self, path: Path) -> object:
        self.page.goto(path.as_uri())
        self.page.wait_for_selector(".cffbook-widget[data-drawn=true]", state="attached")
        return self.page

    def trait(self, name: str) -> object:
        return self.page.evaluate("name => document.querySelector('.cffbook-widget').model.get(name)", name)

    def give(self, name: str, value: object) -> None:
        self.page.evaluate("([name, value]) => document.querySelector('.cffbook-widget').model.set(name, value)", [name, value])


@pytest.fixture
def visit(browser: object) -> Iterator[Visit]:
    """A visit at a desk, whose page must be without errors at the end."""
    yield from visiting(browser, viewport={"width": 900, "height": 900})


@pytest.fixture
def still_visit(browser: object) -> Iterator[Visit]:
    """A visit of a reader who asked for no motion: what a press does is there at once."""
    yield from visiting(browser, viewport={"width": 900, "height": 900}, reduced_motion="reduce")


@pytest.fixture
def phone(browser: object) -> Iterator[Visit]:
    """A visit with a phone."""
    yield from visiting(browser, viewport={"width": 390, "height": 800}, has_touch=True, is_mobile=True)


def visiting(browser: object, **options: object) -> Iterator[Visit]:
    """A visit in a context of its own."""
    context = browser.new_context(**options)
    visit = Visit(context.new_page())
    yield visit
    assert visit.wrong == [], "the page has errors, or asked for something beside files"
    context.close()
