"""Learning curves: what a record says about the way a model got to its score."""

import math

from cffbook._optional import require
from cffbook.results import Record


def learning_curve(record: Record):
    """Train and validation score over updates, with the best evaluation and the test score marked.

    Args:
        record: the record of one run.

    Returns:
        A ``plotly.graph_objects.Figure``; accuracies in percent.

    Raises:
        ImportError: plotly is not installed.
    """
    plotly = require("plotly.graph_objects", extra="plots", purpose="a figure")
    score = record.task["score_name"]
    scale, unit = (100, " (%)") if score == "accuracy" else (1, "")
    steps = [evaluation.step for evaluation in record.evaluations]
    train = [scale * evaluation.train_score for evaluation in record.evaluations]
    valid = [scale * evaluation.valid_score for evaluation in record.evaluations]
    figure = plotly.Figure()
    figure.add_scatter(x=steps, y=train, name="train", mode="lines+markers", line={"dash": "dot"})
    figure.add_scatter(x=steps, y=valid, name="validation", mode="lines+markers")
    figure.add_scatter(x=[steps[record.best]], y=[scale * record.test_score], name="test at the best validation",
                       mode="markers", marker={"size": 12, "symbol": "star"})
    for name, floor in record.task["floors"].items():
        figure.add_hline(y=scale * floor, line={"width": 1, "dash": "dash", "color": "gray"}, annotation_text=name.replace("_", " "),
                         annotation={} if scale == 100 else {"y": math.log10(floor)})  # there an annotation's y is a logarithm
    figure.update_layout(xaxis_title="updates", yaxis_title=score + unit, height=380,
                         yaxis_type="linear" if scale == 100 else "log", margin={"l": 60, "r": 20, "t": 20, "b": 50})
    return figure
