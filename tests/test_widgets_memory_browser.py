"""The memory in a real browser, from a file, without a network: it computes what the definition computes and is wired by clicks."""

import json

import pytest
import torch

pytest.importorskip("playwright.sync_api")
pytest.importorskip("anywidget")

from cffbook import unroll
from cffbook.widgets import MemoryWidget, assembly
from test_widgets_memory import VARIANTS, described
from widget_pages import phone, still_visit, visit, write_page  # noqa: F401

pytestmark = [pytest.mark.browser]
RUN = """cases => cases.map(({ layer, inputs, start }) => {
    const after = cffbook.run(cffbook.layerCircuit({ layer }), inputs, start);
    return { after: after.map(v => [...v]), answers: after.map(v => cffbook.answersAt(layer, v)) }; })"""
SET = "() => [...document.querySelectorAll('.cff-cell')].flatMap((each, i) => each.dataset.bit === 'set' ? [i] : [])"


@pytest.fixture
def page_file(tmp_path):
    return write_page(tmp_path, assembly.holder("memory", MemoryWidget().traits_of_page()))


def has_set(page, expected):
    page.wait_for_function(f"expected => JSON.stringify(({SET})()) === JSON.stringify(expected)", arg=expected)


@torch.no_grad()
def test_the_browser_computes_potentials_and_answers_of_the_layer(visit, page_file):
    cases, expected = [], []
    for number, (scheme, sensory, lateral) in enumerate(VARIANTS):
        layer, _, head, description = described(scheme, sensory, lateral, number % 3 - 1)
        inputs = torch.randn(1, 40, 3, dtype=torch.double)
        lines = layer.input_map(inputs)[0]
        start = torch.randn(6, 2, dtype=torch.double)
        potentials, _ = unroll(layer.cell, lines.unflatten(-1, layer.cell.input_shape)[None], start[None], backend="sequential")
        outputs, _ = layer(inputs, start[None])
        cases.append({"layer": description, "inputs": lines.tolist(), "start": start.flatten().tolist()})
        expected.append((potentials[0].flatten(1), head(outputs)[0].softmax(-1)))
    for found, (potentials, answers) in zip(visit.open(page_file).evaluate(RUN, cases), expected, strict=True):
        assert float((torch.tensor(found["after"], dtype=torch.float64) - potentials).abs().max()) < 1e-9
        assert float((torch.tensor(found["answers"], dtype=torch.float64) - answers).abs().max()) < 1e-9


def test_a_pressed_flip_flop_resets_its_rivals(still_visit, page_file):
    page = still_visit.open(page_file)
    for pair in (3, 9):
        page.locator(".cff-cell").nth(pair).click()
        has_set(page, [pair])
    page.locator(".cff-cell").nth(9).click()
    has_set(page, [])


def test_keys_alone_move_and_press(still_visit, page_file):
    page = still_visit.open(page_file)
    page.locator(".cff-cell").first.focus()
    for key in ("ArrowRight", "ArrowDown", "Enter"):
        page.keyboard.press(key)
    has_set(page, [5])
    assert page.evaluate("() => document.activeElement.getAttribute('aria-label')") == "5: set"


def test_a_click_on_the_adjacency_changes_who_resets_whom(still_visit, page_file):
    page = still_visit.open(page_file)
    box = page.locator(".cff-matrix").bounding_box()
    cell = box["width"] / 16
    for source, target in ((9, 3), (3, 9)):  # from "inhibits" to "none"
        page.mouse.click(box["x"] + (target + 0.5) * cell, box["y"] + (source + 0.5) * cell)
    lateral = still_visit.trait("layer")["lateral"]
    synapses = set(zip(lateral["source"], lateral["target"], strict=True))
    assert len(synapses) == 238 and not {(9, 3), (3, 9)} & synapses
    for pair, expected in ((3, [3]), (9, [3, 9]), (3, [9]), (5, [5])):
        page.locator(".cff-cell").nth(pair).click()
        has_set(page, expected)


def test_a_synapse_that_comes_back_has_its_old_values(still_visit, page_file):
    page = still_visit.open(page_file)
    before = still_visit.trait("layer")["lateral"]
    at = before["source"].index(9)
    page.locator(".cff-matrix").focus()
    for key in ["ArrowDown"] * 9 + ["Enter"] * 3:  # none, excites, inhibits again
        page.keyboard.press(key)
    after = still_visit.trait("layer")["lateral"]
    assert after["target"][-1] == 0 and after["polarity"][-1] == -1
    assert [after[name][-1] for name in ("conductance", "reversal")] == [before[name][at] for name in ("conductance", "reversal")]
    assert page.locator(".cff-matrix + .cff-spoken").inner_text() == "from 9 to 0: inhibits"


def test_targets_are_picked_on_the_array(still_visit, page_file):
    page = still_visit.open(page_file)
    page.get_by_label("wire: pick one, then its targets").check()
    page.locator(".cff-cell").nth(9).click()
    page.locator(".cff-cell").nth(3).click()
    lateral = still_visit.trait("layer")["lateral"]
    assert (9, 3) not in zip(lateral["source"], lateral["target"], strict=True)
    page.wait_for_function("() => document.querySelectorAll('.cff-cell')[3].getAttribute('aria-label') === '3: reset, from 9: no synapse'")


def test_on_a_ring_a_bit_travels(still_visit, page_file):
    page = still_visit.open(page_file)
    page.get_by_label("start from").select_option(label="a bit that travels")
    page.locator(".cff-cell").nth(4).click()
    page.wait_for_function(f"() => ({SET})().length > 0")
    first = page.evaluate(SET)
    for _ in range(2):
        page.get_by_role("button", name="Wait").click()
    page.wait_for_function(f"first => JSON.stringify(({SET})()) !== JSON.stringify(first)", arg=first)
    assert 1 <= len(page.evaluate(SET)) <= 3
    assert page.get_by_label("pattern").input_value() == "ring"


