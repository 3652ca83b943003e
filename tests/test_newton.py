"""`newton` gives the definition's numbers where pairs forget, and raises where they latch."""

import pytest
import torch
from agreement import assert_agrees, definition, drive, everything, exact, make
from hypothesis import given, settings
from hypothesis import strategies as st

from cffbook import FlipFlop, SemiImplicitEuler, unroll
from cffbook.recurrence import newton
from cffbook.recurrence.pairs import PairCircuit
from cffbook.recurrence.scan import affine, affine_reverse, compose


@pytest.mark.parametrize("time", [0, 1, 2, 3, 4, 7, 8, 33])
def test_the_scan_and_its_adjoint_are_the_plain_loops(time):
    torch.manual_seed(time)
    matrix = torch.randn(2, time, 3, 2, 2, dtype=torch.float64) * 0.7
    offset = torch.randn(2, time, 3, 2, dtype=torch.float64)
    ahead, back, state = torch.empty_like(offset), torch.empty_like(offset), torch.zeros(2, 3, 2, dtype=torch.float64)
    for t in range(time):
        state = ahead[:, t] = (matrix[:, t] @ state[..., None])[..., 0] + offset[:, t]
    for t in reversed(range(time)):
        state = back[:, t] = offset[:, t] + ((matrix[:, t + 1].mT @ state[..., None])[..., 0] if t + 1 < time else 0)
    assert torch.allclose(affine(matrix, offset), ahead, rtol=0, atol=1e-11)  # products of 33 matrices
    assert torch.allclose(affine_reverse(matrix, offset), back, rtol=0, atol=1e-11)


def test_the_scan_does_not_look_at_the_matrix_before_the_first_sample():
    matrix, offset = torch.rand(1, 9, 2, 2, dtype=torch.float64), torch.rand(1, 9, 2, dtype=torch.float64)
    spoiled = matrix.clone()
    spoiled[:, 0] = torch.nan
    assert torch.equal(affine(spoiled, offset), affine(matrix, offset))


@pytest.mark.parametrize("steps", [1, 2, 5, 8, 13])
def test_running_compositions_of_maps_are_those_of_a_loop(steps):
    torch.manual_seed(steps)
    maps = torch.randint(0, 3, (steps, 3, 4))
    state, found = torch.arange(3)[:, None].expand(3, 4), compose(maps)
    for k in range(steps):
        state = maps[k].gather(0, state)
        assert torch.equal(found[k], state)


@pytest.mark.parametrize("kind", ["plain", "steered"])
@pytest.mark.parametrize("scheme", ["set_reset", "shared"])
def test_the_jacobian_of_a_sample_is_that_of_the_definition(kind, scheme):
    cell = make("latch", 2, kind, scheme, unfolds=3)
    inputs, potential = drive("noise", cell, 1, 1), torch.randn(1, 2, 2, dtype=torch.float64)

    def step(start):
        return unroll(cell, inputs, start, 0.4, backend="sequential")[1]

    circuit = PairCircuit(cell.form())
    after, jacobian = circuit.sample((circuit.sense(inputs)[0][:, 0],), potential, torch.tensor(0.4, dtype=torch.float64), 3)
    whole = torch.autograd.functional.jacobian(step, potential)[0, :, :, 0]  # (P, 2, P, 2)
    assert torch.allclose(after, step(potential), rtol=0, atol=1e-14)
    assert torch.allclose(jacobian[0], torch.stack([whole[p, :, p] for p in range(2)]), rtol=0, atol=1e-13)
    assert not whole[0, :, 1].any()


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    init=st.sampled_from(["scattered", "slow"]), kind=st.sampled_from(["plain", "steered"]), scheme=st.sampled_from(["set_reset", "shared"]),
    own=st.sampled_from([-1, 0]), unfolds=st.integers(2, 6), dtype=st.sampled_from([torch.float64, torch.float32]),
    signal=st.sampled_from(["noise", "waves", "pulses"]), fineness=st.sampled_from([(), (0,), (0, 1), (0, 1, 2)]),
    size=st.tuples(st.integers(1, 3), st.integers(1, 41), st.integers(1, 3)), padded=st.booleans(),
)  # fmt: skip
def test_values_and_gradients_are_those_of_the_definition(init, kind, scheme, own, unfolds, dtype, signal, fineness, size, padded):
    batch, time, pairs = size
    cell = make(init, pairs, kind, scheme, unfolds, dtype, own)
    lengths = torch.randint(0, time + 1, (batch,)) if padded else None
    elapsed = torch.rand([(batch, time, pairs)[axis] for axis in fineness] + [1] * (len(fineness) == 3), dtype=dtype) + 0.3
    start, x = torch.rand(batch, pairs, 2, dtype=dtype) - 0.5, drive(signal, cell, batch, time)
    # float32: a slow pair carries the rounding of fifty samples on, more than the 1e-6 asked for by default
    tolerance = 1e-13 if dtype == torch.float64 else 4e-6
    reports = []

    def run(*arguments):
        reports.append(newton.solve(*arguments, tolerance=tolerance))
        return reports[0][:2]

    arguments = (x, start, elapsed, lengths)
    assert_agrees(everything(cell, run, *arguments), everything(cell, definition, *arguments), exact(cell, *arguments))
    assert reports[0].residual <= tolerance and reports[0].iterations <= 12


