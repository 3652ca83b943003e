"""The flip-flop in a real browser, from a file, without a network: it computes what the definition computes and does what one presses."""

import itertools

import pytest
import torch

pytest.importorskip("playwright.sync_api")
pytest.importorskip("anywidget")

from cffbook import FlipFlop, analysis, unroll
from cffbook.flipflop import SCHEMES, SENSORY
from cffbook.solver import SemiImplicitEuler
from cffbook.widgets import FlipFlopWidget, assembly
from cffbook.widgets.flipflop import values_of
from widget_pages import phone, still_visit, visit, write_page  # noqa: F401

pytestmark = [pytest.mark.browser]
BIT = "() => document.querySelector('.cff-bit').textContent"
RUN = """cases => cases.map(c => cffbook.run(cffbook.makeCircuit(c), c.lines, c.start, c.elapsed).map(v => [...v]))"""
ANALYSED = """cases => cases.map(c => {
    const plane = cffbook.makePlane(cffbook.makeCircuit(c), c.lines[0]);
    return { margin: cffbook.latchMargin(plane), points: cffbook.fixedPoints(plane, cffbook.rateGrid(plane, 161)) }; })"""


@pytest.fixture
def page_file(tmp_path):
    widget = FlipFlopWidget()
    return write_page(tmp_path, assembly.holder("flip_flop", widget.traits_of_page()))


def random_cell(draw, pairs, scheme, sensory, polarity, unfolds, alike=False):
    """A cell with random values, over the ranges of the sliders and beyond."""
    ranges = {"capacitance": (0.05, 20.0), "leak_conductance": (0.0, 3.0), "leak_reversal": (-1.0, 2.0), "conductance": (0.0, 12.0),
              "slope": (0.5, 24.0), "half_activation": (-1.0, 1.5), "reversal": (0.0, 2.0)}  # fmt: skip
    cell, values = FlipFlop(pairs, scheme, sensory, polarity, SemiImplicitEuler(unfolds)).double(), {}
    for name in cell.parameter_names():
        low, high = ranges.get(name) or next(limits for kind, limits in ranges.items() if name.endswith(kind))
        value = low + (high - low) * torch.rand(pairs, 1 if alike else 2, generator=draw, dtype=torch.float64)
        values[name] = value * (cell.polarity(name) if low == 0 and name.endswith("reversal") else 1)
    return cell.assign(values)


def told(cell, pair, lines, start, elapsed):
    """What the browser is told of one pair."""
    return {"values": values_of(cell, pair), "scheme": cell.scheme, "sensory": cell.kind, "self_polarity": cell.self_polarity,
            "unfolds": cell.solver.unfolds, "lines": lines.tolist(), "start": start.tolist(), "elapsed": elapsed}  # fmt: skip


