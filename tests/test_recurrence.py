"""The door to every backend: what it checks, and what time and padding mean."""

import sys

import pytest
import torch

from cffbook import FlipFlop, SemiImplicitEuler, unroll
from cffbook.recurrence import choose, names


def test_the_definition_is_one_solver_step_for_each_sample():
    torch.manual_seed(0)
    cell, x, v = FlipFlop(2), torch.randn(3, 4, 2, 2), torch.randn(3, 2, 2)
    elapsed = torch.rand(3, 4)
    potentials, last = unroll(cell, x, v, elapsed, backend="sequential")
    circuit = cell.circuit()
    for t in range(4):
        drive = circuit.sense(x[:, t : t + 1])[0][:, 0]
        v = cell.solver(lambda now, drive=drive: circuit.rate((drive,), now), circuit.capacitance, v, elapsed[:, t, None, None])
        assert torch.allclose(potentials[:, t], v, atol=1e-6)  # gates of one sample and of many round differently
    assert torch.allclose(last, v, atol=1e-6)


def test_two_samples_of_half_the_time_and_unfolds_are_one_sample():
    cell = FlipFlop(2, solver=SemiImplicitEuler(3)).double()
    x = torch.randn(1, 5, 2, 2, dtype=torch.float64)
    halves, _ = unroll(cell, x.repeat_interleave(2, 1), elapsed=0.5)
    cell.solver = SemiImplicitEuler(6)
    assert torch.allclose(halves[:, 1::2], unroll(cell, x)[0], atol=1e-14)


def test_a_number_a_time_for_each_sequence_and_one_for_each_sample_agree():
    cell, x = FlipFlop(2), torch.randn(2, 3, 2, 2)  # batch == pairs == neurons
    each = torch.tensor([0.5, 2.0])
    whole = unroll(cell, x, elapsed=each)[0]
    assert torch.equal(whole, unroll(cell, x, elapsed=each[:, None].expand(2, 3))[0])
    for one in range(2):
        assert torch.allclose(whole[one], unroll(cell, x[one : one + 1], elapsed=float(each[one]))[0][0], atol=1e-7)


def test_no_samples_return_the_potential_that_was_given():
    cell, v = FlipFlop(2), torch.randn(3, 2, 2)
    potentials, last = unroll(cell, torch.zeros(3, 0, 2, 2), v)
    assert potentials.shape == (3, 0, 2, 2) and torch.equal(last, v)


def test_whatever_padding_holds_reaches_neither_potentials_nor_gradients():
    cell, x = FlipFlop(2), torch.randn(2, 5, 2, 2)
    clean = x.clone()
    x[0, 3:] = torch.nan
    lengths = torch.tensor([3, 5])
    found, expected = [], []
    for inputs, results in ((x, found), (clean, expected)):
        potentials, last = unroll(cell, inputs, lengths=lengths)
        cell.zero_grad()
        (potentials.square().sum() + last.sum()).backward()
        results += [potentials, last, *(parameter.grad.clone() for parameter in cell.parameters())]
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    assert not found[0][0, 3:].any() and torch.equal(found[1][0], found[0][0, 2])


def test_an_empty_batch_is_run():
    potentials, last = unroll(FlipFlop(2), torch.zeros(0, 4, 2, 2), lengths=torch.zeros(0, dtype=torch.long))
    assert potentials.shape == (0, 4, 2, 2) and last.shape == (0, 2, 2)


def test_nan_in_an_input_is_seen_and_not_hidden():
    x = torch.zeros(2, 5, 2, 2)
    x[0, 2, 0] = torch.nan
    potentials, _ = unroll(FlipFlop(2), x)
    assert torch.isnan(potentials[0, 2:, 0]).all() and torch.isfinite(potentials[1]).all() and torch.isfinite(potentials[0, :, 1]).all()


X = torch.zeros(2, 3, 4, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"inputs": torch.zeros(2, 3, 5, 2)}, r"shape \(batch, time, 4, 2\), got \(2, 3, 5, 2\)"),
        ({"inputs": torch.zeros(2, 3, 4, 2, dtype=torch.long)}, "must be floating-point numbers, got torch.int64"),
        ({"potential": torch.zeros(2, 4)}, r"potential must have the shape \(2, 4, 2\), got \(2, 4\)"),
        ({"elapsed": -1.0}, "elapsed must be finite and at least 0"),
        ({"elapsed": torch.tensor([1.0, torch.nan])}, "elapsed must be finite and at least 0"),
        ({"elapsed": torch.ones(3)}, r"elapsed must be a number, \(2,\) per sequence or \(2, 3\) per sample, got the shape \(3,\)"),
        ({"lengths": torch.tensor([3])}, "lengths must be 2 integers, one for each sequence"),
        ({"lengths": torch.tensor([3.0, 1.0])}, "lengths must be 2 integers"),
        ({"lengths": torch.ones(2, 3, dtype=torch.bool)}, r"for a mask \(batch, time\) pass mask.sum\(1\)"),
        ({"lengths": torch.tensor([3, 4])}, "lengths must lie between 0 and the 3 samples given, got 3 to 4"),
        ({"backend": "fast"}, f"unknown backend 'fast': choose 'auto' or one of {', '.join(sorted(names()))}"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        unroll(FlipFlop(4), **({"inputs": X} | call))


def test_the_definition_is_among_the_backends():
    assert "sequential" in names()


def test_auto_does_without_a_package_that_is_kept_from_being_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "numba", None)
    assert choose(FlipFlop(2), torch.zeros(1, 16_384, 2, 2)) == "sequential"


def test_auto_takes_what_was_fastest_for_the_size_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("numba")
    few, many = FlipFlop(2), FlipFlop(64)
    with caplog.at_level("DEBUG", logger="cffbook.recurrence"):
        assert choose(few, torch.zeros(1, 16_384, 2, 2)) == "basins"
        assert choose(few, torch.zeros(1, 100, 2, 2)) == "fused_cpu"
        assert choose(many, torch.zeros(1, 16_384, 64, 2)) == "fused_cpu"
        assert choose(FlipFlop(2).bfloat16(), torch.zeros(1, 16_384, 2, 2).bfloat16()) == "sequential"
    assert "auto takes basins for FlipFlop with inputs (1, 16384, 2, 2) on cpu" in caplog.text
