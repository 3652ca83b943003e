"""Every page of the built book in a real browser: narrow and wide, light and dark, without another host, without an error, soon alive."""

import functools
import http.server
import math
import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api")
pytestmark = [pytest.mark.browser, pytest.mark.book, pytest.mark.slow]

from conftest import QuietHandler
from test_browser import Reader

MAX_BYTES = 3_000_000  # of a page and its pictures; scripts are shared by all pages
SIZES = {"light": 1280, "dark": 390}  # each theme at first at one width; the other comes after it without a load
HEIGHT = 900
SOON = 1.0  # seconds from load to an answer
# what is wider than the window and neither scrolls by itself nor is out of sight
TOO_WIDE = """async () => {
    const held = element => { for (let at = element.parentElement; at !== document.body; at = at.parentElement)
        if (getComputedStyle(at).overflowX !== 'visible') return true; return false; };
    const wide = () => document.documentElement.scrollWidth > document.documentElement.clientWidth;
    for (let looks = 0; wide() && looks < 20; looks++) await new Promise(done => setTimeout(done, 50)); // figures and notes move after a resize
    return !wide() ? [] : [...document.querySelectorAll('body *')].filter(
        each => each.getBoundingClientRect().right > document.documentElement.clientWidth + 1 && each.getBoundingClientRect().width && !held(each)
    ).slice(0, 3).map(each => `${each.tagName} ${each.className}: ${each.textContent.slice(0, 60)}`).concat('wider than the window'); }"""
UNREADABLE = """() => { const ink = getComputedStyle(document.querySelector('article') ?? document.body).color, ground = getComputedStyle(document.body).backgroundColor;
    const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).reduce((sum, part) => sum + Number(part), 0);
    return Math.abs(light(ink) - light(ground)) < 300; }"""


def every_page(folder: Path) -> list[str]:
    """All pages of the book, those of sources and the generated indices too."""
    found = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*.html"))]
    return [name for name in found if not name.startswith("_")]


