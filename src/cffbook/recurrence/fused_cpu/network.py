"""The fused pass over time of any network of neurons, as an operator that PyTorch knows: autograd, compile."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cffbook.recurrence.forms import Network, runs
from cffbook.recurrence.fused_cpu.arithmetic import np
from cffbook.recurrence.fused_cpu.lanes import WIDTHS
from cffbook.recurrence.fused_cpu.network_backward import backward
from cffbook.recurrence.fused_cpu.network_forward import Neurons, forward
from cffbook.recurrence.fused_cpu.operators import differentiate, operator, refuse
from cffbook.recurrence.fused_cpu.pool import share, threads
from cffbook.recurrence.fused_cpu.wires import gates_of, gradients, places, sums_of, wire

TABLES = 1 << 23  # bytes of gates that an adjoint keeps; others it opens again
# What a step of so many sequences side by side costs for each neuron and for each synapse, in synapses of one sequence.
BLOCK_COST = {WIDTHS[0]: (37, 9), WIDTHS[0] // 2: (27, 6), 1: (35, 1)}


def run(form: Network, unfolds: int, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, neurons)` and the last ones `(batch, neurons)` of inputs `(batch, time, features)`.

    Args:
        elapsed: `(batch or 1, time or 1, neurons or 1)`.
    """
    if lengths is None:
        lengths = torch.full((inputs.shape[0],), inputs.shape[1])
    source, steering = form.steering or (lengths.new_zeros(0), form.neurons.new_zeros(2, 0))
    values = [form.neurons, form.sensory.gates, form.sensory.synapses, form.recurrent.gates, form.recurrent.synapses, steering]
    where = [*places(form.sensory.layout), *places(form.recurrent.layout), runs(source), lengths]
    return fused_network(inputs, *values, potential, elapsed, where, unfolds)


