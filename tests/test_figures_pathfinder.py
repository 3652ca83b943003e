"""The contact sheet shows images as they are and colours the contour that decides the label."""

import pytest

pytest.importorskip("plotly")
pytest.importorskip("numba")
import numpy as np

from cffbook import figures
from cffbook.tasks.pathfinder_draw import Drawn, draw
from cffbook.tasks.pathfinder_shapes import design


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw(design(32, "intermediate"), 3, "test", 16)


def test_each_pair_is_the_image_twice_and_the_contour_on_the_second(drawn):
    figure = figures.contact_sheet(drawn)
    images = [trace for trace in figure.data if trace.type == "heatmap"]
    lines = [trace for trace in figure.data if trace.type == "scatter"]
    assert len(images) == 32 and len(lines) == 16
    for pair in range(16):
        for trace in images[2 * pair : 2 * pair + 2]:
            assert (np.array(trace.z) == drawn.images[pair]).all()
        assert (lines[pair].xaxis, lines[pair].yaxis) == (images[2 * pair + 1].xaxis, images[2 * pair + 1].yaxis)


def test_a_coloured_contour_starts_at_the_first_disc_and_ends_at_the_other_iff_they_are_joined(drawn):
    lines = [trace for trace in figures.contact_sheet(drawn).data if trace.type == "scatter"]
    for line, discs, label in zip(lines, drawn.discs.tolist(), drawn.labels.tolist(), strict=True):
        start, end = (line.y[0], line.x[0]), (line.y[-2], line.x[-2])
        assert np.hypot(start[0] - discs[0][0], start[1] - discs[0][1]) <= 2  # a tip is rounded to a pixel, the disc to another
        assert (end == tuple(discs[1])) == bool(label)
        assert line.name == ("joined" if label else "not joined") and line.line.color == ("#0072B2" if label else "#D55E00")
        assert len(line.x) == 3 * 9 and set(line.x[2::3]) == {None}


def test_the_first_row_is_at_the_top_and_each_colour_is_in_the_legend_once(drawn):
    figure = figures.contact_sheet(drawn, pairs=5, columns=2)
    assert all(axis.range[0] > axis.range[1] for axis in figure.select_yaxes())
    named = [trace.name for trace in figure.data if trace.showlegend and trace.type == "scatter"]
    assert sorted(named) == sorted(set(named)) == sorted({"joined" if label else "not joined" for label in drawn.labels[:5]})
    with pytest.raises(ValueError, match="expected 1 to 16 pairs"):
        figures.contact_sheet(drawn, pairs=17)
