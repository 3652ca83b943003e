"""The continuous flip-flop holds a bit, toggles when steered, and never leaves its hull."""

import pytest
import torch

from cffbook import ExponentialEuler, FlipFlop, NearCritical, SemiImplicitEuler, unroll
from cffbook.analysis import frozen, latch


def command(bits: list[int | None], pairs: int, width: int = 1, rest: int = 0) -> torch.Tensor:
    """Lines (1, time, pairs, 2): each entry sets (1), resets (0) or holds (None) for `width` samples, then rests."""
    steps = []
    for bit in bits:
        line = torch.zeros(width + rest, pairs, 2)
        if bit is not None:
            line[:width, :, 1 - bit] = 1.0
        steps.append(line)
    return torch.cat(steps)[None]


@pytest.mark.parametrize("self_polarity", [-1, 0, 1])
def test_a_set_flip_flop_holds_its_value_until_reset(self_polarity):
    cell = FlipFlop(3, self_polarity=self_polarity)
    inputs = command([1, None, 0, None, 0, 1, 1, None], 3, width=2, rest=10)
    potentials, _ = unroll(cell, inputs, cell.held([1, 0, 1])[None])
    held = cell.read(potentials)[0].reshape(8, 12, 3)[:, -1]
    assert held[:, 0].tolist() == [True, True, False, False, False, True, True, True]
    assert bool((held == held[:, :1]).all())


def test_a_bit_is_held_for_a_million_samples():
    """With the proposal's inhibitory self synapse. Held means: the right neuron on, by a clear gap, at every sample."""
    cell = FlipFlop(2)
    assert bool((cell.value("self_reversal") < 0).all()) and bool((cell.value("self_conductance") > 0).all())
    start, block, sign = cell.held([1, 0])[None], 1000, torch.tensor([1.0, -1.0])
    with torch.no_grad():
        settling, potential = unroll(cell, torch.zeros(1, block, 2, 2), start)
        potentials, after = unroll(cell, torch.zeros(1, block, 2, 2), potential)
    for run in (settling, potentials):
        assert bool(((run[..., 0] - run[..., 1]) * sign > 0.7).all())
    # The map has no memory but the potential. A block that ends in the very potential, to the last bit, in which it
    # began is every later block too, up to a million samples and beyond.
    assert torch.equal(after, potential)


def test_ten_thousand_random_commands_leave_no_error():
    """Random set, reset and hold, of random duration, on 10,000 / 500 pairs at once: 500 commands for each of 20 pairs."""
    generator = torch.Generator().manual_seed(0)
    pairs, commands, width, gap = 20, 500, 2, 4
    cell = FlipFlop(pairs, solver=SemiImplicitEuler(6))
    choice = torch.randint(3, (commands, pairs), generator=generator)  # 0 hold, 1 set, 2 reset
    lines = torch.zeros(commands, width + gap, pairs, 2)
    lines[:, :width, :, 0] = (choice == 1)[:, None]
    lines[:, :width, :, 1] = (choice == 2)[:, None]
    state, expected = torch.zeros(pairs, dtype=torch.bool), []
    for now in choice:
        state = torch.where(now == 0, state, now == 1)
        expected.append(state)
    with torch.no_grad():
        potentials, _ = unroll(cell, lines.flatten(0, 1)[None], cell.held(torch.zeros(pairs))[None])
    read = cell.read(potentials)[0].unflatten(0, (commands, width + gap))
    assert pairs * commands == 10_000
    assert int((read[:, width:] != torch.stack(expected)[:, None]).sum()) == 0


def test_the_shared_line_sets_when_positive_resets_when_negative_and_holds_at_zero():
    cell = FlipFlop(1, scheme="shared")
    levels = torch.tensor([1.0, 0.0, -1.0, 0.0, 0.0, 1.0, 0.0]).repeat_interleave(5)[None, :, None]
    potentials, _ = unroll(cell, levels, cell.held([0])[None])
    assert cell.read(potentials)[0, 4::5, 0].tolist() == [True, True, False, False, False, True, True]


def test_a_steered_flip_flop_toggles_when_both_lines_are_pulsed_and_a_plain_one_cannot():
    pulses = torch.zeros(1, 200, 1, 2)
    pulses[:, ::10] = 1.0
    read = {}
    for sensory in ("plain", "steered"):
        cell = FlipFlop(1, sensory=sensory, solver=SemiImplicitEuler(2))
        potentials, _ = unroll(cell, pulses, cell.held([0])[None])
        read[sensory] = cell.read(potentials)[0, 9::10, 0].tolist()
    assert read["steered"] == [True, False] * 10
    # The same pulse on both neurons of a symmetric pair cannot exchange them: it forgets or keeps, but never toggles.
    assert read["plain"] != [True, False] * 10 and len(set(read["plain"][1:])) == 1


