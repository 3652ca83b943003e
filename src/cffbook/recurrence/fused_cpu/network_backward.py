"""The adjoint of `network_forward`, one pass back over time: only the potentials were kept, the unfolds are run again.

With λ = (∂L/∂v') / (C + h ΣG) for an unfold v -> v' of length h, every conductance G with reversal potential E has
∂L/∂G = λ h (E - v') and ∂L/∂E = λ h G, and ∂L/∂C = λ (v - v'), ∂L/∂v = λ C + what comes back through the gates.
Source: eq. ltc-step, differentiated.
"""

from cffbook.recurrence.fused_cpu.arithmetic import derivative, inverse, kernel, np
from cffbook.recurrence.fused_cpu.lanes import lane_loop
from cffbook.recurrence.fused_cpu.network_forward import DRIVEN, KEPT, SENSORY, STEER, SHARE, TOTAL, CURRENT, sense, times, unfold  # noqa: I001

FLUSH = 64  # samples after which sums in the kernel's precision go into float64


def _synapses(places, scalars) -> None:
    conductance, reversal, gates, g_conductance, g_reversal, g_gates = places
    part, after = scalars
    w, s = conductance.load(), gates.load()
    pulled = part * (reversal.load() - after)
    g_conductance.add(pulled * s)
    g_reversal.add(part * w * s)
    g_gates.add(pulled * w)


def _sensory(places, scalars) -> None:
    conductance, reversal, gates, g_conductance, g_reversal, g_gates = places
    total, current = scalars
    w, s = conductance.load(), gates.load()
    pulled = total + current * reversal.load()
    g_conductance.add(pulled * s)
    g_reversal.add(current * w * s)
    g_gates.add(pulled * w)


def _gates(places, scalars) -> None:
    slope, half, seen, gates, g_gates, g_slope, g_half, g_seen = places
    y, away, given = slope.load(), seen.load() - half.load(), g_gates.load()
    dz = given * (y * away).derivative(gates.load())
    g_slope.add(dz * away)
    g_half.add(dz * y * -1.0)
    g_seen.add(dz * y)
    g_gates.store(given.constant(0))


synapses_loop = lane_loop(_synapses)
sensory_loop = lane_loop(_sensory)
gates_loop = lane_loop(_gates)


@kernel
def synapses_back(runs, conductance, reversal, gates, weight, after, g_conductance, g_reversal, g_gates):
    """Gradients of conductances, reversals and gates from the targets: `weight` is λ h, `after` their potential after the unfold."""
    arrays = (conductance, reversal, gates, g_conductance, g_reversal, g_gates)
    for r in range(runs.shape[0]):
        m, j, k, count = runs[r, 0], runs[r, 1], runs[r, 2], runs[r, 3]
        synapses_loop(arrays, (j, j, k, j, j, k), count, (weight[m], after[m]))


@kernel
def sensory_back(runs, conductance, reversal, gates, g_total, g_current, g_conductance, g_reversal, g_gates):
    """As `synapses_back`, from the gradients of a neuron's sensory conductance and current."""
    arrays = (conductance, reversal, gates, g_conductance, g_reversal, g_gates)
    for r in range(runs.shape[0]):
        m, j, k, count = runs[r, 0], runs[r, 1], runs[r, 2], runs[r, 3]
        sensory_loop(arrays, (j, j, k, j, j, k), count, (g_total[m], g_current[m]))


@kernel
def gates_back(runs, slope, half, seen, gates, g_gates, g_slope, g_half, g_seen):
    """Gradients of slopes, half-activations and sources; leaves the gradients of the gates at 0."""
    arrays = (slope, half, seen, gates, g_gates, g_slope, g_half, g_seen)
    for r in range(runs.shape[0]):
        k, first, count = runs[r, 0], runs[r, 1], runs[r, 2]
        gates_loop(arrays, (k, k, first, k, k, k, k, first), count, ())


@kernel
def neurons_back(neurons, part, before, after, kept, g_neurons, g_potential, weight, g_total, g_current, g_steer, g_part):
    """The neuron's own share of an unfold's adjoint: λ, gradients of its values, of its drive and of the unfold's length."""
    for m in range(before.shape[0]):
        own = g_potential[m] * kept[SHARE, m]  # λ
        h = own * part[m]
        weight[m] = h
        g_neurons[0, m] += own * (before[m] - after[m])
        g_neurons[1, m] += h * (neurons[2, m] - after[m])
        g_neurons[2, m] += h * neurons[1, m]
        pull = kept[DRIVEN, m] - kept[SENSORY, m] * after[m]
        g_total[m] -= h * kept[STEER, m] * after[m]
        g_current[m] += h * kept[STEER, m]
        g_steer[m] = h * pull
        moved = neurons[1, m] * (neurons[2, m] - after[m]) + kept[STEER, m] * pull + kept[CURRENT, m] - kept[TOTAL, m] * after[m]
        g_part[m] += own * moved
        g_potential[m] = own * neurons[0, m]


@kernel
def steering_back(source, values, potential, kept, g_steer, g_values, g_potential):
    """Gradients of the steering gates' values and sources."""
    for m in range(source.shape[0]):
        away = potential[source[m]] - values[1, m]
        dz = g_steer[m] * derivative(values[0, m] * away, kept[STEER, m])
        g_values[0, m] += dz * away
        g_values[1, m] -= dz * values[0, m]
        g_potential[source[m]] += dz * values[0, m]


