"""Figures say what was computed, move without a kernel, and leave the page's colours to the page."""

import pytest
import torch

pytest.importorskip("plotly")

from cffbook import FlipFlop, SemiImplicitEuler, analysis, figures
from cffbook.figures.flipflop import trajectories

EXAMPLE = {
    "capacitance": 0.5, "leak_conductance": 0.5, "leak_reversal": 1.0, "self_conductance": 1.0,
    "reciprocal_conductance": 5.0, "slope": 8.0, "half_activation": 0.3, "reversal": 1.0,
}  # fmt: skip


def pair(own=1.0):
    return analysis.symmetric(EXAMPLE | {"self_conductance": own})


def plane():
    return figures.phase_plane({f"{own:g}": (pair(own), 0.0) for own in (0.0, 1.0, 4.0)}, "conductance", start=1)


def every_figure():
    """One small figure of each kind."""
    run = analysis.run(pair(), torch.zeros(5, 1, 2), torch.tensor([[1.0, -1.0]], dtype=torch.float64))[:, 0]
    axis, levels = torch.linspace(0, 4, 3), torch.linspace(-0.5, 0.5, 3)
    fate = torch.tensor([[1.0, torch.inf], [3.0, torch.inf], [torch.inf, torch.inf]])
    points = [analysis.fixed_points(pair(own)) for own in (1.0, 4.0)]
    return {
        "circuit": figures.circuit(steered=True),
        "phase_plane": plane(),
        "basins": figures.basins({"equal": pair()}, "drive", resolution=5),
        "potentials": figures.potentials(torch.zeros(5, 2), {"pair": run}),
        "lock_step": figures.lock_step({"1": run}, "step"),
        "phase_diagram": figures.phase_diagram(axis[:2], axis, torch.ones(3, 2), fate, ("x", "y")),
        "retention": figures.retention(-axis, axis, axis > 3, axis),
        "hysteresis": figures.hysteresis(levels, {"pair": (levels, levels)}),
        "bifurcation": figures.bifurcation([1.0, 4.0], points, "self"),
        "fading_gradient": figures.fading_gradient(axis, axis, axis),
    }


@pytest.fixture(scope="module")
def drawn():
    return every_figure()


def by_name(frame):
    return {trace.name: trace for trace in frame.data}


def test_each_step_of_the_slider_shows_a_frame_with_that_pairs_fixed_points():
    figure = plane()
    labels = [step.label for step in figure.layout.sliders[0].steps]
    assert labels == [frame.name for frame in figure.frames] == [step.args[0][0] for step in figure.layout.sliders[0].steps]
    for frame, own in zip(figure.frames, (0.0, 1.0, 4.0), strict=True):
        found, traces = analysis.fixed_points(pair(own)), by_name(frame)
        stable = found.potential[found.stable]
        shown = torch.tensor([traces["stable"].x, traces["stable"].y]).T.double()
        assert shown.shape == stable.shape and float((shown - stable).abs().max()) < 1e-4  # rounded to four digits
        assert len(traces["unstable"].x) == len(found.stable) - len(stable)


def test_the_figure_starts_at_the_step_it_is_told_to():
    figure = plane()
    assert figure.layout.sliders[0].active == 1
    assert by_name(figure)["stable"].x == by_name(figure.frames[1])["stable"].x


def test_trajectories_start_in_the_corners_and_end_in_stable_points():
    paths = trajectories(pair()).unflatten(0, (4, -1))
    assert bool(paths[:, -1].isnan().all()) and not bool(paths[:, :-1].isnan().any())
    stable = analysis.fixed_points(pair())
    stable = stable.potential[stable.stable]
    away = (paths[:2, -2, None] - stable[None]).norm(dim=-1).amin(1)
    assert float(away.max()) < 1e-3  # four samples, time constants below a third of one


