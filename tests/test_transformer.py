"""The transformer body with any mixer: padding, streaming, pooling, towers, generation, gradients."""

from dataclasses import replace

import pytest
import torch

from cffbook import MemoryLayer
from cffbook.mixers import MixerOptions, build
from cffbook.transformer import Block, Body, CausalLM, Classifier, Embedding, Encoder, TwoTower, pool
from mixer_cases import names, small

torch.set_num_threads(1)
BODY = Body(d_model=8, layers=2, d_ff=12)


def maker(name, causal=False):
    return lambda d_model: build(name, d_model, small(causal))


@pytest.mark.parametrize("name", names())
def test_padding_does_not_change_a_classification(name):
    torch.manual_seed(0)
    model = Classifier(maker(name), BODY, classes=3, vocabulary=10).double().eval()
    tokens, lengths = torch.randint(1, 10, (4, 9)), torch.tensor([9, 5, 1, 8])
    scores = model(tokens, lengths)
    for one, length in enumerate(lengths):
        assert torch.allclose(scores[one], model(tokens[one : one + 1, :length])[0], atol=1e-12)
    changed = tokens.clone()
    changed[1, 5:] = 7
    assert torch.equal(model(changed, lengths), scores)


@pytest.mark.parametrize("name", names())
def test_padding_does_not_change_a_gradient(name):
    torch.manual_seed(0)
    model = Classifier(maker(name), BODY, classes=3, features=2).double().eval()
    values = torch.randn(2, 6, 2, dtype=torch.float64)
    model(values[:1, :4]).square().sum().backward()
    alone = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    values[0, 4:] = torch.nan
    model(values, torch.tensor([4, 6]))[0].square().sum().backward()
    for expected, parameter in zip(alone, model.parameters(), strict=True):
        assert torch.allclose(parameter.grad, expected, atol=1e-10)


@pytest.mark.parametrize("name", names(causal=True))
def test_a_causal_model_sees_nothing_of_the_future(name):
    torch.manual_seed(0)
    model = CausalLM(maker(name, causal=True), BODY, vocabulary=7).eval()
    tokens = torch.randint(1, 7, (2, 8))
    later = tokens.clone()
    later[:, 5] = (later[:, 5] + 1) % 7
    before, after = model(tokens), model(later)
    assert torch.allclose(before[:, :5], after[:, :5], atol=1e-6) and not torch.allclose(before[:, 5:], after[:, 5:])


@pytest.mark.parametrize("name", names(causal=True))
@pytest.mark.parametrize("positions", [None, 20])
def test_streaming_generation_takes_the_token_the_whole_sequence_would(name, positions):
    torch.manual_seed(0)
    model = CausalLM(maker(name, causal=True), BODY, vocabulary=11, max_length=positions).eval()
    prompt = torch.randint(1, 11, (3, 4))
    tokens = model.generate(prompt, 6)
    assert tokens.shape == (3, 10) and torch.equal(tokens[:, :4], prompt)
    for end in range(4, 10):
        assert torch.equal(tokens[:, end], model(tokens[:, :end])[:, -1].argmax(-1))


@pytest.mark.parametrize("name", ["memory", "lstm", "gru", "rnn", "norm_preserving", "linear", "performer", "min_gru", "state_space", "ltc", "ncp"])
def test_a_recurrent_mixer_streams_in_constant_memory(name):
    encoder = Encoder(maker(name, causal=True), BODY)

    def size(state):
        return state.numel() if torch.is_tensor(state) else sum(size(part) for part in state)

    sizes, states = [], None
    for _ in range(3):
        _, states = encoder(torch.randn(2, 5, 8), states)
        sizes.append(size(states))
    assert sizes[0] == sizes[1] == sizes[2]


