import copy
import math
import pickle
import warnings

import pytest
import torch

from cffbook import MemoryLayer, analysis
from cffbook.flipflop import FlipFlop, NearCritical
from cffbook.lock_step import LockStepWarning, common_mode, enough_unfolds
from cffbook.recurrence import unroll
from cffbook.solver import SemiImplicitEuler


@pytest.mark.parametrize("kind", ["plain", "steered"])
@pytest.mark.parametrize("polarity", [-1, 0, 1])
@pytest.mark.parametrize("step", [0.1, 0.4, 1.0, 3.0])
def test_the_common_mode_is_that_of_the_solvers_own_jacobian(kind: str, polarity: int, step: float) -> None:
    torch.manual_seed(0)
    cell = FlipFlop(5, sensory=kind, self_polarity=polarity)
    for name in ("reciprocal_conductance", "capacitance", "reciprocal_slope"):
        cell.assign({name: cell.value(name) * (0.5 + torch.rand(5, 1))})
    circuit = analysis.frozen(cell)
    rest = analysis.latch(circuit).rest[:, None].expand(-1, 2)
    jacobians = analysis.step_jacobians(circuit, torch.zeros(1, 5, 2, dtype=torch.float64), rest[None], SemiImplicitEuler(1), step)[0]
    together = jacobians @ torch.ones(2, dtype=torch.float64)  # the mode (1, 1) is an eigenvector of a symmetric pair
    assert torch.allclose(together[:, 0], together[:, 1], atol=1e-9)
    assert torch.allclose(common_mode(cell.form(), step), together[:, 0], atol=1e-6)  # parameters are float32


def test_pairs_at_too_long_steps_swing_and_are_warned_of() -> None:
    with pytest.warns(LockStepWarning, match="2 of 2 flip-flops may swing in lock-step at 1 unfolds"):
        cell = FlipFlop(2, solver=SemiImplicitEuler(1)).eval()
    start = cell.held([1, 1])[None]
    gap = lambda potentials: float((potentials[0, -1, :, 0] - potentials[0, -1, :, 1]).detach().abs().min())  # noqa: E731
    enough = enough_unfolds(cell.form(), 1)
    assert gap(unroll(cell, torch.zeros(1, 60, 2, 2), start)[0]) < 1e-3
    cell.solver = SemiImplicitEuler(enough)
    assert gap(unroll(cell, torch.zeros(1, 60, 2, 2), start)[0]) > 0.5
    assert bool((common_mode(cell.form(), 1 / enough) >= -1).all())


def test_usual_layers_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        FlipFlop(8).eval()
        FlipFlop(8, sensory="steered").eval()
        for slowest in (10.0, 100.0):
            FlipFlop(64, sensory="steered", solver=SemiImplicitEuler(1), init=NearCritical(slowest)).eval()
        MemoryLayer(8, 16).eval()


def test_a_layer_that_comes_to_swing_while_it_learns_warns_once() -> None:
    layer = MemoryLayer(4, 4)
    with torch.no_grad():
        layer.cell.raw_reciprocal_slope.fill_(200.0)
        layer.cell.raw_capacitance.fill_(math.log(math.e - 1))
    with pytest.warns(LockStepWarning) as seen:
        layer.eval().train().eval()
    assert len(seen) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pickle.loads(pickle.dumps(copy.deepcopy(layer))).eval()
    with torch.no_grad():
        layer.cell.raw_capacitance.fill_(1000.0)
    layer.train()
    assert not layer.cell.swings
