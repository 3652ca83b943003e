// The array: its state as an image of buttons, its adjacency as a matrix to click, its past as a raster.

import { drawn, element, onDrag } from "./dom.js";

const KEYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const within = (value, size) => Math.min(size - 1, Math.max(0, value));

// The flip-flops as buttons; `press(i)`, `release()` while one is held, or `pick(i)` where `wiring()` is true.
export function arrayGrid({ press, release, pick, wiring }) {
  const node = element("div", { class: "cff-array", role: "group", "aria-label": "flip-flops; arrow keys move, Enter or Space presses" });
  const shown = { cells: [], side: 1, held: -1 };
  const begin = (i) => { if (wiring()) pick(i); else if (shown.held !== i) { end(); shown.held = i; press(i); } };
  const end = () => { if (shown.held >= 0) { shown.held = -1; release(); } };
  const isKey = (event) => event.key === " " || event.key === "Enter";
  const cell = (name, i) => element("button", {
    type: "button", class: "cff-cell", tabindex: i ? -1 : 0,
    onpointerdown: (event) => { shown.cells[i].setPointerCapture(event.pointerId); begin(i); },
    onpointerup: end, onpointercancel: end, onblur: end, oncontextmenu: (event) => event.preventDefault(),
    onkeyup: (event) => { if (isKey(event)) { event.preventDefault(); end(); } },
    onclick: (event) => { if (event.detail === 0 && shown.held < 0) { begin(i); end(); } },
    onkeydown: (event) => {
      if (isKey(event)) { event.preventDefault(); if (!event.repeat) begin(i); }
      if (KEYS[event.key]) { event.preventDefault(); focus(i, KEYS[event.key]); }
    },
  }, name);
  const focus = (i, [x, y]) => {
    const next = within(i + x + y * shown.side, shown.cells.length);
    shown.cells.forEach((each, k) => { each.tabIndex = k === next ? 0 : -1; });
    shown.cells[next].focus();
  };
  return {
    node,
    // `levels` between -1 and 1; `source` is the flip-flop whose synapses are shown, or -1
    show(names, levels, source, polarity) {
      if (shown.names !== names.join()) {
        shown.names = names.join();
        shown.side = Math.ceil(Math.sqrt(names.length));
        node.style.setProperty("--side", shown.side);
        shown.cells = names.map(cell);
        node.replaceChildren(...shown.cells);
        for (const each of shown.cells) each.setAttribute("data-lm-suppress-shortcuts", "true");
      }
      shown.cells.forEach((each, i) => {
        const bit = levels[i] > 0 ? "set" : "reset", sign = source < 0 ? 0 : polarity[source][i];
        each.style.setProperty("--level", `${Math.round(Math.abs(levels[i]) * (levels[i] > 0 ? 65 : 30))}%`);
        each.dataset.bit = bit;
        each.dataset.synapse = i === source ? "source" : sign > 0 ? "excite" : sign < 0 ? "inhibit" : "";
        const wired = source < 0 || i === source ? "" : `, from ${names[source]}: ${sign > 0 ? "excites" : sign < 0 ? "inhibits" : "no synapse"}`;
        each.setAttribute("aria-label", `${names[i]}: ${bit}${wired}`);
      });
    },
  };
}