def test_pairs_that_forget_take_a_handful_of_iterations_however_long_the_sequence():
    cell = make("scattered", 4, dtype=torch.float32)
    for time in (1, 64, 2049):
        found = newton.solve(cell, drive("noise", cell, 2, time))
        assert found.iterations <= 7 and found.residual <= 1e-6 and len(found.history) == found.iterations


def test_corrections_shrink_quadratically_at_the_end():
    cell = make("scattered", 4)
    history = newton.solve(cell, drive("waves", cell, 2, 100)).history
    small = [(before, after) for before, after in zip(history, history[1:], strict=False) if before < 1e-2 and after > 1e-13]
    assert small and all(after < 10 * before**2 for before, after in small)  # 10 bounds half the curvature of these gates


def pulsed_latch():
    """A latch at a held state, set and reset by pulses far apart."""
    cell = FlipFlop(2)
    x = torch.zeros(1, 400, 2, 2)
    x[:, 100, :, 1] = x[:, 300, :, 0] = 1
    return cell, x, cell.held(1).expand(1, 2, 2)


def test_a_latch_under_pulses_does_not_converge_and_is_refused():
    cell, x, start = pulsed_latch()
    with pytest.raises(newton.NotConverged, match=r"expected a residual of at most 1.0e-06 within 60 iterations, got .* use backend='basins'"):
        unroll(cell, x, start, backend="newton")
    found = newton.solve(cell, x, start, iterations=20)
    wrong = (found.potentials - unroll(cell, x, start, backend="sequential")[0]).detach().abs().amax()
    assert not found.residual < 0.1 and not float(wrong) < 0.1  # nothing is put in place of what is not a number


@pytest.mark.parametrize("held", [5, 19, 50])
def test_a_wrong_basin_is_put_right_one_sample_an_iteration(held):
    cell = FlipFlop(1)
    x = torch.zeros(1, 20 + held, 1, 2)
    x[:, 20, :, 1] = 1  # reset, then held for the other samples
    found = newton.solve(cell, x, cell.held(1)[None], iterations=200)
    assert found.residual <= 1e-6 and abs(found.iterations - held) <= 3  # the last samples are put right together


def test_padding_has_not_to_converge():
    cell = FlipFlop(1)
    x = torch.zeros(2, 220, 1, 2)
    x[:, 20, :, 1] = 1
    found = newton.solve(cell, x, cell.held(1).expand(2, 1, 2), lengths=torch.tensor([25, 0]), iterations=20)
    assert found.residual <= 1e-6 and not found.potentials[1].any()


def test_iterates_stay_in_the_hull():
    torch.manual_seed(0)
    cell = FlipFlop(4)
    x = drive("noise", cell, 2, 128)
    for iterations in (1, 2, 3):  # far from converged: unprojected, they leave it by more than its width
        with torch.no_grad():
            circuit, start, elapsed = PairCircuit(cell.form()), torch.zeros(2, 4, 2), torch.ones(1, 1, 1, 1)
            found = newton._iterate(circuit, circuit.sense(x), start, elapsed, 6, iterations, 1e-6)[0]
        assert float(found.abs().amax()) <= 1 + 1e-6  # all reversal potentials are -1 or 1


def test_an_empty_batch_no_samples_and_infinite_inputs_are_run():
    cell = make("scattered", 2, dtype=torch.float32)
    assert newton.solve(cell, torch.zeros(0, 5, 2, 2)).potentials.shape == (0, 5, 2, 2)
    v = torch.randn(3, 2, 2)
    assert torch.equal(newton.solve(cell, torch.zeros(3, 0, 2, 2), v).last, v)
    x = torch.randn(1, 30, 2, 2)
    x[0, 11], x[0, 20, 0] = torch.inf, -torch.inf
    found = unroll(cell, x, backend="newton")[0]
    assert torch.allclose(found, unroll(cell, x, backend="sequential")[0], rtol=0, atol=1e-5)
    assert all(each.isfinite().all() for each in torch.autograd.grad(found.sum(), list(cell.parameters())))


def test_bad_arguments_are_refused_and_a_second_derivative_is_not_wrong():
    cell = make("scattered", 1)
    x = drive("noise", cell, 1, 9).requires_grad_()
    with pytest.raises(ValueError, match="iterations must be at least 1"):
        newton.solve(cell, x, iterations=0)
    cell.solver = SemiImplicitEuler(2)
    (first,) = torch.autograd.grad(newton.solve(cell, x).last.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
