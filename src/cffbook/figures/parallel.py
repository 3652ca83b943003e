"""Figures of time in parallel: how Newton's method fares on trajectories, and how many chunks two basins have to run again."""

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import TYPE_CHECKING

from cffbook._optional import require

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#888888")
SYMBOLS = ("circle", "x", "square", "diamond", "triangle-up", "cross")


def newton_residuals(histories: Mapping[str, Sequence[float]], tolerance: float) -> "Figure":
    """Largest correction of each iteration of Newton's method, one curve for each regime; log axis.

    A curve ends where it meets the tolerance, where its iterations end, or where products of Jacobians have left the numbers: its name says so.

    Args:
        histories: by regime, `cffbook.recurrence.newton.Newton.history`.
        tolerance: drawn as a line.

    Raises:
        ImportError: plotly is not installed.
        ValueError: no regime is given.
    """
    _check(histories)
    figure = _plotly().Figure()
    for (name, history), colour, symbol in zip(histories.items(), COLOURS, SYMBOLS, strict=False):
        numbers = [value if 0 < value < float("inf") else None for value in history]
        end = "converged" if history[-1] <= tolerance else f"not in {len(history)}" if numbers[-1] is not None else f"no number in iteration {len(history)}"
        figure.add_scatter(x=list(range(1, len(history) + 1)), y=numbers, mode="lines+markers", name=f"{name}: {end}", line={"color": colour, "width": 2.5},
                           marker={"symbol": symbol, "size": 8})  # fmt: skip
    figure.add_hline(y=tolerance, line={"color": COLOURS[-1], "dash": "dash"})
    figure.update_yaxes(type="log", exponentformat="power")
    return _dress(figure, "iteration", "largest correction")


def rerun_share(burn_in: Sequence[int], shares: Mapping[str, Sequence[float]]) -> "Figure":
    """Share of chunks that had to be run again over the burn-in, one curve for each regime; above 1 where some were more than once.

    Args:
        burn_in: samples before a chunk from which its candidates come.
        shares: by regime, re-runs divided by chunks, sequences and pairs, one for each burn-in.

    Raises:
        ImportError: plotly is not installed.
        ValueError: no regime is given, or one has not a share for each burn-in.
    """
    _check(shares)
    for name, values in shares.items():
        if len(values) != len(burn_in):
            raise ValueError(f"expected {len(burn_in)} shares, one for each burn-in, got {len(values)} of {name!r}: measure the others too")
    figure = _plotly().Figure()
    for (name, values), colour, symbol in zip(shares.items(), COLOURS, SYMBOLS, strict=False):
        figure.add_scatter(x=list(burn_in), y=[round(value, 4) for value in values], mode="lines+markers", name=name, line={"color": colour, "width": 2.5},
                           marker={"symbol": symbol, "size": 8})  # fmt: skip
    figure.update_xaxes(type="log", tickvals=list(burn_in), ticktext=[str(value) for value in burn_in])
    return _dress(figure, "burn-in (samples)", "share of chunks run again")


def _check(regimes: Mapping[str, Sequence[float]]) -> None:
    if not 1 <= len(regimes) <= len(COLOURS):
        raise ValueError(f"expected 1 to {len(COLOURS)} regimes, got {len(regimes)}: a figure with more cannot be read")


def _dress(figure: "Figure", x: str, y: str) -> "Figure":
    figure.update_layout(template="plotly_white", height=420, margin={"t": 20, "r": 20}, showlegend=True, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title=x)
    figure.update_yaxes(title=y)
    return figure


def _plotly() -> ModuleType:
    return require("plotly.graph_objects", extra="plots", purpose="a figure")