// The adjacency, source by row and target by column; `change(source, target, polarity)` for each click, `done()` at its end.
export function adjacencyMatrix({ change, done }) {
  const shown = { polarity: [], at: [0, 0], sign: 0 }, here = drawn("rect", { width: 1, height: 1, class: "cff-here" });
  const node = drawn("svg", { class: "cff-matrix", tabindex: 0, role: "application" });
  const said = element("p", { class: "cff-spoken", "aria-live": "polite" });
  const place = (event) => {
    const box = node.getBoundingClientRect(), size = shown.polarity.length;
    return [event.clientX - box.left, event.clientY - box.top].map((offset) => within(Math.floor(offset / box.width * size), size));
  };
  const next = ([target, source]) => ({ 0: 1, 1: -1, "-1": 0 })[shown.polarity[source][target]];
  const drag = { on: false };
  onDrag(node, {
    move(event) {
      const at = place(event);
      if (!drag.on) Object.assign(drag, { on: true, sign: next(at) });
      else if (at[0] === shown.at[0] && at[1] === shown.at[1]) return;
      set(at, drag.sign);
    },
    end() { drag.on = false; done(); },
  });
  node.addEventListener("keydown", (event) => {
    const move = KEYS[event.key], size = shown.polarity.length;
    if (move) shown.at = shown.at.map((value, axis) => within(value + move[axis], size));
    else if (event.key === " " || event.key === "Enter") { set(shown.at, next(shown.at)); done(); }
    else return;
    event.preventDefault();
    mark();
  });
  for (const event of ["focus", "blur"]) node.addEventListener(event, () => mark());
  function set(at, sign) {
    shown.at = at;
    shown.polarity[at[1]][at[0]] = sign;
    change(at[1], at[0], sign);
    mark();
  }
  function mark() {
    const [target, source] = shown.at, sign = shown.polarity[source]?.[target];
    here.setAttribute("x", target);
    here.setAttribute("y", source);
    here.style.display = document.activeElement === node ? "" : "none";
    said.textContent = document.activeElement === node ? `from ${shown.names[source]} to ${shown.names[target]}: ${sign > 0 ? "excites" : sign < 0 ? "inhibits" : "none"}` : "";
  }
  return {
    node, said,
    show(names, polarity, source) {
      const size = polarity.length, boxes = { 1: "", "-1": "" };
      polarity.forEach((row, y) => row.forEach((sign, x) => { if (sign) boxes[sign] += `M ${x} ${y} h 1 v 1 h -1 Z `; }));
      Object.assign(shown, { names, polarity, at: shown.at.map((value) => within(value, size)) });
      node.setAttribute("viewBox", `0 0 ${size} ${size}`);
      node.setAttribute("aria-label", "Adjacency, source by row, target by column. Arrow keys move, Enter or Space changes the synapse: none, excites, inhibits.");
      node.replaceChildren(drawn("path", { d: boxes[1], class: "cff-fill-a" }), drawn("path", { d: boxes[-1], class: "cff-fill-b" }),
        drawn("path", { d: lattice(size), class: "cff-grid", "vector-effect": "non-scaling-stroke" }),
        drawn("rect", { y: Math.max(0, source), width: size, height: source < 0 ? 0 : 1, class: "cff-row", "vector-effect": "non-scaling-stroke" }), here);
      mark();
    },
  };
}

const lattice = (size) => Array.from({ length: size + 1 }, (_, k) => `M ${k} 0 V ${size} M 0 ${k} H ${size}`).join(" ");

// What every flip-flop held, a row each: levels between -1 and 1 in five shades of two colours.
export function raster() {
  const SHADES = 5, node = drawn("svg", { class: "cff-raster", preserveAspectRatio: "none", role: "img", "aria-label": "state of every flip-flop over time, a row each; blue is set, orange reset" });
  return {
    node,
    show(levels) {
      const samples = levels.length, rows = levels[0].length, paths = {};
      for (let i = 0; i < rows; i++) {
        for (let t = 0, from; t < samples; ) {
          const shade = Math.round(levels[t][i] * SHADES);
          for (from = t; t < samples && Math.round(levels[t][i] * SHADES) === shade; ) t++;
          paths[shade] = `${paths[shade] ?? ""}M ${from} ${i} H ${t} v 1 H ${from} Z `;
        }
      }
      node.setAttribute("viewBox", `0 0 ${samples} ${rows}`);
      node.replaceChildren(...Object.entries(paths).filter(([shade]) => shade !== "0").map(([shade, d]) =>
        drawn("path", { d, class: shade > 0 ? "cff-fill-a" : "cff-fill-b", opacity: Math.abs(shade) / SHADES * (shade > 0 ? 1 : 0.45) })));
    },
  };
}
