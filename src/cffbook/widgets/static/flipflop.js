// A flip-flop in the page: its circuit, lines to press or draw, what it does over time and in the phase plane.

import { fixedPoints, latchMargin, makePlane, rateGrid } from "./analysis.js";
import { circuitDrawing } from "./circuit.js";
import { choice, element, holdButton, keepKeys, onceAFrame, symbol } from "./dom.js";
import { bitLane, inputLane, potentialLane } from "./lanes.js";
import { parameterPanel } from "./parameters.js";
import { phasePlane } from "./plane.js";
import { bind, makeSession } from "./session.js";
import { makeCircuit, synapsesOnto } from "./simulation.js";

const TAIL = 16; // samples of the path in the phase plane
const COMMANDS = [["set", [1, 0], "Set"], ["reset", [0, 1], "Reset"], ["both", [1, 1], "Both"], ["wait", [0, 0], "Wait"]];
const SPEEDS = [[4, "slow"], [20, "20 samples a second"], [60, "fast"]];

const linesOf = (scheme, [set, reset]) => (scheme === "shared" ? [set - reset] : [set, reset]);
// one pair; a sample of its signal is [u_a, u_b]
const PAIR = {
  settings: ["values", "scheme", "sensory", "self_polarity", "unfolds", "elapsed"], signal: ["inputs"], silent: [0, 0],
  circuit: makeCircuit, key: JSON.stringify, lines: ({ scheme }, sample) => linesOf(scheme, sample), elapsed: ({ elapsed }) => elapsed,
  read: (model) => model.get("inputs").map((pair) => [...pair]),
  write(model, { inputs, start }) {
    model.set("inputs", inputs.map((pair) => [...pair]));
    model.set("start", [...start]);
  },
};

// Draws the widget into `el` and returns what undoes it.
export function renderFlipFlop({ model, el }) {
  const update = onceAFrame(() => draw());
  const session = makeSession(model, PAIR, update);
  const parts = makeParts(session, model);
  let drawnKey = null;
  const draw = () => {
    parts.lanes(session);
    parts.moment(session);
    if (session.key === drawnKey) return;
    drawnKey = session.key;
    parts.verdict(session);
    parts.panel.show(session.settings);
  };
  session.readSettings();
  session.readSignal();
  el.classList.add("cff");
  el.append(...parts.nodes);
  keepKeys(el);
  draw();
  return bind(model, session, PAIR);
}

function makeParts(session, model) {
  const settings = Object.fromEntries(PAIR.settings.map((name) => [name, model.get(name)]));
  const panel = parameterPanel(structuredClone(settings), (traits) => {
    for (const [name, value] of Object.entries(traits)) model.set(name, value);
    model.save_changes();
  });
  const circuit = circuitDrawing(), plane = phasePlane({
    put(v) { session.put(v); },
    letGo() { session.replay(); },
  });
  const status = statusLine(), lanes = laneStack(session), moment = element("strong");
  const caption = element("p", { class: "cff-caption" }, "Blue: ", symbol("v_a"), " at rest, orange: ", symbol("v_b"), " at rest; shaded: the bit that a start ends in; with ", moment, ".");
  const hint = element("p", { class: "cff-caption" }, "Hold a button, draw on the lines below, or drag the ring.");
  const left = element("div", { class: "cff-left" }, status.node, circuit.node, commands(session), hint);
  const right = element("div", { class: "cff-right" }, plane.node, caption);
  return {
    panel,
    nodes: [element("div", { class: "cff-top" }, left, right), lanes.node, panel.node],
    lanes: lanes.show,
    verdict: status.show,
    moment(session) {
      const { settings, circuit: pair, fine } = session, k = session.index(), t = Math.ceil(session.at) - 1;
      const lines = session.lines(t), under = makePlane(pair, lines), v = fine[k];
      circuit.show({ ...openings(pair, under, v), lines: [1, -1].map((sign, i) => lines[i] ?? sign * lines[0]), ...settings });
      plane.show(under, session.key + lines, settings.elapsed, fine.slice(Math.max(0, k - TAIL * settings.unfolds), k + 1));
      moment.textContent = lines.every((level) => level === 0) ? "the lines silent" : `input at ${lines.map((level) => level.toFixed(2)).join(" and ")}`;
      lanes.cursor(session);
      status.bit(v, under);
      status.warn(session);
    },
  };
}

// Shares between 0 and 1 of what the circuit drawing shows.
function openings(pair, { drive, low, high }, v) {
  const most = Math.max(...["leak", "self", "reciprocal", "sensory"].flatMap((kind) => [...pair[`${kind}_conductance`]]), 1e-9);
  const onto = [0, 1].map((i) => synapsesOnto(pair, drive, v, i)), share = (value) => value / most;
  return {
    potential: [...v], share: [...v].map((value) => (value - low) / (high - low)),
    open: {
      self: onto.map(({ own }) => share(own)), reciprocal: onto.map(({ cross }) => share(cross)), sensory: onto.map(({ sensory }) => share(sensory)),
      leak: [...pair.leak_conductance].map(share),
    },
  };
}

