"""Mixers by name: the same call, equal to PyTorch's own layers, and honest about what they cannot do."""

import copy
import pickle
import sys

import pytest
import torch
from torch import nn

from cffbook.mixers import Attention, MixerOptions, ShortConvolution, adapted, build, can_be_causal, known
from mixer_cases import both, names, small

torch.set_num_threads(1)


@pytest.mark.parametrize(("name", "causal"), both())
def test_every_mixer_is_called_alike_and_learns_from_its_input(name, causal):
    torch.manual_seed(0)
    mixer = build(name, 8, small(causal, length=7))
    x = torch.randn(4, 7, 8)
    x[1, 4:], x[3] = torch.nan, torch.nan  # whatever padding holds
    x.requires_grad_()
    y, state = mixer(x, None, 1.0, torch.tensor([7, 4, 1, 0]))
    assert y.shape == x.shape and (state is None or name in ("memory", "ltc", "ncp"))  # their states leave padding out
    y.square().sum().backward()
    assert all(parameter.grad is not None and 0 < parameter.grad.abs().sum() < torch.inf for parameter in mixer.parameters())
    assert not x.grad[1, 4:].any() and x.grad[1, :4].abs().sum() > 0 and not y[3].any() and not x.grad[3].any()


@pytest.mark.parametrize(("name", "causal"), both())
def test_every_gradient_is_right(name, causal):
    torch.manual_seed(0)
    mixer = build(name, 4, small(causal, flip_flops=4, length=3, hidden=8, block=2)).double().eval()
    x, lengths = torch.randn(2, 3, 4, dtype=torch.float64, requires_grad=True), torch.tensor([3, 2])
    parameters = tuple(mixer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: mixer(x, None, 1.0, lengths)[0], (x, *parameters))


@pytest.mark.parametrize(("name", "causal"), both())
@pytest.mark.parametrize("time", [1, 2, 10])
def test_a_sequence_in_a_batch_is_what_it_is_alone(name, causal, time):
    torch.manual_seed(0)
    mixer = build(name, 8, small(causal)).double().eval()
    x = torch.randn(2, 13, 8, dtype=torch.float64)  # as many sequences as heads
    together = mixer(x, lengths=torch.tensor([time, 13]))[0]
    alone = [mixer(x[:1, :time])[0], mixer(x[1:])[0]]
    # Sums and transforms of another length round otherwise.
    assert torch.allclose(together[:1, :time], alone[0], atol=1e-12) and torch.allclose(together[1:], alone[1], atol=1e-12)


@pytest.mark.parametrize("name", names(causal=True))
def test_a_stream_in_pieces_gives_the_numbers_of_the_whole(name):
    torch.manual_seed(0)
    mixer, x = build(name, 8, small(causal=True)).double(), torch.randn(3, 23, 8, dtype=torch.float64)
    whole, _ = mixer(x)
    state, pieces = None, []
    for piece in x.split([1, 4, 1, 9, 8], 1):
        y, state = mixer(piece, state)
        pieces.append(y)
    assert torch.allclose(torch.cat(pieces, 1), whole, atol=1e-12)  # a sum in other parts rounds otherwise


@pytest.mark.parametrize("name", [name for name in known() if not can_be_causal(name)])
def test_a_mixer_that_cannot_be_causal_says_so(name):
    with pytest.raises(ValueError, match=f"{name} cannot be causal, its .* the whole sequence: use causal=False"):
        build(name, 8, small(causal=True))


@pytest.mark.parametrize("name", names())
def test_a_mixer_that_cannot_stream_says_so(name):
    mixer = build(name, 8, small())
    with pytest.raises(ValueError, match="continue"):
        mixer(torch.zeros(1, 2, 8), torch.zeros(1, 4, 2))


@pytest.mark.parametrize("name", names())
def test_without_causality_the_first_output_sees_the_last_sample(name):
    torch.manual_seed(0)
    mixer, x = build(name, 8, small(window=8, summary=2)).eval(), torch.randn(1, 5, 8)
    changed = x.clone()
    changed[0, 4] += 1
    assert not torch.equal(mixer(x)[0][0, 0], mixer(changed)[0][0, 0])


@pytest.mark.parametrize("name", adapted())
def test_an_adapter_without_its_package_names_the_extra(name, monkeypatch):
    for module in (adapted()[name], f"{adapted()[name]}.{adapted()[name]}"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=f"the mixer {name} needs the package '{adapted()[name]}', .*cffbook\\[comparators\\]"):
        build(name, 8)


