"""A memory layer in one go on the CPU against the definition: values and every gradient, and where its parts run one by one instead."""

import pytest
import torch
from torch.nn.utils import parametrize

from cffbook import FlipFlop, MemoryLayer, NearCritical, SemiImplicitEuler, wiring

pytest.importorskip("numba", reason="needs the extra 'fast'")
from cffbook.recurrence import mapped  # noqa: E402
from cffbook.recurrence.fused_cpu import layer as fused  # noqa: E402

# Both round each operation once; a few hundred of them separate the ends of these sequences.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
SETTINGS = [
    # d_model, pairs, batch, time, scheme, sensory, unfolds, readout, both ways
    (6, 5, 3, 9, "set_reset", "steered", 1, "one", False),
    (4, 6, 4, 1, "shared", "plain", 6, "both", False),
    (3, 8, 8, 70, "set_reset", "plain", 1, "one", True),
    (5, 4, 2, 33, "shared", "steered", 3, "both", True),
    (7, 130, 3, 66, "set_reset", "steered", 1, "both", False),
]


def layer_of(setting, dtype=torch.float64, **options):
    d_model, pairs, _, _, scheme, sensory, unfolds, readout, both = setting
    torch.manual_seed(0)
    flip_flops = FlipFlop(pairs, scheme, sensory, solver=SemiImplicitEuler(unfolds), init=NearCritical(10.0))
    return MemoryLayer(d_model, flip_flops, readout=readout, bidirectional=both, backend="fused_cpu", **options).to(dtype)


def everything(layer, backend, setting, times="one", padded=False, started=False):
    """Outputs, last potentials, and the gradients of inputs, start and parameters."""
    d_model, pairs, batch, time = setting[:4]
    dtype = next(layer.parameters()).dtype
    torch.manual_seed(1)
    x, start = torch.randn(batch, time, d_model).to(dtype).requires_grad_(), (torch.randn(batch, pairs, 2) * 0.3).to(dtype).requires_grad_()
    elapsed = 0.7 if times == "one" else torch.rand((batch,) if times == "sequence" else (batch, time)).to(dtype) + 0.3
    lengths = torch.randint(0, time + 1, (batch,)) if padded else None
    weights = torch.randn(batch, time, d_model).to(dtype), torch.randn(batch, pairs, 2).to(dtype)
    layer.backend = backend
    layer.zero_grad()
    y, last = layer(x, start if started else None, elapsed, lengths)
    ((y * weights[0]).sum() + (last * weights[1]).sum()).backward()
    given = [x, start] if started else [x]
    return [y.detach(), last.detach(), *(each.grad.clone() for each in (*given, *layer.parameters()))]


def agree(found, expected, tolerance):
    for mine, yours in zip(found, expected, strict=True):
        assert float((mine - yours).abs().max()) <= tolerance * max(1.0, float(yours.abs().max()))


@pytest.fixture
def calls(monkeypatch):
    """Counts passes in one go, whatever their size; new arrays hold NaN, and a piece a few samples."""
    seen = []
    original, whole = fused.roomy, fused.fused_layer
    monkeypatch.setattr(fused, "roomy", lambda *shape, like: original(*shape, like=like).fill_(torch.nan))
    monkeypatch.setattr(fused, "fused_layer", lambda *arguments: seen.append(1) or whole(*arguments))
    monkeypatch.setattr(fused, "ROWS", 32)
    monkeypatch.setattr(mapped, "LEAST", 0)
    return seen


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request, monkeypatch):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    monkeypatch.setattr("cffbook.recurrence.fused_cpu.pool.SMALL", 0)
    yield request.param
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
def test_values_and_all_gradients_are_those_of_the_definition(setting, dtype, calls, threads):
    layer, both = layer_of(setting, dtype), setting[-1]
    for times, padded in (("one", False), ("sequence", True)) if both else (("one", True), ("sequence", False), ("sample", True)):
        options = setting, times, padded, not both
        calls.clear()
        found = everything(layer, "fused_cpu", *options)
        assert calls == [1]
        agree(found, everything(layer, "sequential", *options), TOLERANCE[dtype])


def test_auto_takes_it(calls):
    MemoryLayer(3, 5)(torch.zeros(2, 4, 3))
    assert calls == [1]


def test_no_samples_and_no_sequences_are_run(calls):
    layer = MemoryLayer(3, 5, backend="fused_cpu")
    for shape in ((0, 4, 3), (2, 0, 3)):
        x, start = torch.zeros(shape, requires_grad=True), torch.randn(shape[0], 5, 2)
        y, last = layer(x, start)
        (y.sum() + last.sum()).backward()
        assert y.shape == shape and torch.equal(last, start) and x.grad.shape == shape
    assert calls == [1, 1]


@pytest.mark.parametrize(("setting", "frozen"), [(SETTINGS[0], "input_map"), (SETTINGS[3], "cell")], ids=["the input map", "the flip-flops"])
def test_what_is_frozen_gets_no_gradient_and_all_else_the_same(setting, frozen, calls):
    layer, x = layer_of(setting), torch.randn(2, 9, setting[0], dtype=torch.float64)
    layer(x)[0].square().sum().backward()
    expected = {name: parameter.grad.clone() for name, parameter in layer.named_parameters()}
    layer.zero_grad()
    getattr(layer, frozen).requires_grad_(False)
    layer(x)[0].square().sum().backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad is None if name.startswith(frozen) else torch.equal(parameter.grad, expected[name])


