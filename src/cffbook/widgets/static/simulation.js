// The semi-implicit step of n flip-flops in double precision, as cffbook.recurrence.sequential defines it. Pure functions.

export const NAMES = [
  "capacitance", "leak_conductance", "leak_reversal",
  "self_conductance", "self_slope", "self_half_activation", "self_reversal",
  "reciprocal_conductance", "reciprocal_slope", "reciprocal_half_activation", "reciprocal_reversal",
  "sensory_conductance", "sensory_slope", "sensory_half_activation", "sensory_reversal",
  "steering_slope", "steering_half_activation",
];

export const logistic = (x) => 1 / (1 + Math.exp(-x));

// A circuit from plain values, `name: [[a, b], ...]` for each pair; neuron a of pair p has the index 2p, neuron b 2p + 1.
// Self synapses have the sign of `self_polarity`, and none where it is 0.
export function makeCircuit({ values, scheme, sensory, self_polarity, unfolds, lateral = null }) {
  const circuit = { shared: scheme === "shared", steered: sensory === "steered", unfolds, lateral };
  for (const name of NAMES) circuit[name] = Float64Array.from(values[name].flat());
  circuit.self_conductance = circuit.self_conductance.map((value) => (self_polarity ? value : 0));
  circuit.self_reversal = circuit.self_reversal.map((value) => self_polarity * Math.abs(value));
  circuit.neurons = circuit.capacitance.length;
  circuit.total = new Float64Array(circuit.neurons);
  circuit.current = new Float64Array(circuit.neurons);
  return circuit;
}

// What neuron i sees of the input lines: its own line, or u for a and -u for b of a shared one.
export function lineOf(circuit, lines, i) {
  if (!circuit.shared) return lines[i];
  return i % 2 ? -lines[i >> 1] : lines[i >> 1];
}

// Sensory conductance of every neuron, before any steering.
export function sense(circuit, lines) {
  return circuit.sensory_conductance.map(
    (w, i) => w * logistic(circuit.sensory_slope[i] * (lineOf(circuit, lines, i) - circuit.sensory_half_activation[i])));
}

// Conductances onto neuron i, each gate at the present potentials.
export function synapsesOnto(c, drive, v, i) {
  const other = v[i ^ 1];
  const own = c.self_conductance[i] * logistic(c.self_slope[i] * (v[i] - c.self_half_activation[i]));
  const cross = c.reciprocal_conductance[i] * logistic(c.reciprocal_slope[i] * (other - c.reciprocal_half_activation[i]));
  const steering = c.steered ? logistic(c.steering_slope[i] * (other - c.steering_half_activation[i])) : 1;
  return { own, cross, sensory: drive[i] * steering };
}

// Total conductance G and driving current I, so that C dv/dt = I - G v; written into circuit.total and circuit.current.
export function rate(c, drive, v) {
  for (let i = 0; i < c.neurons; i++) {
    const { own, cross, sensory } = synapsesOnto(c, drive, v, i);
    c.total[i] = c.leak_conductance[i] + own + cross + sensory;
    c.current[i] = c.leak_conductance[i] * c.leak_reversal[i] + own * c.self_reversal[i]
      + cross * c.reciprocal_reversal[i] + sensory * c.sensory_reversal[i]; // eq. cff
  }
  if (c.lateral) addLateral(c, v);
}

// Lateral synapses from outputs v_a onto both neurons of their targets; matrices are flat, (source, target, 2).
function addLateral(c, v) {
  const { conductance, reversal, slope, half_activation } = c.lateral;
  const pairs = c.neurons / 2, presynaptic = slope.length === pairs;
  for (let source = 0; source < pairs; source++) {
    const output = v[2 * source];
    const shared = presynaptic ? logistic(slope[source] * (output - half_activation[source])) : 0;
    for (let i = 0, at = source * c.neurons; i < c.neurons; i++, at++) {
      if (!conductance[at]) continue;
      const gate = presynaptic ? shared : logistic(slope[at] * (output - half_activation[at]));
      c.total[i] += conductance[at] * gate;
      c.current[i] += conductance[at] * gate * reversal[at]; // eq. lateral
    }
  }
}

// One unfold of length h, in place.
export function unfold(c, drive, v, h) {
  rate(c, drive, v);
  for (let i = 0; i < c.neurons; i++) {
    v[i] = (c.capacitance[i] * v[i] + h * c.current[i]) / (c.capacitance[i] + h * c.total[i]); // eq. ltc-step
  }
}

// Potentials after each sample of `inputs`, from `start`; `elapsed` is one number or one for each sample.
export function run(circuit, inputs, start, elapsed = 1) {
  const v = Float64Array.from(start);
  return inputs.map((lines, t) => {
    const drive = sense(circuit, lines);
    const h = (typeof elapsed === "number" ? elapsed : elapsed[t]) / circuit.unfolds;
    for (let k = 0; k < circuit.unfolds; k++) unfold(circuit, drive, v, h);
    return Float64Array.from(v);
  });
}