def test_sampling_follows_its_generator():
    model = CausalLM(maker("memory", causal=True), BODY, vocabulary=11)
    prompt = torch.ones(1, 2, dtype=torch.long)
    draw = [model.generate(prompt, 20, 1.0, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert torch.equal(draw[0], draw[1]) and not torch.equal(draw[0], draw[2])


def test_a_block_is_its_two_branches_written_out():
    block, x = Block(build("memory", 8, MixerOptions(flip_flops=4)), BODY).eval(), torch.randn(2, 5, 8)
    middle = x + block.mixer(block.mixer_norm(x))[0]
    assert torch.equal(block(x)[0], middle + block.mlp(block.mlp_norm(middle)))


def test_pooling_is_over_real_samples_only():
    x, lengths = torch.randn(2, 4, 3), torch.tensor([4, 2])
    assert torch.allclose(pool(x, lengths, "mean")[1], x[1, :2].mean(0))
    assert torch.equal(pool(x, lengths, "max")[1], x[1, :2].amax(0))
    assert torch.equal(pool(x, lengths, "last")[1], x[1, 1]) and torch.equal(pool(x, None, "last"), x[:, -1])
    assert torch.equal(pool(x, lengths, "first"), x[:, 0])


def test_a_standardised_mean_differs_between_sequences_by_one_whatever_their_length():
    torch.manual_seed(0)
    told = Classifier(maker("lstm"), replace(BODY, standardise=True), classes=2, vocabulary=10)
    usual = Classifier(maker("lstm"), BODY, classes=2, vocabulary=10)
    tokens = torch.randint(1, 10, (32, 200))
    assert usual.features(tokens).std(0).mean() < 0.1
    found = told.features(tokens)
    assert torch.allclose(found.mean(0), torch.zeros(8), atol=1e-5) and torch.allclose(found.var(0, unbiased=False), torch.ones(8), atol=1e-2)
    told.eval()
    assert torch.allclose(told.features(tokens)[:1], told.features(tokens[:1]), atol=1e-5)  # alone as in a batch, once it is trained


def test_embeddings_begin_as_widely_as_told_and_as_before_when_not():
    torch.manual_seed(0)
    usual = Embedding(8, vocabulary=300, max_length=50)
    torch.manual_seed(0)
    told = Embedding(8, vocabulary=300, max_length=50, spread=0.2)
    assert torch.allclose(told.values.weight, 0.2 * usual.values.weight) and 0.19 < told.values.weight.std() < 0.21
    assert torch.allclose(told.positions.weight, 10 * usual.positions.weight)  # 0.02 when not told


def test_two_towers_share_their_weights():
    torch.manual_seed(0)
    model = TwoTower(Classifier(maker("memory"), BODY, classes=1, vocabulary=9), 8).eval()
    pair, lengths = torch.randint(1, 9, (3, 2, 7)), torch.tensor([[7, 3], [2, 7], [5, 5]])
    scores = model(pair, lengths)
    assert scores.shape == (3, 2)
    x, y = model.tower.features(pair[:, 0], lengths[:, 0]), model.tower.features(pair[:, 1], lengths[:, 1])
    assert torch.allclose(scores, model.head(torch.cat((x, y, x * y, x - y), -1)), atol=1e-6)


def test_elapsed_times_reach_the_memory():
    model, x = Classifier(lambda d: MemoryLayer(d, 4), BODY, classes=2, features=1), torch.randn(2, 6, 1)
    assert not torch.allclose(model(x), model(x, elapsed=torch.full((2, 6), 3.0)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Embedding(4), "give either vocabulary or features, got None and None"),
        (lambda: Embedding(4, 3, 2), "give either vocabulary or features, got 3 and 2"),
        (lambda: Embedding(4, 3, max_length=2)(torch.ones(1, 3, dtype=torch.long)), "the sequence ends at 3, but positions are learned up to 2"),
        (lambda: Classifier(maker("memory"), BODY, 2, 5, pooling="sum"), "unknown pooling 'sum': choose one of mean, max, first, last"),
        (lambda: Body(d_model=0), "sizes must be positive"),
        (lambda: CausalLM(maker("memory", True), BODY, 5).generate(torch.zeros(1, 0, dtype=torch.long), 3), "need a prompt"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()
