"""Mixers by name: the same call, equal to PyTorch's own layers, and honest about what they cannot do."""

import pytest
import torch
from torch import nn

from cffbook.mixers import Attention, MixerOptions, build, known

torch.set_num_threads(1)


@pytest.mark.parametrize("name", known())
@pytest.mark.parametrize("causal", [False, True])
def test_every_mixer_is_called_alike_and_learns_from_its_input(name, causal):
    torch.manual_seed(0)
    mixer = build(name, 8, MixerOptions(causal=causal, flip_flops=6))
    x = torch.randn(3, 7, 8)
    x[1, 4:] = torch.nan  # whatever padding holds
    x.requires_grad_()
    y, state = mixer(x, None, 1.0, torch.tensor([7, 4, 1]))
    assert y.shape == x.shape and (state is None or name == "memory")  # only the memory layer's state leaves padding out
    y.square().sum().backward()
    assert all(parameter.grad is not None and 0 < parameter.grad.abs().sum() < torch.inf for parameter in mixer.parameters())
    assert not x.grad[1, 4:].any() and x.grad[1, :4].abs().sum() > 0


@pytest.mark.parametrize("name", known())
@pytest.mark.parametrize("causal", [False, True])
def test_every_gradient_is_right(name, causal):
    torch.manual_seed(0)
    mixer = build(name, 4, MixerOptions(causal=causal, flip_flops=4)).double()
    x, lengths = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True), torch.tensor([3, 2])
    parameters = tuple(mixer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: mixer(x, None, 1.0, lengths)[0], (x, *parameters))


@pytest.mark.parametrize("name", known())
def test_without_causality_the_first_output_sees_the_last_sample(name):
    torch.manual_seed(0)
    mixer, x = build(name, 8, MixerOptions(flip_flops=6)), torch.randn(1, 5, 8)
    changed = x.clone()
    changed[0, 4] += 1
    assert not torch.equal(mixer(x)[0][0, 0], mixer(changed)[0][0, 0])


def test_attention_is_that_of_multi_head_attention():
    torch.manual_seed(0)
    ours, theirs = Attention(8, heads=2), nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(ours.query_key_value.weight)
        theirs.in_proj_bias.copy_(ours.query_key_value.bias)
        theirs.out_proj.weight.copy_(ours.output.weight)
        theirs.out_proj.bias.copy_(ours.output.bias)
    x, lengths = torch.randn(3, 6, 8), torch.tensor([6, 3, 5])
    padding = torch.arange(6) >= lengths[:, None]
    expected = theirs(x, x, x, key_padding_mask=padding)[0].masked_fill(padding[..., None], 0)
    assert torch.allclose(ours(x, lengths=lengths)[0], expected, atol=1e-6)


def test_causal_attention_continues_from_its_cache():
    layer, x = Attention(8, 2, causal=True), torch.randn(2, 9, 8)
    whole, _ = layer(x)
    first, cache = layer(x[:, :4])
    second, cache = layer(x[:, 4:], cache)
    assert torch.allclose(torch.cat((first, second), 1), whole, atol=1e-6) and cache[0].shape[2] == 9


@pytest.mark.parametrize("name", ["lstm", "gru", "rnn"])
def test_both_directions_are_those_of_pytorch(name):
    torch.manual_seed(0)
    ours = build(name, 8, MixerOptions())
    theirs = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[name](8, 4, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for direction, suffix in zip(ours.directions, ("", "_reverse"), strict=True):
            for parameter, value in direction.named_parameters():
                getattr(theirs, parameter + suffix).copy_(value)
    x, lengths = torch.randn(3, 6, 8), torch.tensor([6, 2, 4])
    packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    hidden, _ = nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], batch_first=True)
    real = (torch.arange(6) < lengths[:, None])[..., None]
    assert torch.allclose(ours(x, lengths=lengths)[0], ours.output(hidden) * real, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("attention", 4 * 64 * 64 + 4 * 64),
        ("lstm", 2 * (4 * 32 * (64 + 32) + 8 * 32) + 64 * 64 + 64),
        # two lines for each of 32 CFFs in, one potential out; 17 physical values for each of 64 neurons.
        ("memory", 64 * 64 + 64 + 32 * 64 + 64 + 17 * 64),
    ],
)
def test_the_parameter_count_is_the_one_on_paper(name, expected):
    assert sum(parameter.numel() for parameter in build(name, 64).parameters()) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build("transformer", 8), "unknown mixer 'transformer': choose one of memory, attention, lstm, gru, rnn, norm_preserving"),
        (lambda: build("attention", 9), "heads must divide d_model, got 2 and 9"),
        (lambda: build("gru", 8, MixerOptions(hidden=5)), "hidden must be even for both directions, got 5"),
        (lambda: build("lstm", 8)(torch.zeros(1, 2, 8), elapsed=torch.ones(1, 2)), "a recurrent layer does not know elapsed times"),
        (lambda: build("attention", 8)(torch.zeros(1, 2, 8), elapsed=0.5), "attention does not know elapsed times"),
        (lambda: Attention(8)(torch.zeros(1, 2, 8), (torch.zeros(1, 2, 1, 4),) * 2), "continues from a cache only when causal"),
        (lambda: build("lstm", 8)(torch.zeros(1, 2, 8), torch.zeros(1)), "a bidirectional layer cannot continue from a state"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()