@pytest.mark.parametrize("name", adapted())
def test_an_adapter_is_random_in_training_alone(name):
    pytest.importorskip(adapted()[name])
    mixer, x = build(name, 8, small()), torch.randn(2, 23, 8)
    before = torch.get_rng_state()
    mixer.eval()
    assert torch.equal(mixer(x)[0], mixer(x)[0]) and torch.equal(before, torch.get_rng_state())
    mixer.train()
    assert not torch.equal(mixer(x)[0], mixer(x)[0])


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
        *((name, 4 * 64 * 64 + 4 * 64) for name in ("local", "sparse", "longformer", "bigbird", "linear", "performer")),
        ("linformer", 4 * 64 * 64 + 4 * 64 + 1000 * 16),
        ("nystrom", 4 * 64 * 64 + 4 * 64 + 2 * 33),
        ("synthesizer_random", 2 * 64 * 64 + 2 * 64 + 2 * 1000 * 1000),
        ("synthesizer_factorised", 2 * 64 * 64 + 2 * 64 + 2 * 2 * 1000 * 16),
        ("gru", 2 * (3 * 32 * (64 + 32) + 6 * 32) + 64 * 64 + 64),
        ("rnn", 2 * (32 * (64 + 32) + 2 * 32) + 64 * 64 + 64),
        ("norm_preserving", 2 * (32 * (64 + 32) + 32) + 64 * 64 + 64),
        ("min_gru", 2 * (2 * 32 * 64 + 2 * 32) + 64 * 64 + 64),
        # a step, a skip, 16 modes and two complex readouts of them for each channel; the gated map.
        ("state_space", 64 * (1 + 1 + 2 * 16 + 2 * 2 * 16) + 128 * 64 + 128),
        # four values a synapse, three a neuron, an affine map of 64 inputs and 32 outputs.
        ("ltc", 2 * (4 * 32 * (64 + 32) + 3 * 32 + 2 * 64 + 2 * 32) + 64 * 64 + 64),
        # two lines for each of 32 CFFs in, one potential out; 17 physical values for each of 64 neurons.
        ("memory", 64 * 64 + 64 + 32 * 64 + 64 + 17 * 64),
    ],
)
def test_the_parameter_count_is_the_one_on_paper(name, expected):
    assert sum(parameter.numel() for parameter in build(name, 64, MixerOptions(length=1000)).parameters()) == expected


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build("transformer", 8), "unknown mixer 'transformer': choose one of memory, attention, lstm, gru, rnn, norm_preserving"),
        (lambda: build("attention", 9), "heads must divide d_model, got 2 and 9"),
        (lambda: build("gru", 8, MixerOptions(hidden=5)), "hidden must be even for both directions, got 5"),
        (lambda: build("lstm", 8)(torch.zeros(1, 2, 8), elapsed=torch.ones(1, 2)), "a recurrent layer does not know elapsed times"),
        (lambda: build("attention", 8)(torch.zeros(1, 2, 8), elapsed=0.5), "attention does not know elapsed times"),
        (lambda: Attention(8)(torch.zeros(1, 2, 8), (torch.zeros(1, 2, 1, 4),) * 2), "continues from a cache only when causal"),
        (lambda: build("linformer", 8), "linformer has parameters for each position and needs length, got None"),
        (lambda: build("linformer", 8, small(length=3))(torch.zeros(1, 4, 8)), "linformer has parameters for 3 samples, got a sequence of 4"),
        (lambda: build("synthesizer_random", 8, small(length=3))(torch.zeros(1, 4, 8)), "synthesizer has parameters for 3 samples"),
        (lambda: build("ncp", 8, small(hidden=6)), "a neural circuit policy needs at least 4 neurons in each direction, got 3"),
        (lambda: MixerOptions(block=0), "block must be at least 1, got 0"),
        (lambda: MixerOptions(random_blocks=-1), "random_blocks must not be negative, got -1"),
        (lambda: MixerOptions(taps=0), "taps must be at least 1, got 0"),
        (lambda: ShortConvolution(nn.Identity(), 8, 1), "taps must be at least 2, got 1"),
        (lambda: build("memory", 8, small(taps=2))(torch.zeros(1, 2, 8), torch.zeros(1, 6, 2)), "cannot continue from Tensor: expected the pair"),
        (lambda: build("state_space", 8)(torch.zeros(1, 2, 8), elapsed=0.5), "a state-space layer does not know elapsed times"),
        (lambda: build("lstm", 8)(torch.zeros(1, 2, 8), torch.zeros(1)), "a bidirectional layer cannot continue from a state"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("name", names())
def test_a_mixer_is_copied_pickled_and_restored_from_its_state_dict(name):
    torch.manual_seed(0)
    mixer, x = build(name, 8, small()).eval(), torch.randn(2, 7, 8)
    again = build(name, 8, small()).eval()
    again.load_state_dict(mixer.state_dict())
    pickled = [] if name == "norm_preserving" else [pickle.loads(pickle.dumps(mixer))]  # torch pickles no parametrization
    for other in (again, copy.deepcopy(mixer), *pickled):
        assert torch.equal(other(x)[0], mixer(x)[0])


def convolved(name, taps=3, **changes):
    """A mixer behind a short convolution whose weights have left 0."""
    torch.manual_seed(0)
    layer = build(name, 8, small(taps=taps, **changes)).double()
    nn.init.normal_(layer.before.weight, std=0.3)
    return layer


def test_a_short_convolution_begins_as_the_mixer_alone_and_counts_its_own_matrices():
    torch.manual_seed(0)
    layer, x = build("memory", 8, small(taps=3)), torch.randn(2, 9, 8)
    assert isinstance(layer, ShortConvolution) and torch.equal(layer(x)[0], layer.mixer(x)[0])
    alone = sum(parameter.numel() for parameter in build("memory", 8, small()).parameters())
    assert sum(parameter.numel() for parameter in layer.parameters()) == alone + 2 * 8 * 8


def test_a_short_convolution_hears_the_samples_on_paper():
    layer, x = convolved("attention"), torch.randn(1, 6, 8, dtype=torch.float64)
    one, two = layer.before.weight.chunk(2, 1)  # of the sample before, and of the one before that
    heard = [x[0, t] + sum(x[0, t - k] @ matrix.T for k, matrix in ((1, one), (2, two)) if t >= k) for t in range(6)]
    assert torch.allclose(layer(x)[0], layer.mixer(torch.stack(heard)[None])[0], atol=1e-12)


@pytest.mark.parametrize("name", ["memory", "attention", "lstm"])
def test_a_short_convolution_streams_in_pieces_shorter_than_itself(name):
    layer, x = convolved(name, taps=4, causal=True), torch.randn(2, 12, 8, dtype=torch.float64)
    whole, state, pieces = layer(x)[0], None, []
    for piece in x.split([1, 2, 1, 5, 3], 1):
        y, state = layer(piece, state)
        pieces.append(y)
    assert torch.allclose(torch.cat(pieces, 1), whole, atol=1e-12)


def test_a_short_convolution_has_no_state_where_its_mixer_has_none():
    layer, x = convolved("attention", causal=True), torch.randn(2, 5, 8, dtype=torch.float64)
    assert layer(x)[1] is not None and layer(x, lengths=torch.tensor([5, 3]))[1] is None  # padding would be in it


def test_a_short_convolution_continues_a_padded_batch_from_each_sequence_s_own_end():
    layer, x = convolved("memory", causal=True), torch.randn(3, 9, 8, dtype=torch.float64)
    lengths = torch.tensor([4, 0, 1])
    padded = x.clone()
    padded[torch.arange(9) >= lengths[:, None]] = torch.nan
    first, state = layer(padded[:, :5], lengths=lengths)
    first.sum().backward()
    assert not first.isnan().any() and layer.before.weight.grad.isfinite().all()  # whatever padding holds
    for i, length in enumerate(lengths.tolist()):
        rest = layer(x[i : i + 1, length:], tuple(part[i : i + 1] for part in state))[0]
        assert torch.allclose(rest, layer(x[i : i + 1])[0][:, length:], atol=1e-12)


def test_a_memory_told_to_latch_keeps_its_bits_where_one_at_the_onset_lets_them_fade():
    bits = torch.tensor([True, False, True, False, False, True])
    left = {}
    for criticality in (1.0, 2.0):
        layer = build("memory", 8, small(causal=True, unfolds=3, criticality=criticality)).eval()
        nn.init.zeros_(layer.input_map.weight)
        nn.init.zeros_(layer.input_map.bias)
        last = layer(torch.zeros(1, 5_000, 8), layer.cell.held(bits)[None])[1][0]
        left[criticality] = torch.where(bits, 1, -1) * (last[:, 0] - last[:, 1])
    assert float(left[2.0].detach().min()) > 0.1  # an attractor away from the middle
    assert float(left[1.0].detach().max()) < 0.05  # slower and slower, but to the middle


def test_a_memory_is_told_how_far_its_gates_are_closed():
    halves = [build("memory", 8, small(closed=closed, slowest=1.0)).cell.sensory_half_activation for closed in (1.0, 3.0)]
    torch.testing.assert_close(halves[1] - halves[0], torch.full_like(halves[0], 2.0))
