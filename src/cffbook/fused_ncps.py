"""`ncps.torch.LTC` with its recurrence on the fused backend: the same parameters, another loop.

Source: Lechner et al. 2020 and their package ncps, whose equations are eq. ltc with six semi-implicit unfolds.
"""

import torch
from torch import Tensor

from cffbook._optional import require
from cffbook.recurrence import Network, Synaptic, unroll
from cffbook.recurrence.forms import layout
from cffbook.solver import SemiImplicitEuler

Original = require("ncps.torch", extra="test", purpose="accelerate").LTC


class SharedCell:
    """The cell of an `ncps.torch.LTC` as `unroll` takes it; its values are those of the module's parameters now."""

    def __init__(self, module):
        self.module, cell = module, module.rnn_cell
        self.input_shape, self.state_shape = (cell.sensory_size,), (cell.state_size,)
        self.solver = SemiImplicitEuler(cell._ode_unfolds)

    def parameters(self):
        """The module's parameters."""
        return self.module.parameters()

    def form(self) -> Network:
        """The present values; a synapse that the wiring's mask takes away is none."""
        cell = self.module.rnn_cell
        values, positive = cell._params, cell.make_positive_fn

        def synapses(prefix: str) -> Synaptic:
            places, at = self.module.places(prefix)
            gates = torch.stack((values[f"{prefix}sigma"][at], values[f"{prefix}mu"][at]))
            return Synaptic(places, gates, torch.stack((positive(values[f"{prefix}w"][at]), values[f"{prefix}erev"][at])))

        neurons = torch.stack((positive(values["cm"]), positive(values["gleak"]), values["vleak"]))
        return Network(neurons, synapses("sensory_"), synapses(""), None)


class FusedLTC(Original):
    """See `cffbook.accelerate`; made from an `ncps.torch.LTC` by changing its class, never built."""

    def places(self, prefix: str):
        """Layout of the synapses of one kind, and where they are in ncps's matrices [source, target]; kept once made."""
        known = self.__dict__.setdefault("_places", {})
        if prefix not in known:
            mask = self.rnn_cell._params[f"{prefix}sparsity_mask"].detach().cpu()
            target, source = torch.nonzero(mask.T, as_tuple=True)
            places, order, _ = layout(source, torch.arange(len(source)), target, mask.shape[1])
            known[prefix] = places, (source[order], target[order])
        return known[prefix]

    def forward(self, input: Tensor, hx: Tensor | None = None, timespans: Tensor | None = None):
        """As `ncps.torch.LTC.forward`, with `timespans` `(batch, time)`, or `(time, batch)` where time comes first.

        Raises:
            ValueError: a shape that does not fit.
        """
        alone = input.dim() == 2
        inputs = input[None] if alone else input if self.batch_first else input.transpose(0, 1)
        elapsed = 1.0
        if timespans is not None:
            elapsed = timespans.reshape(inputs.shape[:2]) if alone or self.batch_first else timespans.reshape(input.shape[:2]).T
        start = hx[None] if alone and hx is not None else hx
        potentials, last = unroll(SharedCell(self), self.rnn_cell._map_inputs(inputs), start, elapsed, backend="fused_cpu")
        if not self.return_sequences:
            potentials = potentials[:, -1:]
        batch, time = potentials.shape[:2]
        outputs = self.rnn_cell._map_outputs(potentials.flatten(0, 1)).unflatten(0, (batch, time))
        if not self.return_sequences:
            return (outputs[0, 0], last[0]) if alone else (outputs[:, 0], last)
        if alone:
            return outputs[0], last[0]
        return outputs if self.batch_first else outputs.transpose(0, 1), last
