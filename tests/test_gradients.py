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
    with pytest.raises(TypeError, match="LSTM, GRU, LTC, FlipFlop or MemoryCell"):
        gradients.step_of(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="one layer in one direction"):
        gradients.step_of(nn.GRU(2, 2, bidirectional=True))
    assert math.isfinite(float(gradients.random_projection(3)(torch.zeros(1, 3))))


def test_the_inequality_holds_for_every_model_of_the_proposal():
    inputs = 0.1 * torch.randn(2, 120, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    measured = {}
    for name, (layer, state) in gradients.subjects(16, 120).items():
        result = gradients.measure(layer, inputs, None if state is None else state.expand(2, -1))
        measured[name] = result.measured
        if name != "attention":
            # Products of 120 matrices in float64.
            assert bool((result.measured <= result.jacobian_bound * (1 + 1e-11) + 1e-300).all()), name
    lasting = {name for name, norms in measured.items() if gradients.reach(norms) >= 119}
    assert lasting == {"norm-preserving RNN", "LSTM, forget gates open", "CFF, slow and closed", "attention"}


def test_subjects_are_the_same_twice_and_leave_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, second = gradients.subjects(), gradients.subjects()
    assert torch.equal(torch.rand(3), expected)
    for name in first:
        for one, other in zip(first[name].layer.parameters(), second[name].layer.parameters(), strict=True):
            assert torch.equal(one, other), name


def test_an_open_forget_gate_keeps_the_cell_for_the_horizon():
    torch.manual_seed(0)
    layer = gradients.open_forget_gates(nn.LSTM(4, 64, batch_first=True), 1000).double()
    forget = torch.sigmoid(layer.bias_ih_l0[64:128].detach())
    keeps = 1 / (1 - forget)  # time constant in samples: 1 + u, u uniform in [1, 999]
    assert 2 <= float(keeps.min()) and float(keeps.max()) <= 1000.001
    assert 400 < float(keeps.mean()) < 600
    with pytest.raises(ValueError, match="at least 3"):
        gradients.open_forget_gates(nn.LSTM(2, 2), 2)


def test_a_scaled_network_has_all_singular_values_equal():
    singular = torch.linalg.svdvals(gradients.scaled_rnn(7, 1.25, seed=2).recurrent.weight)
    torch.testing.assert_close(singular, torch.full((7,), 1.25, dtype=torch.float64), rtol=1e-12, atol=0)


def test_the_reach_is_the_last_distance_before_the_norm_is_lost():
    norms = torch.tensor([1.0, 0.1, 0.01, 0.5])[:, None]
    assert gradients.reach(norms, 0.05) == 1
    assert gradients.reach(norms, 1e-3) == 3


def test_figures_draw_what_was_measured(inputs):
    pytest.importorskip("plotly")
    from cffbook import figures

    results = {norm: gradients.measure(gradients.scaled_rnn(WIDTH, float(norm)), inputs) for norm in ("0.9", "1.1")}
    figure = figures.gradient_norms(results, hidden=["1.1"])
    assert [trace.name for trace in figure.data] == ["0.9", "1.1"]
    assert figure.data[1].visible == "legendonly"
    expected = results["0.9"].measured.mean(1)[torch.tensor(figure.data[0].x)]
    torch.testing.assert_close(torch.tensor(figure.data[0].y, dtype=torch.float64), expected, rtol=1e-3, atol=0)
    sliding = figures.bound_and_measured(results)
    assert [frame.name for frame in sliding.frames] == [step.label for step in sliding.layout.sliders[0].steps] == ["0.9", "1.1"]
    assert len(sliding.to_json()) < 300_000
    plain = gradients.measure(nn.GRU(WIDTH, 4, batch_first=True).double(), inputs, bounds=False)
    with pytest.raises(ValueError, match="no weight bound"):
        figures.bound_and_measured({"GRU": plain})


def test_what_lies_below_the_floor_is_not_drawn():
    pytest.importorskip("plotly")
    from cffbook import figures

    norms = torch.logspace(0, -60, 61, dtype=torch.float64)[:, None]
    figure = figures.gradient_norms({"steep": gradients.Measurement(norms)})
    drawn = dict(zip(figure.data[0].x, figure.data[0].y, strict=True))
    assert drawn[10] == pytest.approx(1e-10) and drawn[60] is None
