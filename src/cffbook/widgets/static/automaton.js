// What a trained layer answers, and the automaton that a right answer follows, with the present state lit.

import { drawn, element } from "./dom.js";

const GRAPH = 260, MIDDLE = GRAPH / 2;

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

// The states in a circle, an arrow for each symbol: {node, show(layer, state, last, answer)}; `last` is the symbol that led here.
export function stateGraph() {
  const node = drawn("svg", { class: "cff-automaton", role: "img" });
  const shown = { automaton: null };
  return {
    node,
    show(layer, before, state, last, answer) {
      const { automaton } = layer;
      node.style.display = automaton ? "" : "none";
      if (!automaton) return;
      if (shown.automaton !== automaton) lay(node, shown, layer);
      shown.states.forEach(({ circle }, k) => circle.setAttribute("class", `cff-place${k === state ? " cff-true" : ""}${k === answer ? " cff-answered" : ""}`));
      for (const { path, from, symbol } of shown.arrows) path.setAttribute("class", `cff-step${from === before && symbol === last ? " cff-taken" : ""}`);
      node.setAttribute("aria-label", `State ${automaton.states[state]}, the layer answers ${automaton.states[answer] ?? "nothing"}`);
    },
  };
}

function lay(node, shown, { automaton, symbols }) {
  const count = automaton.states.length, radius = count > 2 ? 88 : 62;
  const at = (k) => [MIDDLE + radius * Math.sin(2 * Math.PI * k / count - (count === 2 ? Math.PI / 2 : 0)), MIDDLE - radius * Math.cos(2 * Math.PI * k / count - (count === 2 ? Math.PI / 2 : 0))];
  const arrows = automaton.next.flatMap((row, from) => row.map((to, symbol) => ({ from, to, symbol })));
  shown.arrows = arrows.map(({ from, to, symbol }) => {
    const { d, label, turn, end } = from === to ? loop(at(from), symbol) : bow(at(from), at(to), symbol);
    const path = drawn("g", {}, drawn("path", { d, fill: "none" }), drawn("path", { d: "M 0 0 L -9 -4 L -9 4 Z", class: "cff-tip", transform: `translate(${end}) rotate(${turn})` }),
      drawn("text", { x: label[0], y: label[1] + 4, "text-anchor": "middle" }, symbols.names[symbol]));
    return { path, from, symbol };
  });
  shown.states = automaton.states.map((name, k) => {
    const [x, y] = at(k), circle = drawn("circle", { cx: x, cy: y, r: 20 });
    return { circle, text: drawn("text", { x, y: y + 4, "text-anchor": "middle", class: "cff-place-name" }, name) };
  });
  node.setAttribute("viewBox", count > 2 ? `0 0 ${GRAPH} ${GRAPH}` : `0 ${MIDDLE - 55} ${GRAPH} 110`);
  node.replaceChildren(...shown.arrows.map(({ path }) => path), ...shown.states.flatMap(({ circle, text }) => [circle, text]));
  shown.automaton = automaton;
}

// An arrow from one state to another, bent to one side, further for later symbols.
function bow([x, y], [u, v], symbol) {
  const length = Math.hypot(u - x, v - y), away = [(v - y) / length, (x - u) / length], bend = 14 + 14 * symbol, gap = 22;
  const middle = [(x + u) / 2 + away[0] * bend, (y + v) / 2 + away[1] * bend];
  const toward = (px, py) => { const l = Math.hypot(middle[0] - px, middle[1] - py); return [px + gap * (middle[0] - px) / l, py + gap * (middle[1] - py) / l]; };
  const [sx, sy] = toward(x, y), [ex, ey] = toward(u, v);
  return {
    d: `M ${sx} ${sy} Q ${middle[0]} ${middle[1]} ${ex} ${ey}`, end: `${ex} ${ey}`, label: [middle[0] + 2 * away[0], middle[1] + 2 * away[1]],
    turn: Math.atan2(ey - middle[1], ex - middle[0]) * 180 / Math.PI,
  };
}

// An arrow from a state to itself, on the outer side.
function loop([x, y], symbol) {
  const length = Math.hypot(x - MIDDLE, y - MIDDLE) || 1, out = [(x - MIDDLE) / length, (y - MIDDLE) / length], side = [-out[1], out[0]], far = 52 + 10 * symbol;
  const point = (along, across) => [x + out[0] * along + side[0] * across, y + out[1] * along + side[1] * across];
  const start = point(17, -10), end = point(17, 10), one = point(far, -20), two = point(far, 20), label = point(far + 2, 0);
  return { d: `M ${start} C ${one} ${two} ${end}`, end: end.join(" "), label, turn: Math.atan2(end[1] - two[1], end[0] - two[0]) * 180 / Math.PI };
}
