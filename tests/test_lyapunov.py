"""Exponents agree with eigenvalues, where there are such, and with determinants, where there are none."""

import pytest
import torch

from cffbook import analysis
from cffbook.flipflop import FlipFlop
from cffbook.gradients import step_jacobians, step_of, trajectory
from cffbook.lateral import MemoryCell
from cffbook.lyapunov import along, exponents
from cffbook.solver import SemiImplicitEuler
from cffbook.wiring import tiles


def test_a_linear_recurrence_has_the_logarithms_of_its_eigenvalues():
    factors = torch.tensor([1.1, -0.9, 0.5], dtype=torch.float64)
    torch.manual_seed(0)
    turned = torch.randn(3, 3, dtype=torch.float64)
    matrix = turned @ torch.diag(factors) @ torch.linalg.inv(turned)
    states, silent = torch.randn(3, 3, dtype=torch.float64), torch.zeros(3, 301, 0, dtype=torch.float64)
    found = along(lambda state, now: state @ matrix.T, states, silent, skip=150)
    # After 150 samples the directions have turned to within (0.9 / 1.1)^150 = 1e-13 of the eigenvectors' flag.
    assert torch.allclose(found, factors.abs().log().expand(3, 3), atol=1e-10)


def test_a_latch_that_holds_its_bit_attracts_as_its_held_state_does():
    cell = FlipFlop(1).double()
    step, size = step_of(cell)
    found = along(step, cell.held([1]).reshape(1, size), torch.zeros(1, 200, size, dtype=torch.float64), skip=100)[0]
    circuit, lines = analysis.frozen(cell), torch.zeros(1, 1, 2, dtype=torch.float64)
    held = analysis.fixed_points(circuit).potential[-1:]
    factors = torch.linalg.eigvals(analysis.step_jacobians(circuit, lines, held[None], cell.solver))[0, 0].abs()
    assert float(found[0]) < -1  # it contracts: that is why the gradient fades
    assert torch.allclose(found, factors.log().sort(descending=True).values, atol=1e-9)


def test_all_exponents_together_are_the_mean_logarithm_of_the_determinants():
    torch.manual_seed(1)
    cell = MemoryCell(FlipFlop(4, solver=SemiImplicitEuler(2)), tiles(4, 4), strength=1.0).double()
    step, size = step_of(cell)
    inputs, state = torch.randn(3, 37, size, dtype=torch.float64), torch.zeros(3, size, dtype=torch.float64)
    found = along(step, state, inputs)
    with torch.no_grad():
        states = trajectory(step, state, inputs)
    determinants = torch.linalg.slogdet(step_jacobians(step, states, inputs)).logabsdet.mean(0)
    assert found.shape == (3, 8) and bool((found.diff(dim=1) <= 0).all())
    assert torch.allclose(found.sum(1), determinants, atol=1e-9)


def test_the_jacobian_of_a_coupled_memory_is_that_of_central_differences():
    torch.manual_seed(2)
    cell = MemoryCell(FlipFlop(2, solver=SemiImplicitEuler(2)), tiles(2, 2), strength=1.0).double()
    step, size = step_of(cell)
    state, now = torch.randn(1, size, dtype=torch.float64), torch.randn(1, 1, size, dtype=torch.float64)
    exact = step_jacobians(step, [state, state], now)[0, 0]
    with torch.no_grad():
        shifts = 1e-6 * torch.eye(size, dtype=torch.float64)
        columns = [(step(state + shift, now[:, 0]) - step(state - shift, now[:, 0]))[0] / 2e-6 for shift in shifts]
    assert torch.allclose(exact, torch.stack(columns, 1), atol=1e-8)


def test_at_least_one_sample_has_to_count():
    with pytest.raises(ValueError, match="of more than 5 samples"):
        exponents(torch.zeros(5, 1, 2, 2), skip=5)