def test_basins_are_parted_by_the_diagonal_and_shrink_with_the_drive():
    def unequal(share):
        return analysis.frozen(FlipFlop(1).double().assign({"leak_reversal": torch.tensor([1.0, 1.0 - share])}))

    figure = figures.basins({"0": unequal(0.0), "0.3": unequal(0.3), "0.6": unequal(0.6)}, "drive", resolution=9)
    won = [torch.tensor(frame.data[0].z).sum().item() for frame in figure.frames]
    bits = torch.tensor(figure.frames[0].data[0].z)  # rows v_b, columns v_a
    upper = torch.ones(9, 9).triu(1).bool()
    assert bool(bits[upper].all()) and not bool(bits.T[upper].any())
    assert won[0] < won[1] < won[2] == 81


def test_a_nullcline_that_folds_is_drawn_as_points():
    folded = analysis.symmetric(EXAMPLE | {"self_conductance": 8.0}, self_polarity=1)
    modes = {trace.name: trace.mode for trace in figures.phase_plane({"one": (folded, 0.0)}, "x").data}
    assert modes["a at rest"] == "markers"
    assert by_name(plane())["a at rest"].mode == "lines"


def test_pairs_that_keep_their_bit_and_pairs_that_lose_it_never_share_a_cell():
    fate = torch.tensor([[10.0, torch.inf], [100.0, torch.inf]])
    figure = figures.phase_diagram(torch.arange(2.0), torch.arange(2.0), torch.zeros(2, 2), fate, ("x", "y"))
    lost, kept = figure.data[0].z, figure.data[1].z
    assert [list(row) for row in lost] == [[1.0, None], [2.0, None]]
    assert [list(row) for row in kept] == [[None, 1], [None, 1]]


def test_a_pair_on_which_condition_and_simulation_differ_is_drawn_at_the_time_it_was_watched_for():
    rate, time = torch.tensor([-1.0, -0.001, 2.0]), torch.tensor([7.0, torch.inf, torch.inf])
    figure = figures.retention(rate, time, torch.tensor([False, True, False]), torch.tensor([50.0, 60.0, 70.0]))
    points = {trace.name: (list(trace.x), list(trace.y)) for trace in figure.data}
    assert points["loses its bit"] == ([1.0], [7.0])
    assert points["still held when the simulation ended"] == ([pytest.approx(0.001)], [60.0])


def test_the_self_synapse_of_the_drawing_has_the_polarity_asked_for():
    def loops(polarity):
        return [trace for trace in figures.circuit(polarity).data if trace.text and trace.text.startswith("self")]

    assert [len(loops(polarity)) for polarity in (-1, 0, 1)] == [2, 0, 2]
    assert loops(-1)[0].line.color != loops(1)[0].line.color
    assert loops(1)[0].marker.symbol == "arrow" and "circle" in loops(-1)[0].marker.symbol


def test_lock_step_shows_both_neurons_of_each_run():
    circuit, start = pair(), torch.tensor([[1.0, -1.0]], dtype=torch.float64)
    runs = {f"{h}": analysis.run(circuit, torch.zeros(60, 1, 2), start, SemiImplicitEuler(1), h)[:, 0] for h in (0.1, 1.0)}
    apart = [abs(frame.data[0].y[-1] - frame.data[1].y[-1]) for frame in figures.lock_step(runs, "step").frames]
    assert apart[0] > 0.5 and apart[1] < 1e-3


def test_every_figure_leaves_background_and_ink_to_the_page(drawn):
    for name, figure in drawn.items():
        layout = figure.to_dict()["layout"]
        assert "color" not in layout.get("font", {}), name
        assert "paper_bgcolor" not in layout and "plot_bgcolor" not in layout and "width" not in layout, name
        text = [trace.to_plotly_json() for trace in figure.data]
        assert not any(word in str(part.get("line", "")) + str(part.get("marker", "")) for part in text for word in ("black", "#000"))


def test_every_figure_is_small_enough_for_a_page(drawn):
    for name, figure in drawn.items():
        assert len(figure.to_json()) < 400_000, name
    many = figures.phase_plane({f"{own:g}": (pair(own), 0.0) for own in torch.linspace(0, 4, 7).tolist()}, "conductance")
    assert len(many.to_json()) < 120_000  # twice as much without rounding
