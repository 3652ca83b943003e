"""500 settings that nobody chose: every backend that accepts one gives the definition's values and gradients.

Where a circuit is steep, rounding itself is amplified: there the definition differs from itself when its values and inputs are
moved by one rounding. A backend may differ by the tolerance, and by as much as a hundred such roundings move the definition.
"""

import copy

import pytest
import torch

hypothesis = pytest.importorskip("hypothesis", reason="needs the extra 'test'")
pytest.importorskip("numba", reason="needs the extra 'fast'")
from hypothesis import strategies as st

from cffbook import FlipFlop, NearCritical, SemiImplicitEuler, unroll, wiring
from cffbook.lateral import MemoryCell
from cffbook.neuron import LTCCell

TOLERANCE = {torch.float64: 1e-12, torch.float32: 1e-5}
BACKENDS = {"pairs": ("fused_cpu", "basins"), "coupled": ("fused_cpu",), "neurons": ("fused_cpu",)}
ROUNDINGS = 100


@st.composite
def settings(draw):
    """A cell, and what it is run on."""
    kind, size, unfolds = draw(st.sampled_from(sorted(BACKENDS))), draw(st.integers(1, 9)), draw(st.integers(1, 6))
    torch.manual_seed(draw(st.integers(0, 10_000)))
    solver = SemiImplicitEuler(unfolds)
    lateral = draw(st.sampled_from([wiring.dense(size), wiring.ring(size) if size > 2 else wiring.dense(size), wiring.tiles(size, 1)]))
    if kind == "neurons":
        cell = LTCCell(draw(st.integers(1, 4)), wiring.dense(size, self_connections=True) if size < 5 else lateral, solver)
    else:
        own = draw(st.sampled_from([-1, 0, 1]))
        init = draw(st.sampled_from([None, NearCritical(10.0), NearCritical(100.0, criticality=1.5)]))
        cell = FlipFlop(size, draw(st.sampled_from(["set_reset", "shared"])), draw(st.sampled_from(["plain", "steered"])), own, solver, init)
        if draw(st.booleans()):
            cell.assign({"reciprocal_slope": draw(st.sampled_from([1.0, 20.0, 100.0]))})
        if kind == "coupled":
            cell = MemoryCell(cell, lateral, draw(st.sampled_from(["presynaptic", "per_synapse"])))
    batch, time = draw(st.sampled_from([1, 2, 3, 5, 8, 13, 18])), draw(st.integers(1, 12))
    inputs = torch.randn(batch, time, *cell.input_shape, dtype=torch.float64) * draw(st.sampled_from([0.3, 3.0, 1e3, 1e30]))
    start = torch.randn(batch, *cell.state_shape, dtype=torch.float64) * draw(st.sampled_from([0.0, 0.5]))
    own = (batch, time, *(1 for _ in cell.state_shape))
    elapsed = torch.rand(draw(st.sampled_from([(), (batch,), (batch, time), own])), dtype=torch.float64) * draw(st.sampled_from([1.0, 5.0]))
    lengths = torch.randint(0, time + 1, (batch,)) if draw(st.booleans()) else None
    return kind, cell, inputs, start, elapsed, lengths, draw(st.sampled_from(sorted(TOLERANCE, key=str)))


def everything(backend, cell, inputs, start, elapsed, lengths, dtype, moved=0.0):
    """Potentials, last ones and all gradients; values and inputs moved by so much of themselves."""
    cell = copy.deepcopy(cell).to(dtype)
    generator = torch.Generator().manual_seed(3)

    def near(value):
        return (value.to(dtype) * (1 + moved * (2 * torch.rand(value.shape, generator=generator, dtype=dtype) - 1))).requires_grad_()

    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.copy_(near(parameter.detach()))
    given = [near(value) for value in (inputs, start, elapsed)]
    potentials, last = unroll(cell, *given, lengths, backend)
    weights = [torch.randn(value.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64).to(dtype) for value in (potentials, last)]
    ((potentials * weights[0]).sum() + (last * weights[1]).sum()).backward()
    wanted = [*given, *cell.parameters()]
    return [potentials, last, *(torch.zeros_like(each) if each.grad is None else each.grad for each in wanted)]


@pytest.mark.slow
@hypothesis.settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck))
@hypothesis.given(settings())
def test_every_backend_that_accepts_a_setting_agrees_with_the_definition(setting):
    kind, *run, dtype = setting
    expected = everything("sequential", *run, dtype)
    rounded = everything("sequential", *run, dtype, moved=torch.finfo(dtype).eps)
    for backend in BACKENDS[kind]:
        for mine, yours, near in zip(everything(backend, *run, dtype), expected, rounded, strict=True):
            if yours.numel():
                assert torch.isfinite(mine).all()
                scale = max(1.0, float(yours.detach().abs().max()))
                allowed = TOLERANCE[dtype] * scale + ROUNDINGS * float((near - yours).detach().abs().max())
                assert float((mine - yours).detach().abs().max()) <= allowed, backend