@kernel
def pour(values, sums):
    """Move sums in the kernel's precision into float64."""
    for row in range(values.shape[0]):
        for i in range(values.shape[1]):
            sums[row, i] += values[row, i]
            values[row, i] = 0


@kernel
def backward(first, end, inputs, neurons, s_runs, s_synapse_runs, s_gates, s_synapses, runs, synapse_runs, gate_values, synapses, steered,
             steering, start, elapsed, lengths, unfolds, largest, potentials, given, g_last, g_inputs, g_start, g_elapsed, sums):
    """Run the sequences from `first` up to `end`; arguments as in `forward`, and

    Args:
        given: (batch, time, neurons) gradient of the potentials.
        g_last: (batch, neurons) gradient of the last ones.
        g_inputs, g_start: written, shapes of inputs and start.
        g_elapsed: written, (batch, time or 1, neurons), or (0, 0, 0) when it is not wanted.
        sums: six float64 arrays to add to: gradients of neurons, s_gates, s_synapses, gate_values, synapses, steering.
    """  # fmt: skip
    time, kind, size = inputs.shape[1], neurons.dtype, neurons.shape[1]
    seen, sensory_gates, part = np.empty(inputs.shape[2], kind), np.empty(s_gates.shape[1], kind), np.empty(size, kind)
    states, gates = np.empty((unfolds + 1, size), kind), np.empty((unfolds, gate_values.shape[1]), kind)
    kept, share = np.ones((unfolds, KEPT, size), kind), inverse(neurons.dtype.type(unfolds))
    g_v, weight, g_total, g_current, g_steer, g_part = (
        np.zeros(size, kind), np.zeros(size, kind), np.zeros(size, kind), np.zeros(size, kind), np.zeros(size, kind), np.zeros(size, kind)
    )  # fmt: skip
    g_open, g_sensory_open = np.zeros(gate_values.shape[1], kind), np.zeros(s_gates.shape[1], kind)
    g_neurons, g_s_gates, g_s_synapses = np.zeros(neurons.shape, kind), np.zeros(s_gates.shape, kind), np.zeros(s_synapses.shape, kind)
    g_gates, g_synapses, g_steering = np.zeros(gate_values.shape, kind), np.zeros(synapses.shape, kind), np.zeros(steering.shape, kind)
    steady, timed = elapsed.shape[1] == 1, g_elapsed.shape[0] > 0
    for b in range(first, end):
        g_v[:] = g_last[b]
        g_part[:] = 0
        times(elapsed, b, 0, share, part)
        for t in range(lengths[b], time):
            g_inputs[b, t] = 0
            if timed and not steady:
                g_elapsed[b, t] = 0
        for t in range(lengths[b] - 1, -1, -1):
            if not steady:
                times(elapsed, b, t, share, part)
            sense(s_runs, s_synapse_runs, s_gates, s_synapses, inputs[b, t], largest, seen, sensory_gates, kept[0])
            states[0] = potentials[b, t - 1] if t > 0 else start[b]
            for k in range(unfolds):
                kept[k, SENSORY], kept[k, DRIVEN], states[k + 1] = kept[0, SENSORY], kept[0, DRIVEN], states[k]
                unfold(neurons, runs, synapse_runs, gate_values, synapses, steering, steered, part, states[k + 1], gates[k], kept[k])
            for m in range(size):
                g_v[m] += given[b, t, m]
                g_total[m] = 0
                g_current[m] = 0
            for k in range(unfolds - 1, -1, -1):
                neurons_back(neurons, part, states[k], states[k + 1], kept[k], g_neurons, g_v, weight, g_total, g_current, g_steer, g_part)
                synapses_back(synapse_runs, synapses[0], synapses[1], gates[k], weight, states[k + 1], g_synapses[0], g_synapses[1], g_open)
                gates_back(runs, gate_values[0], gate_values[1], states[k], gates[k], g_open, g_gates[0], g_gates[1], g_v)
                if steered.shape[0]:
                    steering_back(steered, steering, states[k], kept[k], g_steer, g_steering, g_v)
            sensory_back(s_synapse_runs, s_synapses[0], s_synapses[1], sensory_gates, g_total, g_current, g_s_synapses[0],
                         g_s_synapses[1], g_sensory_open)
            g_inputs[b, t] = 0
            gates_back(s_runs, s_gates[0], s_gates[1], seen, sensory_gates, g_sensory_open, g_s_gates[0], g_s_gates[1], g_inputs[b, t])
            if timed and not steady:
                for m in range(size):
                    g_elapsed[b, t, m] = g_part[m] * share
                    g_part[m] = 0
            if t % FLUSH == 0:
                pour(g_neurons, sums[0])
                pour(g_s_gates, sums[1])
                pour(g_s_synapses, sums[2])
                pour(g_gates, sums[3])
                pour(g_synapses, sums[4])
                pour(g_steering, sums[5])
        g_start[b] = g_v
        if timed and steady:
            for m in range(size):
                g_elapsed[b, 0, m] = g_part[m] * share
