"""What `fused_gpu` is held to, on any device: in a process with TRITON_INTERPRET=1 on the CPU, else on a GPU.

Run as a script it goes through all cases on the CPU and writes one JSON object, the error of each case or null.
"""

import json
import sys
import traceback
from collections.abc import Callable

import agreement
import pytest
import torch

from cffbook import LTC, FlipFlop, MemoryLayer, SemiImplicitEuler, unroll, wiring
from cffbook.lateral import MemoryCell

SETTINGS = [
    # first values, pairs, batch, time, scheme, sensory, self polarity, unfolds, elapsed, padded, float
    ("latch", 5, 3, 9, "set_reset", "steered", -1, 1, "sample", True, torch.float32),
    ("slow", 5, 4, 8, "shared", "steered", 1, 2, "own", True, torch.float64),
    ("scattered", 2, 2, 7, "set_reset", "plain", 0, 3, "sequence", False, torch.float64),
    ("slow", 33, 2, 3, "shared", "plain", -1, 6, "one", False, torch.float32),  # three programs, the last one not full
    ("steep", 7, 7, 1, "set_reset", "steered", 0, 2, "neuron", False, torch.float64),
    ("slow", 1, 1, 70, "set_reset", "steered", -1, 1, "sample", False, torch.float32),  # longer than FLUSH
    ("latch", 3, 4, 66, "set_reset", "plain", -1, 1, "one", True, torch.float64),
    ("latch", 3, 2, 3, "shared", "steered", -1, 1, "own", False, torch.float64),  # shorter than samples are loaded ahead
    ("scattered", 2, 3, 13, "set_reset", "steered", 1, 1, "sequence", True, torch.float64),
    ("latch", 4, 2, 4, "shared", "plain", 1, 9, "sample", True, torch.float64),  # more than MANY unfolds
    ("scattered", 3, 3, 5, "set_reset", "steered", -1, 8, "neuron", True, torch.float32),
    ("slow", 64, 1, 2, "set_reset", "steered", -1, 4, "sequence", True, torch.float64),
]

TILES = [
    # wiring, batch, time, scheme, sensory, self polarity, unfolds, elapsed, padded, float
    (wiring.dense(7), 3, 5, "set_reset", "steered", -1, 2, "sample", True, torch.float32),
    (wiring.tiles(20, 5), 17, 2, "shared", "plain", 1, 1, "own", True, torch.float64),  # two blocks of up to three tiles, two of sequences
    (wiring.ring(20), 2, 3, "shared", "steered", 0, 3, "sequence", False, torch.float64),
    (wiring.dense(24), 2, 2, "set_reset", "plain", -1, 2, "neuron", False, torch.float32),
    (wiring.tiles(6, 3), 1, 66, "set_reset", "steered", -1, 1, "one", False, torch.float64),  # longer than FLUSH
]


def fused(cell, inputs, potential, elapsed, lengths):
    """`fused_gpu`, the way the comparisons call a backend."""
    return unroll(cell, inputs, potential, elapsed, lengths, backend="fused_gpu")


def fused_first(cell, inputs, potential, elapsed, lengths):
    return unroll(cell, inputs, potential, elapsed, lengths, backend="fused_gpu", first=True)


def definition_first(cell, inputs, potential, elapsed, lengths):
    return unroll(cell, inputs, potential, elapsed, lengths, backend="sequential", first=True)


def agree(cell, drawn: dict, batch: int, time: int, times: str, padded: bool, device: str, runs=(fused, agreement.definition)) -> None:
    """Everything of both runs, and of the definition in float64, which tells what rounding makes of it."""
    like = next(cell.parameters())
    each = (1,) * (len(cell.state_shape) - 1)
    own, neuron = (batch, time, cell.state_shape[0], *each), (batch, time, *cell.state_shape)
    shape = {"one": (), "sequence": (batch,), "sample": (batch, time), "own": own, "neuron": neuron}[times]
    start, elapsed = torch.randn(batch, *cell.state_shape).to(like) * 0.3, torch.rand(shape).to(like) + 0.3
    lengths = torch.randint(0, time + 1, (batch,)).to(device) if padded else None
    given = (drawn["inputs"].to(device), start.to(device), elapsed.to(device), lengths)
    cell = cell.to(device)
    found, expected = (agreement.everything(cell, run, *given) for run in runs)
    finer = agreement.exact(cell, *given) if like.dtype == torch.float32 and runs[1] is agreement.definition else None
    agreement.assert_agrees(found, expected, finer)


