// What one pair does under constant lines: latch condition, nullclines, fixed points, basins. Pure functions.
// The counterparts of cffbook.analysis; `plane` is {circuit, drive, low, high}.

import { logistic, rate, sense, synapsesOnto, unfold } from "./simulation.js";

// The pair under these lines, with the hull of its reversal potentials, which no potential leaves.
export function makePlane(circuit, lines) {
  const reversals = [circuit.leak_reversal, circuit.self_reversal, circuit.reciprocal_reversal, circuit.sensory_reversal];
  const all = reversals.flatMap((pair) => [...pair]);
  return { circuit, drive: sense(circuit, lines), low: Math.min(...all), high: Math.max(...all) };
}

// dv/dt of both neurons.
export function change({ circuit, drive }, v) {
  rate(circuit, drive, v);
  return [0, 1].map((i) => (circuit.current[i] - circuit.total[i] * v[i]) / circuit.capacitance[i]); // eq. cff
}

// d(dv/dt)/dv, rows are the neurons that change.
export function jacobian({ circuit: c, drive }, v) {
  const bend = (slope, source, half) => slope * (1 - logistic(slope * (source - half)));
  rate(c, drive, v);
  const total = [...c.total];
  return [0, 1].map((i) => {
    const { own, cross, sensory } = synapsesOnto(c, drive, v, i), other = v[1 - i];
    const self = own * bend(c.self_slope[i], v[i], c.self_half_activation[i]) * (c.self_reversal[i] - v[i]);
    let mutual = cross * bend(c.reciprocal_slope[i], other, c.reciprocal_half_activation[i]) * (c.reciprocal_reversal[i] - v[i]);
    if (c.steered) mutual += sensory * bend(c.steering_slope[i], other, c.steering_half_activation[i]) * (c.sensory_reversal[i] - v[i]);
    const row = [(self - total[i]) / c.capacitance[i], mutual / c.capacitance[i]];
    return i ? row.reverse() : row;
  });
}

export const isSymmetric = (circuit) =>
  Object.values(circuit).every((value) => !(value instanceof Float64Array) || value === circuit.total || value === circuit.current || value[0] === value[1]);

// Margin of the latch condition, positive where the pair latches; null for neurons or lines that differ.
export function latchMargin(plane) {
  const { circuit, drive } = plane;
  if (!isSymmetric(circuit) || drive[0] !== drive[1]) return null;
  let { low, high } = plane;
  for (let k = 0; k < 200; k++) { // bisection of the diagonal down to the last bit
    const middle = (low + high) / 2;
    if (change(plane, [middle, middle])[0] > 0) low = middle; else high = middle;
  }
  const rest = (low + high) / 2, [[own, other]] = jacobian(plane, [rest, rest]);
  return circuit.capacitance[0] * (own - other); // eq. latch
}

// Rates on a square grid: {size, at(k), rates: [Float64Array of dv_a/dt, of dv_b/dt]}, index = i * size + j for (v_a, v_b).
export function rateGrid(plane, size) {
  const low = plane.low - 1e-3, step = (plane.high - plane.low + 2e-3) / (size - 1), at = (k) => low + k * step;
  const rates = [new Float64Array(size * size), new Float64Array(size * size)], v = [0, 0];
  for (let i = 0; i < size; i++) {
    for (let j = 0; j < size; j++) {
      v[0] = at(i); v[1] = at(j);
      const [first, second] = change(plane, v);
      rates[0][i * size + j] = first; rates[1][i * size + j] = second;
    }
  }
  return { size, at, step, rates };
}

// Segments [[v_a, v_b], [v_a, v_b]] of the curve on which neuron `which` is at rest: marching squares with straight edges.
export function nullcline(grid, which) {
  const { size, at, step } = grid, values = grid.rates[which], segments = [];
  const crossing = (p, q, i, j, along) => {
    if (values[p] > 0 === values[q] > 0) return [];
    const share = step * values[p] / (values[p] - values[q]);
    return [along ? [at(i), at(j) + share] : [at(i) + share, at(j)]];
  };
  for (let i = 0; i + 1 < size; i++) {
    for (let j = 0; j + 1 < size; j++) {
      const p = i * size + j, q = p + size;
      const points = [...crossing(p, p + 1, i, j, true), ...crossing(q, q + 1, i + 1, j, true),
                      ...crossing(p, q, i, j, false), ...crossing(p + 1, q + 1, i, j + 1, false)];
      for (let k = 0; k + 1 < points.length; k += 2) segments.push([points[k], points[k + 1]]);
    }
  }
  return segments;
}

