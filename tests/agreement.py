"""Settings and comparison that the tests of the parallel backends share: everything is held to the definition."""

import copy

import torch
from torch import Tensor

from cffbook import FlipFlop, SemiImplicitEuler, unroll
from cffbook.flipflop import NearCritical, latching

# values, then gradients scaled by the largest of their kind, or by 1e-3 where all are nearly 0: float32 rounds each of some hundred sums to 6e-8
TOLERANCE = {torch.float64: (1e-12, 1e-10), torch.float32: (1e-5, 1e-5)}


def scattered(cell: FlipFlop) -> None:
    """First values of the ranges that Lechner et al. 2020 draw from: one stable state, for nearly all of them."""

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(cell.pairs, 2) * (high - low) + low

    values = {"capacitance": uniform(0.4, 0.6), "leak_conductance": uniform(0.001, 1), "leak_reversal": uniform(-0.2, 0.2)}
    for group, reversal in (("self", cell.self_polarity), ("reciprocal", -1), ("sensory", 1)):
        values |= {f"{group}_conductance": uniform(0.001, 1), f"{group}_slope": uniform(3, 8), f"{group}_half_activation": uniform(0.3, 0.8)}
        values[f"{group}_reversal"] = float(reversal)
    values |= {"steering_slope": uniform(3, 8), "steering_half_activation": uniform(-0.3, 0.3)}
    cell.assign({name: value for name, value in values.items() if name in cell.parameter_names()})


def steep(cell: FlipFlop) -> None:
    """Latches whose gates are all but steps."""
    latching(cell)
    cell.assign({name: 100.0 for name in ("reciprocal_slope", "sensory_slope")})


INITS = {"latch": None, "steep": steep, "scattered": scattered, "slow": NearCritical(50.0)}


def make(init: str, pairs: int = 3, kind: str = "plain", scheme: str = "set_reset", unfolds: int = 6, dtype=torch.float64, own: int = -1, seed: int = 0):
    """A cell whose neurons and pairs all differ a little."""
    torch.manual_seed(seed)
    cell = FlipFlop(pairs, scheme, kind, own, SemiImplicitEuler(unfolds), INITS[init]).to(dtype)
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.mul_(1 + 0.03 * torch.randn_like(parameter))
    return cell


def drive(kind: str, cell: FlipFlop, batch: int, time: int) -> Tensor:
    """Inputs `(batch, time, *cell.input_shape)`: noise, slow waves, or lines that are 0 but for rare pulses."""
    shape = (batch, time, *cell.input_shape)
    if kind == "noise":
        return torch.randn(shape, dtype=cell.leak_reversal.dtype)
    if kind == "waves":
        phase = torch.rand(batch, 1, *cell.input_shape) * 6.3
        return torch.sin(torch.arange(time).reshape(1, -1, *(1 for _ in cell.input_shape)) / 9 + phase).to(cell.leak_reversal.dtype)
    pulses = (torch.rand(shape) < 0.04) * (1.0 if cell.scheme == "set_reset" else torch.randn(shape).sign())
    return pulses.to(cell.leak_reversal.dtype)


def everything(cell: FlipFlop, run, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
    """Potentials, last ones, and the gradients of inputs, potential, elapsed and every parameter, of one fixed random sum."""
    given = {"inputs": inputs, "potential": potential, "elapsed": elapsed}
    given = {name: value.clone().requires_grad_() for name, value in given.items()}
    potentials, last = run(cell, *given.values(), lengths)
    numbers = torch.Generator().manual_seed(1)
    total = sum((each * torch.randn(each.shape, generator=numbers).to(each)).sum() for each in (potentials, last))
    named = given | dict(cell.named_parameters())
    gradients = torch.autograd.grad(total, named.values(), materialize_grads=True)
    return {"potentials": potentials.detach(), "last": last.detach()} | {f"d {name}": value for name, value in zip(named, gradients, strict=True)}


def definition(cell, inputs, potential, elapsed, lengths):
    """`sequential`, the way the backends under test are called."""
    return unroll(cell, inputs, potential, elapsed, lengths, backend="sequential")


def exact(cell: FlipFlop, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> dict[str, Tensor]:
    """What the definition gives for the same numbers in float64."""
    finer = copy.deepcopy(cell).double()
    return everything(finer, definition, inputs.double(), potential.double(), elapsed.double(), lengths)


def assert_agrees(found: dict[str, Tensor], expected: dict[str, Tensor], finer: dict[str, Tensor] | None = None) -> None:
    """Raise unless all values and gradients agree.

    Where a pair is switching, float32 itself is no better than a few 1e-4, in the definition too; with `finer`, its numbers in float64, backends may
    differ by four times what rounding makes of the definition: two such errors, and as much again because each is one draw of many.
    """
    for name, right in expected.items():
        values, gradients = TOLERANCE[right.dtype]
        allowed = gradients * max(float(right.abs().amax()), 1e-3) if name.startswith("d ") and right.numel() else values
        if finer is not None and right.numel():
            allowed = max(allowed, 4 * float((finer[name] - right).abs().amax()))
        assert torch.allclose(found[name], right, rtol=0, atol=allowed), f"{name}: {float((found[name] - right).abs().amax()):.1e} above {allowed:.1e}"