@pytest.mark.parametrize("size", [4, 64])
def test_an_array_of_another_size_runs_as_the_python_cell_does(still_visit, page_file, size):
    page = still_visit.open(page_file)
    page.locator("select").nth(2).select_option(str(size))
    page.get_by_label("pattern").select_option("lattice")
    page.get_by_label("synapses").select_option("excite")
    page.locator(".cff-cell").nth(size - 1).click()
    page.wait_for_function(f"() => ({SET})().length > 1")
    widget = MemoryWidget(still_visit.trait("layer"))
    with widget.hold_sync():
        for name in ("tape", "pressed", "start"):
            setattr(widget, name, still_visit.trait(name))
    assert widget.bits.nonzero().flatten().tolist() == page.evaluate(SET)
    side = int(size**0.5)
    assert widget.layer["lateral"]["kind"] == "presynaptic" and len(widget.layer["lateral"]["source"]) == 4 * side * (side - 1)


def test_a_layer_from_a_file_reads_symbols_and_lights_its_states(still_visit, page_file, tmp_path):
    page = still_visit.open(page_file)
    *_, description = described("set_reset", "steered", "presynaptic")
    (tmp_path / "layer.json").write_text(json.dumps(description))
    (tmp_path / "other.json").write_text('{"format": "else"}')
    chooser = page.locator("input[type=file]")
    chooser.set_input_files(tmp_path / "other.json")
    page.wait_for_function("() => document.querySelector('.cff-warning').textContent.startsWith('expected a JSON of the format cffbook.memory/1, got else')")
    chooser.set_input_files(tmp_path / "layer.json")
    symbols = page.locator(".cff-symbols button")
    symbols.nth(2).wait_for()
    for symbol in (0, 1, 2):
        symbols.nth(symbol).click()
    page.wait_for_function("() => document.querySelector('.cff-clock').textContent === 'sample 96 of 96: z'")
    lit = page.evaluate("() => [...document.querySelectorAll('.cff-place')].map(each => each.classList.contains('cff-true'))")
    assert lit == [False, True]  # no -x-> no -y-> yes -z-> yes
    widget = MemoryWidget(description)
    widget.play(*"xyz")
    shown = page.evaluate("() => [...document.querySelectorAll('.cff-answer')].map(each => each.lastChild.textContent)")
    *_, (layer, embedding, head, _) = [described("set_reset", "steered", "presynaptic")]
    with torch.no_grad():
        wanted = head(layer(embedding[None])[0])[0, -1].softmax(-1)
    assert shown == [f"{round(100 * float(share))} %" for share in wanted]
    assert still_visit.trait("tape")[-3:] == [0, 1, 2]


def test_a_phone_sees_all_of_it_and_can_press(phone, page_file):
    page = phone.open(page_file)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 390
    page.locator(".cff-cell").nth(6).tap()
    has_set(page, [6])


S3 = ["abc", "acb", "bac", "bca", "cab", "cba"]
EDGES = """() => [...document.querySelectorAll('.cff-automaton g')].map(edge => ({
    d: edge.firstChild.getAttribute('d').match(/-?[\\d.]+/g).map(Number), tips: edge.querySelectorAll('.cff-tip').length, taken: edge.classList.contains('cff-taken') }))"""
DISCS = "() => [...document.querySelectorAll('.cff-place')].map(disc => [Number(disc.getAttribute('cx')), Number(disc.getAttribute('cy')), disc.classList.contains('cff-true')])"


def apart(one, other):
    """The least distance of two segments `[x, y, u, v]` at forty points of each."""
    share = torch.linspace(0, 1, 40)[:, None]
    (first, second) = ((1 - share) * torch.tensor(each[:2]) + share * torch.tensor(each[2:]) for each in (one, other))
    return float(torch.cdist(first, second).min())


def test_in_the_graph_of_a_group_no_arrow_crosses_another_or_a_state_and_the_taken_one_is_lit(still_visit, tmp_path):
    *_, description = described("set_reset", "steered", "presynaptic")
    moves = {"x": "abc", "y": "bca", "z": "bac"}  # what becomes of a, b and c
    following = [[S3.index(state.translate(str.maketrans("abc", change))) for change in moves.values()] for state in S3]
    description |= {"answers": None, "automaton": {"states": S3, "next": following, "start": 0}}
    page = still_visit.open(write_page(tmp_path, assembly.holder("memory", MemoryWidget(description).traits_of_page())))
    edges, discs = page.evaluate(EDGES), page.evaluate(DISCS)
    assert sorted(edge["tips"] for edge in edges) == [1] * 6 + [2] * 3  # x stays, y turns two triangles, z leads across and back
    straight = [[*edge["d"][:2], *edge["d"][-2:]] for edge in edges]
    assert min(apart(one, other) for k, one in enumerate(straight) for other in straight[:k]) > 3
    assert min(apart(edge, [x, y, x, y]) for edge in straight for x, y, _ in discs) > 20  # a disc's radius
    state = 0
    for symbol in (1, 2, 1, 0):
        page.locator(".cff-symbols button").nth(symbol).click()
        state = following[state][symbol]
        page.wait_for_function(f"state => ({DISCS})().findIndex(([, , lit]) => lit) === state", arg=state)
        page.wait_for_function(f"taken => ({EDGES})().filter(edge => edge.taken).length === taken", arg=int(symbol != 0))
        assert page.locator(".cff-legend .cff-taken").inner_text() == ("x: stays", "y", "z")[symbol]
