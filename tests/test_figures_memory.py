"""Figures of the memory layer and of the transformer show the numbers they are given, in either theme, and stay small."""

import json

import pytest

plotly = pytest.importorskip("plotly")

import torch

from cffbook import figures, wiring


def size_in_kilobytes(figure) -> float:
    return len(figure.to_json()) / 1024


def every_figure():
    raster = torch.linspace(-1, 1, 60).view(20, 3)
    image = torch.rand(16, 16)
    wirings = [wiring.ring(64), wiring.lattice((8, 8, 4)), wiring.independent(3), wiring.tiles(64, 8)]
    parts = {name: {"mixer": 10, "rest": 5} for name in ("memory", "attention")}
    return {
        "raster": figures.raster(raster, ["a", "b", "c"], list("abcdefghijklmnopqrst")),
        "image_raster": figures.image_raster(image, torch.rand(256, 48), [str(row) for row in range(48)]),
        "gallery": figures.gallery(wirings),
        "cost": figures.cost([8, 16], {"presynaptic": [1, 2]}, {"presynaptic": [0.1, 0.2]}),
        "accuracy_over_time": figures.accuracy_over_time({"coupled": torch.ones(4, 1000)}, trained=16, chance=0.5),
        "block": figures.block(["memory", "attention"]),
        "parameters_by_part": figures.parameters_by_part(parts),
        "state_bytes": figures.state_bytes([1, 2], {"memory": [8, 8]}),
        "influence": figures.influence({"memory": torch.rand(512)}),
        "training_curves": figures.training_curves({"memory": ([1, 2], [0.1, 0.05])}, "error", {"floor": 0.17}),
    }


def test_every_figure_is_small_and_fixes_no_background_or_width():
    for name, figure in every_figure().items():
        layout = figure.layout
        assert size_in_kilobytes(figure) < 400, name
        assert layout.width is None and layout.paper_bgcolor is None and layout.plot_bgcolor is None, name
        assert layout.font.color is None, name  # the page's own colour, light or dark
        own = json.dumps({"data": figure.to_plotly_json()["data"], "shapes": layout.shapes and [str(s) for s in layout.shapes]}, default=str)
        assert "black" not in own and "#000" not in own.replace("#0072B2", "").replace("#009E73", ""), name


def test_a_raster_has_one_row_for_each_flip_flop_and_keeps_its_values():
    outputs = torch.tensor([[0.25, -0.5], [0.5, -0.25], [1.0, 0.0]])
    heat = figures.raster(outputs, ["first", "second"], ["x", "y", "z"], held=(-0.5, 0.5)).data[0]
    assert heat.z.tolist() == outputs.T.tolist()
    assert tuple(heat.y) == ("first", "second") and (heat.zmin, heat.zmax) == (-0.5, 0.5)
    assert list(heat.customdata[1]) == ["x", "y", "z"]


@pytest.mark.parametrize("samples", [1, 16, 17, 103])
def test_a_raster_names_no_more_samples_than_have_room(samples):
    words = [f"w{number}" for number in range(samples)]
    axis = figures.raster(torch.zeros(samples, 1), ["row"], words).layout.xaxis
    assert samples / 16 <= len(axis.tickvals) <= 16 and axis.tickvals[0] == 0
    assert [words[place] for place in axis.tickvals] == list(axis.ticktext)  # each below its own sample
    assert ("is named" in axis.title.text) == (samples > 16)


def test_rasters_refuse_outputs_without_a_name_for_each_row_and_sample():
    with pytest.raises(ValueError, match=r"expected outputs \(2, 1\), got \(3, 1\)"):
        figures.raster(torch.zeros(3, 1), ["row"], ["x", "y"])
    with pytest.raises(ValueError, match=r"expected outputs \(16, 2\), got \(15, 2\)"):
        figures.image_raster(torch.zeros(4, 4), torch.zeros(15, 2), ["a", "b"])


def test_an_image_is_read_row_by_row_beside_its_raster():
    image = torch.arange(16.0).view(4, 4)
    figure = figures.image_raster(image, torch.zeros(16, 2), ["a", "b"])
    assert figure.data[0].z.tolist() == image.tolist() and figure.data[1].y.tolist() == list(range(16))


def test_the_gallery_shows_each_polarity_in_its_own_square_panel():
    wirings = [wiring.ring(5), wiring.dense(7), wiring.independent(3), wiring.lattice((2, 2, 2))]
    figure = figures.gallery(wirings, columns=3)
    assert [panel.z.tolist() for panel in figure.data] == [w.polarity.tolist() for w in wirings]
    assert [figure.layout[axis].scaleanchor for axis in ("yaxis", "yaxis2", "yaxis3", "yaxis4")] == ["x", "x2", "x3", "x4"]
    assert [note.text.split("<br>")[0] for note in figure.layout.annotations] == [w.name for w in wirings]


def test_an_empty_gallery_is_refused():
    with pytest.raises(ValueError, match="at least one wiring"):
        figures.gallery([])


def test_accuracy_bins_cover_every_time_once():
    right = torch.zeros(1, 1000)
    right[0, 499:] = 1.0
    curve = figures.accuracy_over_time({"half": right}, trained=16, chance=0.5).data[0]
    assert curve.y[0] == 0 and curve.y[-1] == 1 and list(curve.x) == sorted(curve.x)
    first = torch.zeros(1, 1000)
    first[0, 0] = 1.0
    assert figures.accuracy_over_time({"first": first}, trained=16, chance=0.5).data[0].y[:2] == (1.0, 0.0)
    ones = figures.accuracy_over_time({"all": torch.ones(2, 1000)}, trained=16, chance=0.5).data[0]
    assert set(ones.y) == {1.0} and ones.x[0] == 1 and ones.x[-1] <= 1000


def test_buttons_rewrite_the_mixer_and_nothing_else():
    figure = figures.block(["memory", "attention"], start=1)
    assert figure.layout.annotations[1].text == "attention"
    for button in figure.layout.updatemenus[0].buttons:
        (changed,) = button.args
        assert changed == {"annotations[1].text": button.label}


def test_stacked_bars_add_up_to_the_whole_model():
    parts = {"memory": {"mixer": 10, "rest": 5}, "attention": {"mixer": 30, "rest": 5}}
    figure = figures.parameters_by_part(parts)
    assert figure.layout.barmode == "stack"
    assert [sum(bar.x[i] for bar in figure.data) for i in range(2)] == [15, 35]


def test_influence_starts_at_the_end_and_leaves_out_what_is_below_the_floor():
    norm = torch.tensor([1.0, 0.1, 1e-20, 1e-3])
    curve = figures.influence({"model": norm}, floor=1e-12).data[0]
    assert list(curve.x) == [1, 2, 3, 4]
    assert curve.y[2] is None and curve.y[0] == 1.0 and curve.y[3] == pytest.approx(1e-3)
