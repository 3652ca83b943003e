// Lanes over time: input lines that can be drawn on, potentials, the bit; one cursor through all of them.

import { drawn, element, onDrag, symbol } from "./dom.js";

// A lane of `height` pixels with a name; its svg is stretched, so that lines keep their width.
function lane(name, height, className) {
  const svg = drawn("svg", { preserveAspectRatio: "none", class: "cff-lane-plot", style: `height:${height}px` });
  const node = element("div", { class: `cff-lane ${className}` }, element("span", { class: "cff-lane-name" }, ...name), svg);
  return { node, svg };
}

const line = (d, className) => drawn("path", { d, class: className, "vector-effect": "non-scaling-stroke" });

// A line that pointer or arrow keys draw: {node, show(levels, low)}, levels from `low` to 1; `edit(sample, level)` is called for each change.
export function inputLane(name, spoken, letter, { edit, done }) {
  const { node, svg } = lane([symbol(name)], 40, "cff-input");
  const shown = { levels: [], low: 0, at: 0, painting: false };
  const level = (event) => {
    const box = svg.getBoundingClientRect(), share = (event.clientY - box.top) / box.height;
    const value = 1.1 - share * 1.2; // a little room above 1 and below 0
    return rounded(shown.low + (1 - shown.low) * value, shown.low);
  };
  const sample = (event) => {
    const box = svg.getBoundingClientRect();
    return Math.max(0, Math.min(shown.levels.length - 1, Math.floor((event.clientX - box.left) / box.width * shown.levels.length)));
  };
  const paint = (event) => {
    const to = sample(event), value = level(event), from = shown.painting ? shown.at : to; // a fast pointer skips samples
    for (let t = Math.min(from, to); t <= Math.max(from, to); t++) edit(t, value);
    Object.assign(shown, { at: to, painting: true });
  };
  onDrag(svg, { move: paint, end: () => { shown.painting = false; done(); } });
  const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };
  const listeners = {
    focus: () => mark(), blur: () => mark(),
    keydown(event) {
      const move = keys[event.key];
      if (!move) return;
      event.preventDefault();
      shown.at = Math.max(0, Math.min(shown.levels.length - 1, shown.at + move[0]));
      if (move[1]) {
        shown.levels[shown.at] = rounded(shown.levels[shown.at] + move[1] * 0.25, shown.low);
        edit(shown.at, shown.levels[shown.at]);
        done();
      }
      mark();
    },
  };
  for (const [event, call] of Object.entries(listeners)) svg.addEventListener(event, call);
  const attributes = { tabindex: 0, role: "slider", "aria-label": `${spoken}: left and right choose a sample, up and down its level` };
  for (const [key, value] of Object.entries(attributes)) svg.setAttribute(key, value);
  const here = drawn("rect", { class: "cff-here", width: 1, height: 2 });
  function mark() {
    here.setAttribute("x", shown.at);
    here.setAttribute("y", shown.low - 1);
    here.style.display = document.activeElement === svg ? "" : "none";
    svg.setAttribute("aria-valuemin", shown.low);
    svg.setAttribute("aria-valuemax", 1);
    svg.setAttribute("aria-valuenow", shown.levels[shown.at] ?? 0);
    svg.setAttribute("aria-valuetext", `sample ${shown.at + 1} of ${shown.levels.length}, level ${shown.levels[shown.at] ?? 0}`);
  }
  return {
    node,
    show(levels, low) {
      Object.assign(shown, { levels, low });
      const span = 1 - low, y = (value) => (1 - value).toFixed(3);
      svg.setAttribute("viewBox", `0 ${-0.1 * span} ${levels.length} ${1.2 * span}`);
      const steps = levels.map((value, t) => `${t ? "L" : "M"} ${t} ${y(value)} L ${t + 1} ${y(value)}`).join(" ");
      svg.replaceChildren(here, line(`M 0 1 H ${levels.length}`, "cff-axis"),
        drawn("path", { d: `M 0 1 ${steps.replace("M", "L")} L ${levels.length} 1 Z`, class: `cff-area-${letter}` }), line(steps, `cff-line-${letter}`));
      mark();
    },
  };
}

const rounded = (value, low) => Math.min(1, Math.max(low, Math.round(value * 20) / 20));

// Both potentials, `points` values evenly over `samples`, from the start on: {node, show(points, samples, low, high)}.
export function potentialLane() {
  const { node, svg } = lane([symbol("v_a"), element("br"), symbol("v_b")], 130, "cff-potentials");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "membrane potentials of both neurons over time");
  return {
    node,
    show(points, samples, low, high) {
      const room = 0.05 * (high - low), y = (value) => (high - value).toFixed(4), step = samples / (points.length - 1);
      svg.setAttribute("viewBox", `0 ${-room} ${samples} ${high - low + 2 * room}`);
      const path = (which) => points.map((v, k) => `${k ? "L" : "M"} ${(k * step).toFixed(3)} ${y(v[which])}`).join(" ");
      svg.replaceChildren(line(`M 0 ${y(0)} H ${samples}`, "cff-axis"), line(path(1), "cff-line-b"), line(path(0), "cff-line-a"));
    },
  };
}

// Which bit is held, 1, 0 or null, as coloured stretches: {node, show(bits)}.
export function bitLane() {
  const { node, svg } = lane(["bit"], 12, "cff-bits");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", "the bit over time");
  return {
    node,
    show(bits) {
      svg.setAttribute("viewBox", `0 0 ${bits.length} 1`);
      svg.replaceChildren(...stretches(bits).map(([from, to, bit]) => drawn("rect", { x: from, width: to - from, height: 1, class: `cff-fill-${{ 1: "a", 0: "b", null: "none" }[bit]}` })));
    },
  };
}

function stretches(values) {
  const found = [];
  values.forEach((value, t) => {
    if (t && found.at(-1)[2] === value) found.at(-1)[1] = t + 1;
    else found.push([t, t + 1, value]);
  });
  return found;
}
