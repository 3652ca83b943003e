"""The LTC neuron: against ncps, against its own equation, and as a layer."""

import copy
import pickle

import pytest
import torch
from torch.nn.functional import softplus

from cffbook import LTC, ExponentialEuler, RungeKutta4, SemiImplicitEuler, wiring
from cffbook.neuron import LTCCell, inverse_softplus
from cffbook.recurrence import unroll


def ncps_pair(kind: str, implicit: bool, inputs: int = 3):
    ncps = pytest.importorskip("ncps")
    from ncps.torch import LTC as Theirs

    torch.manual_seed(0)
    wirings = {
        "full": 7,
        "ncp": ncps.wirings.NCP(6, 5, 2, 3, 2, 4, 3),
        "auto": ncps.wirings.AutoNCP(16, 4),
        "random": ncps.wirings.Random(9, 3, sparsity_level=0.5),
    }
    theirs = Theirs(inputs, wirings[kind], implicit_param_constraints=implicit)
    with torch.no_grad():  # away from the initial values, so that no factor of one hides
        for name, parameter in theirs.named_parameters():
            if "mask" not in name:
                parameter.mul_(1 + 0.2 * torch.rand_like(parameter)).add_(0.1 * torch.rand_like(parameter) * (parameter == 0))
    return theirs, LTC.from_ncps(theirs)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("kind", ["full", "ncp", "auto", "random"])
def test_weights_of_ncps_give_its_outputs_over_200_samples(kind, implicit):
    theirs, ours = ncps_pair(kind, implicit)
    inputs = torch.randn(7, 200, 3)  # batch == neurons for the fully connected one
    expected, state = theirs(inputs)
    outputs, potential = ours(inputs)
    assert outputs.shape == expected.shape
    assert torch.allclose(outputs, expected, rtol=0, atol=1e-5) and torch.allclose(potential, state, rtol=0, atol=1e-5)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("kind", ["full", "ncp"])
