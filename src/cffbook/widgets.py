"""The playground: one flip-flop under sliders and buttons, for JupyterLab (ipywidgets and plotly, extra 'plots').

A click or a move of a slider runs the pair again, from the first command that is still shown, with the present parameters.
"""

from types import ModuleType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from cffbook import analysis
from cffbook._optional import require
from cffbook.figures.flipflop import NEUTRAL, A, B, plane_traces
from cffbook.flipflop import SCHEMES, SENSORY, FlipFlop
from cffbook.solver import SemiImplicitEuler

if TYPE_CHECKING:
    from ipywidgets import Widget
    from plotly.graph_objects import Figure

COMMANDS = {"set": (1.0, 0.0), "reset": (0.0, 1.0), "both": (1.0, 1.0), "hold": (0.0, 0.0)}
EACH, SHOWN = 16, 6  # samples of a command, with the silence after it; commands in view
GROUPS = {
    "membrane": ("capacitance", "leak_conductance", "leak_reversal"),
    "self synapse": ("self_conductance", "self_slope", "self_half_activation", "self_reversal"),
    "reciprocal synapse": ("reciprocal_conductance", "reciprocal_slope", "reciprocal_half_activation", "reciprocal_reversal"),
    "sensory synapse": ("sensory_conductance", "sensory_slope", "sensory_half_activation", "sensory_reversal"),
    "steering gate": ("steering_slope", "steering_half_activation"),
}


class Playground:
    """Sliders for every parameter of one flip-flop, buttons that command it, and what it does.

    Attributes:
        sliders: a slider for each parameter by its name; both neurons have the same value. Reversal potentials
            of self and reciprocal synapses are given without their sign, which the polarity fixes.
        imbalance: a slider; by how much the leak reversal of neuron b is below that of a.
        polarity, scheme, sensory, unfolds: what `FlipFlop` is built with.
        duration: a slider; for how many samples a command's lines are on.
        buttons: by command, "set", "reset", "both" and "hold".
        figure: the `FigureWidget`: potentials over time, and the phase plane with silent lines.
        status: one line of text on the bit, the latch condition and the fixed points.
        view: everything, to be displayed.

    Raises:
        ImportError: ipywidgets, plotly or anywidget is not installed.

    Example:
        >>> playground = Playground()
        >>> playground.press("set")
        >>> playground.bit
        1
    """

    def __init__(self) -> None:
        kit = require("ipywidgets", extra="plots", purpose="the playground")
        require("anywidget", extra="plots", purpose="the playground")
        self.commands: list[str] = ["hold", "set", "hold", "reset"]
        self.start: Tensor | None = None
        self._make_controls(kit)
        self.status = kit.HTML()
        # Drawn first and wrapped then: a page without a kernel keeps the state in which a FigureWidget was made.
        self.figure = _figure()
        self.update()
        self.figure = require("plotly.graph_objects", extra="plots", purpose="the playground").FigureWidget(self.figure)
        for control in (*self.sliders.values(), self.imbalance, self.polarity, self.scheme, self.sensory, self.unfolds, self.duration):
            control.observe(lambda change: self.update(), names="value")
        for name, button in self.buttons.items():
            button.on_click(lambda clicked, name=name: self.press(name))
        self.view = self._arranged(kit)

    @property
    def bit(self) -> int:
        """The bit that is held now."""
        return int(FlipFlop.read(self.potentials[-1])[0])

    @property
    def margin(self) -> float | None:
        """The margin of the latch condition, or None for neurons that differ."""
        return None if self.imbalance.value else float(analysis.latch(analysis.frozen(self.cell)).margin)

    def press(self, command: str) -> None:
        """Give a command: its lines are on for `duration` samples and silent for the rest of sixteen.

        Raises:
            ValueError: an unknown command.
        """
        if command not in COMMANDS:
            raise ValueError(f"unknown command {command!r}: choose one of {', '.join(COMMANDS)}")
        self.commands.append(command)
        if len(self.commands) > SHOWN:
            self.start = self.potentials[EACH]
            self.commands.pop(0)
        self.update()

    def update(self) -> None:
        """Run the commands in view with the present parameters, and draw."""
        self.cell = self._cell()
        for name, slider in self.sliders.items():
            slider.disabled = name not in self.cell.parameter_names()
        circuit, lines = analysis.frozen(self.cell), self._lines()
        start = self.cell.held([0]) if self.start is None else self.start
        self.potentials = torch.cat((start[None], analysis.run(circuit, lines, start, self.cell.solver)))
        self._draw(circuit, circuit.lines(lines)[:, 0])

    def _cell(self) -> FlipFlop:
        solver = SemiImplicitEuler(self.unfolds.value)
        cell = FlipFlop(1, self.scheme.value, self.sensory.value, self.polarity.value, solver).double()
        values: dict[str, Tensor | float] = {}
        for name in cell.parameter_names():
            negative = name.endswith("reversal") and cell.polarity(name) < 0
            values[name] = -self.sliders[name].value if negative else self.sliders[name].value
        values["leak_reversal"] = torch.tensor([1.0, 1.0]) * values["leak_reversal"] - torch.tensor([0.0, self.imbalance.value])
        return cell.assign(values)

    def _lines(self) -> Tensor:
        """Inputs of all commands in view, `(time, 1, 2)` or, on a shared line, `(time, 1)`."""
        on = torch.tensor([COMMANDS[command] for command in self.commands], dtype=torch.float64)
        sounding = torch.arange(EACH)[:, None] < self.duration.value
        lines = (on[:, None] * sounding).flatten(0, 1)
        return lines[:, None] if self.scheme.value == "set_reset" else lines[:, :1] - lines[:, 1:]

    def _draw(self, circuit: analysis.FlipFlopCircuit, lines: Tensor) -> None:
        now, potentials = self.potentials[-1, 0], self.potentials[:, 0]
        found = plane_traces(circuit, 0.0, potentials[-2 * EACH - 1 :], resolution=101)
        with self.figure.batch_update():
            for trace, values in zip(self.figure.data[:4], (*lines.T, *potentials[1:].T), strict=True):
                trace.x, trace.y = list(range(len(values))), values.tolist()
            for trace, new in zip(self.figure.data[4:9], found, strict=True):
                trace.x, trace.y, trace.mode = new.x, new.y, new.mode
            self.figure.data[9].x, self.figure.data[9].y = [float(now[0])], [float(now[1])]
        stable, unstable = (len(trace.x) for trace in found[3:])
        margin = self.margin
        latches = "needs equal neurons" if margin is None else f"{margin:+.3f}, the pair {'latches' if margin > 0 else 'does not latch'}"
        self.status.value = f"<b>bit {self.bit}</b> &emsp; latch condition: {latches} &emsp; {stable} stable, {unstable} unstable fixed points"

    def _make_controls(self, kit: ModuleType) -> None:
        self.polarity = kit.ToggleButtons(options=[("inhibitory", -1), ("none", 0), ("excitatory", 1)], value=-1, description="self")
        self.scheme = kit.ToggleButtons(options=SCHEMES, value=SCHEMES[0], description="scheme")
        self.sensory = kit.ToggleButtons(options=SENSORY, value=SENSORY[0], description="sensory")
        self.unfolds = kit.IntSlider(value=6, min=1, max=12, description="unfolds", continuous_update=False)
        self.duration = kit.IntSlider(value=1, min=1, max=EACH, description="duration", continuous_update=False)
        first = FlipFlop(1, sensory="steered")  # has every parameter
        wide = {"description_width": "150px"}
        self.sliders = {}
        for name in first.parameter_names():
            low, high, step = _range(name)
            value = first.value(name)[0, 0].item() * (first.polarity(name) if name.endswith("reversal") else 1)
            self.sliders[name] = kit.FloatSlider(value=round(value, 4), min=low, max=high, step=step, description=name, style=wide, layout={"width": "95%"})
        self.imbalance = kit.FloatSlider(value=0.0, min=-1.0, max=1.0, step=0.05, description="imbalance", style=wide, layout={"width": "95%"})
        self.buttons = {command: kit.Button(description=command) for command in COMMANDS}

    def _arranged(self, kit: ModuleType) -> "Widget":
        parts = [kit.VBox([kit.HTML(f"<b>{group}</b>"), *(self.sliders[name] for name in names)]) for group, names in GROUPS.items()]
        parts[0].children += (self.imbalance,)
        columns = kit.GridBox(parts, layout={"grid_template_columns": "repeat(auto-fit, minmax(330px, 1fr))"})
        choices = kit.HBox([self.polarity, self.scheme, self.sensory, self.unfolds, self.duration], layout={"flex_flow": "row wrap"})
        return kit.VBox([kit.HBox(list(self.buttons.values())), self.status, self.figure, choices, columns])


