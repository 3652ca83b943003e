"""What each kind of mixer is: its pattern, what it approximates, its recurrence, its times; against oracles of their own."""

import pytest
import torch

from cffbook.mixers import Attention, KernelAttention, MinGRU, StateSpace, build, patterns
from cffbook.mixers.linear import RandomFeatures
from cffbook.mixers.low_rank import Nystrom, pseudo_inverse
from cffbook.mixers.scan import linear_scan
from cffbook.mixers.state_space import convolve
from mixer_cases import small

torch.set_num_threads(1)
PATTERNS = {"local": patterns.Local(3), "sparse": patterns.Fixed(3, 1), "longformer": patterns.Band(4, 1)}


def mask(pattern, time, length=None):
    steps = torch.arange(time)
    return pattern(steps[:, None], steps[None], torch.full((1, 1, 1), length or time)).expand(1, time, time)[0]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", PATTERNS)
def test_an_output_depends_on_the_samples_of_its_pattern_and_on_no_other(name, causal):
    def sees(i, j):
        near = {"local": abs(i // 3 - j // 3) <= 1, "sparse": i // 3 == j // 3 or j % 3 == 2, "longformer": abs(i - j) <= 2 or 0 in (i, j)}
        return near[name] and (j <= i or not causal)

    torch.manual_seed(0)
    layer = Attention(4, 2, causal, PATTERNS[name]).double()
    x = torch.randn(1, 10, 4, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(lambda x: layer(x)[0], x)[0, :, :, 0].abs().sum((1, 3))
    assert torch.equal(jacobian > 0, torch.tensor([[sees(i, j) for j in range(10)] for i in range(10)]))


def test_a_pattern_that_sees_all_is_full_attention():
    torch.manual_seed(0)
    full, x = Attention(8, 2), torch.randn(3, 9, 8)
    band = Attention(8, 2, pattern=patterns.Band(18))
    band.load_state_dict(full.state_dict())
    lengths = torch.tensor([9, 0, 4])
    assert torch.allclose(band(x, lengths=lengths)[0], full(x, lengths=lengths)[0], atol=1e-6)


def test_every_block_sees_so_many_random_blocks_beside_its_neighbours():
    blocks = mask(patterns.RandomBlocks(4, 3, 0, causal=False), 80)[::4, ::4]
    assert torch.equal(mask(patterns.RandomBlocks(4, 3, 0, causal=False), 80), blocks.repeat_interleave(4, 0).repeat_interleave(4, 1))
    near = (torch.arange(20)[:, None] - torch.arange(20)).abs() <= 1
    assert (blocks | ~near).all() and ((blocks & ~near).sum(1) == 3).all()
    # Of 60 places drawn at random from 20, no one is expected to be hit nine times.
    assert (blocks & ~near).sum(0).max() < 9 and (blocks & ~near).sum(0).count_nonzero() > 14


def test_random_blocks_of_a_stream_are_those_of_the_whole_and_lie_in_the_past():
    whole, short = (mask(patterns.RandomBlocks(2, 2, 0, causal=True), time) for time in (30, 17))
    earlier = torch.ones(30, 30).tril().bool()
    assert torch.equal((whole & earlier)[:17, :17], short & earlier[:17, :17])
    assert ((whole[::2, ::2] & earlier[::2, ::2]).sum(1)[4:] == 4).all()  # itself, its neighbour, two at random


def test_random_blocks_lie_inside_the_sequence_and_global_samples_are_seen_and_see():
    seen = mask(patterns.RandomBlocks(2, 3, 2, causal=False), 40, length=21)
    assert not seen[2:20, 24:].any() and seen[:2].all() and seen[:, :2].all()


def test_more_random_features_come_closer_to_softmax_attention():
    torch.manual_seed(0)
    full, x = Attention(16, 2), torch.randn(4, 30, 16)
    errors = []
    for features in (16, 256, 4096):
        layer = KernelAttention(16, 2, features=features)
        layer.load_state_dict(full.state_dict(), strict=False)
        errors.append((layer(x)[0] - full(x)[0]).square().mean().sqrt().item())
    # The error of a mean falls by 4 for 16 times as many; that of a quotient of two means, of one draw, by somewhat less.
    assert errors[0] > 2 * errors[1] > 4 * errors[2] and errors[2] < 0.05 * full(x)[0].std()


def test_the_mean_product_of_random_features_is_the_exponential():
    torch.manual_seed(0)
    features = RandomFeatures(4, 200_000).double()
    query, key = torch.randn(6, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    products = features(query) * features(key) * 200_000
    error = products.std(1) / 200_000**0.5
    assert ((products.mean(1) - (query * key).sum(1).div(2).exp()).abs() < 4 * error).all()


def test_random_features_are_orthogonal_within_a_block_and_as_long_as_gaussian_ones():
    torch.manual_seed(0)
    rows = RandomFeatures(8, 800).projection
    products = rows[:8] @ rows[:8].T
    assert torch.allclose(products, products.diag().diag(), atol=1e-5)
    assert abs(rows.square().sum(1).mean() - 8) < 0.6  # four standard errors of a mean of 800 chi-squares of 8 degrees


def test_linear_attention_is_its_sum_written_out():
    torch.manual_seed(0)
    for causal in (False, True):
        layer, x = KernelAttention(6, 3, causal).double(), torch.randn(2, 131, 6, dtype=torch.float64)  # more than two chunks
        query, key, value = layer.query_key_value(x).unflatten(-1, (3, 3, 2)).permute(2, 0, 3, 1, 4)
        weights = torch.where(query > 0, query + 1, query.exp()) @ torch.where(key > 0, key + 1, key.exp()).transpose(-1, -2)
        weights = weights.tril() if causal else weights
        expected = layer.output((weights / weights.sum(-1, keepdim=True) @ value).transpose(1, 2).flatten(2))
        assert torch.allclose(layer(x)[0], expected, atol=1e-12)


def test_nystrom_with_a_landmark_for_each_sample_is_softmax_attention():
    torch.manual_seed(0)
    full, layer = Attention(8, 2).double(), Nystrom(8, landmarks=9, iterations=40).double()
    layer.load_state_dict(full.state_dict() | {"residual.weight": torch.zeros_like(layer.residual.weight)})
    x, lengths = torch.randn(3, 9, 8, dtype=torch.float64), torch.tensor([9, 5, 0])
    # The condition of a softmax matrix takes some of the 16 digits.
    assert torch.allclose(layer(x, lengths=lengths)[0], full(x, lengths=lengths)[0], atol=1e-8)


def test_the_iteration_finds_the_pseudo_inverse():
    torch.manual_seed(0)
    matrix = torch.rand(3, 5, 5, dtype=torch.float64).softmax(-1)
    matrix[0] = torch.ones(5, 5) / 5  # of rank 1
    assert torch.allclose(pseudo_inverse(matrix, 60), torch.linalg.pinv(matrix), atol=1e-6)


@pytest.mark.parametrize("name", ["synthesizer_random", "synthesizer_factorised"])
def test_a_synthesizer_mixes_all_sequences_with_the_same_weights(name):
    torch.manual_seed(0)
    layer = build(name, 8, small(length=9)).double()
    logits = layer.logits if layer.second is None else layer.logits @ layer.second.transpose(1, 2)
    x = torch.randn(2, 7, 8, dtype=torch.float64)
    value = layer.query_key_value(x).unflatten(-1, (2, 4)).transpose(1, 2)
    expected = layer.output((logits[:, :7, :7].softmax(-1) @ value).transpose(1, 2).flatten(2))
    assert torch.allclose(layer(x)[0], expected, atol=1e-12)


@pytest.mark.parametrize("time", [1, 2, 3, 17, 50])
def test_a_scan_is_its_loop_in_values_and_gradients_twice(time):
    torch.manual_seed(0)
    parts = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in ((2, time, 3), (2, time, 3), (2, 3))]

    def loop(gate, value, state):
        states = []
        for t in range(time):
            state = gate[:, t] * state + value[:, t]
            states.append(state)
        return torch.stack(states, 1)

    assert torch.allclose(linear_scan(*parts), loop(*parts), atol=1e-12)
    assert torch.autograd.gradcheck(linear_scan, parts)
    if time < 4:
        assert torch.autograd.gradgradcheck(linear_scan, parts)


def test_min_gru_holds_what_a_closed_gate_keeps_over_thousands_of_samples():
    layer = MinGRU(1, 2)
    with torch.no_grad():
        layer.hidden_gate.weight.zero_()
        layer.hidden_gate.bias.copy_(torch.tensor([3.0, 3.0, -40.0, -40.0]))
    states, last = layer(torch.zeros(1, 5000, 1), torch.tensor([[0.25, 8.0]]))
    assert torch.equal(last, torch.tensor([[0.25, 8.0]])) and torch.equal(states[:, -1], last)


def test_a_state_space_layer_is_its_recurrence():
    torch.manual_seed(0)
    layer, u = StateSpace(3, modes=4).double(), torch.randn(2, 21, 3, dtype=torch.float64)
    rate, step = torch.complex(-layer.raw_decay.exp(), layer.raw_frequency), layer.raw_step.exp()[:, None]
    forward, backward = torch.view_as_complex(layer.raw_readout)

    def run(u, shift):
        state, read = torch.zeros(2, 3, 4, dtype=torch.complex128), []
        for t in range(21):
            before = state
            state = (step * rate).exp() * state + ((step * rate).exp() - 1) / rate * u[:, t, :, None]
            read.append(before if shift else state)
        return torch.stack(read, 1)

    y = 2 * (forward * run(u, False)).sum(-1).real + 2 * (backward * run(u.flip(1), True).flip(1)).sum(-1).real + layer.raw_skip * u
    expected = torch.nn.functional.glu(layer.output(torch.nn.functional.gelu(y)), -1)
    assert torch.allclose(layer(u)[0], expected, atol=1e-10)  # transforms of Fourier round otherwise


def test_a_convolution_in_both_directions_is_its_sum():
    torch.manual_seed(0)
    u, kernels = torch.randn(1, 2, 9, dtype=torch.float64), torch.randn(2, 2, 9, dtype=torch.float64)
    expected = torch.zeros_like(u)
    for t in range(9):
        for s in range(9):
            expected[..., t] += (kernels[0, :, t - s] if s <= t else kernels[1, :, s - t - 1]) * u[..., s]
    assert torch.allclose(convolve(u, kernels), expected, atol=1e-12)


@pytest.mark.parametrize("name", ["ltc", "ncp"])
def test_liquid_neurons_know_elapsed_times_in_both_directions(name):
    torch.manual_seed(0)
    layer = build(name, 8, small()).double()
    x, elapsed = torch.randn(2, 5, 8, dtype=torch.float64), torch.rand(2, 5, dtype=torch.float64) * 3
    lengths = torch.tensor([5, 3])
    y = layer(x, None, elapsed, lengths)[0]
    assert not torch.allclose(y, layer(x, None, 1.0, lengths)[0])
    # backwards, the gap before a sample is that to the sample after it; the last sample keeps its own.
    times = torch.stack((elapsed[1, 2], elapsed[1, 2], elapsed[1, 1]))[None]
    hidden = [layer.directions[0](x[1:, :3], None, elapsed[1:, :3])[0], layer.directions[1](x[1:, :3].flip(1), None, times)[0].flip(1)]
    assert torch.allclose(y[1:, :3], layer.output(torch.cat(hidden, -1)), atol=1e-12)


def test_no_softmax_is_over_nothing_whatever_the_pattern_and_the_padding():
    for pattern in (*PATTERNS.values(), patterns.RandomBlocks(3, 1, 0, causal=True)):
        for causal in (False, True):
            allowed, _ = Attention(4, 2, causal, pattern)._mask(10, 10, torch.tensor([10, 1, 0]), torch.device("cpu"))
            assert allowed.any(-1).all()


def test_reformer_of_two_buckets_is_attention_to_the_other_real_samples():
    pytest.importorskip("reformer_pytorch")
    torch.manual_seed(0)
    layer, x = build("reformer", 8, small(block=4)).double().eval(), torch.randn(2, 5, 8, dtype=torch.float64)  # padded to 8
    query, value = (part(x).unflatten(-1, (2, 4)).transpose(1, 2) for part in (layer.attention.toqk, layer.attention.tov))
    logits = query @ torch.nn.functional.normalize(query, dim=-1).transpose(-1, -2) / 2
    weights = logits.masked_fill(torch.eye(5, dtype=torch.bool), -torch.inf).softmax(-1)
    expected = layer.attention.to_out((weights @ value).transpose(1, 2).flatten(2))
    assert torch.allclose(layer(x)[0], expected, atol=1e-12)


def test_sinkhorn_of_one_block_is_attention_to_the_real_samples():
    pytest.importorskip("sinkhorn_transformer")
    torch.manual_seed(0)
    layer, x = build("sinkhorn", 8, small(block=7)).double().eval(), torch.randn(2, 5, 8, dtype=torch.float64)  # padded to 7
    query, key, value = layer.query_key_value(x).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
    mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value)
    assert torch.allclose(layer(x)[0], layer.output(mixed.transpose(1, 2).flatten(2)), atol=1e-12)


def test_reformer_and_sinkhorn_reach_beyond_their_blocks():
    for name, package in (("reformer", "reformer_pytorch"), ("sinkhorn", "sinkhorn_transformer")):
        pytest.importorskip(package)
        torch.manual_seed(0)
        layer, x = build(name, 8, small(block=4)).eval(), torch.randn(1, 32, 8, requires_grad=True)
        layer(x)[0][0, 0].sum().backward()
        assert x.grad[0, 16:].abs().sum() > 0
