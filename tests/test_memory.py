"""The memory layer: both directions, padding, streaming, wirings, gradients, and how it is called."""

import copy
import pickle

import pytest
import torch

from cffbook import FlipFlop, MemoryLayer, NearCritical, SemiImplicitEuler, unroll, wiring
from cffbook.lateral import MemoryCell

torch.set_num_threads(1)


def layer_with(d_model=6, pairs=8, lateral=None, kind="presynaptic", both=False, readout="one", scheme="set_reset", unfolds=2):
    torch.manual_seed(0)
    flip_flops = FlipFlop(pairs, scheme, "steered", solver=SemiImplicitEuler(unfolds), init=NearCritical(10.0))
    return MemoryLayer(d_model, flip_flops, lateral, kind, readout, bidirectional=both)


VARIANTS = [
    {},
    {"readout": "both"},
    {"scheme": "shared"},
    {"lateral": wiring.dense(8)},
    {"lateral": wiring.ring(8), "kind": "per_synapse"},
    {"lateral": wiring.lattice((2, 2, 2)), "readout": "both"},
    {"both": True},
    {"both": True, "lateral": wiring.tiles(4, 2), "kind": "per_synapse"},
]


@pytest.mark.parametrize("options", VARIANTS, ids=str)
@pytest.mark.parametrize("batch", [1, 8])  # 8: batch == flip-flops
def test_the_layer_is_called_like_attention(options, batch):
    layer, x = layer_with(**options), torch.randn(batch, 11, 6)
    y, potential = layer(x)
    assert y.shape == x.shape and potential.shape == (batch, 8, 2)
    for one in range(batch):  # no sample of the batch sees another
        assert torch.allclose(layer(x[one : one + 1])[0][0], y[one], atol=1e-6)


@pytest.mark.parametrize("options", [v for v in VARIANTS if not v.get("both")], ids=str)
def test_stepping_one_sample_at_a_time_is_the_whole_sequence(options):
    layer, x, elapsed = layer_with(**options), torch.randn(8, 9, 6), torch.rand(8, 9) + 0.2
    whole, last = layer(x, elapsed=elapsed)
    potential, steps = None, []
    for t in range(9):
        y, potential = layer(x[:, t : t + 1], potential, elapsed[:, t : t + 1])
        steps.append(y)
    assert torch.allclose(torch.cat(steps, 1), whole, atol=1e-6) and torch.allclose(potential, last, atol=1e-6)


@pytest.mark.parametrize("options", VARIANTS, ids=str)
def test_padding_changes_neither_outputs_nor_gradients(options):
    layer = layer_with(**options).double()
    lengths = torch.tensor([7, 1, 4, 0])
    x = torch.randn(4, 7, 6, dtype=torch.float64)
    for one, length in enumerate(lengths):
        x[one, length:] = torch.nan  # whatever padding holds, nothing of it may leak
    x.requires_grad_()
    elapsed = torch.rand(4, 7, dtype=torch.float64) + 0.5
    y, last = layer(x, elapsed=elapsed, lengths=lengths)
    (y.square().sum() + last.square().sum()).backward()
    together = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    for one, length in enumerate(lengths):
        if length == 0:
            assert not y[one].any() and not last[one].any()
            continue
        alone, end = layer(x.detach()[one : one + 1, :length], elapsed=elapsed[one : one + 1, :length])
        (alone.square().sum() + end.square().sum()).backward()
        assert torch.allclose(y[one, :length], alone[0], atol=1e-12) and torch.allclose(last[one], end[0], atol=1e-12)
        assert not y[one, length:].any()
    for padded, parameter in zip(together, layer.parameters(), strict=True):
        assert torch.allclose(padded, parameter.grad, atol=1e-10)
    assert torch.isfinite(x.grad).all() and not any(x.grad[one, length:].any() for one, length in enumerate(lengths))


def test_the_second_half_of_a_bidirectional_layer_sees_time_backwards():
    layer, x = layer_with(both=True), torch.randn(3, 9, 6)
    potentials, _ = layer.potentials(x)
    turned, _ = layer.potentials(x.flip(1))
    forward = layer_with()
    forward.load_state_dict(layer.state_dict())
    one_way = forward.potentials(x)[0]
    assert torch.allclose(potentials[:, :, :4], one_way[:, :, :4])
    other_way = forward.potentials(x.flip(1))[0].flip(1)
    assert torch.allclose(potentials[:, :, 4:], other_way[:, :, 4:])
    assert torch.allclose(turned.flip(1)[:, :, 4:], one_way[:, :, 4:])


def test_backwards_the_time_since_the_last_sample_is_the_time_to_the_next():
    layer, x, elapsed = layer_with(both=True), torch.randn(2, 6, 6), torch.rand(2, 6) + 0.5
    potentials, _ = layer.potentials(x, elapsed=elapsed, lengths=torch.tensor([6, 4]))
    forward = layer_with()
    forward.load_state_dict(layer.state_dict())
    for one, length in enumerate((6, 4)):
        times = torch.cat((elapsed[one, 1:length], elapsed[one, length - 1 : length])).flip(0)[None]
        expected = forward.potentials(x[one : one + 1, :length].flip(1), elapsed=times)[0].flip(1)
        assert torch.allclose(potentials[one, :length, 4:], expected[0, :, 4:], atol=1e-6)


