// What a trained layer answers, and the automaton that a right answer follows, with the present state lit.

import { drawn, element } from "./dom.js";

const GRAPH = 300, MIDDLE = GRAPH / 2, OUTER = 126, INNER = 52, DISC = 20;

// The answers with their probabilities: {node, show(layer, probabilities)}.
export function answerBars() {
  const node = element("div", { class: "cff-answers", role: "group", "aria-label": "answers" });
  return {
    node,
    show(layer, probabilities) {
      node.style.display = probabilities ? "" : "none";
      if (!probabilities) return;
      const best = probabilities.indexOf(Math.max(...probabilities));
      node.replaceChildren(...layer.answers.names.map((name, k) => element("div", { class: `cff-answer${k === best ? " cff-best" : ""}` },
        element("span", { class: "cff-answer-bar", style: `--share:${probabilities[k].toFixed(3)}` }), element("span", {}, name), element("span", {}, `${Math.round(100 * probabilities[k])} %`))));
    },
  };
}

// The states, and arrows in a colour for each symbol: {node, show(layer, before, state, last, answer)}; `last` is the symbol that led from `before` to `state`.
export function stateGraph() {
  const picture = drawn("svg", { role: "img" }), legend = element("p", { class: "cff-legend" });
  const node = element("div", { class: "cff-automaton" }, picture, legend), shown = { automaton: null };
  return {
    node,
    show(layer, before, state, last, answer) {
      const { automaton } = layer;
      node.style.display = automaton ? "" : "none";
      if (!automaton) return;
      if (shown.automaton !== automaton) lay(picture, legend, shown, layer);
      shown.discs.forEach((disc, k) => disc.setAttribute("class", `cff-place${k === state ? " cff-true" : ""}${k === answer ? " cff-answered" : ""}`));
      const taken = ({ from, to, symbol, both }) => symbol === last && (from === before || (both && to === before));
      for (const edge of shown.edges) edge.node.setAttribute("class", `cff-step cff-step-${edge.symbol % 4}${taken(edge) ? " cff-taken" : ""}`);
      [...legend.children].forEach((entry, symbol) => entry.classList.toggle("cff-taken", symbol === last));
      picture.setAttribute("aria-label", `State ${automaton.states[state]}, the layer answers ${automaton.states[answer] ?? "nothing"}`);
    },
  };
}

function lay(picture, legend, shown, { automaton, symbols }) {
  const at = places(automaton), heights = at.map(([, y]) => y);
  shown.edges = edgesOf(automaton.next);
  const margin = DISC + (shown.edges.some(({ from, to }) => from === to) ? 34 : 6), top = Math.min(...heights) - margin;
  for (const edge of shown.edges) edge.node = arrow(edge, at);
  shown.discs = at.map(([x, y]) => drawn("circle", { cx: x, cy: y, r: DISC }));
  const names = at.map(([x, y], k) => drawn("text", { x, y: y + 4, "text-anchor": "middle", class: "cff-place-name" }, automaton.states[k]));
  picture.setAttribute("viewBox", `0 ${top} ${GRAPH} ${Math.max(...heights) + margin - top}`);
  picture.replaceChildren(...shown.edges.map(({ node }) => node), ...shown.discs.flatMap((disc, k) => [disc, names[k]]));
  legend.replaceChildren(...symbols.names.map((name, symbol) => element("span", { class: `cff-step cff-step-${symbol % 4}` },
    drawn("svg", { viewBox: "0 0 30 8", "aria-hidden": "true" }, drawn("path", { d: "M 1 4 H 29" })), shown.edges.some((edge) => edge.symbol === symbol) ? name : `${name}: stays`)));
  shown.automaton = automaton;
}

// Where the states are: on rings that one symbol leads around, so that few arrows cross.
function places({ next }) {
  const at = [];
  rings(next).forEach((ring, depth) => ring.forEach((state, k) => {
    const angle = 2 * Math.PI * k / ring.length - (next.length < 3 ? Math.PI / 2 : 0), radius = depth ? INNER : OUTER;
    at[state] = [MIDDLE + radius * Math.sin(angle), MIDDLE - radius * Math.cos(angle)];
  }));
  return at;
}

