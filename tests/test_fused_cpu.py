"""The backend `fused_cpu` against the definition: values and every gradient, whatever the setting; and what it leaves behind."""

import copy
import itertools
import os
import subprocess
import sys
import threading
import time

import pytest
import torch

from cffbook import LTC, FlipFlop, MemoryLayer, NearCritical, RungeKutta4, SemiImplicitEuler, unroll, wiring
from cffbook.lateral import MemoryCell
from cffbook.neuron import LTCCell

pytest.importorskip("numba", reason="needs the extra 'fast'")
from cffbook.recurrence.fused_cpu import pool  # noqa: E402

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


def independent(setting, steep=False):
    """Flip-flops without lateral synapses, batch and time."""
    pairs, batch, time, scheme, sensory, polarity, unfolds = setting
    torch.manual_seed(0)
    cell = FlipFlop(pairs, scheme, sensory, polarity, SemiImplicitEuler(unfolds), NearCritical(10.0))
    if steep:
        cell.assign({"reciprocal_slope": 100.0})
    return cell, batch, time


def everything(backend, dtype, cell, batch, time, times, padded):
    """Potentials, last ones, and the gradients of inputs, start, elapsed times and parameters."""
    torch.manual_seed(1)
    cell = copy.deepcopy(cell).to(dtype)
    own = (batch, time, cell.state_shape[0], *(1 for _ in cell.state_shape[1:]))
    shape = {"one": (), "sequence": (batch,), "sample": (batch, time), "own": own}[times]
    drawn = (torch.randn(batch, time, *cell.input_shape), torch.randn(batch, *cell.state_shape) * 0.3, torch.rand(shape) + 0.3)
    inputs, start, elapsed = (value.to(dtype).requires_grad_() for value in drawn)
    lengths = torch.randint(0, time + 1, (batch,)) if padded else None
    potentials, last = unroll(cell, inputs, start, elapsed, lengths, backend)
    generator = torch.Generator().manual_seed(1)
    weights = [torch.randn(value.shape, generator=generator).to(dtype) for value in (potentials, last)]
    ((potentials * weights[0]).sum() + (last * weights[1]).sum()).backward()
    return [potentials, last, inputs.grad, start.grad, elapsed.grad, *(parameter.grad for parameter in cell.parameters())]


def agree(dtype, cell, batch, time, times, padded, tolerance=None):
    found, expected = (everything(name, dtype, cell, batch, time, times, padded) for name in ("fused_cpu", "sequential"))
    for mine, yours in zip(found, expected, strict=True):
        if yours is None or not yours.numel():
            continue
        scale = max(1.0, float(yours.detach().abs().max()))
        assert float((mine - yours).detach().abs().max()) <= (tolerance or TOLERANCE[dtype]) * scale


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_values_and_all_gradients_are_those_of_the_definition(setting, times, padded, dtype):
    agree(dtype, *independent(setting), times, padded)


def test_steep_latches_agree_too():
    agree(torch.float64, *independent(SETTINGS[0], steep=True), "sample", True, 1e-11)


def coupled(pairs, lateral, kind, scheme="set_reset", sensory="steered", polarity=-1, unfolds=2):
    torch.manual_seed(0)
    return MemoryCell(FlipFlop(pairs, scheme, sensory, polarity, SemiImplicitEuler(unfolds), NearCritical(10.0)), lateral, kind)


def neurons(inputs, lateral, unfolds=6):
    torch.manual_seed(0)
    return LTCCell(inputs, lateral, SemiImplicitEuler(unfolds))


NETWORKS = {
    "dense, presynaptic": lambda: coupled(7, wiring.dense(7), "presynaptic"),
    "dense, per synapse": lambda: coupled(7, wiring.dense(7), "per_synapse", "shared"),
    "ring, presynaptic, plain": lambda: coupled(5, wiring.ring(5), "presynaptic", "shared", "plain", 0, 1),
    "lattice, per synapse, plain": lambda: coupled(8, wiring.lattice((2, 2, 2)), "per_synapse", "set_reset", "plain", 1, 3),
    "tiles, presynaptic": lambda: coupled(6, wiring.tiles(6, 3), "presynaptic", unfolds=6),
    "LTC, every neuron to every one": lambda: neurons(3, wiring.dense(9, self_connections=True)),
    "LTC, many inputs": lambda: neurons(70, wiring.dense(3, self_connections=True), 2),
    "LTC, ring": lambda: neurons(2, wiring.ring(7), 2),
    "LTC, one neuron": lambda: neurons(1, wiring.independent(1), 1),
    "NCP": lambda: neurons(4, wiring.ncp(4, 6, 5, 3, sensory_fanout=3, inter_fanout=2, recurrent_command_synapses=4, motor_fanin=3), 3),
}


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("batch", "time", "times", "padded"), [(3, 7, "sample", True), (7, 1, "one", False), (1, 70, "own", False), (20, 9, "sequence", True)])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_too_are_those_of_the_definition(name, batch, time, times, padded, dtype):
    agree(dtype, NETWORKS[name](), batch, time, times, padded)