def test_a_lateral_synapse_runs_from_its_source_to_its_target_and_no_further():
    polarity = torch.zeros(3, 3, dtype=torch.int8)
    polarity[0, 2] = 1
    for kind in ("presynaptic", "per_synapse"):
        torch.manual_seed(0)
        cell = MemoryCell(FlipFlop(3, init=NearCritical()), wiring.Wiring(polarity), kind)
        x = torch.zeros(1, 20, 3, 2)
        kicked = x.clone()
        kicked[:, :5, 0, 0] = 20.0
        plain, moved = unroll(cell, x)[0], unroll(cell, kicked)[0]
        assert not torch.equal(plain[:, :, 2], moved[:, :, 2]) and torch.equal(plain[:, :, 1], moved[:, :, 1])
        # Polarity +1: the source's set state pushes the target towards set.
        assert bool((moved - plain)[0, -1, 2].diff() < 0)


@pytest.mark.parametrize("kind", ["presynaptic", "per_synapse"])
def test_lateral_synapses_add_their_conductance_and_current_as_written_out(kind):
    torch.manual_seed(0)
    cell = MemoryCell(FlipFlop(3), wiring.random_sparse(3, 0.7), kind).double()
    v = torch.randn(1, 3, 2, dtype=torch.float64)
    circuit = cell.circuit()
    drive = tuple(part[:, 0] for part in circuit.sense(torch.randn(1, 1, 3, 2, dtype=torch.float64)))
    total, current = (part - alone for part, alone in zip(circuit.rate(drive, v), circuit.flip_flops.rate(drive, v), strict=True))
    w, e, slope, half = circuit.lateral
    assert (w > 0).sum() == 2 * cell.lateral.source.numel() > 0
    for target in range(3):
        for neuron in range(2):
            g = i = 0.0
            for source in range(3):
                at = (source,) if kind == "presynaptic" else (source, target, neuron)
                gate = torch.sigmoid(slope[at] * (v[0, source, 0] - half[at]))
                g, i = g + w[source, target, neuron] * gate, i + w[source, target, neuron] * gate * e[source, target, neuron]
            assert torch.allclose(total[0, target, neuron], g, atol=1e-12) and torch.allclose(current[0, target, neuron], i, atol=1e-12)


def test_tiles_are_the_same_synapses_by_blocks():
    cell = MemoryCell(FlipFlop(10), wiring.tiles(10, 2))
    (conductance, reversal, slope, half), (_, gates, matrices) = cell.lateral.values(), cell.tiles(4)
    whole = [torch.block_diag(*(matrix[block] for block in range(3)))[:10, :10] for matrix in matrices]
    assert torch.equal(torch.stack(whole, -1), torch.cat((conductance, conductance * reversal), -1))
    assert torch.equal(gates, torch.stack((slope, half))) and matrices.shape == (4, 3, 4, 4)


def test_one_neuron_or_both_are_read_out():
    for readout in ("one", "both"):
        layer, x = layer_with(readout=readout), torch.randn(2, 5, 6)
        potentials, _ = layer.potentials(x)
        held = potentials[..., 0] if readout == "one" else potentials.flatten(-2)
        assert torch.allclose(layer(x)[0], layer.output_map(held), atol=1e-6)


def test_presynaptic_gates_are_gates_per_synapse_that_agree():
    torch.manual_seed(0)
    shared = MemoryCell(FlipFlop(5), wiring.dense(5), "presynaptic")
    own = MemoryCell(copy.deepcopy(shared.flip_flops), wiring.dense(5), "per_synapse")
    with torch.no_grad():
        for name in ("raw_conductance", "raw_reversal"):
            getattr(own.lateral, name).copy_(getattr(shared.lateral, name))
        for name in ("raw_slope", "half_activation"):
            getattr(own.lateral, name).copy_(getattr(shared.lateral, name)[own.lateral.source, None].expand(-1, 2))
    inputs = torch.randn(2, 15, 5, 2)
    assert torch.allclose(unroll(shared, inputs)[0], unroll(own, inputs)[0], atol=1e-6)


@pytest.mark.parametrize("options", [{"lateral": wiring.dense(2)}, {"lateral": wiring.dense(2), "kind": "per_synapse", "readout": "both"}], ids=str)
def test_every_gradient_is_right(options):
    layer = layer_with(3, 2, **options).double()
    x = torch.randn(2, 3, 3, dtype=torch.float64, requires_grad=True)
    elapsed = torch.rand(2, 3, dtype=torch.float64) + 0.3
    parameters = tuple(layer.parameters())
    assert torch.autograd.gradcheck(lambda x, *_: layer(x, elapsed=elapsed, lengths=torch.tensor([3, 2])), (x, *parameters))


