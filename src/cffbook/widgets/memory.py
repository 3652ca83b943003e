"""A memory of flip-flops that computes in the browser: its adjacency edited by clicks, its state as an image."""

from collections.abc import Mapping

import torch
from torch import Tensor

from cffbook import wiring
from cffbook._optional import require
from cffbook.flipflop import FlipFlop, latching
from cffbook.lateral import MemoryCell
from cffbook.neuron import inverse_softplus
from cffbook.recurrence import unroll
from cffbook.widgets import assembly
from cffbook.widgets.description import cell_of, describe

anywidget = require("anywidget", extra="plots", purpose="a widget")
traitlets = require("traitlets", extra="plots", purpose="a widget")

WINDOW = 96  # samples in view
SILENCE = 14  # samples for which the array is watched after a press
LINES = {"set": (1.0, 0.0), "reset": (0.0, 1.0)}


class MemoryWidget(anywidget.AnyWidget):
    """An array of up to 64 flip-flops to press, to wire and to watch, in a notebook and in a page without a kernel.

    Args:
        description: of a memory, as `describe` gives it; sixteen latching pairs that inhibit each other when None.

    Attributes:
        layer: the description; clicks on the adjacency change its lateral synapses.
        tape: the symbol of each sample in view, -1 for none; to a memory that reads symbols a sample of nothing takes no time.
        pressed: for each sample, `[flip-flop, u_a, u_b]` of those that are pressed.
        start: potentials `(pairs, 2)` before the first sample in view.
        state: of the automaton, before the first sample in view.

    Raises:
        ImportError: anywidget is not installed.
        ValueError: the description is of another format.

    Example:
        >>> widget = MemoryWidget()
        >>> widget.press(3)
        >>> widget.bits.nonzero().flatten()
        tensor([3])
    """

    layer = traitlets.Dict().tag(sync=True)
    tape = traitlets.List(minlen=1).tag(sync=True)
    pressed = traitlets.List(minlen=1).tag(sync=True)
    start = traitlets.List().tag(sync=True)
    state = traitlets.Int(0).tag(sync=True)
    _esm = traitlets.Unicode().tag(sync=True)
    _css = traitlets.Unicode().tag(sync=True)

    def __init__(self, description: Mapping | None = None) -> None:
        description = dict(description or rivals(16))
        cell_of(description)  # raises for another format
        super().__init__(
            layer=description, tape=[-1] * WINDOW, pressed=[[]] * WINDOW, start=description["start"],
            state=(description["automaton"] or {"start": 0})["start"], _esm=assembly.module("memory"), _css=assembly.style(),
        )  # fmt: skip

    @property
    def cell(self) -> FlipFlop | MemoryCell:
        """A new cell, in double precision, with the present values and adjacency."""
        return cell_of(self.layer)

    @property
    def lines(self) -> Tensor:
        """Input lines `(time, *cell.input_shape)` of the samples in view."""
        cell = self.cell
        lines = torch.zeros(len(self.tape), *cell.input_shape, dtype=torch.float64)
        for t, (symbol, touched) in enumerate(zip(self.tape, self.pressed, strict=True)):
            if symbol >= 0:
                lines[t] = torch.tensor(self.layer["symbols"]["lines"][symbol], dtype=torch.float64).reshape(cell.input_shape)
            for pair, first, second in touched:
                lines[t, pair] = first - second if lines.dim() == 2 else torch.tensor((first, second), dtype=torch.float64)
        return lines

    @property
    def potentials(self) -> Tensor:
        """Potentials `(time, pairs, 2)` after each sample in view, by the definition."""
        start = torch.tensor(self.start, dtype=torch.float64)[None]
        idle = [bool(self.layer["symbols"]) and symbol < 0 and not touched for symbol, touched in zip(self.tape, self.pressed, strict=True)]
        elapsed = 1.0 - torch.tensor(idle, dtype=torch.float64)[None]
        with torch.no_grad():
            return unroll(self.cell, self.lines[None], start, elapsed, backend="sequential")[0][0]

    @property
    def bits(self) -> Tensor:
        """The bits `(pairs,)` at the end of the window."""
        return FlipFlop.read(self.potentials[-1])

    def press(self, pair: int, line: str = "set", samples: int = 2) -> None:
        """Hold a line of one flip-flop for some samples, then let all be silent for fourteen; the window moves on.

        Raises:
            ValueError: an unknown line or flip-flop.
        """
        if line not in LINES or not 0 <= pair < len(self.start):
            raise ValueError(f"expected a flip-flop below {len(self.start)} and a line of {', '.join(LINES)}, got {pair} and {line!r}")
        self._pass([-1] * (samples + SILENCE), [[[pair, *LINES[line]]]] * samples + [[]] * SILENCE)

    def play(self, *symbols: str) -> None:
        """Show symbols, one sample each.

        Raises:
            ValueError: the memory has no such symbol.
        """
        known = (self.layer["symbols"] or {"names": []})["names"]
        for symbol in symbols:
            if symbol not in known:
                raise ValueError(f"unknown symbol {symbol!r}: this memory has {', '.join(known) or 'none'}")
        self._pass([known.index(symbol) for symbol in symbols], [[]] * len(symbols))

    def _pass(self, tape: list[int], pressed: list) -> None:
        window = len(self.tape)
        with self.hold_sync():
            for at in range(0, len(tape), window):  # what leaves the window is in the start and in the automaton's state
                more, touched = tape[at : at + window], pressed[at : at + window]
                self.start, self.state = self.potentials[len(more) - 1].tolist(), self._state_after(self.tape[: len(more)])
                self.tape, self.pressed = (self.tape + more)[-window:], (self.pressed + touched)[-window:]

    def _state_after(self, symbols: list[int]) -> int:
        state, automaton = self.state, self.layer["automaton"]
        for symbol in symbols:
            if symbol >= 0 and automaton:
                state = automaton["next"][state][symbol]
        return state

    def __repr__(self) -> str:
        synapses = len((self.layer["lateral"] or {"source": []})["source"])
        return f"MemoryWidget(flip_flops={len(self.start)}, synapses={synapses})"

    def traits_of_page(self) -> dict[str, object]:
        """What a page without a kernel starts from."""
        return {name: getattr(self, name) for name in ("layer", "tape", "pressed", "start", "state")}

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> object:
        return assembly.with_page(super()._repr_mimebundle_(), "memory", self.traits_of_page())


@torch.no_grad()
def rivals(pairs: int) -> dict[str, object]:
    """The description of latching pairs of which each inhibits all others: the last one that was set is the only one."""
    cell = MemoryCell(FlipFlop(pairs), wiring.from_graph(-wiring.dense(pairs).adjacency.float())).double()
    latching(cell.flip_flops)  # again, now exact in double precision
    cell.flip_flops.assign({"capacitance": 2.0})
    cell.lateral.raw_conductance.copy_(inverse_softplus(torch.full_like(cell.lateral.raw_conductance, 0.5)))
    cell.lateral.half_activation.fill_(0.1)
    silent = torch.zeros(1, 60, pairs, 2, dtype=torch.float64)
    rest = unroll(cell, silent, cell.flip_flops.held([False] * pairs)[None], backend="sequential")[1][0]
    return describe(cell, start=rest)
