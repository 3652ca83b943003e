"""The fused pass over time of any network of neurons, as an operator that PyTorch knows: autograd, compile."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cffbook.recurrence.forms import Layout, Network, runs
from cffbook.recurrence.fused_cpu.arithmetic import LOG2E_DOUBLE
from cffbook.recurrence.fused_cpu.lanes import WIDTHS
from cffbook.recurrence.fused_cpu.network_backward import backward
from cffbook.recurrence.fused_cpu.network_forward import Neurons, Wires, forward
from cffbook.recurrence.fused_cpu.pool import share, threads

# What a step of so many sequences side by side costs for each neuron and for each synapse, in synapses of one sequence.
BLOCK_COST = {WIDTHS[0]: (15, 12), WIDTHS[0] // 2: (11, 8), 1: (30, 1)}


def run(form: Network, unfolds: int, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, neurons)` and the last ones `(batch, neurons)` of inputs `(batch, time, features)`.

    Args:
        elapsed: `(batch or 1, time or 1, neurons or 1)`.
    """
    if lengths is None:
        lengths = torch.full((inputs.shape[0],), inputs.shape[1])
    source, steering = form.steering or (lengths.new_zeros(0), form.neurons.new_zeros(2, 0))
    values = [form.neurons, form.sensory.gates, form.sensory.synapses, form.recurrent.gates, form.recurrent.synapses, steering]
    places = [*_places(form.sensory.layout), *_places(form.recurrent.layout), runs(source), lengths]
    return fused_network(inputs, *values, potential, elapsed, places, unfolds)


def _places(layout: Layout) -> tuple[Tensor, ...]:
    return layout.sources, layout.gates, layout.first, layout.reach, layout.spent