def pairs(setting, device: str, runs=(fused, agreement.definition)) -> None:
    init, size, batch, time, scheme, kind, polarity, unfolds, times, padded, dtype = setting
    cell = agreement.make(init, size, kind, scheme, unfolds, dtype, polarity)
    agree(cell, {"inputs": agreement.drive("noise", cell, batch, time)}, batch, time, times, padded, device, runs)


def tiles(setting, device: str, runs=(fused, agreement.definition)) -> None:
    lateral, batch, time, scheme, kind, polarity, unfolds, times, padded, dtype = setting
    flip_flops = agreement.make("slow", lateral.size, kind, scheme, unfolds, torch.float32, polarity)
    cell = MemoryCell(flip_flops, lateral).to(dtype)
    agree(cell, {"inputs": agreement.drive("noise", flip_flops, batch, time)}, batch, time, times, padded, device, runs)


def of_the_first_neurons_alone(device: str) -> None:
    pairs(SETTINGS[1], device, (fused_first, definition_first))
    tiles(TILES[0][:-1] + (torch.float64,), device, (fused_first, definition_first))


def huge_and_infinite_inputs_are_gates_wholly_open_or_closed_without_a_gradient(device: str) -> None:
    solver = SemiImplicitEuler(2)
    flip_flops = FlipFlop(3, solver=solver), FlipFlop(3, "shared", "steered", solver=solver)
    for cell in (*flip_flops, MemoryCell(FlipFlop(3, solver=solver), wiring.ring(3))):
        cell = cell.to(device)
        for value in (1e30, -torch.inf, torch.inf):
            given = torch.full((2, 2, *cell.input_shape), value), torch.zeros(2, *cell.state_shape), torch.tensor(1.0)
            given = (*(each.to(device) for each in given), None)
            found, expected = (agreement.everything(cell, run, *given) for run in (fused, agreement.definition))
            assert not found["d inputs"].any()
            # A shut gate of float32 conducts 2^-30.
            assert all(torch.allclose(found[name], right, rtol=1e-5, atol=1e-5) for name, right in expected.items())


def nan_in_an_input_is_seen_and_not_hidden(device: str) -> None:
    x = torch.zeros(2, 4, 2, 2, device=device)
    x[0, 2, 0] = torch.nan
    potentials, _ = fused(FlipFlop(2).to(device), x, None, 1.0, None)
    coupled = fused(MemoryCell(FlipFlop(2), wiring.dense(2)).to(device), x, None, 1.0, None)[0]
    assert torch.isnan(coupled[0, 3:]).all() and torch.isfinite(coupled[1]).all()
    assert torch.isnan(potentials[0, 2:, 0]).all() and torch.isfinite(potentials[1]).all() and torch.isfinite(potentials[0, :, 1]).all()


def padding_holds_the_very_potential(device: str) -> None:
    x, start = torch.randn(2, 6, 3, 2, device=device), torch.randn(2, 3, 2, device=device)
    x[0, 3:] = torch.nan
    potentials, last = fused(FlipFlop(3).to(device), x, start, 1.0, torch.tensor([2, 0], device=device))
    assert torch.equal(last[0], potentials[0, 1]) and torch.equal(last[1], start[1]) and not potentials[0, 2:].any()


def no_samples_and_no_sequences_are_run(device: str) -> None:
    for cell in (FlipFlop(2).to(device), MemoryCell(FlipFlop(2), wiring.dense(2)).to(device)):
        v = torch.randn(3, 2, 2, device=device, requires_grad=True)
        last = fused(cell, torch.zeros(3, 0, 2, 2, device=device), v, 1.0, None)[1]
        last.sum().backward()
        assert torch.equal(last, v) and bool((v.grad == 1).all())
        assert fused(cell, torch.zeros(0, 4, 2, 2, device=device), None, 1.0, None)[0].shape == (0, 4, 2, 2)


