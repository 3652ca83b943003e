"""`basins` gives the definition's numbers whatever the regime, and says what it had to run again."""

import pytest
import torch
from agreement import assert_agrees, definition, drive, everything, exact, make
from hypothesis import given, settings
from hypothesis import strategies as st

from cffbook import FlipFlop, unroll, wiring
from cffbook.flipflop import NearCritical
from cffbook.lateral import MemoryCell
from cffbook.recurrence import basins
from cffbook.solver import ExplicitEuler, SemiImplicitEuler

FINENESS = ("number", "sequence", "sample", "pair")  # what has an elapsed time of its own


def times(fineness: str, batch: int, time: int, pairs: int, dtype) -> torch.Tensor:
    shape = {"number": (), "sequence": (batch,), "sample": (batch, time), "pair": (batch, time, pairs, 1)}[fineness]
    return torch.rand(shape, dtype=dtype) + 0.3


def compare(cell, inputs, potential, elapsed, lengths=None, **how):
    """Hold `basins` to the definition, and return how it went."""
    reports = []

    def run(*arguments):
        reports.append(basins.solve(*arguments, engine="sequential", **how))
        return reports[0][:2]

    arguments = (inputs, potential, elapsed, lengths)
    assert_agrees(everything(cell, run, *arguments), everything(cell, definition, *arguments), exact(cell, *arguments))
    return reports[0]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    init=st.sampled_from(["latch", "steep", "scattered", "slow"]), kind=st.sampled_from(["plain", "steered"]),
    scheme=st.sampled_from(["set_reset", "shared"]), own=st.sampled_from([-1, 0, 1]), unfolds=st.integers(1, 6),
    dtype=st.sampled_from([torch.float64, torch.float32]), signal=st.sampled_from(["noise", "waves", "pulses"]), fineness=st.sampled_from(FINENESS),
    size=st.tuples(st.integers(1, 3), st.integers(1, 41), st.integers(1, 3)), chunks=st.integers(1, 9), burn_in=st.integers(0, 20), padded=st.booleans(),
)  # fmt: skip
def test_values_and_gradients_are_those_of_the_definition(
    init, kind, scheme, own, unfolds, dtype, signal, fineness, size, chunks, burn_in, padded
):
    batch, time, pairs = size
    cell = make(init, pairs, kind, scheme, unfolds, dtype, own)
    lengths = torch.randint(0, time + 1, (batch,)) if padded else None
    start = torch.rand(batch, pairs, 2, dtype=dtype) * 2 - 1
    compare(cell, drive(signal, cell, batch, time), start, times(fineness, batch, time, pairs, dtype), lengths, chunks=chunks, burn_in=burn_in)


def test_latches_under_rare_pulses_need_no_chunk_run_again():
    cell = make("latch", 4, dtype=torch.float32)
    x = drive("pulses", cell, 2, 301)
    found = compare(cell, x, cell.held(1).expand(2, 4, 2), torch.tensor(1.0), chunks=7, burn_in=16)
    assert found.reruns == 0 and found.chunks == 7 and found.distance < 1e-6 and found.gap < 1e-6


def test_a_steered_pair_that_toggles_all_the_time_is_followed_across_chunks():
    cell = FlipFlop(2, sensory="steered", solver=SemiImplicitEuler(2)).double()
    x = torch.zeros(1, 210, 2, 2, dtype=torch.float64)
    x[:, ::10] = 1  # both lines at once: a plain latch would not know what to do, a steered one toggles
    found = compare(cell, x, cell.held(0).expand(1, 2, 2), torch.tensor(1.0), chunks=7, burn_in=45)
    assert cell.read(found.potentials[0, 9::10, 0]).tolist() == [True, False] * 10 + [True]  # three a chunk: its map exchanges the states
    assert found.reruns <= 2  # the start itself is farther from rest than float64 can tell


def test_pairs_too_slow_for_the_burn_in_are_run_again_till_they_are_exact():
    cell = make("slow", 3)
    found = compare(cell, drive("noise", cell, 2, 121), torch.zeros(2, 3, 2, dtype=torch.float64), torch.tensor(1.0), chunks=8, burn_in=2)
    assert found.reruns >= 7 * 3 and found.distance > 0.01 and found.gap < 1e-14


def on_the_edge(bits: int) -> torch.Tensor:
    """Starts `(2, 3, 2)` at the held state of a bit, but of one pair on the diagonal, where equal neurons stay, between the basins."""
    start = FlipFlop(3).double().held(bits).expand(2, 3, 2).clone()
    start[1, 2] = 0.1
    return start


def test_however_slow_pairs_are_the_work_is_that_of_a_few_runs():
    cell = FlipFlop(1, init=NearCritical(1.0)).double()
    cell.assign({"capacitance": 1e4})
    x = drive("noise", cell, 1, 90)
    found = basins.solve(cell, x, chunks=90, burn_in=1, engine="sequential")
    assert torch.allclose(found.potentials, unroll(cell, x, backend="sequential")[0], rtol=0, atol=1e-12)
    assert 90 < found.reruns < 4 * 90  # side by side alone, each would be run again for every chunk before it: 4,000 times in all