@torch.no_grad()
def test_the_browser_computes_what_the_definition_computes(visit, page_file):
    draw, page, cases, expected, shifted = torch.Generator().manual_seed(0), visit.open(page_file), [], [], []
    for number, (scheme, sensory, unfolds) in enumerate(itertools.product(SCHEMES, SENSORY, (1, 2, 3, 6, 12))):
        cell = random_cell(draw, 10, scheme, sensory, number % 3 - 1, unfolds)
        levels = torch.randint(-2, 3, (80, *cell.input_shape), generator=draw) / 2
        lines = (levels * torch.rand(80, *(1 for _ in cell.input_shape), generator=draw)).double()
        start = 3 * torch.rand(10, 2, generator=draw, dtype=torch.float64) - 1.5
        times = 2.5 * torch.rand(80, generator=draw, dtype=torch.float64) if number % 2 else torch.full((80,), (0.1, 0.5, 1.0, 2.5)[number // 2 % 4])
        both = torch.stack((start, start + 1e-13))
        potentials, _ = unroll(cell, lines.expand(2, *lines.shape), both, times.double().expand(2, 80), backend="sequential")
        for pair in range(10):
            cases.append(told(cell, pair, lines[:, pair].reshape(80, -1), start[pair], times.tolist() if number % 2 else float(times[0])))
            expected.append(potentials[0, :, pair])
            shifted.append(potentials[1, :, pair])
    found, expected = torch.tensor(page.evaluate(RUN, cases), dtype=torch.float64), torch.stack(expected)
    error = (found - expected).abs().amax((1, 2))
    # Long steps can make the map of a steered pair chaotic: then the definition does not agree with itself after a change of 1e-13.
    chaotic = (torch.stack(shifted) - expected).abs().amax((1, 2)) > 1e-6
    assert len(error) == 200 and int(chaotic.sum()) <= 2
    assert float(error[~chaotic].max()) < 1e-9


@torch.no_grad()
def test_light_and_fixed_points_are_those_of_the_analysis(visit, page_file):
    draw = torch.Generator().manual_seed(2)
    kinds = list(itertools.product(SCHEMES, SENSORY, (-1, 0, 1))) * 3
    cells = [random_cell(draw, 1, scheme, sensory, polarity, 1, alike=True) for scheme, sensory, polarity in kinds]
    cases = [told(cell, 0, torch.zeros(1, *cell.input_shape[1:] or (1,)), torch.zeros(2), 1.0) for cell in cells]
    latching = 0
    for cell, found in zip(cells, visit.open(page_file).evaluate(ANALYSED, cases), strict=True):
        circuit = analysis.frozen(cell)
        points = analysis.fixed_points(circuit)
        assert found["margin"] == pytest.approx(float(analysis.latch(circuit).margin), abs=1e-6)
        assert [point["stable"] for point in found["points"]] == points.stable.tolist()
        assert torch.allclose(torch.tensor([point["v"] for point in found["points"]], dtype=torch.float64), points.potential, atol=1e-7)
        latching += found["margin"] > 0
    assert 2 <= latching <= 34, "the cases do not tell the condition"


def held(visit, key, milliseconds=250):
    visit.page.keyboard.down(key)
    visit.page.wait_for_timeout(milliseconds)
    visit.page.keyboard.up(key)


def test_keys_alone_set_hold_and_reset_the_bit(visit, page_file):
    page = visit.open(page_file)
    for name, expected in (("reset", "bit 0"), ("set", "bit 1"), ("wait", "bit 1"), ("reset", "bit 0")):
        page.locator(f".cff-{name}-button").focus()
        held(visit, "Space")
        page.wait_for_function(f"() => ({BIT})() === '{expected}'")
        page.wait_for_function("() => document.querySelector('.cff-cursor').style.getPropertyValue('--at') === '1'")
        assert page.evaluate(BIT) == expected
    assert page.locator("[role=status]").inner_text() == "bit 0, latches"


def test_every_control_is_reached_by_the_tab_key_and_has_a_name(visit, page_file):
    page = visit.open(page_file)
    page.evaluate("() => document.querySelectorAll('details').forEach(each => { each.open = true })")
    wanted = page.evaluate("() => [...document.querySelectorAll('.cff button, .cff input:not(:disabled), .cff select, .cff [tabindex]')].filter(each => each.checkVisibility()).length")
    named = "() => { const e = document.activeElement; return [e.tagName + (e.type || ''), (e.ariaLabel || e.labels?.[0]?.textContent || e.textContent).trim()]; }"
    reached = []
    for _ in range(wanted + 6):  # the summaries of six groups are reached as well
        page.keyboard.press("Tab")
        reached.append(page.evaluate(named))
    assert all(name for _, name in reached) and len({tuple(each) for each in reached}) == wanted + 6
    assert page.evaluate("() => document.activeElement.closest('.cff') !== null")


def test_a_held_button_is_on_for_as_long_as_it_is_held(visit, page_file):
    page = visit.open(page_file)
    visit.give("inputs", [[0.0, 0.0]] * 60)
    page.locator(".cff-set-button").hover()
    page.mouse.down()
    page.wait_for_timeout(700)
    page.mouse.up()
    page.wait_for_function("() => document.querySelector('.cffbook-widget').model.get('inputs').some(pair => pair[0])")
    on = sum(pair[0] for pair in visit.trait("inputs"))
    assert 3 <= on <= 25  # 14 samples in 0.7 s; a busy machine draws fewer frames
    assert visit.trait("inputs")[-1] == [0, 0]


def test_a_click_without_pointer_or_key_presses_too(still_visit, page_file):
    page = still_visit.open(page_file)
    for name, expected in (("reset", "bit 0"), ("set", "bit 1"), ("reset", "bit 0")):
        page.evaluate(f"() => document.querySelector('.cff-{name}-button').click()")  # as a screen reader gives it
        page.wait_for_function(f"() => ({BIT})() === '{expected}'")


def test_a_drawn_signal_is_the_input(still_visit, page_file):
    page = still_visit.open(page_file)
    box = page.locator(".cff-input .cff-lane-plot").nth(1).bounding_box()
    page.mouse.move(box["x"] + 0.90 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.94 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.up()
    drawn = [t for t, pair in enumerate(still_visit.trait("inputs")) if pair[1] == 1]
    assert drawn[-4:] == [72, 73, 74, 75]
    page.wait_for_function(f"() => ({BIT})() === 'bit 0'")


def test_arrow_keys_draw_a_signal(still_visit, page_file):
    page = still_visit.open(page_file)
    still_visit.give("inputs", [[0.0, 0.0]] * 40)
    lane = page.locator(".cff-input .cff-lane-plot").nth(0)
    lane.focus()
    for key in ["ArrowRight"] * 3 + ["ArrowUp"] * 2:
        page.keyboard.press(key)
    assert still_visit.trait("inputs")[3] == [0.5, 0] and lane.get_attribute("aria-valuetext") == "sample 4 of 40, level 0.5"


def test_a_state_put_into_the_other_basin_stays_there(still_visit, page_file):
    page = still_visit.open(page_file)
    box = page.locator(".cff-plane").bounding_box()
    page.mouse.click(box["x"] + 0.3 * box["width"], box["y"] + 0.3 * box["height"])  # v_b above v_a
    page.wait_for_function(f"() => ({BIT})() === 'bit 0'")
    a, b = still_visit.trait("start")
    assert a < 0 < b and not any(map(any, still_visit.trait("inputs")))


def test_a_slider_puts_the_light_out(visit, page_file):
    page = visit.open(page_file)
    light = "() => document.querySelector('.cff-light').dataset.on"
    assert page.evaluate(light) == "true"
    page.get_by_label("self conductance wself", exact=True).focus()
    for _ in range(3):
        page.keyboard.press("PageUp")
    page.wait_for_function(f"() => ({light})() === 'false'")
    assert visit.trait("values")["self_conductance"] == pytest.approx([4.0, 4.0], abs=0.2)
    assert "does not latch" in page.locator(".cff-latch").inner_text()
    page.wait_for_function(f"() => ({BIT})() === 'no bit'")


def test_the_widget_is_ready_within_a_second(visit, page_file):
    spent = []
    for _ in range(3):  # a busy machine may be late once
        page = visit.open(page_file)
        spent.append(page.evaluate("() => Number(document.querySelector('.cffbook-widget').dataset.ready)"))
        assert page.locator(".cff-set-button").is_visible()
    assert 0 < min(spent) < 1000


def test_it_takes_the_page_s_colours_in_light_and_dark(visit, page_file):
    page = visit.open(page_file)
    ink = "() => [getComputedStyle(document.querySelector('.cff-plane .cff-label')).fill, getComputedStyle(document.body).color]"
    seen = []
    for theme in ("light", "dark"):
        page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
        found, expected = page.evaluate(ink)
        assert found == expected
        seen.append(page.evaluate("() => getComputedStyle(document.querySelector('.cff-plane .cff-line-a')).stroke"))
    assert seen[0] != seen[1]


def test_a_phone_sees_all_of_it_and_can_press(phone, page_file):
    page = phone.open(page_file)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    small = "() => [...document.querySelectorAll('.cff-commands button')].filter(each => each.getBoundingClientRect().height < 32).length"
    assert page.evaluate(small) == 0
    page.locator(".cff-reset-button").tap()
    page.wait_for_function(f"() => ({BIT})() === 'bit 0'")


def test_a_notebook_s_form_is_a_module_that_renders(browser):
    page = browser.new_page()
    load = "async text => Object.keys((await import(URL.createObjectURL(new Blob([text], {type: 'text/javascript'})))).default)"
    assert page.evaluate(load, assembly.module("flip_flop")) == ["render"]
    page.close()


def test_a_slider_moved_while_time_passes_loses_no_sample(visit, page_file):
    page = visit.open(page_file)
    visit.give("inputs", [[0.0, 0.0]] * 60)
    page.locator(".cff-set-button").focus()
    page.keyboard.down("Enter")
    page.wait_for_timeout(300)
    page.keyboard.up("Enter")
    visit.give("values", visit.trait("values") | {"leak_reversal": [1.1, 1.1]})
    page.wait_for_function("() => document.querySelector('.cffbook-widget').model.get('inputs').some(pair => pair[0])")
    assert visit.trait("start") != FlipFlopWidget().start
    page.wait_for_function(f"() => ({BIT})() === 'bit 1'")