def test_a_symmetric_pair_with_exchanged_inputs_is_the_pair_exchanged():
    torch.manual_seed(0)
    for sensory in ("plain", "steered"):
        cell = FlipFlop(3, sensory=sensory)
        inputs, start = torch.randn(2, 40, 3, 2), torch.randn(2, 3, 2) * 0.3
        forward, _ = unroll(cell, inputs, start)
        exchanged, _ = unroll(cell, inputs.flip(-1), start.flip(-1))
        assert torch.equal(forward.flip(-1), exchanged)


def test_pairs_are_independent():
    cell, inputs = FlipFlop(4, sensory="steered"), torch.randn(1, 30, 4, 2)
    changed = inputs.clone()
    changed[:, :, 2] += 1
    before, after = unroll(cell, inputs)[0], unroll(cell, changed)[0]
    others = [0, 1, 3]
    assert torch.equal(before[:, :, others], after[:, :, others]) and not torch.equal(before[:, :, 2], after[:, :, 2])


@pytest.mark.parametrize("scheme", ["set_reset", "shared"])
@pytest.mark.parametrize("sensory", ["plain", "steered"])
@pytest.mark.parametrize("self_polarity", [-1, 0, 1])
def test_every_gradient_is_right_and_differentiable_again(scheme, sensory, self_polarity):
    torch.manual_seed(0)
    cell = FlipFlop(2, scheme, sensory, self_polarity, SemiImplicitEuler(2)).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(0.3 * torch.randn_like(parameter) + 0.1)
    inputs = torch.randn(2, 3, *cell.input_shape, dtype=torch.float64, requires_grad=True)
    potential = torch.randn(2, 2, 2, dtype=torch.float64, requires_grad=True)
    elapsed = (torch.rand(2, 3, dtype=torch.float64) + 0.1).requires_grad_()
    names, parameters = zip(*cell.named_parameters(), strict=True)
    assert len(names) == len(cell.parameter_names())

    def run(x, v, dt, *_):
        return unroll(cell, x, v, dt, backend="sequential")[0]

    assert torch.autograd.gradcheck(run, (inputs, potential, elapsed, *parameters))
    assert torch.autograd.gradgradcheck(lambda x: run(x, potential, elapsed), (inputs,))


@pytest.mark.parametrize("sensory", ["plain", "steered"])
@pytest.mark.parametrize("self_polarity", [-1, 0, 1])
def test_the_learning_start_is_at_the_onset_of_latching(self_polarity, sensory):
    torch.manual_seed(0)
    for criticality, sign in ((1.0, 0), (1.1, 1), (0.9, -1)):
        cell = FlipFlop(50, sensory=sensory, self_polarity=self_polarity, init=NearCritical(100, criticality))
        now = latch(frozen(cell))
        assert float(now.rest.abs().max()) < 1e-6
        # softplus and its inverse round to 1e-7 in float32.
        assert float((now.margin if sign == 0 else torch.relu(-sign * now.margin)).abs().max()) < 1e-6
    capacitance = cell.value("capacitance")
    assert bool((capacitance >= 1 - 1e-5).all()) and bool((capacitance <= 100 + 1e-3).all())
    assert bool(capacitance.log().std() > 1.0)  # log-uniform over two decades has 1.33


def test_assigned_values_are_read_back():
    cell = FlipFlop(2).assign({"capacitance": torch.tensor([[1.0], [2.0]]), "self_reversal": -0.7, "leak_reversal": -0.2})
    assert torch.allclose(cell.value("capacitance"), torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
    assert torch.allclose(cell.value("self_reversal"), torch.tensor(-0.7))
    assert torch.allclose(cell.value("leak_reversal"), torch.tensor(-0.2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FlipFlop(0), "expected pairs to be a whole number of at least 1, got 0"),
        (lambda: FlipFlop(1, scheme="set"), "unknown input scheme 'set': choose one of set_reset, shared"),
        (lambda: FlipFlop(1, sensory="jk"), "unknown kind of sensory synapse 'jk': choose one of plain, steered"),
        (lambda: FlipFlop(1, self_polarity=2), "self_polarity must be -1, 0 or"),
        (lambda: FlipFlop(1).assign({"capacity": 1.0}), "unknown parameter 'capacity': this flip-flop has capacitance"),
        (lambda: FlipFlop(1).assign({"self_reversal": 1.0}), "self_reversal must be negative, got 1"),
        (lambda: FlipFlop(1).assign({"steering_slope": 1.0}), "unknown parameter 'steering_slope'"),
        (lambda: NearCritical(0.5), "slowest must be at least 1"),
        (lambda: FlipFlop(9, init=NearCritical(closed=0.0)), "closed must keep the sensory gates from leaking 0.5 or more, got 0"),
        (lambda: FlipFlop(9, sensory="steered", init=NearCritical(10.0, closed=0.0)), "from leaking 0.5 or more, got 0.0: 1 and above always do"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_exponential_solver_latches_too():
    cell = FlipFlop(1, solver=ExponentialEuler(4))
    potentials, _ = unroll(cell, command([1, None, 0, None], 1, width=3, rest=9), cell.held([0])[None])
    assert cell.read(potentials)[0, 11::12, 0].tolist() == [True, True, False, False]
