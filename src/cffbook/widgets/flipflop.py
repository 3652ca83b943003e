"""One continuous flip-flop that computes in the browser, its traits shared with Python."""

import torch
from torch import Tensor

from cffbook import analysis
from cffbook._optional import require
from cffbook.flipflop import SCHEMES, SENSORY, FlipFlop, latching
from cffbook.recurrence.forms import PAIR_VALUES
from cffbook.solver import SemiImplicitEuler
from cffbook.widgets import assembly

anywidget = require("anywidget", extra="plots", purpose="a widget")
traitlets = require("traitlets", extra="plots", purpose="a widget")

COMMANDS = {"set": (1.0, 0.0), "reset": (0.0, 1.0), "both": (1.0, 1.0), "hold": (0.0, 0.0)}
SILENCE = 14  # samples for which a pair is watched after a command
PROGRAM = ("hold", "set", "reset", "hold", "set")  # commands that a new widget shows


class FlipFlopWidget(anywidget.AnyWidget):
    """A flip-flop to press, draw signals for and change, in a notebook and in a page without a kernel.

    The browser computes what is shown, by the same equation in double precision; the properties below compute it in Python from the
    same traits. Whatever is moved on either side is seen on the other one.

    Args:
        cell: the flip-flop whose values are taken; a latching pair when None.
        pair: which of its pairs.

    Attributes:
        values: physical values by name, each `[a, b]` for the two neurons; also those that the present variant has no use for.
        scheme, sensory, self_polarity, unfolds: what `FlipFlop` is built with.
        elapsed: time of a sample.
        inputs: the signal in view, `[u_a, u_b]` for each sample; on a shared line their difference is the input.
        start: potentials `[v_a, v_b]` before the first sample in view.

    Raises:
        ImportError: anywidget is not installed.
        ValueError: the cell's solver is not the semi-implicit one, which is the one that the browser has.

    Example:
        >>> widget = FlipFlopWidget()
        >>> widget.press("set")
        >>> widget.bit
        1
    """

    values = traitlets.Dict().tag(sync=True)
    scheme = traitlets.Enum(SCHEMES, default_value=SCHEMES[0]).tag(sync=True)
    sensory = traitlets.Enum(SENSORY, default_value=SENSORY[0]).tag(sync=True)
    self_polarity = traitlets.Enum((-1, 0, 1), default_value=-1).tag(sync=True)
    unfolds = traitlets.Int(6, min=1).tag(sync=True)
    elapsed = traitlets.Float(1.0, min=0.0).tag(sync=True)
    inputs = traitlets.List(minlen=1).tag(sync=True)
    start = traitlets.List(minlen=2, maxlen=2).tag(sync=True)
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self, cell: FlipFlop | None = None, pair: int = 0) -> None:
        cell = cell or latching_pair()
        super().__init__(
            values=values_of(cell, pair), scheme=cell.scheme, sensory=cell.kind, self_polarity=cell.self_polarity,
            unfolds=unfolds_of(cell.solver), inputs=_lines(*PROGRAM), start=[0.0, 0.0],
            _esm=assembly.module("flip_flop"), _css=assembly.style(),
        )  # fmt: skip
        silent = torch.zeros(2 * SILENCE, 1, 2, dtype=torch.float64)
        self.start = _run(self.cell, silent, self.cell.held([0]), 1.0)[-1].tolist()

    @property
    def cell(self) -> FlipFlop:
        """A new flip-flop of one pair, in double precision, with the present values."""
        cell = FlipFlop(1, self.scheme, self.sensory, self.self_polarity, SemiImplicitEuler(self.unfolds)).double()
        values = {name: torch.tensor([self.values[name]], dtype=torch.float64) for name in cell.parameter_names()}
        if self.self_polarity:
            values["self_reversal"] = self.self_polarity * values["self_reversal"].abs()
        return cell.assign(values)

    @property
    def potentials(self) -> Tensor:
        """Potentials `(time, 2)` after each sample in view, by the definition."""
        lines = torch.tensor(self.inputs, dtype=torch.float64)[:, None]
        return _run(self.cell, lines, torch.tensor([self.start], dtype=torch.float64), self.elapsed)

    @property
    def bit(self) -> int:
        """The bit at the end of the window."""
        return int(FlipFlop.read(self.potentials[-1]))

    @property
    def margin(self) -> float | None:
        """The margin of the latch condition, or None for neurons that differ."""
        if any(first != second for first, second in self.values.values()):
            return None
        return float(analysis.latch(analysis.frozen(self.cell)).margin)

    def press(self, command: str, samples: int = 2) -> None:
        """Hold the lines of a command for some samples and let them be silent for fourteen; the window moves on.

        Raises:
            ValueError: an unknown command.
        """
        if command not in COMMANDS:
            raise ValueError(f"unknown command {command!r}: choose one of {', '.join(COMMANDS)}")
        more, window = _lines(command, samples=samples), len(self.inputs)
        whole = torch.cat((torch.tensor([self.start], dtype=torch.float64), self.potentials))
        gone = min(len(more), window)
        with self.hold_sync():
            self.inputs, self.start = (self.inputs + more)[-window:], whole[gone].tolist()

    def __repr__(self) -> str:
        return f"FlipFlopWidget(bit={self.bit}, scheme={self.scheme!r}, sensory={self.sensory!r}, self_polarity={self.self_polarity})"

    def traits_of_page(self) -> dict[str, object]:
        """What a page without a kernel starts from."""
        names = ("values", "scheme", "sensory", "self_polarity", "unfolds", "elapsed", "inputs", "start")
        return {name: getattr(self, name) for name in names}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> object:
        return assembly.with_page(super()._repr_mimebundle_(), "flip_flop", self.traits_of_page())

    @traitlets.validate("values")
    def _complete(self, proposal: dict) -> dict[str, list[float]]:
        values = proposal["value"]
        if set(values) != set(PAIR_VALUES) or any(len(pair) != 2 for pair in values.values()):
            raise ValueError(f"values must give [a, b] for each of {', '.join(PAIR_VALUES)}, got {', '.join(values)}: start from FlipFlopWidget().values")
        return values


def latching_pair(sensory: str = "plain") -> FlipFlop:
    """The pair that a reader meets first, its values exact in double precision."""
    cell = FlipFlop(1, sensory=sensory).double()
    latching(cell)
    return cell


def values_of(cell: FlipFlop, pair: int) -> dict[str, list[float]]:
    """All physical values of one pair, `[a, b]` each; those that its variant has no use for are a latching pair's."""
    spare, named = latching_pair("steered"), cell.parameter_names()
    values = {name: cell.value(name)[pair] if name in named else spare.value(name)[0] for name in PAIR_VALUES}
    return {name: value.detach().double().tolist() for name, value in values.items()}


def unfolds_of(solver: object) -> int:
    """The unfolds of a semi-implicit solver, the one that the browser has."""
    if type(solver) is not SemiImplicitEuler:
        raise ValueError(f"a widget has the solver SemiImplicitEuler, got {type(solver).__name__}: give the cell that one")
    return solver.unfolds


def _lines(*commands: str, samples: int = 2) -> list[list[float]]:
    return [list(COMMANDS[command] if t < samples else COMMANDS["hold"]) for command in commands for t in range(samples + SILENCE)]


def _run(cell: FlipFlop, lines: Tensor, start: Tensor, elapsed: float) -> Tensor:
    inputs = lines if cell.scheme == "set_reset" else lines[..., 0] - lines[..., 1]
    return analysis.run(analysis.frozen(cell), inputs, start, cell.solver, elapsed)[:, 0]
