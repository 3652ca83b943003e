// The circuit of one flip-flop as a drawing: neurons filled to their potential, synapses as wide as they are open.

import { drawn, symbol } from "./dom.js";

const A = [95, 92], B = [225, 92], RADIUS = 31;
// inhibitory synapses end in a dot at the last point of their path, excitatory ones in an arrow
const PATHS = {
  self: ["M 108 64 C 128 12, 62 12, 79 56", "M 212 64 C 192 12, 258 12, 241 56"],
  reciprocal: ["M 196 104 Q 160 124 131 107", "M 124 80 Q 160 60 189 77"],
  sensory: ["M 95 206 L 95 130", "M 225 206 L 225 130"],
  leak: ["M 34 152 L 66 122", "M 286 152 L 254 122"],
};
const STEERING = ["M 203 115 Q 170 166 99 168", "M 117 115 Q 150 166 221 168"];

// {node, show(state)}: state holds `potential`, `share` of the hull that each is at, `open` shares of each synapse, `lines`,
// `self_polarity`, `sensory`.
export function circuitDrawing() {
  const neurons = [neuron("a", A), neuron("b", B)];
  const wires = Object.fromEntries(Object.entries(PATHS).map(([kind, paths]) => [kind, paths.map((path) => wire(kind, path))]));
  const steering = STEERING.map((d) => drawn("path", { d, class: "cff-steering" }));
  const node = drawn("svg", { viewBox: "0 0 320 210", class: "cff-circuit", role: "img",
    "aria-label": "Circuit: neurons a and b inhibit each other and themselves; each has a leak and an input line; the potential of a is the output" },
    ...steering, ...Object.values(wires).flat().map((each) => each.node), ...output(), ...labels(), ...neurons.map((each) => each.node));
  return {
    node,
    show(state) {
      neurons.forEach((each, i) => each.show(state.potential[i], state.share[i]));
      for (const [kind, pair] of Object.entries(wires)) pair.forEach((each, i) => each.show(state.open[kind][i]));
      wires.self.forEach((each) => each.polarity(state.self_polarity));
      node.querySelector(".cff-self-label").style.display = state.self_polarity ? "" : "none";
      steering.forEach((path) => { path.style.display = state.sensory === "steered" ? "" : "none"; });
      wires.sensory.forEach((each, i) => each.node.classList.toggle("cff-on", state.lines[i] > 0));
    },
  };
}

function neuron(name, [x, y]) {
  const level = drawn("path", { class: `cff-fill-${name}` });
  const value = drawn("text", { x, y: y + 17, class: "cff-value" });
  const node = drawn("g", {},
    drawn("circle", { cx: x, cy: y, r: RADIUS, class: "cff-body" }), level,
    drawn("circle", { cx: x, cy: y, r: RADIUS, class: `cff-rim-${name}` }),
    drawn("text", { x, y: y + 2, class: "cff-name" }, name), value);
  return {
    node,
    show(potential, share) {
      const height = 2 * RADIUS * Math.min(1, Math.max(0, share)) - RADIUS; // above the centre
      const half = Math.sqrt(Math.max(0, RADIUS * RADIUS - height * height));
      level.setAttribute("d", `M ${x - half} ${y - height} A ${RADIUS} ${RADIUS} 0 ${height > 0 ? 1 : 0} 0 ${x + half} ${y - height} Z`);
      value.textContent = potential.toFixed(2).replace("-", "−");
    },
  };
}

function wire(kind, d) {
  const path = drawn("path", { d, fill: "none" }), end = d.match(/[-\d.]+/g).map(Number), [px, py, x, y] = end.slice(-4);
  const turn = Math.atan2(y - py, x - px) * 180 / Math.PI;
  const dot = drawn("circle", { cx: x, cy: y, r: 5 });
  const arrow = drawn("path", { d: "M 5 0 L -7 -6 L -7 6 Z", transform: `translate(${x} ${y}) rotate(${turn})` });
  const node = drawn("g", {}, path, dot, arrow);
  const polarity = (sign) => {
    node.setAttribute("class", `cff-wire cff-${kind} ${sign > 0 ? "cff-excite" : "cff-inhibit"}`);
    node.style.display = sign ? "" : "none";
    dot.style.display = sign < 0 ? "" : "none";
    arrow.style.display = sign > 0 ? "" : "none";
  };
  polarity(kind === "self" || kind === "reciprocal" ? -1 : 1);
  return {
    node, polarity,
    show(open) {
      path.setAttribute("stroke-width", (1.5 + 5 * Math.sqrt(open)).toFixed(2));
      node.style.opacity = (0.45 + 0.55 * Math.sqrt(open)).toFixed(2);
    },
  };
}

function output() {
  return [drawn("path", { d: "M 64 92 L 26 92", class: "cff-output" }), drawn("path", { d: "M 18 92 L 29 86 L 29 98 Z", class: "cff-output-head" })];
}

function labels() {
  const text = (x, y, anchor, ...content) => drawn("text", { x, y, "text-anchor": anchor, class: "cff-label" }, ...content);
  const own = text(160, 26, "middle", "← self →");
  own.classList.add("cff-self-label");
  return [own, text(160, 140, "middle", "reciprocal"), text(4, 80, "start", "output"), text(84, 200, "end", symbol("u_a", true)),
          text(236, 200, "start", symbol("u_b", true)), text(32, 166, "middle", "leak"), text(288, 166, "middle", "leak")];
}