function commands(session) {
  const buttons = COMMANDS.map(([name, pair, text]) => holdButton([text], `cff-button cff-${name}-button`, {
    press: () => session.press(pair), release: () => session.release(), tap: () => { session.press(pair); session.release(); },
  }));
  return element("div", { class: "cff-commands", role: "group", "aria-label": "input lines" }, ...buttons);
}

// The bit that potentials hold, or null where nothing tells the neurons apart.
function bitOf([a, b], { low, high }) {
  if (Math.abs(a - b) < 0.01 * (high - low)) return null;
  return a > b ? 1 : 0;
}

// The bit, the latch condition as a light, and what else is to be said.
function statusLine() {
  const bit = element("strong", { class: "cff-bit" }), light = element("span", { class: "cff-light", "aria-hidden": "true" });
  const text = element("span"), note = element("p", { class: "cff-warning" }), spoken = element("p", { class: "cff-spoken", role: "status" });
  const said = { bit: "", latch: "" };
  const say = () => {
    const now = `${said.bit}, ${said.latch}`;
    if (spoken.textContent !== now) spoken.textContent = now;
  };
  return {
    node: element("div", { class: "cff-status" }, bit, element("span", { class: "cff-latch" }, light, text), spoken, note),
    bit(v, plane) {
      const held = bitOf(v, plane);
      said.bit = held === null ? "no bit" : `bit ${held}`;
      bit.textContent = said.bit;
      bit.dataset.bit = held;
      say();
    },
    show(session) {
      const plane = makePlane(session.circuit, linesOf(session.settings.scheme, [0, 0])), margin = latchMargin(plane);
      const stable = fixedPoints(plane, rateGrid(plane, 101)).filter((point) => point.stable).length;
      const holds = margin === null ? "unknown" : margin > 0;
      light.dataset.on = holds;
      said.latch = { true: "latches", false: "does not latch", unknown: "latch condition: needs equal neurons" }[holds];
      const signed = margin === null ? "" : `, margin ${margin < 0 ? "−" : "+"}${Math.abs(margin).toFixed(2)}`;
      text.textContent = `${said.latch}${signed} · ${stable} stable point${stable === 1 ? "" : "s"}`;
      say();
    },
    warn({ potentials, circuit, settings }) {
      const swings = inLockStep(potentials(), makePlane(circuit, linesOf(settings.scheme, [0, 0])));
      note.textContent = swings ? "Lock-step: the step is too long, both neurons swing together. Take more unfolds." : "";
    },
  };
}

// Both neurons move by much and always together, at the end of the window.
function inLockStep(potentials, { low, high }) {
  const last = potentials.slice(-8), span = high - low;
  const together = last.every(([a, b]) => Math.abs(a - b) < 0.02 * span);
  return together && last.slice(1).every(([a], t) => Math.abs(a - last[t][0]) > 0.1 * span);
}

function laneStack(session) {
  const edit = (which) => (t, level) => {
    const pair = session.inputs[t].map((old, i) => (i === which ? level : old));
    session.edit(t, which === 2 ? [Math.max(0, level), Math.max(0, -level)] : pair);
  };
  const made = ["set line, u a", "reset line, u b", "input line, u"].map((spoken, which) =>
    inputLane(["u_a", "u_b", "u"][which], spoken, ["a", "b", "a"][which], { edit: edit(which), done: () => session.commit() }));
  const potentials = potentialLane(), bits = bitLane(), cursor = element("div", { class: "cff-cursor" });
  const time = element("input", { type: "range", min: 0, step: 1, "aria-label": "time, in samples", oninput: () => session.seek(Number(time.value)) });
  const clock = element("output", { class: "cff-clock" });
  const speed = choice("speed", SPEEDS, (value) => { session.speed = value; });
  speed.show(session.speed);
  const bar = element("div", { class: "cff-bar" },
    element("button", { type: "button", class: "cff-button", onclick: () => session.replay() }, "▶ Replay"),
    element("button", { type: "button", class: "cff-button", onclick: () => session.clear() }, "Clear signal"), speed.node, clock);
  return {
    node: element("div", { class: "cff-time" }, element("div", { class: "cff-lanes" }, ...made.map((each) => each.node), bits.node, potentials.node, cursor), time, bar),
    show({ inputs, settings, potentials: all, fine, circuit }) {
      const shared = settings.scheme === "shared", { low, high } = makePlane(circuit, linesOf(settings.scheme, [0, 0]));
      made.forEach((each, which) => { each.node.style.display = (which === 2) === shared ? "" : "none"; });
      if (shared) made[2].show(inputs.map(([set, reset]) => set - reset), -1);
      else [0, 1].forEach((which) => made[which].show(inputs.map((pair) => pair[which]), 0));
      potentials.show(fine, inputs.length, low, high);
      bits.show(all().slice(1).map((v) => bitOf(v, { low, high })));
      time.max = inputs.length;
    },
    cursor({ at, inputs }) {
      cursor.style.setProperty("--at", at / inputs.length);
      time.value = at;
      clock.textContent = `sample ${Math.ceil(at)} of ${inputs.length}`;
    },
  };
}