def test_chunks_of_padding_are_not_run_again():
    cell = make("slow", 2)
    found = basins.solve(cell, drive("noise", cell, 2, 64), lengths=torch.tensor([0, 9]), chunks=8, burn_in=1, engine="sequential")
    assert found.reruns <= 2 * 3 and found.reruns >= 2  # the second chunk of the second sequence alone


def test_a_symmetric_start_between_the_basins_is_seen_by_its_distance_and_only_that_pair_is_run_again():
    # Values alone: a difference of the neurons grows without bound on the edge, and so do the rounding errors of its gradient.
    cell, x = FlipFlop(3).double(), torch.zeros(2, 33, 3, 2, dtype=torch.float64)
    found = basins.solve(cell, x, on_the_edge(1), chunks=3, burn_in=40, tolerance=1e-9, engine="sequential")
    assert torch.allclose(found.potentials, unroll(cell, x, on_the_edge(1), backend="sequential")[0], rtol=0, atol=1e-9)  # the tolerance
    assert torch.equal(found.potentials[1, :, 2, 0], found.potentials[1, :, 2, 1])
    assert found.distance > 0.1 and 2 <= found.reruns <= 4  # one sequence, one pair, two chunks


def test_time_that_stands_still_leaves_every_start_as_it_is():
    cell = make("latch", 2)
    start = torch.rand(1, 2, 2, dtype=torch.float64)
    found = compare(cell, drive("noise", cell, 1, 13), start, torch.zeros(1, 13, dtype=torch.float64), chunks=5, burn_in=3)
    assert torch.equal(found.potentials, start[:, None].expand(1, 13, 2, 2))


@pytest.mark.parametrize("time", [1, 2, 7])
def test_fewer_samples_than_chunks_are_run(time):
    cell = make("latch", 2)
    found = compare(cell, drive("noise", cell, 2, time), torch.zeros(2, 2, 2, dtype=torch.float64), torch.tensor(1.0), chunks=100)
    assert found.chunks == time


def test_an_empty_batch_and_no_samples_are_run():
    cell = FlipFlop(2)
    assert basins.solve(cell, torch.zeros(0, 5, 2, 2)).potentials.shape == (0, 5, 2, 2)
    v = torch.randn(3, 2, 2)
    found = basins.solve(cell, torch.zeros(3, 0, 2, 2), v)
    assert found.potentials.shape == (3, 0, 2, 2) and torch.equal(found.last, v)


def test_nan_and_infinite_inputs_do_what_they_do_in_the_definition():
    cell = FlipFlop(2)
    x = torch.randn(2, 40, 2, 2)
    x[0, 7, 0], x[1, 20] = torch.nan, torch.inf
    found, expected = basins.solve(cell, x, chunks=5, burn_in=4, engine="sequential"), unroll(cell, x, backend="sequential")
    assert torch.allclose(found.potentials, expected[0], atol=1e-5, equal_nan=True)
    assert found.potentials[0, 7:, 0].isnan().all() and not found.potentials[1].isnan().any()


def test_the_gradient_of_a_slow_pair_reaches_the_first_chunk_and_that_of_a_latch_fades_alike():
    for init, least in (("slow", 1e-6), ("latch", 0.0)):
        cell = make(init, 2)
        x = drive("pulses", cell, 1, 40)
        grads = []
        for run in (definition, lambda *a: basins.solve(*a, chunks=8, burn_in=4, engine="sequential")[:2]):
            inputs = x.clone().requires_grad_()
            run(cell, inputs, None, 1.0, None)[1].sum().backward()
            grads.append(inputs.grad)
        assert torch.allclose(grads[1], grads[0], rtol=1e-6, atol=0)  # each of them to its own size, not to the largest
        assert float(grads[0][:, 0].abs().amax()) > least


def test_it_is_a_backend_of_unroll_with_its_defaults():
    cell = make("latch", 2, dtype=torch.float32)
    x = drive("pulses", cell, 2, 1100)
    assert basins.solve(cell, x).chunks == 2
    assert torch.allclose(unroll(cell, x, backend="basins")[0], unroll(cell, x, backend="sequential")[0], atol=1e-5)


def test_a_second_derivative_is_refused_and_not_wrong():
    cell = make("latch", 1)
    x = drive("noise", cell, 1, 9).requires_grad_()
    (first,) = torch.autograd.grad(basins.solve(cell, x, chunks=3).last.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_cells_and_arguments_that_do_not_fit_are_refused_in_one_sentence():
    x = torch.zeros(1, 4, 2, 2)
    with pytest.raises(ValueError, match="backend 'basins' expects the solver SemiImplicitEuler, got ExplicitEuler: change the solver"):
        unroll(FlipFlop(2, solver=ExplicitEuler()), x, backend="basins")
    with pytest.raises(ValueError, match="backend 'basins' expects independent flip-flops, got a cell whose neurons are coupled"):
        basins.solve(MemoryCell(FlipFlop(2), wiring.ring(2)), x)
    with pytest.raises(ValueError, match="chunks must be at least 1"):
        basins.solve(FlipFlop(2), x, chunks=0)
    with pytest.raises(ValueError, match="engine must run one sample after another, got 'newton'"):
        basins.solve(FlipFlop(2), x, engine="newton")
