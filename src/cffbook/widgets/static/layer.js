// A memory as cffbook.memory/1 describes it: its circuit, its lines, its adjacency, and arrays by pattern. Pure functions.

import { makeCircuit, NAMES } from "./simulation.js";

export const FORMAT = "cffbook.memory/1";
const LARGEST = 64;
// what a synapse gets that a click makes, onto a and b; reversal potentials are given for polarity +1
const NEW = { conductance: [0.5, 0.5], reversal: [1, -1], slope: [8, 8], half_activation: [0.1, 0.1] };

// The layer, if it is one; otherwise an error in one sentence.
export function checkLayer(layer) {
  if (layer?.format !== FORMAT) throw new Error(`expected a JSON of the format ${FORMAT}, got ${layer?.format ?? "something else"}: make it with cffbook.widgets.describe`);
  const pairs = layer.values.capacitance.length, missing = NAMES.find((name) => layer.values[name]?.length !== pairs);
  if (missing) throw new Error(`expected ${pairs} values of ${missing}, got ${layer.values[missing]?.length ?? "none"}: make it with cffbook.widgets.describe`);
  if (pairs > LARGEST) throw new Error(`a page shows at most ${LARGEST} flip-flops, got ${pairs}: describe a smaller memory`);
  return layer;
}

export const pairsOf = (layer) => layer.start.length;

export function layerCircuit({ layer }) {
  return makeCircuit({ ...layer, lateral: layer.lateral && matrices(layer) });
}

// Lateral synapses as flat matrices (source, target, 2); presynaptic gates stay one for each source.
function matrices(layer) {
  const { lateral } = layer, pairs = pairsOf(layer), at = (s) => (lateral.source[s] * pairs + lateral.target[s]) * 2;
  const spread = (rows) => {
    const flat = new Float64Array(2 * pairs * pairs);
    rows.forEach(([a, b], s) => { flat[at(s)] = a; flat[at(s) + 1] = b; });
    return flat;
  };
  const gates = (rows) => (lateral.kind === "presynaptic" ? Float64Array.from(rows) : spread(rows));
  return { conductance: spread(lateral.conductance), reversal: spread(lateral.reversal), slope: gates(lateral.slope), half_activation: gates(lateral.half_activation) };
}

// Input lines of a sample {symbol, pressed: [[pair, u_a, u_b], ...]}.
export function layerLines({ layer }, { symbol, pressed }) {
  const shared = layer.scheme === "shared", pairs = pairsOf(layer);
  const lines = symbol < 0 ? Array((shared ? 1 : 2) * pairs).fill(0) : [...layer.symbols.lines[symbol]];
  for (const [pair, set, reset] of pressed) {
    if (shared) lines[pair] = set - reset;
    else { lines[2 * pair] = set; lines[2 * pair + 1] = reset; }
  }
  return lines;
}

// A sample takes one unit of time; for a layer that reads symbols, a sample of nothing takes none.
export const layerElapsed = ({ layer }, { symbol, pressed }) => (layer.symbols && symbol < 0 && !pressed.length ? 0 : 1);

// Polarity [source][target].
export function polarityOf(layer) {
  const pairs = pairsOf(layer), polarity = Array.from({ length: pairs }, () => new Int8Array(pairs));
  layer.lateral?.source.forEach((source, s) => { polarity[source][layer.lateral.target[s]] = layer.lateral.polarity[s]; });
  return polarity;
}

// The layer with another polarity of one synapse; `original` is where a synapse that comes back takes its values from.
export function withSynapse(layer, source, target, sign, original) {
  const lateral = layer.lateral ?? noSynapses(pairsOf(layer)), columns = columnsOf(lateral);
  const at = lateral.source.findIndex((s, k) => s === source && lateral.target[k] === target);
  const rows = Object.fromEntries(columns.map((name) => [name, lateral[name].filter((_, k) => k !== at)]));
  if (sign) {
    const values = synapseFrom(original, source, target, sign);
    for (const name of columns) rows[name].push(values[name]);
  }
  return { ...layer, lateral: { ...lateral, ...rows } };
}

const noSynapses = (pairs) => ({
  kind: "presynaptic", source: [], target: [], polarity: [], conductance: [], reversal: [],
  slope: Array(pairs).fill(NEW.slope[0]), half_activation: Array(pairs).fill(NEW.half_activation[0]),
});