def _forward(
    inputs: Tensor, neurons: Tensor, s_gates: Tensor, s_synapses: Tensor, gates: Tensor, synapses: Tensor, steering: Tensor,
    potential: Tensor, elapsed: Tensor, places: Sequence[Tensor], unfolds: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Potentials of all samples and the last ones; `places` are seven arrays of each layout, the steering sources with their runs, and the lengths."""
    batch, time, _ = inputs.shape
    potentials, last = inputs.new_empty(batch, time, neurons.shape[1]), potential.clone(memory_format=torch.contiguous_format)
    if batch * time:
        work = _work(inputs, s_gates, gates, unfolds)
        lanes = _lanes(batch, threads(work), neurons, synapses)
        values, places = (neurons, s_gates, s_synapses, gates, synapses, steering), [place.numpy() for place in places]
        arrays = *_arrays(inputs, values, potential, elapsed, places, len(lanes) > 1), unfolds, potentials.numpy(), last.numpy()
        share(lambda first, end: forward(first, end, lanes, *arrays), -(-batch // len(lanes)), work)
    return potentials, last


def _backward(
    given: Tensor, g_last: Tensor, inputs: Tensor, neurons: Tensor, s_gates: Tensor, s_synapses: Tensor, gates: Tensor, synapses: Tensor,
    steering: Tensor, potential: Tensor, elapsed: Tensor, potentials: Tensor, places: Sequence[Tensor], unfolds: int, timed: bool,
) -> list[Tensor]:  # fmt: skip
    """Gradients of inputs, the six arrays of values, potential and, where it is wanted, elapsed `(batch, time or 1, neurons)`."""
    batch, time, _ = inputs.shape
    values, places = (neurons, s_gates, s_synapses, gates, synapses, steering), [place.numpy() for place in places]
    g_inputs, g_start = torch.zeros_like(inputs, memory_format=torch.contiguous_format), g_last.clone(memory_format=torch.contiguous_format)
    g_elapsed = inputs.new_zeros((batch, elapsed.shape[1], neurons.shape[1]) if timed else (0, 0, 0))
    if batch * time == 0:
        return [g_inputs, *(torch.zeros_like(value) for value in values), g_start, g_elapsed]
    work = 3 * _work(inputs, s_gates, gates, unfolds)
    lanes = _lanes(batch, threads(work), neurons, synapses)
    arrays = _arrays(inputs, values, potential, elapsed, places, len(lanes) > 1)
    tables = max(1, min(unfolds, TABLES // max(1, gates.shape[1] * len(lanes) * gates.element_size())))
    _, cell, sensory, recurrent, steer, *_ = arrays
    told = [each.detach().contiguous().numpy() for each in (potentials, given, g_last)]
    tail = *told, g_inputs.numpy(), g_start.numpy(), g_elapsed.numpy()
    sums = {}

    def part(first: int, end: int) -> None:
        own = np.zeros((2, len(cell.leak))), np.zeros((1, len(cell.leak)))
        sums[first] = *own, *sums_of(sensory), *sums_of(recurrent), np.zeros((2, len(steer.half)))
        backward(first, end, lanes, *arrays, unfolds, tables, *tail, sums[first])

    share(part, -(-batch // len(lanes)), work)
    # Added up in the order of the sequences, whichever thread was first.
    whole = [sum(each) for each in zip(*(sums[first] for first in sorted(sums)), strict=True)]
    whole[1] *= cell.leak  # a factor that the kernel leaves out
    whole[8][1] *= -steer.slope
    joined = np.concatenate(whole[:2]), *gradients(places[:7], sensory, whole[2:5]), *gradients(places[7:14], recurrent, whole[5:8]), whole[8]
    return [g_inputs, *(torch.from_numpy(each).to(neurons.dtype) for each in joined), g_start, g_elapsed]


def _arrays(inputs: Tensor, values: Sequence[Tensor], potential: Tensor, elapsed: Tensor, places: Sequence[Tensor], apart: bool) -> tuple:
    cell, s_gates, s_synapses, gates, synapses, steering = (value.detach() for value in values)
    *places, steered, lengths = places
    inputs, potential, elapsed = (each.detach().contiguous().numpy() for each in (inputs, potential, elapsed))
    wires = wire(places[:7], s_gates, s_synapses, apart), wire(places[7:], gates, synapses, apart)
    return inputs, Neurons(*cell.contiguous().numpy()), *wires, gates_of(steered, steering), potential, elapsed, lengths


def _lanes(batch: int, workers: int, neurons: Tensor, synapses: Tensor) -> tuple[int, ...]:
    """As many entries as sequences go side by side, so that the threads are done soonest."""

    def time(width: int) -> int:
        blocks, (neuron, synapse) = -(-batch // width), BLOCK_COST[width]
        return -(-blocks // workers) * (neuron * neurons.shape[1] + synapse * synapses.shape[1])

    return (0,) * min(BLOCK_COST, key=time)


def _work(inputs: Tensor, s_gates: Tensor, gates: Tensor, unfolds: int) -> int:
    return inputs.shape[0] * inputs.shape[1] * (s_gates.shape[1] + unfolds * gates.shape[1])


def _like_forward(inputs, neurons, s_gates, s_synapses, gates, synapses, steering, potential, elapsed, places, unfolds):
    return inputs.new_empty(*inputs.shape[:2], neurons.shape[1]), torch.empty_like(potential, memory_format=torch.contiguous_format)


def _like_backward(given, g_last, inputs, neurons, s_gates, s_synapses, gates, synapses, steering, potential, elapsed, potentials, places, unfolds, timed):
    times = inputs.new_empty((inputs.shape[0], elapsed.shape[1], neurons.shape[1]) if timed else (0, 0, 0))
    every = (inputs, neurons, s_gates, s_synapses, gates, synapses, steering, potential)
    return [*(each.new_empty(each.shape) for each in every), times]


fused_network = operator("fused_network", _forward, _like_forward)
fused_network_backward = operator("fused_network_backward", _backward, _like_backward)


def _keep(ctx, inputs, output):
    *tensors, ctx.places, ctx.unfolds = inputs
    ctx.save_for_backward(*tensors, output[0])


def _differentiate(ctx, given, last):
    timed, elapsed = ctx.needs_input_grad[8], ctx.saved_tensors[8]
    *gradients, times = fused_network_backward(given, last, *ctx.saved_tensors, ctx.places, ctx.unfolds, timed)
    return *gradients, times.sum_to_size(elapsed.shape) if timed else None, [None] * len(ctx.places), None


differentiate("fused_network", _differentiate, _keep)
refuse("fused_network_backward")
