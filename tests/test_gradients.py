import math

import pytest
import torch
from torch import nn

from cffbook import gradients
from cffbook.flipflop import FlipFlop, NearCritical
from cffbook.neuron import LTC
from cffbook.norm_preserving import NormPreservingRNN, PlainRNN, sort_pairs

WIDTH, TIME, BATCH = 6, 41, 6  # batch == width: a mixed-up axis would show


@pytest.fixture
def inputs():
    return torch.randn(BATCH, TIME, WIDTH, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


def layers():
    torch.manual_seed(4)
    recurrent = {
        "plain RNN": PlainRNN(WIDTH),
        "rectified RNN": PlainRNN(WIDTH, torch.relu),
        "norm-preserving RNN": NormPreservingRNN(WIDTH),
        "torch RNN": nn.RNN(WIDTH, WIDTH, batch_first=True),
        "time first": nn.GRU(WIDTH, 4),
        "LSTM": nn.LSTM(WIDTH, 5, batch_first=True),
        "GRU": nn.GRU(WIDTH, 7, batch_first=True),
        "LTC": LTC(WIDTH, 5),
        "CFF": FlipFlop(WIDTH // 2),
        "CFF near the onset of latching": FlipFlop(WIDTH, "shared", init=NearCritical(50)),
        "steered CFF": FlipFlop(WIDTH // 2, sensory="steered"),
    }
    return {name: layer.double() for name, layer in recurrent.items()}


@pytest.mark.parametrize("name", layers())
def test_the_inequality_holds_at_every_distance(name, inputs):
    result = gradients.measure(layers()[name], inputs)
    assert result.measured.shape == (TIME + 1, BATCH)
    # Rounding: each of 41 products of float64 matrices errs by some 1e-15.
    assert bool((result.measured <= result.jacobian_bound * (1 + 1e-11)).all())
    if result.weight_bound is not None:
        assert bool((result.jacobian_bound <= result.weight_bound * (1 + 1e-11)).all())


@pytest.mark.parametrize("name", layers())
def test_the_gradient_is_that_of_the_whole_sequence(name, inputs):
    """The oracle runs the layer over all samples at once and differentiates its last state with respect to the first."""
    layer = layers()[name]
    step, size = gradients.step_of(layer)
    state = torch.zeros(BATCH, size, dtype=torch.float64).requires_grad_()
    if isinstance(layer, FlipFlop):
        last = gradients.unroll(layer, inputs.unflatten(-1, layer.input_shape), state.unflatten(-1, (layer.pairs, 2)))[1].flatten(1)
    elif isinstance(layer, nn.LSTM):
        last = torch.cat(layer(inputs, tuple(part[None].contiguous() for part in state.split(5, -1)))[1], -1)[0]
    elif isinstance(layer, nn.RNNBase):
        last = layer(inputs if layer.batch_first else inputs.transpose(0, 1), state[None])[1][0]
    else:
        last = layer(inputs, state)[1]
    (expected,) = torch.autograd.grad(gradients.random_projection(size)(last).sum(), state)
    measured = gradients.measure(layer, inputs, bounds=False).measured
    torch.testing.assert_close(measured[-1], expected.norm(dim=-1), rtol=1e-10, atol=1e-300)
    assert torch.allclose(measured[0], torch.ones(BATCH, dtype=torch.float64))


def test_a_linear_recurrence_has_the_gradient_of_its_matrix_power(inputs):
    layer = PlainRNN(WIDTH, nn.Identity()).double()
    direction = torch.randn(WIDTH, dtype=torch.float64)
    step, _ = gradients.step_of(layer)
    measured = gradients.gradient_norms(step, torch.zeros(BATCH, WIDTH, dtype=torch.float64), inputs, lambda last: last @ direction)
    weight = layer.recurrent.weight.detach()
    for distance in (0, 1, 2, TIME):
        expected = (torch.linalg.matrix_power(weight.T, distance) @ direction).norm()
        torch.testing.assert_close(measured[distance], expected.expand(BATCH), rtol=1e-10, atol=1e-300)


def test_the_norm_preserving_rnn_keeps_the_gradient_norm_over_1000_samples():
    torch.manual_seed(0)
    inputs = torch.randn(2, 1000, 8, dtype=torch.float64)
    result = gradients.measure(NormPreservingRNN(8).double(), inputs)
    # 1,000 orthogonal products, each good to some 1e-15.
    assert float((result.measured - 1).abs().max()) < 1e-11
    assert float((result.weight_bound - 1).abs().max()) < 1e-11


def test_a_rectifier_loses_the_gradient_although_its_bound_stays_at_one():
    torch.manual_seed(0)
    inputs = torch.randn(2, 200, 8, dtype=torch.float64)
    result = gradients.measure(NormPreservingRNN(8, torch.relu).double(), inputs)
    assert float((result.weight_bound - 1).abs().max()) < 1e-11
    assert float(result.measured[-1].max()) < 1e-6


def test_the_orthogonal_matrix_stays_orthogonal_under_training():
    torch.manual_seed(0)
    layer = NormPreservingRNN(8).double()
    optimiser = torch.optim.Adam(layer.parameters(), 0.05)
    before = layer.recurrent.weight.detach().clone()
    for _ in range(20):
        optimiser.zero_grad()
        layer(torch.randn(3, 5, 8, dtype=torch.float64))[0].square().sum().backward()
        optimiser.step()
    weight = layer.recurrent.weight.detach()
    assert float((weight - before).abs().max()) > 0.1
    assert float((weight.T @ weight - torch.eye(8, dtype=torch.float64)).abs().max()) < 1e-12


def test_streaming_equals_the_whole_sequence(inputs):
    for layer in (PlainRNN(WIDTH).double(), NormPreservingRNN(WIDTH).double()):
        outputs, last = layer(inputs)
        state, parts = None, []
        for now in inputs.split(1, 1):
            part, state = layer(now, state)
            parts.append(part)
        torch.testing.assert_close(torch.cat(parts, 1), outputs, rtol=0, atol=1e-13)
        torch.testing.assert_close(state, last, rtol=0, atol=1e-13)


def test_layers_pass_gradcheck():
    torch.manual_seed(0)
    inputs = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True)
    for layer in (PlainRNN(4).double(), NormPreservingRNN(4).double()):
        names, values = zip(*layer.named_parameters(), strict=True)

        def run(inputs, *values, layer=layer, names=names):
            return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (inputs,))

        assert torch.autograd.gradcheck(run, (inputs, *values))


def test_sorting_pairs_permutes():
    values = torch.randn(50, 8, dtype=torch.float64)
    after = sort_pairs(values)
    assert torch.equal(after.sort().values, values.sort().values)
    assert bool((after[:, 0::2] <= after[:, 1::2]).all())


def test_an_input_gradient_reaches_only_the_samples_a_layer_reads(inputs):
    def last_and_third(x):
        return x + 2 * x[:, 2:3]

    measured = gradients.input_gradient_norms(last_and_third, inputs, gradients.random_projection(WIDTH))
    expected = torch.zeros(TIME, BATCH, dtype=torch.float64)
    expected[0], expected[TIME - 3] = 1, 2
    torch.testing.assert_close(measured, expected)


def test_a_bound_is_the_running_product_of_its_factors():
    factors = torch.tensor([[2.0], [3.0], [0.5]], dtype=torch.float64)
    expected = torch.tensor([4.0, 2.0, 6.0, 12.0], dtype=torch.float64)
    torch.testing.assert_close(gradients.bound(torch.tensor([4.0], dtype=torch.float64), factors)[:, 0], expected)


def test_errors_name_what_is_expected():
    with pytest.raises(ValueError, match="even number"):
        sort_pairs(torch.zeros(1, 3))
    with pytest.raises(ValueError, match=r"\(batch, time, 4\)"):
        PlainRNN(4)(torch.zeros(1, 3, 5))
    with pytest.raises(TypeError, match="LSTM, GRU, LTC or FlipFlop"):
        gradients.step_of(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="one layer in one direction"):
        gradients.step_of(nn.GRU(2, 2, bidirectional=True))
    assert math.isfinite(float(gradients.random_projection(3)(torch.zeros(1, 3))))