@torch.library.custom_op("cffbook::fused_network", mutates_args=(), device_types="cpu")
def fused_network(
    inputs: Tensor, neurons: Tensor, s_gates: Tensor, s_synapses: Tensor, gates: Tensor, synapses: Tensor, steering: Tensor,
    potential: Tensor, elapsed: Tensor, places: Sequence[Tensor], unfolds: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Potentials of all samples and the last ones; `places` are five arrays of each layout, the steering sources with their runs, and the lengths."""
    batch, time, _ = inputs.shape
    potentials, last = inputs.new_empty(batch, time, neurons.shape[1]), potential.clone(memory_format=torch.contiguous_format)
    if batch * time:
        values = (neurons, s_gates, s_synapses, gates, synapses, steering)
        arrays = *_arrays(inputs, values, potential, elapsed, places), unfolds, potentials.numpy(), last.numpy()
        work = _work(inputs, s_gates, gates, unfolds)
        lanes = _lanes(batch, threads(work), neurons, synapses)
        share(lambda first, end: forward(first, end, lanes, *arrays), -(-batch // len(lanes)), work)
    return potentials, last


@torch.library.custom_op("cffbook::fused_network_backward", mutates_args=(), device_types="cpu")
def fused_network_backward(
    given: Tensor, g_last: Tensor, inputs: Tensor, neurons: Tensor, s_gates: Tensor, s_synapses: Tensor, gates: Tensor, synapses: Tensor,
    steering: Tensor, potential: Tensor, elapsed: Tensor, potentials: Tensor, places: Sequence[Tensor], unfolds: int, timed: bool,
) -> list[Tensor]:  # fmt: skip
    """Gradients of inputs, the six arrays of values, potential and, where it is wanted, elapsed `(batch, time or 1, neurons)`."""
    batch, time, _ = inputs.shape
    values = (neurons, s_gates, s_synapses, gates, synapses, steering)
    g_inputs, g_start = torch.zeros_like(inputs, memory_format=torch.contiguous_format), g_last.clone(memory_format=torch.contiguous_format)
    g_elapsed = inputs.new_zeros((batch, elapsed.shape[1], neurons.shape[1]) if timed else (0, 0, 0))
    shapes = [neurons[:2].shape, neurons[2:].shape, *(value.shape for value in values[1:])]
    sums = {}
    if batch * time:
        arrays = *_arrays(inputs, values, potential, elapsed, places), unfolds
        told = [each.detach().contiguous().numpy() for each in (potentials, given, g_last)]
        written = g_inputs.numpy(), g_start.numpy(), g_elapsed.numpy()
        work = 3 * _work(inputs, s_gates, gates, unfolds)
        lanes = _lanes(batch, threads(work), neurons, synapses)

        def part(first: int, end: int) -> None:
            sums[first] = [torch.zeros(shape, dtype=torch.float64) for shape in shapes]
            backward(first, end, lanes, *arrays, *told, *written, tuple(each.numpy() for each in sums[first]))

        share(part, -(-batch // len(lanes)), work)
    # Added up in the order of the sequences, whichever thread was first.
    whole = [sum((sums[first][i] for first in sorted(sums)), torch.zeros(shape, dtype=torch.float64)) for i, shape in enumerate(shapes)]
    # The kernel leaves out factors that are the same for all samples.
    whole[1] *= neurons[1]
    for value, gradient in zip(values[1:], whole[2:], strict=True):
        gradient[1] *= value[0] if value is synapses or value is s_synapses else -value[0]
    gradients = [torch.cat(whole[:2]), *whole[2:]]
    return [g_inputs, *(each.to(neurons.dtype) for each in gradients), g_start, g_elapsed]


def _arrays(inputs: Tensor, values: Sequence[Tensor], potential: Tensor, elapsed: Tensor, places: Sequence[Tensor]) -> tuple:
    cell, s_gates, s_synapses, gates, synapses, steering = (value.detach().contiguous().numpy() for value in values)
    *places, steered, lengths = (place.numpy() for place in places)
    inputs, potential, elapsed = (each.detach().contiguous().numpy() for each in (inputs, potential, elapsed))
    sensory, recurrent = _wires(places[:5], s_gates, s_synapses), _wires(places[5:], gates, synapses)
    return inputs, Neurons(*cell), sensory, recurrent, _wires([steered, steered[:0], *3 * [lengths[:0]]], steering, steering[:, :0]), potential, elapsed, lengths


def _wires(places, gates, synapses) -> Wires:
    return Wires(*places, gates[0] * -LOG2E_DOUBLE, *gates, *synapses)


def _lanes(batch: int, workers: int, neurons: Tensor, synapses: Tensor) -> tuple[int, ...]:
    """As many entries as sequences go side by side, so that the threads are done soonest."""

    def time(width: int) -> int:
        blocks, (neuron, synapse) = -(-batch // width), BLOCK_COST[width]
        return -(-blocks // workers) * (neuron * neurons.shape[1] + synapse * synapses.shape[1])

    return (0,) * min(BLOCK_COST, key=time)


def _work(inputs: Tensor, s_gates: Tensor, gates: Tensor, unfolds: int) -> int:
    return inputs.shape[0] * inputs.shape[1] * (s_gates.shape[1] + unfolds * gates.shape[1])


@fused_network.register_fake
def _(inputs, neurons, s_gates, s_synapses, gates, synapses, steering, potential, elapsed, places, unfolds):
    return inputs.new_empty(*inputs.shape[:2], neurons.shape[1]), torch.empty_like(potential, memory_format=torch.contiguous_format)


@fused_network_backward.register_fake
def _(given, g_last, inputs, neurons, s_gates, s_synapses, gates, synapses, steering, potential, elapsed, potentials, places, unfolds, timed):
    times = inputs.new_empty((inputs.shape[0], elapsed.shape[1], neurons.shape[1]) if timed else (0, 0, 0))
    every = (inputs, neurons, s_gates, s_synapses, gates, synapses, steering, potential)
    return [*(each.new_empty(each.shape) for each in every), times]


def _keep(ctx, inputs, output):
    *tensors, ctx.places, ctx.unfolds = inputs
    ctx.save_for_backward(*tensors, output[0])


def _differentiate(ctx, given, last):
    timed, elapsed = ctx.needs_input_grad[8], ctx.saved_tensors[8]
    *gradients, times = fused_network_backward(given, last, *ctx.saved_tensors, ctx.places, ctx.unfolds, timed)
    return *gradients, times.sum_to_size(elapsed.shape) if timed else None, [None] * len(ctx.places), None


fused_network.register_autograd(_differentiate, setup_context=_keep)
