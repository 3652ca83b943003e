"""The backend `fused_cpu` against the definition: values and every gradient, whatever the setting; and what it leaves behind."""

import os
import threading

import pytest
import torch

from cffbook import FlipFlop, MemoryLayer, NearCritical, RungeKutta4, SemiImplicitEuler, unroll, wiring

pytest.importorskip("numba", reason="needs the extra 'fast'")

SETTINGS = [
    # pairs, batch, time, scheme, sensory, self polarity, unfolds
    (5, 3, 9, "set_reset", "steered", -1, 1),
    (5, 4, 8, "shared", "steered", 1, 2),
    (2, 2, 7, "set_reset", "plain", 0, 3),
    (33, 2, 5, "shared", "plain", -1, 6),
    (7, 7, 1, "set_reset", "steered", 0, 2),
    (1, 1, 70, "set_reset", "steered", -1, 2),
    (64, 1, 3, "shared", "plain", 1, 4),
]
TIMES = ["one", "sequence", "sample", "own"]
# Both round each operation once; a few hundred of them separate the ends of these sequences.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}


def everything(backend, dtype, setting, times, padded, steep=False):
    """Potentials, last ones, and the gradients of inputs, start, elapsed times and parameters."""
    pairs, batch, time, scheme, sensory, polarity, unfolds = setting
    torch.manual_seed(0)
    cell = FlipFlop(pairs, scheme, sensory, polarity, SemiImplicitEuler(unfolds), NearCritical(10.0)).to(dtype)
    if steep:
        cell.assign({"reciprocal_slope": 100.0})
    shape = {"one": (), "sequence": (batch,), "sample": (batch, time), "own": (batch, time, pairs, 1)}[times]
    drawn = (torch.randn(batch, time, *cell.input_shape), torch.randn(batch, pairs, 2) * 0.3, torch.rand(shape) + 0.3)
    inputs, start, elapsed = (value.to(dtype).requires_grad_() for value in drawn)
    lengths = torch.randint(0, time + 1, (batch,)) if padded else None
    potentials, last = unroll(cell, inputs, start, elapsed, lengths, backend)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(value.shape, generator=generator).to(dtype) for value in (potentials, last)]
    ((potentials * weights[0]).sum() + (last * weights[1]).sum()).backward()
    return [potentials, last, inputs.grad, start.grad, elapsed.grad, *(parameter.grad for parameter in cell.parameters())]


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_values_and_all_gradients_are_those_of_the_definition(setting, times, padded, dtype):
    for found, expected in zip(*(everything(name, dtype, setting, times, padded) for name in ("fused_cpu", "sequential")), strict=True):
        assert float((found - expected).detach().abs().max()) <= TOLERANCE[dtype] * max(1.0, float(expected.detach().abs().max()))


def test_steep_latches_agree_too():
    pairs = (everything(name, torch.float64, SETTINGS[0], "sample", True, steep=True) for name in ("fused_cpu", "sequential"))
    for found, expected in zip(*pairs, strict=True):
        assert float((found - expected).detach().abs().max()) <= 1e-11 * max(1.0, float(expected.detach().abs().max()))


def test_huge_and_infinite_inputs_leave_finite_values_and_gradients():
    for value in (1e30, -1e30, torch.inf, -torch.inf):
        cell = FlipFlop(3)
        x = torch.full((2, 5, 3, 2), value, requires_grad=True)
        found = unroll(cell, x, backend="fused_cpu")[0]
        found.sum().backward()
        assert torch.allclose(found, unroll(cell, x, backend="sequential")[0], atol=1e-5)
        assert all(bool(torch.isfinite(each.grad).all()) for each in (x, *cell.parameters()))


def test_nan_in_an_input_is_seen_and_not_hidden():
    x = torch.zeros(2, 5, 2, 2)
    x[0, 2, 0] = torch.nan
    potentials, _ = unroll(FlipFlop(2), x, backend="fused_cpu")
    assert torch.isnan(potentials[0, 2:, 0]).all() and torch.isfinite(potentials[1]).all() and torch.isfinite(potentials[0, :, 1]).all()


def test_padding_holds_the_very_potential():
    x, lengths = torch.randn(2, 6, 3, 2), torch.tensor([2, 0])
    start = torch.randn(2, 3, 2)
    potentials, last = unroll(FlipFlop(3), x, start, lengths=lengths, backend="fused_cpu")
    assert torch.equal(last[0], potentials[0, 1]) and torch.equal(last[1], start[1]) and not potentials[0, 2:].any()


def test_no_samples_and_no_sequences_are_run():
    v = torch.randn(3, 2, 2)
    assert torch.equal(unroll(FlipFlop(2), torch.zeros(3, 0, 2, 2), v, backend="fused_cpu")[1], v)
    assert unroll(FlipFlop(2), torch.zeros(0, 4, 2, 2), backend="fused_cpu")[0].shape == (0, 4, 2, 2)


def test_pytorch_accepts_the_operator():
    from cffbook.recurrence.fused_cpu.pairs import fused_pairs

    form = FlipFlop(3, sensory="steered").double().form()
    arguments = (torch.randn(2, 4, 3, 2).double().requires_grad_(), form.values.detach().requires_grad_(), torch.zeros(2, 3, 2).double(),
                 torch.ones(1, 1, 1, 1).double(), torch.tensor([4, 2]), 2, True, False)  # fmt: skip
    torch.library.opcheck(fused_pairs, arguments)


def test_threads_at_once_and_a_fork_after_use_leave_it_healthy():
    torch.manual_seed(0)
    layer, x = MemoryLayer(8, 32, backend="fused_cpu"), torch.randn(8, 200, 8)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with torch.no_grad():
            expected, found = layer(x)[0], []
            threads = [threading.Thread(target=lambda: found.append(torch.no_grad()(layer)(x)[0])) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
        assert len(found) == 4 and all(torch.equal(each, expected) for each in found)
        if hasattr(os, "fork"):
            child = os.fork()
            if child == 0:
                torch.set_num_threads(1)
                with torch.no_grad():
                    os._exit(0 if torch.equal(layer(x)[0], expected) else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        torch.set_num_threads(before)


def test_what_it_cannot_run_is_refused_in_one_sentence():
    x = torch.zeros(1, 2, 4, 2)
    for cell, message in ((FlipFlop(4, solver=RungeKutta4(1)), "semi-implicit solver alone, got RungeKutta4"),
                          (MemoryLayer(3, FlipFlop(4), wiring.ring(4)).cell, "independent flip-flops, got a MemoryCell"),
                          (FlipFlop(4).bfloat16(), "float32 or float64, got torch.bfloat16")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            unroll(cell, x, backend="fused_cpu")
