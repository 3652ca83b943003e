// A memory in the page: an array of flip-flops to press and to wire, or a described layer that reads symbols.

import { adjacencyMatrix, arrayGrid, raster } from "./array.js";
import { answerBars, stateGraph } from "./automaton.js";
import { choice, element, holdButton, keepKeys, onceAFrame, slider } from "./dom.js";
import { answersAt, checkLayer, layerCircuit, layerElapsed, layerLines, patternOf, patterned, PATTERNS, polarityOf, SIGNS, SIZES, statesAlong, strengthOf, withStrength, withSynapse } from "./layer.js";
import { bind, makeSession } from "./session.js";

const SPEED = 20;
const ARRAYS = [
  ["one of sixteen", { pattern: "dense", size: 16, sign: "inhibit" }],
  ["one in each tile", { pattern: "tiles", size: 16, sign: "inhibit" }],
  ["a bit that travels", { pattern: "ring", size: 16, sign: "forwards" }],
  ["a bit that spreads", { pattern: "lattice", size: 64, sign: "excite" }],
  ["each on its own", { pattern: "independent", size: 64, sign: "inhibit" }],
];
// a sample of the signal is {symbol, pressed: [[flip-flop, u_a, u_b], ...]}
const MEMORY = {
  settings: ["layer"], signal: ["tape", "pressed"], silent: { symbol: -1, pressed: [] },
  circuit: layerCircuit, lines: layerLines, elapsed: layerElapsed, key: ({ layer }) => layer,
  read(model, session) {
    session.state = model.get("state");
    return model.get("tape").map((symbol, t) => ({ symbol, pressed: model.get("pressed")[t] ?? [] }));
  },
  passed(session, { symbol }) { session.state = statesAlong(session.settings.layer, session.state, [symbol])?.at(-1) ?? 0; },
  write(model, { inputs, start, state }) {
    model.set("tape", inputs.map(({ symbol }) => symbol));
    model.set("pressed", inputs.map(({ pressed }) => pressed));
    model.set("start", Array.from({ length: start.length / 2 }, (_, i) => [start[2 * i], start[2 * i + 1]]));
    model.set("state", state);
  },
};

// Draws the widget into `el` and returns what undoes it.
export function renderMemory({ model, el }) {
  const update = onceAFrame(() => draw());
  const session = makeSession(model, MEMORY, update), view = { wiring: false, source: -1, original: model.get("layer") };
  const parts = makeMemoryParts(session, model, view, update);
  let drawnKey = null;
  const draw = () => {
    if (session.start.length !== session.circuit.neurons) return; // a new layer whose start comes next
    if (session.key !== drawnKey || view.changed) parts.wiring(session);
    drawnKey = session.key;
    view.changed = false;
    parts.moment(session);
  };
  session.readSettings();
  session.readSignal();
  el.classList.add("cff");
  el.append(...parts.nodes);
  keepKeys(el);
  draw();
  return bind(model, session, MEMORY);
}

// Another memory takes the place of the present one, at its own start.
function replaceLayer(model, session, view, layer) {
  session.stop();
  Object.assign(view, { original: layer, source: -1, changed: true });
  model.set("layer", layer);
  Object.assign(session, { inputs: session.inputs.map(() => MEMORY.silent), start: layer.start.flat(), at: session.inputs.length, state: layer.automaton?.start ?? 0 });
  session.readSettings();
  session.commit();
}

function makeMemoryParts(session, model, view, update) {
  const layer = () => session.settings.layer;
  const wire = (source, target, sign) => model.set("layer", withSynapse(layer(), source, target, sign, view.original));
  const grid = arrayGrid({
    wiring: () => view.wiring,
    press: (i) => session.press({ symbol: -1, pressed: [[i, ...(bitAt(session, i) ? [0, 1] : [1, 0])]] }), release: () => session.release(),
    pick(i) {
      if (view.source < 0 || view.source === i) view.source = view.source === i ? -1 : i;
      else {
        wire(view.source, i, { 0: 1, 1: -1, "-1": 0 }[polarityOf(layer())[view.source][i]]);
        model.save_changes();
      }
      view.changed = true;
      update();
    },
  });
  const matrix = adjacencyMatrix({ change: wire, done: () => model.save_changes() });
  const past = raster(), bars = answerBars(), graph = stateGraph(), said = element("p", { class: "cff-caption" });
  const cursor = element("div", { class: "cff-cursor" }), symbols = element("div", { class: "cff-symbols", role: "group", "aria-label": "symbols" });
  const time = element("input", { type: "range", min: 0, step: 1, "aria-label": "time, in samples", oninput: () => session.seek(Number(time.value)) });
  const clock = element("output", { class: "cff-clock" });
  const panel = arrayPanel(session, model, view), bar = commandBar(session, clock);
  return {
    nodes: [
      symbols, element("div", { class: "cff-top cff-reading" }, bars.node, graph.node),
      element("div", { class: "cff-top" },
        element("div", {}, modes(view, update), grid.node, said),
        element("div", {}, element("p", { class: "cff-axis-name" }, "from row to column: blue +, orange −"), matrix.node, matrix.said)),
      element("div", { class: "cff-time" }, element("div", { class: "cff-lanes cff-bare" }, past.node, cursor), time, bar.node), panel.node,
    ],
    wiring({ settings }) {
      matrix.show(settings.layer.names, polarityOf(settings.layer), view.source);
      symbols.replaceChildren(...(settings.layer.symbols?.names ?? []).map((name, symbol) =>
        element("button", { type: "button", class: "cff-button", onclick: () => session.one({ symbol, pressed: [] }) }, name)));
      keepKeys(symbols);
      panel.show(settings.layer);
      bar.show(settings.layer);
      said.textContent = settings.layer.symbols ? "Press a symbol above: the layer reads it." : "Press a flip-flop: it is set, or reset if it is set.";
    },
    moment(session) {
      const { settings, inputs, at } = session, all = session.potentials().map(differences), k = Math.ceil(at), now = session.fine[session.index()];
      const passed = inputs.map((sample) => layerElapsed(settings, sample) > 0), lived = all.slice(1).filter((_, t) => passed[t]);
      const scale = usualSize((lived.length ? lived : all).flat()), level = (value) => Math.max(-1, Math.min(1, value / scale));
      grid.show(settings.layer.names, differences(now).map(level), view.source, polarityOf(settings.layer));
      past.show(all.slice(1).map((row, t) => (passed[t] ? row.map(level) : row.map(() => 0)))); // what took no time is left blank
      const probabilities = answersAt(settings.layer, now), states = statesAlong(settings.layer, session.state, inputs.map(({ symbol }) => symbol));
      bars.show(settings.layer, probabilities);
      graph.show(settings.layer, states?.[Math.max(0, k - 1)], states?.[k], inputs[k - 1]?.symbol ?? -1, probabilities?.indexOf(Math.max(...probabilities)));
      cursor.style.setProperty("--at", at / inputs.length);
      time.max = inputs.length;
      time.value = at;
      clock.textContent = `sample ${k} of ${inputs.length}${(inputs[k - 1]?.symbol ?? -1) >= 0 ? `: ${settings.layer.symbols.names[inputs[k - 1].symbol]}` : ""}`;
    },
  };
}

