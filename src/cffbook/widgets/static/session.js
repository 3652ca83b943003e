// What a flip-flop does in the window: the signal, the potentials it causes, and the clock that moves on.
// The window has T samples and all of them have happened; a new sample at the end pushes the first one out.

import { reducedMotion } from "./dom.js";
import { makeCircuit, run } from "./simulation.js";

const LEAST = 2, SETTLE = 14; // samples for which a short press lasts, and for which a released pair is watched

export const SETTINGS = ["values", "scheme", "sensory", "self_polarity", "unfolds", "elapsed"];

// `changed()` is called when there is something new to draw. `at` is where the cursor is, in samples.
export function makeSession(model, changed) {
  const session = {
    inputs: [], start: [0, 0], at: 0, speed: 20, committing: false,
    lines: (t) => linesOf(session.settings.scheme, session.inputs[Math.min(Math.max(t, 0), session.inputs.length - 1)]),
    readSettings() {
      session.settings = Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
      session.circuit = makeCircuit(session.settings);
      session.key = JSON.stringify(session.settings); // what pictures that do not depend on the signal are drawn from
      session.simulate();
    },
    readSignal() {
      if (session.committing) return;
      session.inputs = model.get("inputs").map((pair) => [...pair]);
      session.start = [...model.get("start")];
      session.at = session.inputs.length;
      session.simulate();
    },
    // potentials after every unfold, so that the state moves as the solver moves it
    simulate() {
      const { unfolds, elapsed } = session.settings, each = { ...session.circuit, unfolds: 1 };
      const lines = session.inputs.flatMap((_, t) => Array(unfolds).fill(session.lines(t)));
      session.fine = [session.start, ...run(each, lines, session.start, elapsed / unfolds)];
      session.potentials = session.fine.filter((_, k) => k % unfolds === 0);
      changed();
    },
    append(pair) {
      session.start = [...session.potentials[1]];
      session.inputs.shift();
      session.inputs.push([...pair]);
      session.simulate();
    },
    commit() {
      session.committing = true; // what it sets now is what it has
      model.set("inputs", session.inputs.map((pair) => [...pair]));
      model.set("start", [...session.start]);
      session.committing = false;
      model.save_changes();
    },
    edit(t, pair) {
      session.inputs[t] = pair;
      session.simulate();
    },
    // the state is put somewhere and left alone for the whole window
    put(v) {
      session.stop();
      session.start = [...v];
      session.inputs = session.inputs.map(() => [0, 0]);
      session.at = 0;
      session.simulate();
    },
    clear() {
      session.stop();
      session.at = session.inputs.length;
      session.inputs = session.inputs.map(() => [0, 0]);
      session.simulate();
      session.commit();
    },
    seek(at) {
      session.stop();
      session.at = at;
      changed();
    },
    // the unfold that the cursor points at
    index: () => Math.round(session.at * session.settings.unfolds),
  };
  return Object.assign(session, clock(session, changed));
}

// The bit that potentials hold, or null where nothing tells the neurons apart.
export function bitOf([a, b], { low, high }) {
  if (Math.abs(a - b) < 0.01 * (high - low)) return null;
  return a > b ? 1 : 0;
}

export const linesOf = (scheme, [set, reset]) => (scheme === "shared" ? [set - reset] : [set, reset]);

// press(pair) holds lines on until release(); replay() lets the window pass by again; stop() ends both at once.
function clock(session, changed) {
  const state = { held: false, pair: [0, 0], least: 0, rest: 0, ticking: false, last: 0 };
  const due = () => state.held || state.least > 0 || state.rest > 0;
  const next = () => {
    const on = state.held || state.least > 0;
    if (on) state.least -= 1; else state.rest -= 1;
    session.append(on ? state.pair : [0, 0]);
  };
  const finish = () => {
    state.ticking = false;
    session.at = session.inputs.length;
    session.commit();
    changed();
  };
  const tick = (time) => {
    if (!state.ticking) return;
    session.at += Math.min(0.1, Math.max(0, time - state.last) / 1000) * session.speed;
    state.last = time;
    const end = session.inputs.length;
    while (session.at > end && due()) { session.at -= 1; next(); }
    if (session.at >= end && !due()) return finish();
    changed();
    requestAnimationFrame(tick);
  };
  const begin = () => {
    if (state.ticking) return;
    Object.assign(state, { ticking: true, last: performance.now() });
    requestAnimationFrame(tick);
  };
  return {
    press(pair) {
      session.at = session.inputs.length;
      Object.assign(state, { held: true, pair, least: LEAST, rest: SETTLE });
      if (!reducedMotion()) begin();
    },
    release() {
      state.held = false;
      if (!reducedMotion()) return;
      while (due()) next();
      finish();
    },
    replay() {
      session.at = 0;
      if (reducedMotion()) finish(); else begin();
    },
    stop() { Object.assign(state, { ticking: false, held: false, least: 0, rest: 0 }); },
  };
}