@pytest.fixture(scope="module")
def home(built: Path) -> Iterator[str]:
    """The address, on this machine alone, of the built book."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(built))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_no_page_is_heavy(built: Path) -> None:
    heavy = {}
    for name in every_page(built):
        page = built / name
        pictures = set(re.findall(r'<img[^>]* src="(?!data:|https?:)([^"]+)"', page.read_text(encoding="utf-8")))
        size = page.stat().st_size + sum((page.parent / picture).stat().st_size for picture in pictures)
        if size > MAX_BYTES:
            heavy[name] = size
    assert heavy == {}


@pytest.mark.parametrize("theme", SIZES)
def test_every_page_is_whole_narrow_and_wide_light_and_dark(browser: object, home: str, built: Path, theme: str) -> None:
    other = next(name for name in SIZES if name != theme)
    context = browser.new_context(viewport={"width": SIZES[theme], "height": HEIGHT}, color_scheme=theme, reduced_motion="reduce")
    reader, wrong = Reader(context.new_page()), {}
    for name in every_page(built):
        reader.open(f"{home}/{name}")
        page, found = reader.page, [*reader.errors, *reader.refused]
        assert page.evaluate("() => document.documentElement.dataset.theme") == theme
        for shown in (theme, other):
            page.evaluate("theme => { document.documentElement.dataset.theme = theme }", shown)
            found += [f"{shown}: ink on its own colour"] * page.evaluate(UNREADABLE)
        found += page.evaluate(TOO_WIDE)
        found += ["a formula that MathJax cannot read"] * page.locator("mjx-merror").count()
        page.set_viewport_size({"width": SIZES[other], "height": HEIGHT})
        found += page.evaluate(TOO_WIDE) + reader.errors + reader.refused
        page.set_viewport_size({"width": SIZES[theme], "height": HEIGHT})
        reader.errors.clear()
        reader.refused.clear()
        if found:
            wrong[name] = sorted(set(found))
    context.close()
    assert wrong == {}


# the answer to a press of the first widget, else the first figure; seconds from the page's load
FIRST_ANSWER = """async () => {
    const next = () => new Promise(done => setTimeout(done)), widget = document.querySelector('.cffbook-widget');
    const since = () => (performance.now() - performance.getEntriesByType('navigation')[0].loadEventEnd) / 1000;
    if (widget) {
        while (!widget.dataset.drawn) await next();
        const signal = () => JSON.stringify([widget.model.get('inputs'), widget.model.get('pressed')]), before = signal();
        widget.querySelector('.cff-set-button, .cff-cell').click();
        while (signal() === before) await next();
    } else while (!document.querySelector('.cffbook-figure[data-drawn=true]')) await next();
    return since(); }"""


def test_a_page_answers_within_a_second_of_its_load(browser: object, home: str, built: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": HEIGHT}, reduced_motion="reduce")
    page, took = context.new_page(), {}
    for name in every_page(built):
        if re.search('class="cffbook-(widget|figure)"', (built / name).read_text(encoding="utf-8")):
            for _ in range(3):  # what else a machine does makes an answer later, never sooner
                page.goto(f"{home}/{name}", wait_until="load")
                took[name] = min(page.evaluate(FIRST_ANSWER), took.get(name, math.inf))
                if took[name] <= SOON:
                    break
    context.close()
    assert len(took) > 5 and {name: each for name, each in took.items() if each > SOON} == {}


BESIDE = """() => [...document.querySelectorAll('.cffbook-figure .plot')].filter(plot => {
    const legend = plot.querySelector('.legend .bg'), { l, w } = plot._fullLayout._size;
    return legend && plot.clientWidth && legend.getBoundingClientRect().left > plot.getBoundingClientRect().left + l + w; }).length"""


# plots without the room to tell marks apart, and titles of level axes that end beyond their figure
CRAMPED = """() => [...document.querySelectorAll('.cffbook-figure .plot')].filter(plot => {
    if (!plot.clientWidth || !plot._fullLayout._has('cartesian')) return false;
    const at = plot.getBoundingClientRect(), ends = [...plot.querySelectorAll('[class*=xtitle]')].map(each => each.getBoundingClientRect());
    return plot._fullLayout._size.w < 149 || ends.some(each => each.width && (each.left < at.left - 1 || each.right > at.right + 1)); }).length"""

NARROWER = """() => [...document.querySelectorAll('.cffbook-figure .plot')].filter(
    plot => plot.clientWidth && (Math.abs(plot._fullLayout.width - plot.clientWidth) > 2 || plot._fullLayout.xaxis?.title?.text?.includes('<br>'))
).length"""  # than the window that grew again, or with titles still in lines


def test_a_phone_has_room_for_a_plot_its_legend_and_its_titles(browser: object, home: str, built: Path) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": HEIGHT}, reduced_motion="reduce")
    reader, beside = Reader(context.new_page()), 0
    for name in every_page(built):
        if 'class="cffbook-figure"' in (built / name).read_text(encoding="utf-8"):
            reader.page.set_viewport_size({"width": 1280, "height": HEIGHT})
            reader.open(f"{home}/{name}")
            beside += reader.page.evaluate(BESIDE)
            reader.page.set_viewport_size({"width": 390, "height": HEIGHT})
            reader.page.wait_for_function(f"() => ({BESIDE})() === 0")
            reader.page.wait_for_function(f"() => ({CRAMPED})() === 0")
            reader.page.set_viewport_size({"width": 1280, "height": HEIGHT})
            reader.page.wait_for_function(f"() => ({NARROWER})() === 0")
    context.close()
    assert beside > 5  # beside a wide plot there is room


AXE = """async ([context, options]) => (await axe.run(context, options)).violations.filter(each => ['serious', 'critical'].includes(each.impact))
    .map(each => `${each.id}: ${each.nodes.slice(0, 3).map(node => node.target).join(', ')}`)"""


@pytest.mark.parametrize("theme", SIZES)
def test_no_page_shuts_out_a_reader_who_cannot_see_or_use_a_mouse(browser: object, home: str, built: Path, theme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python", reason="needs the extra 'test'")
    script = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    context = browser.new_context(viewport={"width": SIZES[theme], "height": HEIGHT}, color_scheme=theme, reduced_motion="reduce")
    reader, wrong = Reader(context.new_page()), {}
    others = {"exclude": [[".main-svg"], ["mjx-container"], ["article .highlight"]]}  # by plotly, MathJax and pygments, the same everywhere
    options = {"resultTypes": ["violations"]} if theme == "light" else {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
    listings = [name for name in every_page(built) if name.startswith("code/")]
    for name in [name for name in every_page(built) if name not in listings[1:]]:  # one page of source is like another
        reader.open(f"{home}/{name}")
        reader.page.evaluate(script)
        if found := reader.page.evaluate(AXE, [others, options]):
            wrong[name] = found
    context.close()
    assert wrong == {}