// Fixed points {v, stable}, by v_a: cells in which both rates change sign, polished by Newton's method.
export function fixedPoints(plane, grid) {
  const { size, at, step } = grid, found = [];
  const mixed = (values, p) => {
    const up = (values[p] > 0) + (values[p + 1] > 0) + (values[p + size] > 0) + (values[p + size + 1] > 0);
    return up > 0 && up < 4;
  };
  for (let i = 0; i + 1 < size; i++) {
    for (let j = 0; j + 1 < size; j++) {
      const p = i * size + j;
      if (!mixed(grid.rates[0], p) || !mixed(grid.rates[1], p)) continue;
      const v = polished(plane, [at(i) + step / 2, at(j) + step / 2]);
      if (v && found.every((other) => Math.max(Math.abs(other.v[0] - v[0]), Math.abs(other.v[1] - v[1])) > 1e-6)) {
        found.push({ v, stable: isStable(jacobian(plane, v)) });
      }
    }
  }
  return found.sort((one, two) => one.v[0] - two.v[0]);
}

function polished(plane, v) {
  const { low, high } = plane, within = (x, bottom, top) => Math.min(top, Math.max(bottom, x));
  for (let k = 0; k < 60; k++) {
    const [f, g] = change(plane, v), [[a, b], [c, d]] = jacobian(plane, v), det = a * d - b * c;
    if (!det) return null;
    const move = [(d * f - b * g) / det, (a * g - c * f) / det];
    v = v.map((x, i) => within(x - within(move[i], -0.05, 0.05), low, high));
    if (Math.abs(move[0]) + Math.abs(move[1]) < 1e-15) break;
  }
  const c = plane.circuit.capacitance;
  return change(plane, v).every((x, i) => Math.abs(x) * c[i] < 1e-9) ? v : null;
}

// Both eigenvalues left of the imaginary axis: negative trace, positive determinant.
const isStable = ([[a, b], [c, d]]) => a + d < 0 && a * d - b * c > 0;

// Which bit a pair ends with that starts on a point of a grid and is left alone: 1, -1 for bit 0, and 0 for none.
// A square whose corners agree is filled; only squares on an edge are cut further.
export function basins(plane, points, elapsed, size = 65) {
  const ends = points.filter((point) => point.stable).map((point) => point.v), bits = new Int8Array(size * size);
  if (ends.length < 2) return bits;
  const known = new Uint8Array(size * size), step = (plane.high - plane.low) / (size - 1);
  const h = stepLength(plane.circuit, elapsed);
  const bit = (i, j) => {
    const p = i * size + j;
    if (!known[p]) {
      known[p] = 1;
      bits[p] = endOf(plane, [plane.low + i * step, plane.low + j * step], ends, h);
    }
    return bits[p];
  };
  const fill = (i, j, width) => {
    const first = bit(i, j);
    const same = [bit(i + width, j), bit(i, j + width), bit(i + width, j + width)].every((other) => other === first);
    if (!same && width > 1) {
      const half = width / 2;
      for (const [x, y] of [[0, 0], [half, 0], [0, half], [half, half]]) fill(i + x, j + y, half);
    } else if (same) {
      for (let x = 0; x <= width; x++) for (let y = 0; y <= width; y++) { bits[(i + x) * size + j + y] = first; known[(i + x) * size + j + y] = 1; }
    }
  };
  const width = 8;
  for (let i = 0; i + 1 < size; i += width) for (let j = 0; j + 1 < size; j += width) fill(i, j, width);
  return bits;
}

// An unfold, or a quarter of the fastest time constant where that is longer: slow pairs need not be followed in short steps.
function stepLength(c, elapsed) {
  const fastest = Math.min(...[0, 1].map((i) => c.capacitance[i] / (c.leak_conductance[i] + c.self_conductance[i] + c.reciprocal_conductance[i])));
  return Math.max(elapsed / c.unfolds, fastest / 4);
}

function endOf({ circuit, drive, low, high }, v, ends, h) {
  const near = 0.03 * (high - low);
  for (let k = 0; k < 1500; k++) {
    unfold(circuit, drive, v, h);
    if (k % 4) continue;
    const end = ends.find((point) => Math.abs(point[0] - v[0]) < near && Math.abs(point[1] - v[1]) < near);
    if (end) return Math.sign(end[0] - end[1]);
  }
  return 0;
}
