"""Any network of neurons, one pass over time: eq. ltc advanced by eq. ltc-step for one sequence at a time.

Gates and synapses lie in runs of neighbours (forms.Layout), and every loop over a run becomes vector instructions: first all
gates of an unfold, then, target by target, the sums of conductance and current.
"""

from cffbook._optional import require
from cffbook.recurrence.fused_cpu.arithmetic import OPTIONS, PURPOSE, gate, inverse, kernel, np
from cffbook.recurrence.fused_cpu.lanes import lane_loop

numba = require("numba", extra="fast", purpose=PURPOSE)

# Sums over a run may be taken in any order, as vector instructions take them.
summing = numba.njit(nogil=True, cache=True, **OPTIONS | {"fastmath": {"contract", "reassoc", "nsz"}})

TOTAL, CURRENT, SENSORY, DRIVEN, STEER, SHARE = 0, 1, 2, 3, 4, 5  # rows of what is kept for each neuron
KEPT = 6


def _gates(places, scalars) -> None:
    slope, half, seen, gates = places
    gates.store((slope.load() * (seen.load() - half.load())).gate())


gates_loop = lane_loop(_gates)


@kernel
def open_gates(runs, slope, half, seen, gates):
    """s(γ (v - μ)) of every gate; `seen` are the potentials, or inputs, of its sources."""
    for r in range(runs.shape[0]):
        k, first, count = runs[r, 0], runs[r, 1], runs[r, 2]
        gates_loop((slope, half, seen, gates), (k, k, first, k), count, ())


@summing
def collect(runs, conductance, reversal, gates, total, current):
    """Add conductance and current of every synapse to those of its target."""
    for r in range(runs.shape[0]):
        target, j, k, count = runs[r, 0], runs[r, 1], runs[r, 2], runs[r, 3]
        g, c = total[target], current[target]
        w, e, s = conductance[j : j + count], reversal[j : j + count], gates[k : k + count]
        for i in range(count):
            part = w[i] * s[i]
            g += part
            c += part * e[i]
        total[target], current[target] = g, c


@kernel
def steer(source, values, potential, kept):
    """The steering gate of every neuron."""
    for m in range(source.shape[0]):
        kept[STEER, m] = gate(values[0, m] * (potential[source[m]] - values[1, m]))


@kernel
def update(neurons, part, potential, kept):
    """The potentials after an unfold, and 1 / (C + h ΣG)."""
    for m in range(potential.shape[0]):
        total = neurons[1, m] + kept[STEER, m] * kept[SENSORY, m] + kept[TOTAL, m]
        current = neurons[1, m] * neurons[2, m] + kept[STEER, m] * kept[DRIVEN, m] + kept[CURRENT, m]
        kept[SHARE, m] = inverse(neurons[0, m] + part[m] * total)
        potential[m] = (neurons[0, m] * potential[m] + part[m] * current) * kept[SHARE, m]  # eq. ltc-step


@kernel
def unfold(neurons, runs, synapse_runs, gate_values, synapses, steering, steered, part, potential, gates, kept):
    """One unfold of all neurons, which see each other's potentials of before it."""
    open_gates(runs, gate_values[0], gate_values[1], potential, gates)
    kept[TOTAL] = 0
    kept[CURRENT] = 0
    collect(synapse_runs, synapses[0], synapses[1], gates, kept[TOTAL], kept[CURRENT])
    if steered.shape[0]:
        steer(steered, steering, potential, kept)
    update(neurons, part, potential, kept)


@kernel
def sense(runs, synapse_runs, gate_values, synapses, inputs, largest, seen, gates, kept):
    """Sensory conductance and current of one sample; infinite inputs act as the largest number."""
    for i in range(inputs.shape[0]):
        u = inputs[i]
        u = largest if u > largest else u
        seen[i] = -largest if u < -largest else u
    open_gates(runs, gate_values[0], gate_values[1], seen, gates)
    kept[SENSORY] = 0
    kept[DRIVEN] = 0
    collect(synapse_runs, synapses[0], synapses[1], gates, kept[SENSORY], kept[DRIVEN])


@kernel
def times(elapsed, b, t, share, part):
    """Lengths of an unfold of one sample, one for each neuron."""
    for m in range(part.shape[0]):
        part[m] = elapsed[b, t, m] * share


@kernel
def forward(first, end, inputs, neurons, s_runs, s_synapse_runs, s_gates, s_synapses, runs, synapse_runs, gate_values, synapses, steered,
            steering, start, elapsed, lengths, unfolds, largest, potentials, last):
    """Run the sequences from `first` up to `end`.

    Args:
        inputs: (batch, time, features).
        neurons: (3, neurons); s_gates, gate_values: (2, gates); s_synapses, synapses: (2, synapses); runs as in forms.Layout.
        steered, steering: (neurons,) and (2, neurons), or (0,) and anything.
        start, last: (batch, neurons); `last` is written.
        elapsed: (batch, time or 1, neurons), any strides.
        lengths: (batch,) real samples.
        potentials: (batch, time, neurons), written.
    """  # fmt: skip
    time, kind, size = inputs.shape[1], neurons.dtype, neurons.shape[1]
    seen, sensory_gates, gates = np.empty(inputs.shape[2], kind), np.empty(s_gates.shape[1], kind), np.empty(gate_values.shape[1], kind)
    part, potential, kept = np.empty(size, kind), np.empty(size, kind), np.ones((KEPT, size), kind)
    share = inverse(neurons.dtype.type(unfolds))
    for b in range(first, end):
        potential[:] = start[b]
        times(elapsed, b, 0, share, part)
        for t in range(lengths[b]):
            sense(s_runs, s_synapse_runs, s_gates, s_synapses, inputs[b, t], largest, seen, sensory_gates, kept)
            if elapsed.shape[1] > 1:
                times(elapsed, b, t, share, part)
            for _ in range(unfolds):
                unfold(neurons, runs, synapse_runs, gate_values, synapses, steering, steered, part, potential, gates, kept)
            potentials[b, t] = potential
        for t in range(lengths[b], time):
            potentials[b, t] = 0
        last[b] = potential
