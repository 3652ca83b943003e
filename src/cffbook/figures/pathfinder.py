"""Pathfinder images on a contact sheet, in pairs: as a model sees them, and with the contour from the first disc coloured."""

from typing import TYPE_CHECKING

from cffbook._optional import require

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

    from cffbook.tasks.pathfinder_draw import Drawn

CONTOUR = {1: "#0072B2", 0: "#D55E00"}
_NAMES = {1: "joined", 0: "not joined"}


def contact_sheet(drawn: "Drawn", pairs: int = 16, columns: int = 4) -> "Figure":
    """Pairs of an image and the same image with its contour: the long snake from the first disc to its end.

    Args:
        drawn: generated images, `tasks.load("pathfinder").test.drawn`; the first `pairs` are shown.
        pairs: how many.
        columns: pairs in a row.

    Returns:
        A figure; blue contours lead to the other disc (label 1), orange ones do not.

    Raises:
        ImportError: plotly is not installed.
        ValueError: fewer images than pairs.
    """
    if not 1 <= pairs <= len(drawn.images):
        raise ValueError(f"expected 1 to {len(drawn.images)} pairs, as many as there are images, got {pairs}")
    subplots = require("plotly.subplots", extra="plots", purpose="a figure")
    rows, shown = -(-pairs // columns), set()
    figure = subplots.make_subplots(rows, 2 * columns, horizontal_spacing=0.004, vertical_spacing=0.008)
    for pair in range(pairs):
        row, column = pair // columns + 1, 2 * (pair % columns) + 1
        for place in (column, column + 1):
            figure.add_heatmap(z=drawn.images[pair].tolist(), colorscale="gray", zmin=0, zmax=255, showscale=False, hoverinfo="skip",
                               row=row, col=place)  # fmt: skip
        label = int(drawn.labels[pair])
        x, y = _lines(drawn.segments[pair])
        figure.add_scatter(x=x, y=y, mode="lines", line={"color": CONTOUR[label], "width": 2.5}, name=_NAMES[label], hoverinfo="name",
                           legendgroup=_NAMES[label], showlegend=label not in shown, row=row, col=column + 1)  # fmt: skip
        shown.add(label)
    side = drawn.images.shape[1]
    for axis in figure.select_xaxes():
        axis.update(visible=False, range=[-0.5, side - 0.5], constrain="domain")
    for axis in figure.select_yaxes():
        axis.update(visible=False, range=[side - 0.5, -0.5], scaleanchor=axis.anchor)
    figure.update_layout(template="plotly_white", height=100 * rows + 60, margin={"t": 10, "r": 10, "b": 10, "l": 10},
                         legend={"orientation": "h", "x": 0.5, "xanchor": "center", "y": -0.02, "yanchor": "top"})  # fmt: skip
    return figure


def _lines(segments) -> tuple[list, list]:
    """Tail and head of each segment of the snake with a disc at its first tip, None between segments."""
    x: list = []
    y: list = []
    for _, row, column, far_row, far_column in segments[segments[:, 0] == 0].tolist():
        x += [column, far_column, None]
        y += [row, far_row, None]
    return x, y
