"""Recurrent mixers: a layer in one or both directions and a projection to d_model.

Source: Hochreiter and Schmidhuber 1997 (LSTM), Chung et al. 2014 (GRU), Feng et al. 2024 (minGRU), Hasani et al. 2021 (LTC),
Lechner et al. 2020 (NCP).
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from cffbook.memory import reversal
from cffbook.mixers.attention import refuse_elapsed
from cffbook.mixers.scan import linear_scan
from cffbook.recurrence import blank_padding
from cffbook.wiring import Wiring, ncp


class Recurrent(nn.Module):
    """A recurrent layer with a projection to d_model; both directions run side by side.

    Args:
        d_model: width of inputs and outputs.
        make: makes a recurrent module `(inputs, hidden) -> module`, called `module(x, state) -> (h, state)`.
        hidden: width of the state over both directions.
        bidirectional: half of the state runs backwards in time.
        timed: the module knows elapsed times and lengths and is called `module(x, state, elapsed, lengths)`.
    """

    def __init__(self, d_model: int, make: Callable[[int, int], nn.Module], hidden: int, bidirectional: bool, timed: bool = False):
        super().__init__()
        directions = 2 if bidirectional else 1
        if hidden % directions:
            raise ValueError(f"hidden must be even for both directions, got {hidden}: half of it runs backwards")
        self.timed = timed
        self.directions = nn.ModuleList(make(d_model, hidden // directions) for _ in range(directions))
        self.output = nn.Linear(sum(getattr(module, "output_size", hidden // directions) for module in self.directions), d_model)

    def forward(
        self, x: Tensor, state: Any = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, Any]:
        """Outputs `(batch, time, d_model)` and the forward state, None where `lengths` say that padding is in it.

        Raises:
            ValueError: elapsed times for a module that does not know them, or a state for both directions.
        """
        if not self.timed:
            refuse_elapsed(elapsed, "a recurrent layer")
        if state is not None and len(self.directions) == 2:
            raise ValueError("a bidirectional layer cannot continue from a state, it needs the whole sequence: use causal=True")
        x = blank_padding(x, lengths)
        hidden, state = self._run(0, x, state, elapsed, lengths)
        if len(self.directions) == 2:
            order = reversal(x.shape[0], x.shape[1], lengths, x.device)
            index = order[..., None]
            backward, _ = self._run(1, x.gather(1, index.expand_as(x)), None, reversed_times(elapsed, order), lengths)
            hidden = torch.cat((hidden, backward.gather(1, index.expand_as(backward))), -1)
        return blank_padding(self.output(hidden), lengths), state if lengths is None or self.timed else None

    def _run(self, direction: int, x: Tensor, state: Any, elapsed: Tensor | float, lengths: Tensor | None) -> tuple[Tensor, Any]:
        module = self.directions[direction]
        return module(x, state, elapsed, lengths) if self.timed else module(x, state)


def reversed_times(elapsed: Tensor | float, order: Tensor) -> Tensor | float:
    """Elapsed times of reversed sequences: backwards, the time since the last sample is that to the next one.

    A sequence's own last sample has no next one: it keeps its own time.
    """
    if not torch.is_tensor(elapsed) or elapsed.dim() < 2:
        return elapsed
    last = order[:, :1]
    following = torch.cat((elapsed[:, 1:], elapsed[:, -1:]), 1).scatter(1, last, elapsed.gather(1, last))
    return following.gather(1, order)


class MinGRU(nn.Module):
    """A gated recurrent unit whose gate and candidate do not see its state, so that it is a linear scan::

        h_t = (1 - z_t) h_{t-1} + z_t g(W_h x_t + b_h),  z_t = s(W_z x_t + b_z)                     (min-gru)

    g(x) is x + 1/2 above 0 and s(x) below: continuous and positive. Source: Feng et al. 2024, appendix B.

    Args:
        input_size: number of features.
        hidden_size: number of state values.
    """

    def __init__(self, input_size: int, hidden_size: int):
        super().__init__()
        self.hidden_gate = nn.Linear(input_size, 2 * hidden_size)

    def forward(self, x: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """States of all samples `(batch, time, hidden_size)` and the last one `(batch, hidden_size)`."""
        # The scan keeps the precision of the parameters under autocast.
        hidden, gate = self.hidden_gate(x).to(self.hidden_gate.weight.dtype).chunk(2, -1)
        candidate = torch.where(hidden >= 0, hidden + 0.5, torch.sigmoid(hidden))
        start = torch.zeros_like(hidden[:, 0]) if state is None else state
        states = linear_scan(torch.sigmoid(-gate), torch.sigmoid(gate) * candidate, start)
        return states, states[:, -1]


def policy(inputs: int, neurons: int) -> Wiring:
    """A neural circuit policy of so many neurons: a quarter motor, two fifths of the rest command, the others inter.

    Half of the possible synapses of a layer are drawn, as in Lechner et al. 2020's automatic wiring.

    Raises:
        ValueError: fewer neurons than three layers need.
    """
    motor = neurons // 4
    command = max(1, round(0.4 * (neurons - motor)))
    inter = neurons - motor - command
    if min(motor, inter) < 1:
        raise ValueError(f"a neural circuit policy needs at least 4 neurons in each direction, got {neurons}: raise hidden")
    fan = max(1, command // 2)
    recurrent = min(2 * fan, command * (command - 1))
    return ncp(inputs, inter, command, motor, sensory_fanout=max(1, inter // 2), inter_fanout=fan,
               recurrent_command_synapses=recurrent, motor_fanin=fan)  # fmt: skip
