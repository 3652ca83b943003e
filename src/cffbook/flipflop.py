"""The continuous flip-flop (CFF): two LTC neurons that inhibit each other and hold one value.

Neurons a and b, each with one sensory synapse, one self synapse and one synapse from the other neuron::

    C dv_a/dt = g (E_leak - v_a) + w_self s(γ_self (v_a - μ_self)) (E_self - v_a)
                                 + w_rec  s(γ_rec  (v_b - μ_rec )) (E_rec  - v_a)
                                 + w_in   s(γ_in   (u_a - μ_in  )) (E_in   - v_a)                   (cff)

and the same with a and b exchanged; the output is v_a. A *steered* sensory synapse is also gated by the other
neuron, w_in s(γ_in (u_a - μ_in)) s(γ_st (v_b - μ_st)): it excites a neuron only while the other one is on (JK).
Source: Brantner 2021; Hasani et al. 2021; Nayebi et al. 2018 for the reciprocal gating.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from cffbook import lock_step
from cffbook.neuron import inverse_softplus
from cffbook.recurrence import Pairs
from cffbook.recurrence.forms import PAIR_VALUES
from cffbook.solver import SemiImplicitEuler, Solver
from cffbook.wiring.checks import count

SCHEMES = ("set_reset", "shared")
SENSORY = ("plain", "steered")
FASTEST = 1.15  # samples, the least capacitance that `NearCritical` gives


class PairSynapses(NamedTuple):
    """Physical values of one synapse onto each neuron of each pair, tensors `(pairs, 2)` indexed by the target."""

    conductance: Tensor
    slope: Tensor
    half_activation: Tensor
    reversal: Tensor


class Steering(NamedTuple):
    """The second gate of a steered sensory synapse, `(pairs, 2)` indexed by the target; its source is the other neuron."""

    slope: Tensor
    half_activation: Tensor


class FlipFlopCircuit(NamedTuple):
    """Physical values of n pairs; every tensor `(pairs, 2)`, index 0 is neuron a (the output) and 1 is neuron b."""

    capacitance: Tensor
    leak_conductance: Tensor
    leak_reversal: Tensor
    self_synapse: PairSynapses
    reciprocal: PairSynapses
    sensory: PairSynapses
    steering: Steering | None
    scheme: str

    def lines(self, inputs: Tensor) -> Tensor:
        """Input lines `(..., pairs, 2)` of the two neurons.

        `set_reset`: inputs `(..., pairs, 2)` already are; the first line sets, the second resets.
        `shared`: one line `(..., pairs)` with opposite effect: u reaches a, -u reaches b.
        """
        return inputs if self.scheme == "set_reset" else torch.stack((inputs, -inputs), -1)

    def sense(self, inputs: Tensor) -> tuple[Tensor]:
        """Sensory conductance `(batch, time, pairs, 2)`, before any steering."""
        synapse = self.sensory
        return (synapse.conductance * torch.sigmoid(synapse.slope * (self.lines(inputs) - synapse.half_activation)),)

    def rate(self, drive: tuple[Tensor], potential: Tensor) -> tuple[Tensor, Tensor]:
        """(G, I), each `(batch, pairs, 2)`, so that C dv/dt = I - G v."""
        other = potential.flip(-1)
        own = self.self_synapse.conductance * _gate(self.self_synapse, potential)
        cross = self.reciprocal.conductance * _gate(self.reciprocal, other)
        sensory = drive[0] if self.steering is None else drive[0] * _gate(self.steering, other)
        total = self.leak_conductance + own + cross + sensory
        current = (
            self.leak_conductance * self.leak_reversal
            + own * self.self_synapse.reversal
            + cross * self.reciprocal.reversal
            + sensory * self.sensory.reversal
        )
        return total, current  # eq. cff


def _gate(synapse: PairSynapses | Steering, source: Tensor) -> Tensor:
    return torch.sigmoid(synapse.slope * (source - synapse.half_activation))


class FlipFlop(nn.Module):
    """n independent continuous flip-flops, a cell for `cffbook.recurrence.unroll`.

    Args:
        pairs: number of CFFs.
        scheme: "set_reset", inputs `(batch, time, pairs, 2)`; or "shared", inputs `(batch, time, pairs)`.
        sensory: "plain" or "steered".
        self_polarity: -1 inhibitory (the proposal), +1 excitatory (the author's later attempt), 0 none.
        solver: how a sample is advanced; six semi-implicit unfolds by default.
        init: called with the new cell to give its parameters their first values; `latching` by default.

    Raises:
        ValueError: an argument is not among the known ones.

    Example:
        >>> cell = FlipFlop(4)
        >>> potentials, last = unroll(cell, torch.zeros(1, 50, 4, 2), cell.held([1, 0, 1, 0])[None])
        >>> cell.read(last)
        tensor([[ True, False,  True, False]])
    """

    tile_size = 0  # flip-flops that are coupled to one another: none

    def __init__(
        self,
        pairs: int,
        scheme: str = "set_reset",
        sensory: str = "plain",
        self_polarity: int = -1,
        solver: Solver | None = None,
        init: Callable[["FlipFlop"], None] | None = None,
    ):
        super().__init__()
        pairs = count(pairs, "pairs")
        _check_choices(scheme, sensory, self_polarity)
        self.pairs, self.scheme, self.kind, self.self_polarity = pairs, scheme, sensory, self_polarity
        self.solver = solver or SemiImplicitEuler()
        self.state_shape = (pairs, 2)
        self.input_shape = (pairs, 2) if scheme == "set_reset" else (pairs,)
        for name in self.parameter_names():
            raw = name if name in _FREE else f"raw_{name}"
            setattr(self, raw, nn.Parameter(torch.zeros(pairs, 2)))
        self.swings = False
        with torch.device("cpu"):  # where first values are drawn and checked, whatever device the parameters are on
            (init or latching)(self)

    def train(self, mode: bool = True) -> "FlipFlop":
        """As of any module, as is `eval()`; warns (`cffbook.lock_step`) when the pairs have come to steps too long for them since the last call."""
        raw = self.raw_capacitance
        if type(self.solver) is SemiImplicitEuler and not (raw.is_meta or torch.compiler.is_compiling()):
            before, self.swings = self.swings, lock_step.swings(self.form(), self.solver.unfolds)
            if self.swings and not before:
                lock_step.warn(self.form(), self.solver.unfolds)
        return super().train(mode)

    def extra_repr(self) -> str:
        """What distinguishes the cell, for `print`."""
        return f"{self.pairs}, scheme={self.scheme!r}, sensory={self.kind!r}, self_polarity={self.self_polarity}, solver={self.solver}"

    def parameter_names(self) -> tuple[str, ...]:
        """Names of the physical parameters that this variant has."""
        groups = ["sensory", "reciprocal"] + (["self"] if self.self_polarity else [])
        names = [f"{group}_{kind}" for group in groups for kind in ("conductance", "slope", "half_activation", "reversal")]
        steering = ["steering_slope", "steering_half_activation"] if self.kind == "steered" else []
        return ("capacitance", "leak_conductance", "leak_reversal", *names, *steering)

    def polarity(self, name: str) -> int:
        """The sign of a reversal potential: -1 reciprocal, `self_polarity` for self, +1 sensory."""
        return {"self_reversal": self.self_polarity, "reciprocal_reversal": -1}.get(name, 1)

    def value(self, name: str) -> Tensor:
        """The physical value `(pairs, 2)` of a parameter."""
        if name in _FREE:
            return getattr(self, name)
        positive = softplus(getattr(self, f"raw_{name}"))
        return -positive if self.polarity(name) < 0 else positive

    @torch.no_grad()
    def assign(self, values: dict[str, Tensor | float]) -> "FlipFlop":
        """Give physical parameters values, each broadcast to `(pairs, 2)`; returns the cell.

        Raises:
            ValueError: an unknown name, or a value whose sign does not fit.
        """
        unknown = set(values) - set(self.parameter_names())
        if unknown:
            raise ValueError(f"unknown parameter {sorted(unknown)[0]!r}: this flip-flop has {', '.join(self.parameter_names())}")
        for name, value in values.items():
            value = torch.as_tensor(value, dtype=self.leak_reversal.dtype).expand(self.pairs, 2)
            if name in _FREE:
                getattr(self, name).copy_(value)
            elif bool((value * self.polarity(name) < 0).any()):
                sign = "negative" if self.polarity(name) < 0 else "positive"
                raise ValueError(f"{name} must be {sign}, got {value.flatten()[0].item():g}: its polarity is fixed")
            else:
                getattr(self, f"raw_{name}").copy_(inverse_softplus(value.abs()))
        return self

    def circuit(self) -> FlipFlopCircuit:
        """The physical values of the parameters."""

        def synapse(group: str) -> PairSynapses:
            return PairSynapses(*(self.value(f"{group}_{kind}") for kind in PairSynapses._fields))

        absent = torch.zeros_like(self.leak_reversal)
        steered = self.kind == "steered"
        return FlipFlopCircuit(
            self.value("capacitance"),
            self.value("leak_conductance"),
            self.value("leak_reversal"),
            synapse("self") if self.self_polarity else PairSynapses(absent, absent, absent, absent),
            synapse("reciprocal"),
            synapse("sensory"),
            Steering(self.value("steering_slope"), self.value("steering_half_activation")) if steered else None,
            self.scheme,
        )

    def form(self) -> Pairs:
        """The same values as one array, for the fused and parallel backends."""
        absent = torch.zeros_like(self.leak_reversal)
        known = self.parameter_names()
        values = [self.value(name) if name in known else absent for name in PAIR_VALUES]
        return Pairs(torch.stack(values), self.kind == "steered", self.scheme == "shared")

    def held(self, bits) -> Tensor:
        """Potentials `(pairs, 2)` near the held state of each bit: the neuron that is on at its leak reversal."""
        bits = torch.as_tensor(bits, device=self.leak_reversal.device).bool().expand(self.pairs)
        on, off = self.value("leak_reversal").detach(), self.value("reciprocal_reversal").detach()
        return torch.where(torch.stack((bits, ~bits), -1), on, off)

    @staticmethod
    def read(potential: Tensor) -> Tensor:
        """The bits `(..., pairs)` that potentials `(..., pairs, 2)` hold: which neuron is higher."""
        return potential[..., 0] > potential[..., 1]


_FREE = (
    "leak_reversal",
    "self_half_activation",
    "reciprocal_half_activation",
    "sensory_half_activation",
    "steering_half_activation",
)


def _check_choices(scheme: str, sensory: str, self_polarity: int) -> None:
    if scheme not in SCHEMES:
        raise ValueError(f"unknown input scheme {scheme!r}: choose one of {', '.join(SCHEMES)}")
    if sensory not in SENSORY:
        raise ValueError(f"unknown kind of sensory synapse {sensory!r}: choose one of {', '.join(SENSORY)}")
    if self_polarity not in (-1, 0, 1):
        raise ValueError(f"self_polarity must be -1, 0 or +1, got {self_polarity!r}: -1 is the proposal's inhibitory one")


def latching(cell: FlipFlop) -> None:
    """First values that latch: with no input the pair keeps its bit for ever.

    A tonic leak (E_leak > 0) drives both neurons, and each silences the other; an input line at 1 overwrites the bit,
    one at 0 leaves it. The time constants are a few tenths of a sample: two unfolds or more hold the bit, with one an
    inhibitory self synapse makes both neurons swing in lock-step.
    """
    values = {
        "capacitance": 0.5, "leak_conductance": 0.5, "leak_reversal": 1.0,
        "reciprocal_conductance": 5.0, "reciprocal_slope": 8.0, "reciprocal_half_activation": 0.3, "reciprocal_reversal": -1.0,
        "self_conductance": 1.0, "self_slope": 8.0, "self_half_activation": 0.3, "self_reversal": float(cell.self_polarity),
        "sensory_conductance": 10.0, "sensory_slope": 16.0, "sensory_half_activation": 0.5, "sensory_reversal": 1.0,
        "steering_slope": 16.0, "steering_half_activation": -0.15,
    }  # fmt: skip
    cell.assign({name: values[name] for name in cell.parameter_names()})


class NearCritical:
    """First values that learn: slow, closed at rest, and at the onset of latching.

    Capacitances are log-uniform in [1.15, `slowest`] samples (faster steered pairs swing in lock-step at one unfold). With inputs at 0 the symmetric rest point of the pair lies at
    potential 0, where the start potential is too, and the slopes are `criticality` times those at which it loses its
    stability (`cffbook.analysis.latch(...).margin` is 0 there), so that a difference between the neurons decays slowly.
    An open sensory gate overwrites within a sample (conductance C). A closed one conducts about exp(-`closed`), whatever
    C is, by a half-activation of `closed` + ln C: were it as closed for slow neurons as for fast ones, it would leak in
    proportion to C, and no neuron would be slow.

    Args:
        slowest: largest capacitance, in samples at unit conductance.
        criticality: 1 is the onset of latching, above it the pair latches.
        closed: a closed sensory gate conducts about exp(-`closed`); the leak makes up for it, to 0.5 together. The further
            it is closed, the weaker an input is felt and the slower a layer learns, until it is opened.

    Raises:
        ValueError: `slowest` below 1, `criticality` not positive, or `closed` so low that the gates leak 0.5 or more.
    """

    def __init__(self, slowest: float = 100.0, criticality: float = 1.0, closed: float = 1.0):
        if slowest < 1 or criticality <= 0:
            raise ValueError(f"slowest must be at least 1 and criticality positive, got {slowest} and {criticality}: 100 and 1 are usual")
        self.slowest, self.criticality, self.closed = slowest, criticality, closed

    def __call__(self, cell: FlipFlop) -> None:
        """Set the parameters of `cell`."""
        fastest = min(FASTEST, self.slowest)
        capacitance = fastest * torch.exp(torch.rand(cell.pairs, 1) * math.log(self.slowest / fastest))
        half_activation = self.closed + torch.log(capacitance)
        ajar = capacitance * torch.sigmoid(-half_activation)  # conductance of a closed sensory gate
        steered, polarity = cell.kind == "steered", cell.self_polarity
        # At v = 0 every other gate is half open, a steering one too. A leak that makes up for the sensory gate keeps the
        # currents there in balance: 1/2 + p w_self / 2 - w_rec / 2 = 0.
        leak, own = 0.5 - ajar * (0.5 if steered else 1.0), 0.25 * abs(polarity)
        reciprocal = 1 + polarity * own
        loop = reciprocal + polarity * own - (ajar if steered else 0)  # of conductances, around the pair
        if bool((leak < 0).any()) or bool(torch.as_tensor(loop <= 0).any()):
            raise ValueError(f"closed must keep the sensory gates from leaking 0.5 or more, got {self.closed}: 1 and above always do")
        # The antisymmetric mode neither grows nor decays: γ/4 (w_rec + p w_self - w_in) = 1/2 + (w_self + w_rec) / 2.
        slope = self.criticality * 4 * (0.5 + (own + reciprocal) / 2) / loop
        values = {
            "capacitance": capacitance, "leak_conductance": leak, "leak_reversal": 1.0,
            "reciprocal_conductance": reciprocal, "reciprocal_slope": slope, "reciprocal_half_activation": 0.0, "reciprocal_reversal": -1.0,
            "self_conductance": own, "self_slope": slope, "self_half_activation": 0.0, "self_reversal": float(polarity),
            "sensory_conductance": capacitance, "sensory_slope": 1.0, "sensory_half_activation": half_activation, "sensory_reversal": 1.0,
            "steering_slope": slope, "steering_half_activation": 0.0,
        }  # fmt: skip
        cell.assign({name: values[name] for name in cell.parameter_names()})
