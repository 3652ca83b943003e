"""What a flip-flop does, computed: fixed points, nullclines, the latch condition, retention, hysteresis, Jacobians.

At the symmetric rest point v* of a symmetric pair, with k_x = w_x γ_x s (1 - s) (v* - E_x), the difference of the two
potentials grows, and the pair latches, if::

    k_rec - k_self > g + w_self s_self + w_rec s_rec                                                  (latch)

All functions take the physical values of n pairs (`frozen(cell)`) in float64 and hold the inputs constant.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from cffbook.flipflop import FlipFlop, FlipFlopCircuit, PairSynapses, Steering
from cffbook.solver import SemiImplicitEuler, Solver


class FixedPoints(NamedTuple):
    """Fixed points of one pair: potentials `(points, 2)`, eigenvalues of dv/dt `(points, 2)`, stability `(points,)`."""

    potential: Tensor
    eigenvalues: Tensor
    stable: Tensor


class Latch(NamedTuple):
    """The latch condition of n pairs, each `(pairs,)`: `margin` > 0 latches; `rest` is v*; `rate` = margin / C."""

    margin: Tensor
    rest: Tensor
    rate: Tensor


def frozen(cell: FlipFlop, dtype: torch.dtype = torch.float64) -> FlipFlopCircuit:
    """The physical values of a cell, detached, in `dtype`."""
    return _map(cell.circuit(), lambda value: value.detach().to(dtype))


def select(circuit: FlipFlopCircuit, pair: int) -> FlipFlopCircuit:
    """The circuit of one pair alone."""
    return _map(circuit, lambda value: value[pair : pair + 1])


def symmetric(values: dict[str, Tensor | float], self_polarity: int = -1, scheme: str = "set_reset") -> FlipFlopCircuit:
    """A circuit of n symmetric pairs whose sensory gates are shut at rest (2e-9 open), from one value or `(pairs,)` for each parameter.

    Args:
        values: capacitance, leak_conductance, leak_reversal, and self_conductance, reciprocal_conductance, slope,
            half_activation, reversal, which self and reciprocal synapses share (reversal for self has its polarity's sign).
        self_polarity: -1, 0 or +1.
        scheme: see `FlipFlop`.

    Raises:
        ValueError: a value is missing or unknown.
    """
    names = ("capacitance", "leak_conductance", "leak_reversal", "self_conductance", "reciprocal_conductance", "slope",
             "half_activation", "reversal")  # fmt: skip
    if set(values) != set(names):
        raise ValueError(f"symmetric needs exactly the values {', '.join(names)}, got {', '.join(values)}")
    tensors = torch.broadcast_tensors(*(torch.as_tensor(values[name], dtype=torch.float64).reshape(-1) for name in names))
    c, g, leak, own, cross, slope, half, reversal = (value[:, None].expand(-1, 2) for value in tensors)
    one = torch.ones_like(c)
    return FlipFlopCircuit(
        c, g, leak,
        PairSynapses(own * abs(self_polarity), slope, half, self_polarity * reversal.abs()),
        PairSynapses(cross, slope, half, -reversal.abs()),
        PairSynapses(10 * one, 40 * one, 0.5 * one, one),
        None, scheme,
    )  # fmt: skip


def change(circuit: FlipFlopCircuit, inputs: Tensor, potential: Tensor) -> Tensor:
    """dv/dt `(..., pairs, 2)` under constant inputs `(pairs, 2)` or `(pairs,)`, as the circuit's scheme has them."""
    conductance, current = circuit.rate(circuit.sense(inputs), potential)
    return (current - conductance * potential) / circuit.capacitance  # eq. cff


def hull(circuit: FlipFlopCircuit) -> tuple[float, float]:
    """Lowest and highest reversal potential: what no potential ever leaves."""
    reversals = torch.stack((circuit.leak_reversal, *(synapse.reversal for synapse in circuit[3:6])))
    return float(reversals.min()), float(reversals.max())


def latch(circuit: FlipFlopCircuit, inputs: Tensor | float = 0.0) -> Latch:
    """The latch condition of symmetric pairs under an input that is the same for both neurons.

    With an excitatory self synapse there may be several symmetric rest points: the margin is that of one of them.

    Args:
        circuit: the pairs.
        inputs: a number for every line; sensory gates that it leaves open add to the leak.

    Raises:
        ValueError: a pair's two neurons differ.
    """
    synapses = (circuit.self_synapse, circuit.reciprocal, circuit.sensory)
    values = (circuit.capacitance, circuit.leak_conductance, circuit.leak_reversal, *(part for synapse in synapses for part in synapse))
    if not all(torch.equal(value[:, 0], value[:, 1]) for value in values + tuple(circuit.steering or ())):
        raise ValueError("the latch condition is for symmetric pairs, got neurons that differ: use fixed_points")
    lines = torch.full_like(circuit.capacitance[:, 0], float(inputs))
    if circuit.scheme == "set_reset":
        lines = lines[:, None].expand(-1, 2)
    low, high = (torch.full_like(circuit.capacitance, bound) for bound in hull(circuit))
    for _ in range(200):  # bisection of the hull down to the last bit
        middle = (low + high) / 2
        rising = change(circuit, lines, middle) > 0
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    rest = (low + high) / 2
    open_self, k_self = _steepness(circuit.self_synapse, rest)
    open_rec, k_rec = _steepness(circuit.reciprocal, rest)
    open_in, k_in = circuit.sense(lines)[0], torch.zeros_like(rest)
    if circuit.steering is not None:
        steered = circuit.sensory._replace(conductance=open_in, slope=circuit.steering.slope, half_activation=circuit.steering.half_activation)
        open_in, k_in = _steepness(steered, rest)
    margin = (k_rec + k_in - k_self - circuit.leak_conductance - open_self - open_rec - open_in)[:, 0]  # eq. latch
    return Latch(margin, rest[:, 0], margin / circuit.capacitance[:, 0])


def _steepness(synapse: PairSynapses, source: Tensor) -> tuple[Tensor, Tensor]:
    """w s and k = w γ s (1 - s) (v - E) of a synapse between potentials that are equal."""
    gate = torch.sigmoid(synapse.slope * (source - synapse.half_activation))
    return synapse.conductance * gate, synapse.conductance * synapse.slope * gate * (1 - gate) * (source - synapse.reversal)


def jacobian(circuit: FlipFlopCircuit, inputs: Tensor, potential: Tensor) -> Tensor:
    """d(dv/dt)/dv `(..., pairs, 2, 2)`, rows are the neurons that change."""
    return _pair_jacobian(lambda now: change(circuit, inputs, now), potential)


def step_jacobians(circuit: FlipFlopCircuit, inputs: Tensor, before: Tensor, solver: Solver | None = None, elapsed: float = 1.0) -> Tensor:
    """Jacobians dv_t/dv_{t-1} `(time, pairs, 2, 2)` of one sample along a trajectory.

    Args:
        circuit: the pairs.
        inputs: `(time, pairs, 2)` or `(time, pairs)`.
        before: potentials `(time, pairs, 2)` **before** each sample.
        solver: as the trajectory was made; six semi-implicit unfolds by default.
        elapsed: time between samples.
    """
    drive, solver = circuit.sense(inputs), solver or SemiImplicitEuler()

    def step(now: Tensor) -> Tensor:
        return solver(lambda potential: circuit.rate(drive, potential), circuit.capacitance, now, elapsed)

    return _pair_jacobian(step, before)


def run(circuit: FlipFlopCircuit, inputs: Tensor, potential: Tensor, solver: Solver | None = None, elapsed: float = 1.0) -> Tensor:
    """Potentials `(time, pairs, 2)` from inputs `(time, pairs, 2)` or `(time, pairs)` and a start `(pairs, 2)`."""
    drives, solver, potentials = circuit.sense(inputs)[0], solver or SemiImplicitEuler(), []
    for drive in drives:
        potential = solver(lambda now, drive=drive: circuit.rate((drive,), now), circuit.capacitance, potential, elapsed)
        potentials.append(potential)
    return torch.stack(potentials)


def fixed_points(circuit: FlipFlopCircuit, inputs: Tensor | float = 0.0, pair: int = 0, resolution: int = 161) -> FixedPoints:
    """All fixed points of one pair under constant inputs, ordered by v_a.

    Cells of a grid in which both rates change sign are polished by Newton's method; points that two cells find are one.

    Args:
        circuit: the pairs.
        inputs: `(2,)`, `()` for the shared scheme, or a number for every line.
        pair: which one.
        resolution: grid points along each potential.
    """
    one, lines = select(circuit, pair), _lines(circuit, inputs)
    low, high = hull(one)
    grid = torch.linspace(low - 1e-3, high + 1e-3, resolution, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)[..., None, :]  # (R, R, 1, 2)
    sign = change(one, lines, points)[..., 0, :] > 0
    corners = torch.stack((sign[:-1, :-1], sign[1:, :-1], sign[:-1, 1:], sign[1:, 1:]))
    mixed = (corners.any(0) & ~corners.all(0)).all(-1)
    now = (points[:-1, :-1] + (grid[1] - grid[0]) / 2)[mixed]  # (K, 1, 2)
    for _ in range(60):
        update = torch.linalg.lstsq(jacobian(one, lines, now), change(one, lines, now)[..., None]).solution[..., 0]
        now = (now - update.clamp(-0.05, 0.05)).clamp(low, high)
    now = now[(change(one, lines, now).abs() * one.capacitance < 1e-9).all(-1).all(-1)]
    kept: list[Tensor] = []
    for point in now[:, 0]:
        if all(float((point - other).abs().max()) > 1e-6 for other in kept):
            kept.append(point)
    if not kept:
        return FixedPoints(torch.zeros(0, 2), torch.zeros(0, 2, dtype=torch.complex128), torch.zeros(0, dtype=torch.bool))
    found = torch.stack(sorted(kept, key=lambda point: float(point[0])))
    eigenvalues = torch.linalg.eigvals(jacobian(one, lines, found[:, None])[:, 0])
    return FixedPoints(found, eigenvalues, (eigenvalues.real < 0).all(-1))


def nullclines(circuit: FlipFlopCircuit, inputs: Tensor | float = 0.0, pair: int = 0, resolution: int = 401) -> tuple[Tensor, Tensor]:
    """Where dv_a/dt = 0 and where dv_b/dt = 0, each `(points, 2)` as (v_a, v_b), ordered by the other neuron's potential."""
    one, lines = select(circuit, pair), _lines(circuit, inputs)
    low, high = hull(one)
    grid = torch.linspace(low, high, resolution, dtype=torch.float64)
    points = torch.stack(torch.meshgrid(grid, grid, indexing="ij"), -1)  # (R, R, 2), v_a along the first axis
    rates = change(one, lines, points[..., None, :])[..., 0, :]
    lines_found = []
    for neuron in (0, 1):
        rate = rates[..., neuron] if neuron == 0 else rates[..., neuron].T  # own potential along axis 0
        cell, other = torch.nonzero((rate[:-1] > 0) != (rate[1:] > 0), as_tuple=True)
        left, right = rate[cell, other], rate[cell + 1, other]
        own = grid[cell] + (grid[1] - grid[0]) * left / (left - right)
        order = torch.argsort(other, stable=True)
        pair_of = (own[order], grid[other[order]])
        lines_found.append(torch.stack(pair_of if neuron == 0 else pair_of[::-1], -1))
    return lines_found[0], lines_found[1]


def retention_time(circuit: FlipFlopCircuit, longest: float = 2e4, fraction: float = 1e-3, resolution: float = 0.5) -> Tensor:
    """Time `(pairs,)` for which each pair, let alone, keeps its bit; infinite where it never loses it.

    Starts at the corner "a on, b off" of the hull; the bit is lost when v_a - v_b falls below `fraction` of that start.
    A pair keeps it for ever once its potentials have come to rest, or when it still has it at `longest`.

    Args:
        circuit: the pairs.
        longest: time to wait, in units of each pair's fastest time constant C / (g + w_self + w_rec).
        fraction: of the first difference of the potentials, at which a bit counts as lost.
        resolution: solver step in the same units; above about 1 the two neurons may oscillate in lock-step.
    """
    low, high = hull(circuit)
    lost = torch.full_like(circuit.capacitance[:, 0], torch.inf)
    waiting, now = torch.arange(len(lost)), torch.tensor([high, low], dtype=torch.float64).expand(len(lost), 2)
    solver, every = SemiImplicitEuler(1), 64
    for done in range(0, round(longest / resolution), every):
        part = _map(circuit, lambda value: value[waiting])
        total = part.leak_conductance + part.self_synapse.conductance + part.reciprocal.conductance
        step = resolution * (part.capacitance / total).amin(-1, keepdim=True)
        drive = part.sense(torch.zeros_like(now) if part.scheme == "set_reset" else torch.zeros_like(now[:, 0]))
        before = now
        for count in range(done + 1, done + every + 1):
            now = solver(lambda potential, part=part, drive=drive: part.rate(drive, potential), part.capacitance, now, step)
            gone = torch.isinf(lost[waiting]) & (now[:, 0] - now[:, 1] < fraction * (high - low))
            lost[waiting[gone]] = count * step[gone, 0]
        moving = ((now - before).abs().amax(-1) > 1e-12 * (high - low)) & torch.isinf(lost[waiting])
        waiting, now = waiting[moving], now[moving]
        if len(waiting) == 0:
            break
    return lost


def hysteresis(circuit: FlipFlopCircuit, levels: Tensor, settle: int = 50, pair: int = 0) -> tuple[Tensor, Tensor]:
    """Output v_a `(levels,)` while the input goes slowly up through `levels`, and while it comes down again.

    Level u drives the lines (u, -u) of `set_reset`, or the one line of `shared`; the sweep starts from the reset state.

    Args:
        circuit: the pairs.
        levels: rising input levels.
        settle: samples spent at each level.
        pair: which one.
    """
    one = select(circuit, pair)
    low, high = hull(one)
    levels = levels.to(torch.float64)
    path = torch.cat((levels, levels.flip(0)))
    lines = torch.stack((path, -path), -1)[:, None] if one.scheme == "set_reset" else path[:, None]
    potential, outputs = torch.tensor([[low, high]], dtype=torch.float64), []
    for level in lines:
        potential = run(one, level.expand(settle, *level.shape), potential)[-1]
        outputs.append(potential[0, 0])
    up, down = torch.stack(outputs).chunk(2)
    return up, down.flip(0)


def _pair_jacobian(function, potential: Tensor) -> Tensor:
    """Jacobian of a function that acts on each pair alone: rows by two vector-Jacobian products."""
    potential = potential.detach().requires_grad_()
    with torch.enable_grad():
        after = function(potential)
        rows = [torch.autograd.grad(after[..., neuron].sum(), potential, retain_graph=neuron == 0)[0] for neuron in (0, 1)]
    return torch.stack(rows, -2)


def _lines(circuit: FlipFlopCircuit, inputs: Tensor | float) -> Tensor:
    shape = (1, 2) if circuit.scheme == "set_reset" else (1,)
    return torch.as_tensor(inputs, dtype=torch.float64).expand(shape)


def _map(circuit: FlipFlopCircuit, function) -> FlipFlopCircuit:
    parts = []
    for value in circuit:
        if isinstance(value, PairSynapses | Steering):
            value = type(value)(*(function(part) for part in value))
        elif torch.is_tensor(value):
            value = function(value)
        parts.append(value)
    return FlipFlopCircuit(*parts)