// what has one entry for each synapse
const columnsOf = ({ kind }) => ["source", "target", "polarity", "conductance", "reversal", ...(kind === "per_synapse" ? ["slope", "half_activation"] : [])];

function synapseFrom(original, source, target, polarity) {
  const lateral = original.lateral, at = lateral?.source.findIndex((s, k) => s === source && lateral.target[k] === target) ?? -1;
  if (at >= 0 && lateral.polarity[at] === polarity) return Object.fromEntries(columnsOf(lateral).map((name) => [name, lateral[name][at]]));
  const usual = strengthOf(original) ?? NEW.conductance[0];
  return { source, target, polarity, ...NEW, conductance: [usual, usual], reversal: NEW.reversal.map((value) => polarity * value) };
}

// The conductance that all lateral synapses have, or null where they differ or there is none.
export function strengthOf(layer) {
  const all = layer.lateral?.conductance.flat() ?? [];
  return all.length && all.every((value) => Math.abs(value - all[0]) < 1e-9) ? all[0] : null;
}

export function withStrength(layer, value) {
  return { ...layer, lateral: { ...layer.lateral, conductance: layer.lateral.conductance.map(() => [value, value]) } };
}

export const PATTERNS = ["independent", "dense", "ring", "lattice", "tiles"];
export const SIZES = [4, 9, 16, 25, 36, 64];
export const SIGNS = ["inhibit", "excite", "forwards"];

// An array of n flip-flops like the first one of `layer`, wired by pattern; "forwards" excites what comes next and inhibits what came before.
export function patterned(layer, { pattern, size, sign }) {
  const pairs = Array.from({ length: size }, (_, i) => i), lateral = noSynapses(size), strength = strengthOf(layer) ?? NEW.conductance[0];
  for (const source of pairs) {
    for (const target of pairs) {
      if (source === target || !joined(pattern, size, source, target)) continue;
      const ahead = (target - source + size) % size <= size / 2;
      const polarity = { inhibit: -1, excite: 1, forwards: (pattern === "ring" ? ahead : target > source) ? 1 : -1 }[sign];
      lateral.source.push(source); lateral.target.push(target); lateral.polarity.push(polarity);
      lateral.conductance.push([strength, strength]); lateral.reversal.push(NEW.reversal.map((value) => polarity * value));
    }
  }
  const values = Object.fromEntries(NAMES.map((name) => [name, pairs.map(() => layer.values[name][0])]));
  return { ...layer, values, lateral, start: pairs.map(() => layer.start[0]), names: pairs.map(String), symbols: null, answers: null, automaton: null };
}

// The pattern that a layer is wired by, or undefined.
export function patternOf(layer) {
  const size = pairsOf(layer), written = ({ lateral }) => (lateral?.source ?? []).map((source, s) => `${source} ${lateral.target[s]} ${lateral.polarity[s]}`).sort().join();
  const wanted = written(layer), all = PATTERNS.flatMap((pattern) => SIGNS.map((sign) => ({ pattern, size, sign })));
  return SIZES.includes(size) ? all.find((each) => written(patterned(layer, each)) === wanted) : undefined;
}

function joined(pattern, size, source, target) {
  const side = Math.round(Math.sqrt(size)), apart = Math.abs(source - target);
  if (pattern === "dense") return true;
  if (pattern === "ring") return apart === 1 || apart === size - 1;
  if (pattern === "tiles") return Math.floor(source / side) === Math.floor(target / side);
  const rows = Math.abs(Math.floor(source / side) - Math.floor(target / side)), columns = Math.abs(source % side - target % side);
  return pattern === "lattice" && rows + columns === 1;
}

// Scores of the answers at potentials `v`, as probabilities; null where the layer has none.
export function answersAt({ answers }, v) {
  if (!answers) return null;
  const held = answers.readout === "one" ? [...v].filter((_, i) => i % 2 === 0) : [...v];
  const scores = answers.weight.map((row, k) => row.reduce((sum, weight, i) => sum + weight * held[i], answers.bias[k]));
  const most = Math.max(...scores), open = scores.map((score) => Math.exp(score - most)), total = open.reduce((sum, value) => sum + value, 0);
  return open.map((value) => value / total);
}

// The automaton's state before each sample and after the last one.
export function statesAlong({ automaton }, first, symbols) {
  if (!automaton) return null;
  const states = [first];
  for (const symbol of symbols) states.push(symbol < 0 ? states.at(-1) : automaton.next[states.at(-1)][symbol]);
  return states;
}
