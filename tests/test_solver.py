"""Solvers: convergence order against an exact reference, and what must never happen."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cffbook.analysis import frozen, hull
from cffbook.flipflop import FlipFlop, FlipFlopCircuit
from cffbook.neuron import LTCCell
from cffbook.solver import ExplicitEuler, ExponentialEuler, RungeKutta4, SemiImplicitEuler, Solver
from cffbook.wiring import dense

SOLVERS = [(SemiImplicitEuler, 1), (ExplicitEuler, 1), (RungeKutta4, 4), (ExponentialEuler, 1)]


def network(seed: int = 0, neurons: int = 5, inputs: int = 2):
    torch.manual_seed(seed)
    cell = LTCCell(inputs, dense(neurons, self_connections=True)).double()
    circuit = cell.circuit()
    drive = tuple(part[0] for part in circuit.sense(torch.randn(1, 1, inputs, dtype=torch.float64)))
    return circuit, drive, torch.rand(1, neurons, dtype=torch.float64) - 0.5


@pytest.mark.parametrize(("kind", "order"), SOLVERS)
def test_a_solver_converges_with_its_order_to_the_solution_of_scipy(kind, order):
    integrate = pytest.importorskip("scipy.integrate")
    circuit, drive, start = network()

    def change(_, v):
        conductance, current = circuit.rate(drive, torch.from_numpy(v)[None])
        return ((current - conductance * torch.from_numpy(v)) / circuit.capacitance)[0].detach().numpy()

    exact = integrate.solve_ivp(change, (0, 1), start[0].numpy(), method="DOP853", rtol=1e-13, atol=1e-14).y[:, -1]
    errors = []
    with torch.no_grad():
        for unfolds in (32, 64, 128):
            end = kind(unfolds)(lambda v: circuit.rate(drive, v), circuit.capacitance, start, 1.0)
            errors.append(float((end[0] - torch.from_numpy(exact)).abs().max()))
    measured = [math.log2(errors[i] / errors[i + 1]) for i in range(2)]
    # Halving the step once more at these sizes leaves less than a tenth of an order from higher terms.
    assert measured == pytest.approx([order, order], abs=0.1)


@pytest.mark.parametrize("kind", [SemiImplicitEuler, ExponentialEuler])
def test_a_fixed_point_of_the_equation_is_a_fixed_point_of_the_step_whatever_its_length(kind):
    circuit, drive, v = network()
    with torch.no_grad():
        for _ in range(4000):
            v = kind(1)(lambda u: circuit.rate(drive, u), circuit.capacitance, v, 0.1)
        for elapsed in (0.0, 0.01, 1.0, 100.0):
            after = kind(1)(lambda u: circuit.rate(drive, u), circuit.capacitance, v, elapsed)
            assert float((after - v).abs().max()) < 1e-12


@pytest.mark.parametrize(("kind", "order"), SOLVERS)
def test_no_time_changes_nothing(kind, order):
    circuit, drive, v = network()
    after = kind(3)(lambda u: circuit.rate(drive, u), circuit.capacitance, v, 0.0)
    assert torch.allclose(after, v, rtol=0, atol=1e-15)


@pytest.mark.parametrize("bad", [0, -1, 2.0, "6"])
def test_unfolds_that_are_no_positive_integer_are_refused(bad):
    with pytest.raises(ValueError, match="unfolds must be a positive integer"):
        SemiImplicitEuler(bad)


def test_solvers_of_the_same_kind_and_unfolds_are_equal_values():
    assert SemiImplicitEuler(6) == SemiImplicitEuler() != SemiImplicitEuler(5)
    assert issubclass(RungeKutta4, Solver)


FINITE = st.floats(-1e30, 1e30)


@settings(max_examples=150, deadline=None)
@given(
    inputs=st.lists(FINITE, min_size=6, max_size=6),
    elapsed=st.floats(0, 1e4),
    unfolds=st.integers(1, 7),
    seed=st.integers(0, 999),
    kind=st.sampled_from([SemiImplicitEuler, ExponentialEuler]),
    steered=st.booleans(),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_potentials_never_leave_the_hull_of_the_reversals_for_any_finite_input(inputs, elapsed, unfolds, seed, kind, steered, dtype):
    torch.manual_seed(seed)
    cell = FlipFlop(1, sensory="steered" if steered else "plain", init=_random_values)
    circuit = frozen(cell, dtype)
    low, high = hull(circuit)
    v = torch.empty(1, 1, 2, dtype=dtype).uniform_(low, high)
    for drive in circuit.sense(torch.tensor(inputs, dtype=dtype).reshape(1, 3, 1, 2))[0].unbind(1):
        v = kind(unfolds)(lambda u, drive=drive: circuit.rate((drive,), u), circuit.capacitance, v, elapsed)
        # A convex mean is exact up to the rounding of its four sums: a few units in the last place of the hull's size.
        slack = 16 * torch.finfo(dtype).eps * max(abs(low), abs(high))
        assert bool(torch.isfinite(v).all())
        assert low - slack <= float(v.min()) and float(v.max()) <= high + slack


def _random_values(cell: FlipFlop) -> None:
    scale = {"slope": 1000.0, "conductance": 50.0}
    cell.assign(
        {
            name: torch.rand(1, 2) * scale.get(name.split("_")[-1], 2.0) * cell.polarity(name) + 1e-3 * cell.polarity(name)
            for name in cell.parameter_names()
        }
    )


def test_a_circuit_is_a_value_of_tensors():
    assert isinstance(FlipFlop(2).circuit(), FlipFlopCircuit)