def test_weights_of_ncps_give_its_gradients(kind, implicit):
    theirs, _ = ncps_pair(kind, implicit)
    theirs = theirs.double()
    ours = LTC.from_ncps(theirs)
    mine, yours = (torch.randn(4, 200, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_() for _ in "ab")
    ours(mine)[0].square().sum().backward()
    theirs(yours)[0].square().sum().backward()
    assert float((mine.grad - yours.grad).abs().max()) < 1e-5 * float(yours.grad.abs().max())
    theirs_by_name = dict(theirs.rnn_cell.named_parameters())
    for raw, name in ((ours.cell.raw_capacitance, "cm"), (ours.cell.raw_leak_conductance, "gleak")):
        compare(raw, raw.grad, theirs_by_name[name], implicit)
    compare(ours.cell.leak_reversal, ours.cell.leak_reversal.grad, theirs_by_name["vleak"], None)
    for synapses, prefix in ((ours.cell.recurrent, ""), (ours.cell.sensory, "sensory_")):
        at = synapses.source, synapses.target
        compare(synapses.raw_conductance, synapses.raw_conductance.grad, theirs_by_name[prefix + "w"], implicit, at)
        for own, name in ((synapses.slope, "sigma"), (synapses.half_activation, "mu"), (synapses.reversal, "erev")):
            compare(own, own.grad, theirs_by_name[prefix + name], None, at)


def compare(raw, gradient, parameter, implicit, at=None):
    """Their parameter is raw too when `implicit`, else the physical value, whose softplus derivative ours carries."""
    expected = parameter.grad if at is None else parameter.grad[at]
    if implicit is False:
        expected = expected * torch.sigmoid(raw.detach())
    # ncps adds 1e-8 to every denominator, which is the whole difference.
    assert float((gradient - expected).abs().max()) < 1e-5 * max(1.0, float(expected.abs().max()))


def test_ncps_with_a_mixed_memory_is_refused():
    pytest.importorskip("ncps")
    from ncps.torch import LTC as Theirs

    with pytest.raises(ValueError, match="mixed_memory"):
        LTC.from_ncps(Theirs(3, 4, mixed_memory=True))


def test_one_semi_implicit_unfold_is_the_equation_written_out():
    torch.manual_seed(0)
    cell = LTCCell(2, wiring.ring(5)).double()
    cell.solver = SemiImplicitEuler(1)
    u, v = torch.randn(1, 1, 2, dtype=torch.float64), torch.randn(1, 5, dtype=torch.float64)
    potentials, _ = unroll(cell, u, v, 0.7)
    c, g, leak, sensory, recurrent = cell.circuit()
    for i in range(5):
        numerator, denominator = c[i] / 0.7 * v[0, i] + g[i] * leak[i], c[i] / 0.7 + g[i]
        for synapses, source in ((sensory, u[0, 0]), (recurrent, v[0])):
            for j in range(len(source)):
                gate = torch.sigmoid(synapses.slope[j, i] * (source[j] - synapses.half_activation[j, i]))
                numerator = numerator + synapses.conductance[j, i] * gate * synapses.reversal[j, i]
                denominator = denominator + synapses.conductance[j, i] * gate
        assert float((potentials[0, 0, i] - numerator / denominator).detach()) == pytest.approx(0, abs=1e-15)


def test_a_neuron_alone_relaxes_to_its_leak_reversal_as_an_exponential():
    cell = LTCCell(1, wiring.independent(1), ExponentialEuler(1)).double()
    with torch.no_grad():
        cell.sensory.raw_conductance.fill_(-1e4)
    potentials, _ = unroll(cell, torch.zeros(1, 20, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64))
    rate = (softplus(cell.raw_leak_conductance) / softplus(cell.raw_capacitance)).item()
    time = torch.arange(1, 21, dtype=torch.float64)
    exact = cell.leak_reversal + (1 - cell.leak_reversal) * torch.exp(-rate * time)
    assert float((potentials[0, :, 0] - exact).abs().max()) < 1e-12


def test_absent_synapses_have_no_parameters():
    sparse, full = LTCCell(3, wiring.ring(10)), LTCCell(3, wiring.dense(10, self_connections=True))
    assert len(sparse.recurrent.slope) == wiring.ring(10).synapses
    assert len(full.recurrent.slope) == 100
    count = sum(parameter.numel() for parameter in sparse.parameters())
    assert count == 3 * 10 + 4 * 30 + 4 * wiring.ring(10).synapses


def test_a_wiring_for_other_inputs_is_refused():
    sensory = torch.ones(4, 5, dtype=torch.int8)
    with pytest.raises(ValueError, match="made for 4 inputs, got input_size=3"):
        LTCCell(3, wiring.Wiring(wiring.ring(5).polarity, sensory=sensory))


@pytest.mark.parametrize(("make", "message"), [
    (lambda: LTC(0, 5), "expected input_size to be a whole number of at least 1, got 0"),
    (lambda: LTC(3, 2.5), "expected wiring to be a whole number of at least 1, got 2.5"),
    (lambda: LTC(3, 5, backend="gpu"), "unknown backend 'gpu'"),
])  # fmt: skip
def test_a_layer_that_cannot_be_is_refused_when_it_is_made(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_layer_is_compiled_as_one_graph_and_printed_with_its_sizes():
    layer, inputs = LTC(3, 5), torch.randn(2, 9, 3)
    assert torch.equal(torch.compile(layer, backend="eager", fullgraph=True)(inputs)[0], layer(inputs)[0])
    assert "solver=SemiImplicitEuler(unfolds=6)" in repr(layer) and "(sensory): SynapseParameters(3, 5, synapses=15)" in repr(layer)


def test_every_gradient_of_the_layer_is_right():
    torch.manual_seed(0)
    layer = LTC(2, wiring.ring(3), RungeKutta4(1)).double()
    inputs = torch.randn(2, 3, 2, dtype=torch.float64, requires_grad=True)
    elapsed = torch.rand(2, 3, dtype=torch.float64) + 0.1
    parameters = list(layer.parameters())
    for solver in (RungeKutta4(1), SemiImplicitEuler(2)):
        layer.cell.solver = solver
        assert torch.autograd.gradcheck(lambda x, *_: layer(x, elapsed=elapsed, lengths=torch.tensor([3, 2]))[0], (inputs, *parameters))


def test_softplus_inverts_from_tiny_to_huge():
    values = torch.tensor([0.0, 1e-30, 1e-6, 0.5, 3.0, 50.0, 1e6], dtype=torch.float64)
    assert torch.allclose(softplus(inverse_softplus(values)), values, rtol=1e-9, atol=1e-300)
    for bad in (-1.0, torch.nan, torch.inf):
        with pytest.raises(ValueError, match="finite and at least 0"):
            inverse_softplus(torch.tensor(bad))


def test_the_layer_is_copied_pickled_and_saved_like_any_module():
    layer, inputs = LTC(3, 5), torch.randn(2, 9, 3)
    expected = layer(inputs)[0]
    other = LTC(3, 5)
    other.load_state_dict(layer.state_dict())
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), other):
        assert torch.equal(twin(inputs)[0], expected)


@pytest.mark.parametrize("batch", [1, 6])  # 6: batch == neurons
def test_stepping_one_sample_at_a_time_is_the_whole_sequence(batch):
    torch.manual_seed(0)
    layer, inputs, elapsed = LTC(3, 6), torch.randn(batch, 7, 3), torch.rand(batch, 7) + 0.2
    whole, last = layer(inputs, elapsed=elapsed)
    potential, steps = None, []
    for t in range(7):
        outputs, potential = layer(inputs[:, t : t + 1], potential, elapsed[:, t : t + 1])
        steps.append(outputs)
    assert torch.allclose(torch.cat(steps, 1), whole, atol=1e-6) and torch.allclose(potential, last, atol=1e-6)


def test_padding_changes_neither_outputs_nor_gradients():
    torch.manual_seed(0)
    layer = LTC(3, wiring.ring(5)).double()
    inputs, lengths = torch.randn(3, 6, 3, dtype=torch.float64), torch.tensor([6, 2, 0])
    for one, length in enumerate(lengths):
        inputs[one, length:] = torch.nan
    outputs, last = layer(inputs, lengths=lengths)
    outputs.square().sum().backward()
    together = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    for one, length in enumerate(lengths[:2]):
        alone, end = layer(inputs[one : one + 1, :length])
        alone.square().sum().backward()
        assert torch.allclose(outputs[one, :length], alone[0], atol=1e-12) and torch.allclose(last[one], end[0], atol=1e-12)
        assert not outputs[one, length:].any()
    assert not outputs[2].any()
    for padded, parameter in zip(together, layer.parameters(), strict=True):
        assert torch.allclose(padded, parameter.grad, atol=1e-10)
