"""The book in a real browser that reaches no other host."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.slow]

LOOPBACK = re.compile(r"^(https?://(127\.0\.0\.1|localhost)[:/]|data:|blob:|about:)")
# known noise of the theme; nothing else may be an error on the console
EXPECTED = re.compile(r"THEBE_JS_URL.*already been declared|invalid theme mode|fa-(solid|brands|regular).*404|webfonts")
NOT_DRAWN = """() => [...document.querySelectorAll('.cffbook-figure')].filter(
    holder => holder.dataset.drawn !== 'true' || !holder.querySelector('.main-svg path, .main-svg rect, canvas')).length"""
NOT_TYPESET = "() => [...document.querySelectorAll('.math')].filter(m => !m.querySelector('mjx-container svg')).length"
DRAWN_DATA = """() => JSON.stringify([...document.querySelectorAll('.js-plotly-plot')].map(
    plot => (plot._fullData || []).map(trace => [Array.from(trace.x || []), Array.from(trace.y || []), Array.from(trace.z || [])])))"""


class Reader:
    """A page that notes what it asks from other hosts, and every error on its console."""

    def __init__(self, page: object) -> None:
        self.page, self.refused, self.errors = page, [], []
        page.set_default_timeout(30_000)
        page.on("request", self._note_host)
        page.on("console", self._note)
        page.on("pageerror", lambda error: self._add(str(error)))

    def _note_host(self, request: object) -> None:
        if not LOOPBACK.match(request.url):
            self.refused.append(request.url)

    def _note(self, message: object) -> None:
        if message.type == "error":
            self._add(f"{message.text} ({message.location.get('url', '')})")

    def _add(self, text: str) -> None:
        if not EXPECTED.search(text):
            self.errors.append(text)

    def open(self, address: str) -> None:
        self.page.goto(address, wait_until="load")
        self.page.wait_for_function(f"() => ({NOT_DRAWN})() === 0")
        self.page.wait_for_function(f"() => ({NOT_TYPESET})() === 0")


@pytest.fixture
def reader(browser: object) -> Iterator[Reader]:
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    yield Reader(context.new_page())
    context.close()


def names(pages: Path) -> list[str]:
    """The pages of the book, not the generated indices."""
    found = [path.relative_to(pages).as_posix() for folder in (pages, pages / "notebooks") for path in sorted(folder.glob("*.html"))]
    return [name for name in found if name not in {"genindex.html", "search.html", "py-modindex.html", "prf-prf.html"}]


def with_figures(pages: Path) -> list[str]:
    found = [name for name in names(pages) if 'class="cffbook-figure"' in (pages / name).read_text(encoding="utf-8")]
    assert found, "no page has a figure"
    return found


def test_figures_follow_the_page_from_light_to_dark(reader: Reader, site: str, pages: Path) -> None:
    ink = "() => getComputedStyle(document.querySelector('.cffbook-figure .main-svg text')).fill"
    reader.open(f"{site}/{with_figures(pages)[0]}")
    seen = []
    for theme in ("light", "dark"):
        reader.page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        colour = reader.page.evaluate("() => getComputedStyle(document.body).color")
        reader.page.wait_for_function(f"wanted => ({ink})() === wanted", arg=colour)
        seen.append(colour)
    assert seen[0] != seen[1]


def test_figures_are_as_wide_as_the_page_allows_or_as_they_need(reader: Reader, site: str, pages: Path) -> None:
    too_wide = """() => [...document.querySelectorAll('.cffbook-figure')].filter(holder => holder.clientWidth > 0
        && Math.abs(holder.querySelector('.main-svg').clientWidth
                    - Math.max(holder.clientWidth, parseFloat(holder.querySelector('.plot').style.minWidth) || 0)) > 2).length"""
    reader.open(f"{site}/{with_figures(pages)[0]}")
    for width in (1200, 480):
        reader.page.set_viewport_size({"width": width, "height": 900})
        reader.page.wait_for_function(f"() => ({too_wide})() === 0")


def test_a_slider_moves_a_figure_without_a_kernel(reader: Reader, site: str, pages: Path) -> None:
    for name in with_figures(pages):
        reader.open(f"{site}/{name}")
        grips = reader.page.locator(".cffbook-figure .slider-grip-rect")
        if grips.count() == 0:
            continue
        before = reader.page.evaluate(DRAWN_DATA)
        rail = reader.page.locator(".cffbook-figure .slider-rail-touch-rect").first
        rail.scroll_into_view_if_needed()
        box = rail.bounding_box()
        for share in (0.95, 0.05):
            reader.page.mouse.click(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
            reader.page.wait_for_timeout(300)
            if reader.page.evaluate(DRAWN_DATA) != before:
                return
        pytest.fail(f"the slider of {name} moved nothing")
    pytest.fail("no page has a figure with a slider")


def test_widgets_compute_on_the_page_also_when_it_is_opened_as_a_file(reader: Reader, pages: Path) -> None:
    found = [name for name in names(pages) if 'class="cffbook-widget"' in (pages / name).read_text(encoding="utf-8")]
    assert {"index.html", "flip_flop.html", "memory_layer.html", "notebooks/playground.html"} <= set(found)
    for name in found:
        reader.errors.clear()
        reader.page.goto((pages / name).as_uri())
        reader.page.locator(".cffbook-widget[data-drawn=true] .cff").first.wait_for(state="attached")
        assert reader.page.locator(".cffbook-widget:not([data-drawn=true])").count() == 0, name
        assert reader.errors == [], f"{name} has errors on its console"
