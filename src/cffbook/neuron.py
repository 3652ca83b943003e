"""The liquid time-constant (LTC) neuron: synapses, circuit, cell and sequence layer.

The membrane equation::

    C_i dv_i/dt = g_i (E_leak,i - v_i) + Σ_j w_ij s(γ_ij (v_j - μ_ij)) (E_ij - v_i)
                                     + Σ_k w'_ik s(γ'_ik (u_k - μ'_ik)) (E'_ik - v_i)              (ltc)

Source: Hasani et al. 2021, in the conductance form of Lechner et al. 2020.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from cffbook import wiring as wirings
from cffbook.recurrence import Network, Synaptic, blank_padding, check_backend, unroll
from cffbook.recurrence.forms import layout
from cffbook.solver import SemiImplicitEuler, Solver
from cffbook.wiring.builders import random_signs
from cffbook.wiring.checks import count
from cffbook.wiring.devices import beside


def inverse_softplus(value: Tensor) -> Tensor:
    """The raw parameter whose softplus is `value`; zero maps to the smallest positive number softplus can give."""
    value = torch.as_tensor(value)
    if not value.is_floating_point():
        value = value.to(torch.get_default_dtype())
    if not value.is_meta and (bool((value < 0).any()) or not bool(torch.isfinite(value).all())):
        raise ValueError("a conductance, capacitance or slope must be finite and at least 0, got a negative or non-finite value")
    value = value.clamp(min=torch.finfo(value.dtype).tiny)
    return value + torch.log(-torch.expm1(-value))


class Synapses(NamedTuple):
    """Physical values of synapses, each tensor `(source, target)`; a conductance of 0 means absent."""

    conductance: Tensor
    slope: Tensor
    half_activation: Tensor
    reversal: Tensor

    def __call__(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Conductance and current `(..., target)` that sources at `source` `(..., source)` cause."""
        gate = torch.sigmoid(self.slope * (source.unsqueeze(-1) - self.half_activation))
        conductance = self.conductance * gate
        return conductance.sum(-2), (conductance * self.reversal).sum(-2)  # eq. ltc


class SynapseParameters(nn.Module):
    """Trainable synapses where a polarity matrix [source, target] is not 0; nothing is stored for absent ones.

    Attributes are vectors `(synapses,)`: `raw_conductance` (made positive by softplus), `slope`, `half_activation`,
    `reversal`. Initial ranges are those of Lechner et al. 2020's implementation.
    """

    def __init__(self, polarity: Tensor):
        super().__init__()
        source, target = torch.nonzero(polarity, as_tuple=True)
        self.shape = tuple(polarity.shape)
        self.layout, order, _ = layout(source, torch.arange(len(source), device=source.device), target, self.shape[1])
        count = len(source)
        self.raw_conductance = nn.Parameter(inverse_softplus(torch.empty(count).uniform_(0.001, 1.0)))
        self.slope = nn.Parameter(torch.empty(count).uniform_(3.0, 8.0))
        self.half_activation = nn.Parameter(torch.empty(count).uniform_(0.3, 0.8))
        self.reversal = nn.Parameter(torch.empty(count))
        self.reversal.data.copy_(polarity[source, target])
        for name, where in (("source", source), ("target", target), ("order", order)):
            self.register_buffer(name, beside(self.reversal, where), persistent=False)

    def extra_repr(self) -> str:
        """Sizes, for `print`."""
        return f"{self.shape[0]}, {self.shape[1]}, synapses={len(self.source)}"

    def matrix(self, values: Tensor) -> Tensor:
        """Per-synapse values as a matrix `(source, target)`, 0 where there is no synapse."""
        if len(values) == math.prod(self.shape):
            return values.reshape(self.shape)
        return values.new_zeros(self.shape).index_put((self.source, self.target), values)

    def synaptic(self) -> Synaptic:
        """The physical values with one gate for each synapse, synapses in the order of their targets."""
        gates = torch.stack((self.slope, self.half_activation))[:, self.order]
        synapses = torch.stack((softplus(self.raw_conductance), self.reversal))[:, self.order]
        return Synaptic(self.layout, gates, synapses)

    def values(self) -> Synapses:
        """The physical values as matrices."""
        return Synapses(
            self.matrix(softplus(self.raw_conductance)),
            self.matrix(self.slope),
            self.matrix(self.half_activation),
            self.matrix(self.reversal),
        )