def test_inputs_that_want_no_gradient_change_those_of_the_parameters_by_nothing(calls):
    layer, x, found = layer_of(SETTINGS[2]), torch.randn(8, 70, 3, dtype=torch.float64), []
    for wanted in (True, False):
        layer.zero_grad()
        layer(x.detach().requires_grad_(wanted))[0].square().sum().backward()
        found.append([parameter.grad.clone() for parameter in layer.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


def test_without_gradients_and_while_inferring_the_values_are_the_same(threads, calls):
    layer, x = layer_of(SETTINGS[2], torch.float32), torch.randn(4, 200, 3)
    expected = layer(x)[0]
    with torch.no_grad():
        assert torch.equal(layer(x)[0], expected)
    with torch.inference_mode():
        assert torch.equal(layer(x.clone())[0], expected)


def test_inputs_that_do_not_lie_in_rows_are_the_same_inputs(calls):
    layer, x = layer_of(SETTINGS[0]), torch.randn(6, 9, 3, dtype=torch.float64)
    turned = x.permute(2, 1, 0)
    assert torch.equal(layer(turned)[0], layer(turned.contiguous())[0])


@pytest.mark.parametrize("ways", [1, 2])
def test_pytorch_accepts_the_operator(ways):
    layer = layer_of(SETTINGS[3])
    form, maps = layer.cell.form(), (layer.input_map, layer.output_map)
    weights = [each.detach().clone().requires_grad_() for one in maps for each in (one.weight, one.bias)]
    arguments = (torch.randn(2, 9, 5).double().requires_grad_(), form.values.detach().requires_grad_(), *weights, torch.zeros(2, 4, 2).double(),
                 torch.ones(1, 1, 1, 1).double(), torch.tensor([9, 4]), 3, True, True, ways)  # fmt: skip
    torch.library.opcheck(fused.fused_layer, arguments)


def test_a_model_around_it_is_compiled(calls):
    layer, x = layer_of(SETTINGS[0]), torch.randn(2, 9, 6, dtype=torch.float64)
    compiled = torch.compile(torch.nn.Sequential(torch.nn.Linear(6, 6).double(), layer), backend="aot_eager")
    compiled(x)[0].square().sum().backward()
    found = [parameter.grad.clone() for parameter in compiled.parameters()]
    compiled.zero_grad()
    compiled._orig_mod(x)[0].square().sum().backward()
    agree(found, [parameter.grad for parameter in compiled.parameters()], 1e-12)


def test_it_is_refused_to_differentiate_twice(calls):
    x = torch.randn(1, 3, 6, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer_of(SETTINGS[0])(x)[0].sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="no gradients of gradients: name backend='sequential'"):
        gradient.sum().backward()


class Doubled(torch.nn.Module):
    """A parametrisation."""

    def forward(self, weight):
        return 2 * weight


def hooked(layer):
    layer.input_map.register_forward_hook(lambda module, inputs, outputs: 2 * outputs)


def parametrised(layer):
    parametrize.register_parametrization(layer.output_map, "weight", Doubled())


def replaced(layer):
    layer.input_map = torch.nn.Sequential(layer.input_map, torch.nn.Tanh())


def own_method(layer):
    original = layer.input_map.forward
    layer.input_map.forward = lambda inputs: original(inputs).clamp(-0.1, 0.1)


@pytest.mark.parametrize("change", [hooked, parametrised, replaced, own_method])
def test_maps_that_are_more_than_maps_run_by_themselves(change, calls):
    layer, plain = layer_of(SETTINGS[0]), everything(layer_of(SETTINGS[0]), "fused_cpu", SETTINGS[0])
    change(layer)
    calls.clear()
    found = everything(layer, "fused_cpu", SETTINGS[0])
    agree(found, everything(layer, "sequential", SETTINGS[0]), 1e-12)
    assert not calls and not torch.allclose(found[0], plain[0])


def test_few_lines_run_one_by_one_as_they_lie_in_the_cache_anyway(calls, monkeypatch):
    monkeypatch.setattr(mapped, "LEAST", 4 * 2 * 5 * 16)
    layer = MemoryLayer(6, 8)
    layer(torch.randn(2, 4, 6))
    assert not calls
    layer(torch.randn(2, 5, 6))
    assert calls == [1]


def test_the_threads_may_change_between_the_way_there_and_the_way_back(calls, monkeypatch):
    monkeypatch.setattr("cffbook.recurrence.fused_cpu.pool.SMALL", 0)
    layer, x, found, before = layer_of(SETTINGS[2]), torch.randn(8, 70, 3, dtype=torch.float64), [], torch.get_num_threads()
    for threads in (1, 2):
        torch.set_num_threads(threads)
        y = layer(x)[0]
        torch.set_num_threads(1)
        layer.zero_grad()
        y.square().sum().backward()
        found.append([parameter.grad.clone() for parameter in layer.parameters()])
    torch.set_num_threads(before)
    agree(*found, 1e-12)


def test_where_it_does_not_cover_a_call_the_parts_run_one_by_one(calls):
    x = torch.randn(2, 5, 6)
    layer = MemoryLayer(6, 8)
    own = torch.rand(2, 5, requires_grad=True)
    layer(x, elapsed=own)[0].sum().backward()
    assert own.grad.abs().sum() > 0
    layer(x, elapsed=torch.rand(2, 5, 8, 2))
    MemoryLayer(6, 8, bidirectional=True)(x, elapsed=torch.rand(2, 5))
    MemoryLayer(6, 8, wiring.ring(8))(x)
    MemoryLayer(6, 8, backend="sequential")(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert layer(x)[0].dtype == torch.bfloat16
    torch.func.functional_call(layer, dict(layer.named_parameters()), (x,))
    assert calls == [1]  # of the last call