def test_drive_widens_the_first_lines_and_nothing_else():
    torch.manual_seed(0)
    usual = MemoryLayer(8, 4)
    torch.manual_seed(0)
    wide = MemoryLayer(8, 4, drive=3.0)
    for (name, one), other in zip(wide.named_parameters(), usual.parameters(), strict=True):
        assert torch.equal(one, 3 * other if name == "input_map.weight" else other)
    with pytest.raises(ValueError, match="drive must be positive"):
        MemoryLayer(8, 4, drive=0.0)


def test_absent_synapses_cost_no_parameters():
    none, ring = layer_with(), layer_with(lateral=wiring.ring(8))
    count = sum(p.numel() for p in ring.parameters()) - sum(p.numel() for p in none.parameters())
    assert count == 4 * wiring.ring(8).synapses + 2 * 8


@pytest.mark.parametrize("options", [{}, {"lateral": wiring.ring(8), "kind": "per_synapse"}, {"both": True}], ids=str)
def test_the_layer_is_compiled_as_one_graph(options):
    layer, x = layer_with(**options), torch.randn(2, 5, 6)
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x)[0], layer(x)[0]) and torch.equal(compiled(x, elapsed=0.5)[1], layer(x, elapsed=0.5)[1])


@pytest.mark.parametrize("shape", [(0, 5, 6), (2, 0, 6)])
@pytest.mark.parametrize("lateral", [None, wiring.ring(8)], ids=["alone", "ring"])
def test_from_no_sequence_or_no_sample_nothing_is_learned(shape, lateral):
    layer = layer_with(lateral=lateral)
    y, potential = layer(torch.zeros(shape, requires_grad=True))
    y.sum().backward()
    assert y.shape == shape and potential.shape == (shape[0], 8, 2)
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in layer.parameters())


def test_a_layer_without_memory_for_its_numbers_gives_shapes():
    y, potential = layer_with(lateral=wiring.ring(8)).to("meta")(torch.zeros(2, 5, 6, device="meta"))
    assert y.is_meta and y.shape == (2, 5, 6) and potential.shape == (2, 8, 2)


def test_a_printed_layer_says_what_it_is():
    printed = repr(layer_with(lateral=wiring.ring(8), readout="both"))
    assert "6, readout='both', bidirectional=False, backend='auto'" in printed
    assert "FlipFlop(8, scheme='set_reset', sensory='steered', self_polarity=-1, solver=SemiImplicitEuler(unfolds=2))" in printed
    assert f"LateralSynapses(8, synapses={wiring.ring(8).synapses}, kind='presynaptic')" in printed


def test_the_layer_is_copied_pickled_and_cast_like_any_module():
    layer, x = layer_with(lateral=wiring.ring(8)), torch.randn(2, 5, 6)
    expected = layer(x)[0]
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin(x)[0], expected)
    assert torch.allclose(layer.double()(x.double())[0].float(), expected, atol=1e-5)
    layer = layer.float()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y, potential = layer(x)
    assert potential.dtype == torch.float32 and torch.allclose(y.float(), expected, atol=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MemoryLayer(4, 6, wiring.ring(5)), "the wiring is for 5 flip-flops, got 6"),
        (lambda: MemoryLayer(4, 6, wiring.independent(5)), "the wiring is for 5 flip-flops, got 6"),
        (lambda: MemoryLayer(4, 6, lateral="synaptic"), "unknown kind of lateral synapse 'synaptic'"),
        (lambda: MemoryLayer(4, 6, wiring.ring(6), "synaptic"), "unknown kind of lateral synapse 'synaptic'"),
        (lambda: MemoryLayer(4, 6, readout="all"), "unknown readout 'all': choose one of one, both"),
        (lambda: MemoryLayer(4, 5, bidirectional=True), "even number of flip-flops, got 5"),
        (lambda: MemoryLayer(4, 6, wiring.ring(6), bidirectional=True), "joins flip-flops of both directions"),
        (lambda: MemoryLayer(4, 6)(torch.zeros(2, 3, 5)), r"shape \(batch, time, 4\), got \(2, 3, 5\)"),
        (lambda: MemoryLayer(4, 6, bidirectional=True)(torch.zeros(2, 3, 4), torch.zeros(2, 6, 2)), "cannot continue from a potential"),
        (lambda: MemoryLayer(4, 6)(torch.zeros(2, 3, 4, dtype=torch.int64)), "floating-point numbers, got torch.int64: call .float()"),
        (lambda: MemoryLayer(0, 6), "expected d_model to be a whole number of at least 1, got 0"),
        (lambda: MemoryLayer(4, 6.0), "expected flip_flops to be a whole number of at least 1, got 6.0"),
        (lambda: MemoryLayer(4, 6, backend="gpu"), "unknown backend 'gpu': choose 'auto' or one of basins, fused_cpu, fused_gpu, newton, sequential"),
    ],
)
def test_bad_arguments_are_refused_in_one_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()