class LTCCircuit(NamedTuple):
    """Physical values of an LTC network; vectors `(neurons,)`, capacitance in conductance times samples."""

    capacitance: Tensor
    leak_conductance: Tensor
    leak_reversal: Tensor
    sensory: Synapses
    recurrent: Synapses

    def sense(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Sensory conductance and current `(batch, time, neurons)` of inputs `(batch, time, feature)`."""
        return self.sensory(inputs)

    def rate(self, drive: tuple[Tensor, Tensor], potential: Tensor) -> tuple[Tensor, Tensor]:
        """(G, I), each `(batch, neurons)`, so that C dv/dt = I - G v."""
        conductance, current = self.recurrent(potential)
        total = self.leak_conductance + conductance + drive[0]
        return total, self.leak_conductance * self.leak_reversal + current + drive[1]  # eq. ltc


class LTCCell(nn.Module):
    """LTC neurons with their sensory and recurrent synapses.

    Args:
        input_size: number of input features.
        wiring: a `Wiring` of the neurons; its `sensory` matrix where it has one, else every input reaches every neuron.
        solver: how a sample is advanced.

    Raises:
        ValueError: the wiring's sensory matrix is for another number of inputs.
    """

    def __init__(self, input_size: int, wiring: wirings.Wiring, solver: Solver | None = None):
        super().__init__()
        input_size = count(input_size, "input_size")
        if wiring.sensory is None:
            everywhere = torch.ones(input_size, wiring.size, dtype=torch.bool, device="cpu")
            polarity = random_signs(everywhere, 2 / 3, torch.Generator().manual_seed(1))
        else:
            polarity = wiring.sensory
        if polarity.shape[0] != input_size:
            raise ValueError(f"the wiring is made for {polarity.shape[0]} inputs, got input_size={input_size}: make them equal")
        neurons = wiring.size
        self.input_shape, self.state_shape = (input_size,), (neurons,)
        self.solver = solver or SemiImplicitEuler()
        self.raw_capacitance = nn.Parameter(inverse_softplus(torch.empty(neurons).uniform_(0.4, 0.6)))
        self.raw_leak_conductance = nn.Parameter(inverse_softplus(torch.empty(neurons).uniform_(0.001, 1.0)))
        self.leak_reversal = nn.Parameter(torch.empty(neurons).uniform_(-0.2, 0.2))
        self.sensory = SynapseParameters(polarity)
        self.recurrent = SynapseParameters(wiring.polarity)

    def circuit(self) -> LTCCircuit:
        """The physical values of the parameters."""
        return LTCCircuit(
            softplus(self.raw_capacitance),
            softplus(self.raw_leak_conductance),
            self.leak_reversal,
            self.sensory.values(),
            self.recurrent.values(),
        )

    def extra_repr(self) -> str:
        """How a sample is advanced, for `print`."""
        return f"solver={self.solver}"

    def form(self) -> Network:
        """The same values as arrays, for the fused backends."""
        neurons = torch.stack((softplus(self.raw_capacitance), softplus(self.raw_leak_conductance), self.leak_reversal))
        return Network(neurons, self.sensory.synaptic(), self.recurrent.synaptic(), None)


class LTC(nn.Module):
    """A layer of LTC neurons over sequences, called like `torch.nn.LSTM(batch_first=True)`.

    Inputs and outputs pass through an affine map each, feature by feature, as in Lechner et al. 2020's implementation.

    Args:
        input_size: number of input features.
        wiring: a `Wiring`, or a number of fully connected neurons. Outputs are the wiring's motor neurons, or all.
        solver: how a sample is advanced; six semi-implicit unfolds by default.
        backend: see `cffbook.recurrence.unroll`.

    Example:
        >>> layer = LTC(3, 16)
        >>> outputs, potential = layer(torch.randn(2, 100, 3))
        >>> outputs.shape, potential.shape
        (torch.Size([2, 100, 16]), torch.Size([2, 16]))
    """

    def __init__(self, input_size: int, wiring: wirings.Wiring | int, solver: Solver | None = None, backend: str = "auto"):
        super().__init__()
        check_backend(backend)
        if not isinstance(wiring, wirings.Wiring):
            wiring = wirings.dense(count(wiring, "wiring"), self_connections=True, excitatory=2 / 3)
        self.cell = LTCCell(input_size, wiring, solver)
        self.backend = backend
        self.output_size = wiring.outputs or wiring.size
        self.input_scale = nn.Parameter(torch.ones(input_size))
        self.input_offset = nn.Parameter(torch.zeros(input_size))
        self.output_scale = nn.Parameter(torch.ones(self.output_size))
        self.output_offset = nn.Parameter(torch.zeros(self.output_size))

    def forward(
        self, inputs: Tensor, potential: Tensor | None = None, elapsed: Tensor | float = 1.0, lengths: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Outputs `(batch, time, output)` and the last potentials `(batch, neurons)`.

        Args:
            inputs: `(batch, time, feature)`.
            potential: `(batch, neurons)` at the start, zeros when None.
            elapsed: time since the last sample, a number, `(batch,)` or `(batch, time)`.
            lengths: `(batch,)` real samples of each sequence; outputs are 0 after them.

        Raises:
            ValueError: a shape, a length or a time does not fit.
        """
        if inputs.dim() == 3 and inputs.shape[-1] == len(self.input_scale):
            inputs = blank_padding(inputs, lengths) * self.input_scale + self.input_offset
        potentials, last = unroll(self.cell, inputs, potential, elapsed, lengths, self.backend)
        outputs = potentials[..., : self.output_size] * self.output_scale + self.output_offset
        return blank_padding(outputs, lengths), last

    @classmethod
    def from_ncps(cls, module: nn.Module) -> "LTC":
        """An equal layer with the weights of an `ncps.torch.LTC`, for equal outputs at elapsed = 1.

        Raises:
            ValueError: the module has a mixed memory, or one of its conductances is negative.
        """
        return _from_ncps(cls, module)


def _from_ncps(cls: type[LTC], module: nn.Module) -> LTC:
    if getattr(module, "use_mixed", False):
        raise ValueError("an ncps LTC with mixed_memory=True has an LSTM inside, which LTC has not: load one with mixed_memory=False")
    theirs = module.rnn_cell
    weights = dict(theirs.named_parameters())
    positive = softplus if theirs._implicit_param_constraints else torch.clone
    polarity = torch.as_tensor(theirs._wiring.adjacency_matrix).sign().to(torch.int8)
    sensory = torch.as_tensor(theirs._wiring.sensory_adjacency_matrix).sign().to(torch.int8)
    wiring = wirings.Wiring(polarity, sensory=sensory, outputs=theirs.motor_size, name="ncps")
    layer = cls(theirs.sensory_size, wiring, SemiImplicitEuler(theirs._ode_unfolds)).to(weights["cm"].dtype)
    cell = layer.cell
    pairs = [
        (cell.raw_capacitance, inverse_softplus(positive(weights["cm"]))),
        (cell.raw_leak_conductance, inverse_softplus(positive(weights["gleak"]))),
        (cell.leak_reversal, weights["vleak"]),
    ]
    for prefix, synapses in (("sensory_", cell.sensory), ("", cell.recurrent)):
        at = synapses.source, synapses.target
        pairs += [
            (synapses.raw_conductance, inverse_softplus(positive(weights[prefix + "w"])[at])),
            (synapses.slope, weights[prefix + "sigma"][at]),
            (synapses.half_activation, weights[prefix + "mu"][at]),
            (synapses.reversal, weights[prefix + "erev"][at]),
        ]
    for name, ours in (("input_w", layer.input_scale), ("input_b", layer.input_offset),
                       ("output_w", layer.output_scale), ("output_b", layer.output_offset)):
        if name in weights:
            pairs.append((ours, weights[name]))
    with torch.no_grad():
        for ours, value in pairs:
            ours.copy_(value)
    return layer
