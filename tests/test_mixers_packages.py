"""Our mixers against the packages that are kept for them, with the same weights; skipped where one is not installed."""

import pytest
import torch

from cffbook.mixers import Attention, KernelAttention, MinGRU, build, patterns
from cffbook.mixers.low_rank import Linformer, Nystrom
from mixer_cases import small

torch.set_num_threads(1)
WIDTH, HEADS, TIME = 16, 2, 24


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def inputs(time=TIME):
    return torch.randn(2, time, WIDTH, dtype=torch.float64)  # as many sequences as heads


@torch.no_grad()
def share(layer, queries, outputs):
    """Give our layer the maps of theirs, which have no bias but the last one's."""
    layer.query_key_value.weight.copy_(torch.cat([linear.weight for linear in queries]))
    layer.query_key_value.bias.zero_()
    layer.output.load_state_dict(outputs.state_dict())
    return layer


def test_linformer_is_that_of_the_package():
    package = pytest.importorskip("linformer")
    theirs = package.LinformerSelfAttention(WIDTH, 30, k=5, heads=HEADS).double()
    ours = share(Linformer(WIDTH, 30, 5, HEADS).double(), (theirs.to_q, theirs.to_k, theirs.to_v), theirs.to_out)
    with torch.no_grad():
        theirs.proj_v.copy_(theirs.proj_k)  # ours has one for both
        ours.sums.copy_(theirs.proj_k)
    x = inputs()
    assert torch.allclose(ours(x)[0], theirs(x), atol=1e-12)


@pytest.mark.parametrize("time", [24, 6])
def test_nystrom_is_that_of_the_package(time):
    package = pytest.importorskip("nystrom_attention")
    # Theirs starts the inverse with one scale for the whole batch, ours with one a matrix: compared once both have arrived.
    # It has a kernel of 33 and, unlike ours, pads a sequence that the landmarks do not divide at its start.
    theirs = package.NystromAttention(WIDTH, WIDTH // HEADS, HEADS, num_landmarks=6, pinv_iterations=40).double()
    ours = share(Nystrom(WIDTH, 6, HEADS, iterations=40).double(), (theirs.to_qkv,), theirs.to_out[0])
    ours.residual.load_state_dict(theirs.res_conv.state_dict())
    x = inputs(time)
    assert torch.allclose(ours(x)[0], theirs(x), atol=1e-6)  # its identity matrix is in single precision


def test_performer_is_that_of_the_package():
    package = pytest.importorskip("performer_pytorch.performer_pytorch")
    ours = KernelAttention(WIDTH, HEADS, features=20).double()
    ours.features.offset = 0.0  # theirs adds it before another shift of the keys
    query, key, value = ours.query_key_value(x := inputs()).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    query, key = (package.softmax_kernel(part, projection_matrix=ours.features.projection, is_query=part is query, eps=0.0)
                  for part in (query, key))
    mixed = package.linear_attention(query, key, value)
    assert torch.allclose(ours(x)[0], ours.output(mixed.transpose(1, 2).flatten(2)), atol=1e-12)


def test_the_performer_of_the_package_with_its_offset_is_near():
    package = pytest.importorskip("performer_pytorch")
    ours = KernelAttention(WIDTH, HEADS, features=20)
    theirs = package.FastAttention(WIDTH // HEADS, 20)
    theirs.projection_matrix.copy_(ours.features.projection)
    query, key, value = ours.query_key_value(x := inputs().float()).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    expected = ours.output(theirs(query, key, value).transpose(1, 2).flatten(2))
    # Theirs adds 1e-4, ours 1e-6, to features whose mean is a few hundredths of the largest one.
    assert torch.allclose(ours(x)[0], expected, atol=3e-3)


@pytest.mark.parametrize("causal", [False, True])
def test_local_attention_is_that_of_the_package(causal):
    package = pytest.importorskip("local_attention")
    theirs = package.LocalAttention(5, causal=causal, autopad=True, use_rotary_pos_emb=False).double()
    ours, lengths = Attention(WIDTH, HEADS, causal, patterns.Local(5)).double(), torch.tensor([24, 13])
    query, key, value = ours.query_key_value(x := inputs()).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    seen = torch.arange(TIME) < lengths[:, None]
    mixed = theirs(query, key, value, mask=seen)
    expected = ours.output(mixed.transpose(1, 2).flatten(2)) * seen[..., None]
    assert torch.allclose(ours(x, lengths=lengths)[0], expected, atol=1e-12)


def test_min_gru_is_that_of_the_package_in_one_pass_and_in_steps():
    package = pytest.importorskip("minGRU_pytorch")
    theirs, ours = package.minGRU(WIDTH).double(), MinGRU(WIDTH, WIDTH).double()
    with torch.no_grad():
        ours.hidden_gate.weight.copy_(theirs.to_hidden_and_gate.weight)
        ours.hidden_gate.bias.zero_()
    x = inputs()
    expected, last = theirs(x, return_next_prev_hidden=True)
    states, state = ours(x)
    assert torch.allclose(states, expected, atol=1e-12) and torch.allclose(state, last[:, 0], atol=1e-12)
    assert torch.allclose(ours(x[:, :1], state)[0], theirs(x[:, :1], last), atol=1e-12)
    assert torch.allclose(ours(x, state)[0], theirs(x, last), atol=1e-12)


def test_reformer_at_a_whole_number_of_buckets_is_the_layer_of_the_package():
    pytest.importorskip("reformer_pytorch")
    ours, x = build("reformer", WIDTH, small(block=3)).double().eval(), inputs()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        expected = ours.attention(x)
    assert torch.equal(ours(x)[0], expected)


def test_the_values_of_sorted_blocks_are_not_their_keys_as_in_the_package():
    package = pytest.importorskip("sinkhorn_transformer.sinkhorn_transformer")
    ours, x = build("sinkhorn", WIDTH, small(block=6)).double().eval(), inputs()
    theirs = package.SinkhornSelfAttention(WIDTH, 6, TIME, heads=HEADS, non_permutative=False, sinkhorn_iter=5).double().eval()
    with torch.no_grad():
        theirs.to_q.weight.copy_(ours.query_key_value.weight[:WIDTH])
        theirs.to_kv.weight.copy_(ours.query_key_value.weight[WIDTH:])
        # With keys for values the package's slip changes nothing: the rest of the layer is compared.
        theirs.to_kv.weight[WIDTH:] = theirs.to_kv.weight[:WIDTH]
        ours.query_key_value.weight[2 * WIDTH :] = ours.query_key_value.weight[WIDTH : 2 * WIDTH]
    theirs.to_out.load_state_dict(ours.output.state_dict())
    theirs.sinkhorn_attention.sort_net.forward = lambda query, key, topk=1: ours._sort(
        (query.unflatten(1, (-1, 6)).mean(2) @ key.unflatten(1, (-1, 6)).mean(2).transpose(1, 2) * (WIDTH // HEADS) ** -0.5).relu())
    assert torch.allclose(ours(x)[0], theirs(x), atol=1e-12)