// All states in the order of a symbol that leads through all of them, or an outer and an inner half, each opposite of where another symbol leads;
// in the order that they have if there is no such symbol.
function rings(next) {
  for (const symbol of next[0].keys()) {
    const [outer, inner, ...more] = cyclesOf(next, symbol);
    if (outer.length === next.length) return [outer];
    if (outer.length < 3 || more.length || inner?.length !== outer.length) continue;
    const across = next[0].map((_, other) => outer.map((state) => next[state][other])).find((reached) => inner.every((state) => reached.includes(state)));
    return [outer, across ?? inner];
  }
  return [[...next.keys()]];
}

// The states that a symbol leads through from each that it has not led through yet.
function cyclesOf(next, symbol) {
  const cycles = [], seen = new Set();
  for (const first of next.keys()) {
    const cycle = [];
    for (let state = first; !seen.has(state); state = next[state][symbol]) { seen.add(state); cycle.push(state); }
    if (cycle.length) cycles.push(cycle);
  }
  return cycles;
}

// One edge for each symbol that leads from one state to another, one for both ways if it leads back; a symbol that changes no state has none.
function edgesOf(next) {
  const changes = next[0].map((_, symbol) => next.some((row, from) => row[symbol] !== from));
  const edges = next.flatMap((row, from) => row.map((to, symbol) => ({ from, to, symbol, both: from !== to && next[to][symbol] === from })))
    .filter(({ from, to, symbol, both }) => changes[symbol] && !(both && from > to));
  const beside = (one, other) => Math.min(one.from, one.to) === Math.min(other.from, other.to) && Math.max(one.from, one.to) === Math.max(other.from, other.to);
  return edges.map((edge) => {
    const same = edges.filter((other) => beside(edge, other)), way = edge.from < edge.to ? 1 : -1;
    return { ...edge, bend: way * 30 * (same.indexOf(edge) - (same.length - 1) / 2), turn: same.indexOf(edge) };
  });
}

function arrow({ from, to, both, bend, turn }, at) {
  const { d, ends } = from === to ? loop(at[from], turn) : bow(at[from], at[to], bend);
  const tip = ([x, y, angle]) => drawn("path", { d: "M 0 0 L -9 -4 L -9 4 Z", class: "cff-tip", transform: `translate(${x} ${y}) rotate(${angle * 180 / Math.PI})` });
  return drawn("g", {}, drawn("path", { d, fill: "none" }), ...(both ? ends : ends.slice(0, 1)).map(tip));
}

// From one state to another, `bend` to the left: {d, ends: [x, y, angle] of the tip there, of the tip here}.
function bow([x, y], [u, v], bend) {
  const length = Math.hypot(u - x, v - y), middle = [(x + u) / 2 + bend * (v - y) / length, (y + v) / 2 + bend * (x - u) / length];
  const end = (px, py) => {
    const angle = Math.atan2(py - middle[1], px - middle[0]);
    return [px - (DISC + 3) * Math.cos(angle), py - (DISC + 3) * Math.sin(angle), angle];
  };
  const ends = [end(u, v), end(x, y)];
  return { d: `M ${ends[1].slice(0, 2)} Q ${middle} ${ends[0].slice(0, 2)}`, ends };
}

// From a state to itself, on the outer side.
function loop([x, y], turn) {
  const length = Math.hypot(x - MIDDLE, y - MIDDLE) || 1, out = [(x - MIDDLE) / length, (y - MIDDLE) / length], side = [-out[1], out[0]], far = 48 + 10 * turn;
  const point = (along, across) => [x + out[0] * along + side[0] * across, y + out[1] * along + side[1] * across];
  const start = point(18, -11), end = point(18, 11), one = point(far, -22), two = point(far, 22);
  return { d: `M ${start} C ${one} ${two} ${end}`, ends: [[...end, Math.atan2(end[1] - two[1], end[0] - two[0])]] };
}