def pytorch_accepts_the_operators(device: str) -> None:
    from cffbook.recurrence.fused_gpu.pairs import fused_pairs
    from cffbook.recurrence.fused_gpu.tiles import fused_tiles

    form = FlipFlop(3, sensory="steered").double().to(device).form()
    lines = torch.randn(2, 3, 3, 2).double().to(device).requires_grad_()
    for lengths in (None, torch.tensor([3, 2], device=device)):
        start, elapsed = lines.new_zeros(2, 3, 2), lines.new_ones(1, 1, 1, 1)
        torch.library.opcheck(fused_pairs, (lines, form.values.detach().requires_grad_(), start, elapsed, lengths, 2, True, False))
    pairs, *tiles = MemoryCell(FlipFlop(3, sensory="steered"), wiring.ring(3)).double().to(device).tiles(16)
    values, gates, matrices = (each.detach().requires_grad_() for each in (pairs.values, *tiles))
    torch.library.opcheck(fused_tiles, (lines, values, start, elapsed, gates, matrices, lengths, 3, 2, True, False))


def a_layer_is_compiled_around_it(device: str) -> None:
    layer, x = MemoryLayer(3, 4, backend="fused_gpu").to(device), torch.randn(2, 3, 3, device=device)
    assert torch.equal(torch.compile(layer, backend="eager")(x)[0], layer(x)[0])


def what_is_coupled_in_other_ways_is_refused_in_one_sentence(device: str) -> None:
    layers = {
        "at most 32 flip-flops, got lateral synapses that join 40": MemoryLayer(3, 40, wiring.ring(40), backend="fused_gpu"),
        "got MemoryCell with a gate for each synapse": MemoryLayer(3, 4, wiring.ring(4), lateral="per_synapse", backend="fused_gpu"),
        "got LTCCell with a gate for each synapse": LTC(3, wiring.ring(4), backend="fused_gpu"),
    }
    for message, layer in layers.items():
        with pytest.raises(ValueError, match=message):
            layer.to(device)(torch.zeros(1, 2, 3, device=device))


def it_is_refused_to_differentiate_twice(device: str) -> None:
    x = torch.randn(1, 2, 2, 2, device=device, requires_grad=True)
    (gradient,) = torch.autograd.grad(fused(FlipFlop(2).to(device), x, None, 1.0, None)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError):
        gradient.sum().backward()


def transforms_of_torch_func_are_left_to_the_definition(device: str) -> None:
    layer = MemoryLayer(3, 4, backend="fused_gpu").to(device)
    with pytest.raises(ValueError, match="no rule for the transforms of torch.func"):
        torch.vmap(lambda one: layer(one)[0])(torch.randn(1, 2, 6, 3, device=device))


CLAIMS = (
    of_the_first_neurons_alone,
    huge_and_infinite_inputs_are_gates_wholly_open_or_closed_without_a_gradient,
    nan_in_an_input_is_seen_and_not_hidden,
    padding_holds_the_very_potential,
    no_samples_and_no_sequences_are_run,
    pytorch_accepts_the_operators,
    a_layer_is_compiled_around_it,
    what_is_coupled_in_other_ways_is_refused_in_one_sentence,
    it_is_refused_to_differentiate_twice,
    transforms_of_torch_func_are_left_to_the_definition,
)
CASES: dict[str, Callable[[str], None]] = {
    **{f"values and gradients, {setting}": lambda device, setting=setting: pairs(setting, device) for setting in SETTINGS},
    **{f"values and gradients, {setting}": lambda device, setting=setting: tiles(setting, device) for setting in TILES},
    **{claim.__name__: claim for claim in CLAIMS},
}


def main() -> None:
    """Every case on the CPU, in an order that does not matter."""
    torch.set_num_threads(1)
    errors: dict[str, str | None] = {}
    for name, case in CASES.items():
        try:
            torch.manual_seed(0)
            case("cpu")
            errors[name] = None
        except Exception:  # whatever it is, the test of this case fails with it, and the other cases are still run
            errors[name] = traceback.format_exc()
    json.dump(errors, sys.stdout)


if __name__ == "__main__":
    main()