const differences = (v) => Array.from({ length: v.length / 2 }, (_, i) => v[2 * i] - v[2 * i + 1]);
// A size that four of five differences stay below: held states are seen well beside the larger ones of pressed flip-flops.
const usualSize = (values) => Math.max(1e-3, values.map(Math.abs).sort((a, b) => a - b)[Math.floor(0.8 * (values.length - 1))]);
const bitAt = (session, i) => { const v = session.fine.at(-1); return v[2 * i] > v[2 * i + 1]; };

function modes(view, update) {
  const set = (wiring) => { Object.assign(view, { wiring, source: -1, changed: true }); update(); };
  const name = `cff-mode-${Math.random().toString(36).slice(2)}`; // the two buttons of one widget
  const option = (text, wiring) => element("label", {}, element("input", { type: "radio", name, checked: !wiring, onchange: () => set(wiring) }), ` ${text}`);
  return element("div", { class: "cff-modes", role: "radiogroup", "aria-label": "a click on a flip-flop" }, option("press", false), option("wire: pick one, then its targets", true));
}

function commandBar(session, clock) {
  session.speed = SPEED;
  const wait = holdButton(["Wait"], "cff-button", { press: () => session.press(MEMORY.silent), release: () => session.release(), tap: () => { session.press(MEMORY.silent); session.release(); } });
  const fresh = () => {
    const { layer } = session.settings;
    session.put(layer.start.flat());
    Object.assign(session, { at: session.inputs.length, state: layer.automaton?.start ?? 0 });
    session.commit();
  };
  const node = element("div", { class: "cff-bar" }, wait, element("button", { type: "button", class: "cff-button", onclick: fresh }, "Start again"),
    element("button", { type: "button", class: "cff-button", onclick: () => session.replay() }, "▶ Replay"), clock);
  return { node, show: (layer) => { wait.style.display = layer.symbols ? "none" : ""; } };
}

// Arrays by pattern, the strength of their synapses, and layers from a file.
function arrayPanel(session, model, view) {
  const chosen = { pattern: "dense", size: 16, sign: "inhibit" };
  const rebuild = (what) => { Object.assign(chosen, what); replaceLayer(model, session, view, patterned(session.settings.layer, chosen)); };
  const choices = Object.fromEntries([["pattern", PATTERNS], ["size", SIZES], ["sign", SIGNS]].map(([name, options]) =>
    [name, choice({ pattern: "pattern", size: "flip-flops", sign: "synapses" }[name], options.map((option) => [option, String(option)]), (value) => rebuild({ [name]: value }))]));
  const examples = choice("start from", [["", "…"], ...ARRAYS.map(([text, what]) => [what, text])], (what) => what && rebuild(what));
  const strength = slider(["lateral conductance"], { min: 0, max: 3, step: 0.05 }, (value) => {
    model.set("layer", withStrength(session.settings.layer, value));
    view.original = withStrength(view.original, value);
    model.save_changes();
  });
  const wrong = element("p", { class: "cff-warning", role: "alert" });
  const file = element("input", { type: "file", accept: ".json,application/json", async onchange() {
    try {
      replaceLayer(model, session, view, checkLayer(JSON.parse(await file.files[0].text())));
      wrong.textContent = "";
    } catch (error) { wrong.textContent = error.message; }
  } });
  return {
    node: element("div", { class: "cff-parameters" },
      element("div", { class: "cff-choices" }, examples.node, ...Object.values(choices).map((each) => each.node), element("label", { class: "cff-choice" }, element("span", {}, "a layer from a file"), file)),
      strength.node, wrong),
    show(layer) {
      const value = strengthOf(layer), known = patternOf(layer);
      for (const [name, each] of Object.entries(choices)) each.show(known?.[name]);
      Object.assign(chosen, known ?? {});
      strength.node.style.display = value === null || layer.answers ? "none" : "";
      if (value !== null) strength.show(value);
    },
  };
}