def test_huge_and_infinite_inputs_leave_finite_values_and_gradients():
    cells = (FlipFlop(3), MemoryCell(FlipFlop(3, sensory="steered"), wiring.ring(3)))
    for value, cell in itertools.product((1e30, -1e30, torch.inf, -torch.inf), cells):
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


def test_pytorch_accepts_the_operator_of_networks():
    layer, x = LTC(2, wiring.ring(5), backend="fused_cpu").double(), torch.randn(2, 3, 2).double()
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, elapsed=0.7)[0], (x.requires_grad_(), *layer.parameters()))
    compiled = torch.compile(layer, backend="eager", fullgraph=False)
    assert torch.equal(compiled(x)[0], layer(x)[0])


def test_pytorch_accepts_the_operator_of_networks_whatever_its_arguments(monkeypatch: pytest.MonkeyPatch):
    from cffbook.recurrence.fused_cpu import network

    cell, calls = coupled(3, wiring.ring(3), "presynaptic").double(), []
    monkeypatch.setattr(network, "fused_network", lambda *arguments: calls.append(arguments) or fused(*arguments))
    fused = torch.ops.cffbook.fused_network.default
    unroll(cell, torch.randn(2, 4, 3, 2).double(), elapsed=0.7, lengths=torch.tensor([4, 2]), backend="fused_cpu")
    (arguments,) = calls
    inputs, *values, places, unfolds = arguments
    tensors = [value.detach().requires_grad_() for value in (inputs, *values)]
    torch.library.opcheck(fused, (*tensors, places, unfolds))


@pytest.mark.parametrize("cell", [FlipFlop(2), MemoryCell(FlipFlop(2), wiring.dense(2))], ids=["pairs", "network"])
def test_it_is_refused_to_differentiate_twice(cell):
    x = torch.randn(1, 3, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(unroll(cell, x, backend="fused_cpu")[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no gradients of gradients: name backend='sequential'"):
        gradient.sum().backward()


def test_transforms_of_torch_func_are_left_to_the_definition():
    layer, x = MemoryLayer(3, 4), torch.randn(2, 6, 3)
    parameters = dict(layer.named_parameters())
    found = torch.func.grad(lambda values: torch.func.functional_call(layer, values, (x,))[0].square().sum())(parameters)
    layer(x)[0].square().sum().backward()
    assert all(torch.allclose(found[name], parameter.grad, atol=1e-5) for name, parameter in parameters.items())
    layer.backend = "fused_cpu"
    with pytest.raises(ValueError, match="no rule for the transforms of torch.func"):
        torch.vmap(lambda one: layer(one)[0])(x[None])


HEALTHY = """
import os, threading, torch
from cffbook import MemoryLayer, unroll
from cffbook.recurrence.fused_cpu.pool import share
torch.set_num_threads(2)
layer = MemoryLayer(8, 32)
lines = torch.randn(8, 200, 32, 2)
with torch.no_grad():
    def run():
        return unroll(layer.cell, lines, backend="fused_cpu")[0].detach()

    expected, found = run(), []
    threads = [threading.Thread(target=lambda: found.append(run())) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]
    assert len(found) == 4 and all(torch.equal(each, expected) for each in found)
    child = os.fork()
    if child == 0:
        shares = []
        share(lambda first, end: shares.append((first, end)), 2, 10**9)
        torch.set_num_threads(1)
        os._exit(0 if sorted(shares) == [(0, 1), (1, 2)] and torch.equal(run(), expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
print("healthy")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_threads_at_once_and_a_fork_after_use_leave_it_healthy():
    done = subprocess.run([sys.executable, "-c", HEALTHY], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["healthy"], done.stderr


@pytest.mark.parametrize("team", [True, False], ids=["threads of torch", "threads of its own"])
def test_an_interrupted_call_waits_for_its_threads_and_the_next_one_runs(team: bool, monkeypatch: pytest.MonkeyPatch):
    if not team:
        monkeypatch.setattr(pool, "_team", lambda: None)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    begun, done = threading.Event(), []

    def interrupted(first: int, end: int) -> None:
        if first == 0:
            begun.wait(10)
            raise KeyboardInterrupt
        begun.set()
        time.sleep(0.2)
        done.append(end)

    with pytest.raises(KeyboardInterrupt):
        pool.share(interrupted, 2, 10**9)
    assert done == [2]
    pool.share(lambda first, end: done.append(end), 2, 10**9)
    assert sorted(done) == [1, 2, 2]


def test_what_it_cannot_run_is_refused_in_one_sentence():
    x = torch.zeros(1, 2, 4, 2)
    for cell, message in ((FlipFlop(4, solver=RungeKutta4(1)), "semi-implicit solver alone, got RungeKutta4"),
                          (FlipFlop(4).bfloat16(), "float32 or float64, got torch.bfloat16")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            unroll(cell, x, backend="fused_cpu")
