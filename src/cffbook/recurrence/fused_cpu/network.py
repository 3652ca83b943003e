"""The fused pass over time of any network of neurons, as an operator that PyTorch knows: autograd, compile."""

from collections.abc import Sequence

import torch
from torch import Tensor

from cffbook.recurrence.forms import Network
from cffbook.recurrence.fused_cpu.network_backward import backward
from cffbook.recurrence.fused_cpu.network_forward import forward
from cffbook.recurrence.fused_cpu.pool import share


def run(form: Network, unfolds: int, inputs: Tensor, potential: Tensor, elapsed: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """Potentials `(batch, time, neurons)` and the last ones `(batch, neurons)` of inputs `(batch, time, features)`.

    Args:
        elapsed: `(batch or 1, time or 1, neurons or 1)`.
    """
    if lengths is None:
        lengths = torch.full((inputs.shape[0],), inputs.shape[1])
    source, steering = form.steering or (lengths.new_zeros(0), form.neurons.new_zeros(2, 0))
    runs = [form.sensory.layout.gate_runs, form.sensory.layout.synapse_runs, form.recurrent.layout.gate_runs, form.recurrent.layout.synapse_runs]
    values = [form.neurons, form.sensory.gates, form.sensory.synapses, form.recurrent.gates, form.recurrent.synapses, steering]
    return fused_network(inputs, *values, potential, elapsed, [*runs, source, lengths], unfolds)


@torch.library.custom_op("cffbook::fused_network", mutates_args=(), device_types="cpu")
def fused_network(
    inputs: Tensor, neurons: Tensor, s_gates: Tensor, s_synapses: Tensor, gates: Tensor, synapses: Tensor, steering: Tensor,
    potential: Tensor, elapsed: Tensor, places: Sequence[Tensor], unfolds: int,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Potentials of all samples and the last ones; `places` are four arrays of runs, the steering sources and the lengths."""
    batch, time, _ = inputs.shape
    potentials, last = inputs.new_empty(batch, time, neurons.shape[1]), potential.clone(memory_format=torch.contiguous_format)
    if batch * time:
        values = (neurons, s_gates, s_synapses, gates, synapses, steering)
        arrays = *_arrays(inputs, values, potential, elapsed, places), unfolds, _largest(neurons), potentials.numpy(), last.numpy()
        share(lambda first, end: forward(first, end, *arrays), batch, _work(inputs, s_gates, gates, unfolds))
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
    sums = {}
    if batch * time:
        arrays = *_arrays(inputs, values, potential, elapsed, places), unfolds, _largest(neurons)
        told = [each.detach().contiguous().numpy() for each in (potentials, given, g_last)]
        written = g_inputs.numpy(), g_start.numpy(), g_elapsed.numpy()

        def part(first: int, end: int) -> None:
            sums[first] = [torch.zeros(value.shape, dtype=torch.float64) for value in values]
            backward(first, end, *arrays, *told, *written, tuple(each.numpy() for each in sums[first]))

        share(part, batch, 3 * _work(inputs, s_gates, gates, unfolds))
    # Added up in the order of the sequences, whichever thread was first.
    whole = [sum((sums[first][i] for first in sorted(sums)), torch.zeros(value.shape, dtype=torch.float64)) for i, value in enumerate(values)]
    return [g_inputs, *(each.to(neurons.dtype) for each in whole), g_start, g_elapsed]


def _arrays(inputs: Tensor, values: Sequence[Tensor], potential: Tensor, elapsed: Tensor, places: Sequence[Tensor]) -> tuple:
    batch, neurons = inputs.shape[0], values[0].shape[1]
    s_runs, s_synapse_runs, runs, synapse_runs, steered, lengths = (place.numpy() for place in places)
    cell, s_gates, s_synapses, gates, synapses, steering = (value.detach().contiguous().numpy() for value in values)
    times = elapsed.detach().expand(batch, -1, neurons).numpy()
    sensory, recurrent = (s_runs, s_synapse_runs, s_gates, s_synapses), (runs, synapse_runs, gates, synapses)
    start = potential.detach().contiguous().numpy()
    return inputs.detach().contiguous().numpy(), cell, *sensory, *recurrent, steered, steering, start, times, lengths


def _largest(values: Tensor):
    return values.new_tensor(torch.finfo(values.dtype).max).numpy()[()]


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