def _range(name: str) -> tuple[float, float, float]:
    """Lowest and highest value and step of a parameter's slider."""
    if name == "capacitance":
        return 0.05, 20.0, 0.05
    if name == "sensory_conductance":
        return 0.0, 20.0, 0.1
    if name == "leak_reversal":
        return -1.0, 2.0, 0.05
    kinds = {"conductance": (0.0, 10.0, 0.05), "slope": (0.5, 24.0, 0.1), "half_activation": (-1.0, 1.5, 0.05), "reversal": (0.0, 2.0, 0.05)}
    return next(limits for kind, limits in kinds.items() if name.endswith(kind))


def _figure() -> "Figure":
    """Potentials over time on the left, the phase plane on the right, with empty traces."""
    plotly = require("plotly.graph_objects", extra="plots", purpose="the playground")
    subplots = require("plotly.subplots", extra="plots", purpose="the playground")
    figure = subplots.make_subplots(rows=1, cols=2, column_widths=[0.55, 0.45], horizontal_spacing=0.1)
    for name, colour, wide in (("u<sub>a</sub>", A, 1), ("u<sub>b</sub>", B, 1), ("v<sub>a</sub>", A, 3), ("v<sub>b</sub>", B, 3)):
        line = {"color": colour, "width": wide, "dash": "dot" if wide == 1 else "solid", "shape": "hv" if wide == 1 else "linear"}
        figure.add_trace(plotly.Scatter(name=name, mode="lines", line=line), row=1, col=1)
    empty = FlipFlop(1).double()
    for trace in plane_traces(analysis.frozen(empty), 0.0, empty.held([0]), resolution=11):
        figure.add_trace(trace, row=1, col=2)
    figure.add_trace(plotly.Scatter(name="now", mode="markers", marker={"size": 16, "symbol": "circle-open", "color": NEUTRAL, "line": {"width": 3}}), row=1, col=2)
    figure.update_xaxes(title="time (samples)", row=1, col=1)
    figure.update_yaxes(title="potential, input", row=1, col=1)
    figure.update_xaxes(title="v<sub>a</sub>", row=1, col=2)
    figure.update_yaxes(title="v<sub>b</sub>", row=1, col=2)
    figure.update_layout(template="plotly_white", height=430, margin={"t": 20, "r": 20, "b": 50}, legend={"orientation": "h", "y": 1.12})
    return figure
